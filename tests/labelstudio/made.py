"""Pictures to review, and what a reviewer makes of them, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from annotator.images import Images
from annotator.labelstudio.answers import Answer, read
from annotator.labelstudio.frame import Frame
from annotator.labelstudio.tasks import Shown, region_id, shown, task
from annotator.people import People
from annotator.proposals import Proposals
from annotator.selection import Selection
from annotator.skeletons import UNION_21
from tests.builders import make_people, make_proposals

Result = list[dict[str, Any]]
NAMES = UNION_21.keypoints
# What COCO does not label.
ADDED = ("pelvis", "thorax", "upper_neck", "head_top")
FRAME = Frame(640, 480)


def coco_like(n: int, seed: int = 0, **changed: Any) -> tuple[People, Proposals]:
    """N people over the union, two a picture, without the four keypoints that COCO lacks, and proposals for them."""
    table = make_people(n, UNION_21, seed).hide(list(ADDED))
    in_schema = np.repeat([[name not in ADDED for name in NAMES]], n, axis=0)
    table = replace(table, in_schema=in_schema, **changed)
    return table, make_proposals(table, seed)


def selection(people: People, roles: str = "", trap: tuple[str, float, float] = ("nose", 0, 0)) -> Selection:
    """Everybody in the order of the rows; a role's first letter each (review where it is left out)."""
    words = {"r": "review", "c": "control", "t": "trap"}
    role = np.array([words[letter] for letter in roles.ljust(len(people), "r")], dtype=object)
    is_trap = role == "trap"
    return Selection(
        strategy="random",
        budget=float(len(people)),
        unit="people",
        controls=0,
        traps=0,
        seed=0,
        proposals_sha256="",
        person_id=people.person_id,
        image_id=people.image_id,
        rank=np.arange(1, len(people) + 1),
        priority=np.zeros(len(people)),
        role=role,
        trap_keypoint=np.where(is_trap, trap[0], ""),
        trap_dx=np.where(is_trap, trap[1], 0.0),
        trap_dy=np.where(is_trap, trap[2], 0.0),
    )


def images_of(people: People) -> Images:
    """A row for each picture the people are in; there are no files."""
    names = list(dict.fromkeys(people.image_id))
    n = len(names)
    text = np.array([f"{name}.jpg" for name in names], dtype=object)
    return Images(np.array(names, dtype=object), text, text, np.full(n, -1), np.full(n, -1), np.full(n, "", object))


def pictures(
    people: People,
    proposals: Proposals,
    chosen: Selection | None = None,
    frame: Frame = FRAME,
    number: int = 1,
    *,
    unlock: bool = False,
) -> list[Shown]:
    """What is shown of each picture, all of one size."""
    chosen = selection(people) if chosen is None else chosen
    drawn = shown(people, proposals, chosen, images_of(people), lambda _: frame, round=number, unlock=unlock)
    return list(drawn)


def submitted(picture: Shown) -> Result:
    """What Label Studio returns where a reviewer opens the prediction and submits it: a copy, through JSON."""
    result = task(picture, "/data/picture.jpg", "made")["predictions"][0]["result"]
    return [{**entry, "origin": "prediction"} for entry in json.loads(json.dumps(result))]


# Four people in two pictures, for the tests that need no others; and a label of the first one.
PEOPLE, PROPOSALS = coco_like(4, seed=3)
LABEL = next(name for k, name in enumerate(NAMES) if PEOPLE.v[0, k] == 2)


def picture_of(roles: str = "", trap: tuple[str, float, float] = ("pelvis", 30, -40), **more: Any) -> Shown:
    """The first picture of those, two people."""
    return pictures(PEOPLE, PROPOSALS, selection(PEOPLE, roles, trap), **more)[0]


def box_id(picture: Shown, person: int) -> str:
    """Id of a person's rectangle."""
    return region_id(picture.round, picture.people[person].person_id)


def answer(picture: Shown, result: Result) -> Answer:
    """The answer that a result makes."""
    return read(picture, result, NAMES, "new")


def regions(picture: Shown, result: Result, person: int, keypoint: str = "") -> Result:
    """The results of one person's keypoint, or of its rectangle."""
    name = region_id(picture.round, picture.people[person].person_id, keypoint)
    return [entry for entry in result if entry["id"] == name]


def without(result: Result, gone: Result) -> Result:
    """A result with some entries taken away."""
    return [entry for entry in result if entry not in gone]


def changed(result: Result, which: Result, change: Callable[[dict[str, Any]], None]) -> Result:
    """A result with some entries changed."""
    for entry in (out := json.loads(json.dumps(result))):
        if any(entry["id"] == other["id"] for other in which):
            change(entry)
    return out


def move(dx: float, dy: float) -> Callable[[dict[str, Any]], None]:
    """Move by percent."""

    def change(entry: dict[str, Any]) -> None:
        entry["value"]["x"] += dx
        entry["value"]["y"] += dy

    return change


def choose(word: str) -> Callable[[dict[str, Any]], None]:
    """Choose a visibility."""

    def change(entry: dict[str, Any]) -> None:
        if entry["type"] == "choices":
            entry["value"]["choices"] = [word]

    return change


def drawn(
    picture: Shown, kind: str, label: str, value: tuple[float, ...], name: str, parent: str = "", visibility: str = ""
) -> Result:
    """A region that the reviewer drew, with its visibility where one is chosen."""
    width, height = picture.frame.shown_size
    keys = ("x", "y", "width", "height")[: len(value)]
    numbers = dict(zip(keys, value, strict=True)) | ({"rotation": 0} if kind == "rectanglelabels" else {"width": 0.3})
    control = "keypoint" if kind == "keypointlabels" else "person"
    common = {"id": name, "to_name": "image", "original_width": width, "original_height": height,
              "image_rotation": 0, "origin": "manual"} | ({"parentID": parent} if parent else {})  # fmt: skip
    out = [{**common, "from_name": control, "type": kind, "value": {**numbers, kind: [label]}}]
    if visibility:
        choice = {"from_name": "visibility", "type": "choices", "value": {**numbers, "choices": [visibility]}}
        out.append({**common, **choice})
    return out


def as_points(found: Answer) -> dict[tuple[str, str], tuple[str, str]]:
    """(person, keypoint) -> outcome and decision."""
    return {(one.person_id, one.keypoint): (one.outcome, one.origin) for one in found.points}
