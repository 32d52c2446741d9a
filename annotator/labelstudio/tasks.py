"""What a reviewer is shown, and the Label Studio task that shows it.

`Shown` is kept in the store word for word: an answer is compared with what was sent, not with what a model would say
today. A task is a function of it, the same bytes each time: one picture, all its people in one prediction, each a
rectangle whose keypoints are its children. Nothing in a task tells a control or a trap from the others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotator.files import sha256
from annotator.images import Images
from annotator.labelstudio.config import CHOICE_OF, IMAGE, KEYPOINT, PERSON, V_OF, VISIBILITY, VISIBLE
from annotator.labelstudio.frame import Frame
from annotator.people import ORIGIN, People
from annotator.proposals import Proposals, to_write, uncertainty
from annotator.selection.table import Selection
from annotator.skeletons import FloatArray

LOCKED, LABEL, DERIVED, PROPOSAL, TRAP = "locked", "label", "derived", "proposal", "trap"
FIXED = (LOCKED, DERIVED)  # kinds that a reviewer cannot move
CONTROL = "control"
REFUSED = (ORIGIN["rejected"], ORIGIN["absent"])  # a reviewer said so before: not proposed again
KEYPOINT_WIDTH = 0.5  # percent of the picture's width; the page draws at least 2 screen pixels
ID_LENGTH = 16


@dataclass(frozen=True)
class ShownPoint:
    """A keypoint as sent: pixels as the labels count them, v, why it is shown, the model's score, radius in words."""

    keypoint: str
    x: float
    y: float
    v: int
    kind: str
    score: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ShownPerson:
    """A person as sent: role (review, control or trap), box in pixels, and the points.

    `trap_px` is how far the trap's point was displaced, 0 where there is none.
    """

    person_id: str
    role: str
    pixel_origin: int
    box: tuple[float, float, float, float]
    uncertainty: float
    points: tuple[ShownPoint, ...]
    trap_px: float = 0.0


@dataclass(frozen=True)
class Shown:
    """One picture as sent, with the people asked about; `others` are labelled people in it who are not."""

    round: int
    image_id: str
    rank: int
    frame: Frame
    others: int
    people: tuple[ShownPerson, ...]

    @property
    def key(self) -> str:
        """External key: the same for the same picture, people and round, on every machine."""
        names = json.dumps([self.image_id, sorted(person.person_id for person in self.people)])
        return f"r{self.round:03d}-{sha256(names.encode())[:ID_LENGTH]}"

    def to_json(self) -> str:
        """Text that `from_json` reads back to the last bit."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Shown:
        """Inverse of `to_json`."""
        fields = json.loads(text)
        people = tuple(
            ShownPerson(**{**person, "box": tuple(person["box"]), "points": tuple(_points(person["points"]))})
            for person in fields["people"]
        )
        return cls(**{**fields, "frame": Frame(**fields["frame"]), "people": people})


def _points(fields: list[dict[str, Any]]) -> Iterator[ShownPoint]:
    return (ShownPoint(**point) for point in fields)


def shown(
    people: People,
    proposals: Proposals,
    selection: Selection,
    images: Images,
    frame_of: Callable[[Path], Frame],
    *,
    round: int,  # noqa: A002 (the glossary's word)
    unlock: bool = False,
) -> Iterator[Shown]:
    """What is shown of each picture, in ranked order.

    Args:
        people: labels as they stand; all of the pictures' people, chosen or not. Who was chosen and is not among them
            is passed over: reviewers took back that they had found somebody.
        proposals: the model's word; people without a row are shown with their labels alone.
        selection: whom to ask about, in which order and role.
        images: the pictures.
        frame_of: size and orientation of a picture.
        round: number of the round.
        unlock: labels may be moved.

    Raises:
        ImageError: a picture cannot be read.
    """
    proposals = to_write(proposals)
    unsure = np.nan_to_num(uncertainty(proposals))
    row_of = {name: row for row, name in enumerate(people.person_id)}
    said_of = {name: row for row, name in enumerate(proposals.person_id)}
    in_picture: dict[str, int] = {}
    for name in people.image_id:
        in_picture[name] = in_picture.get(name, 0) + 1
    chosen: dict[str, list[int]] = {}
    for i in np.argsort(selection.rank, kind="stable"):
        if (row := row_of.get(selection.person_id[i])) is not None:
            chosen.setdefault(str(people.image_id[row]), []).append(int(i))
    for image_id, entries in chosen.items():
        asked = []
        for i in entries:
            row, said = row_of[selection.person_id[i]], said_of.get(selection.person_id[i])
            role, trap = str(selection.role[i]), str(selection.trap_keypoint[i])
            away = np.array([selection.trap_dx[i], selection.trap_dy[i]])
            points = [*_labels(people, row, unlock)]
            if role != CONTROL and said is not None:
                points += guesses(people, row, proposals, said, trap, away)
            asked.append(
                ShownPerson(
                    str(people.person_id[row]),
                    role,
                    int(people.pixel_origin[row]),
                    _box(people.bbox_xywh[row]),
                    0.0 if said is None else _rounded(unsure[said]),
                    tuple(points),
                    float(np.hypot(*away)),
                )
            )
        picture = images.rows_of(np.array([image_id], dtype=object))[0]
        frame = frame_of(Path(images.path[picture]))
        others = in_picture[image_id] - len(asked)
        yield Shown(round, image_id, int(selection.rank[entries[0]]), frame, others, tuple(asked))


def _labels(people: People, row: int, unlock: bool) -> Iterator[ShownPoint]:
    """A person's labels."""
    for k in np.flatnonzero(people.v[row] > 0):
        x, y = people.xy[row, k].tolist()
        yield ShownPoint(people.skeleton.keypoints[k], x, y, int(people.v[row, k]), LABEL if unlock else LOCKED)


def guesses(
    people: People, row: int, proposals: Proposals, said: int, trap: str, away: FloatArray
) -> Iterator[ShownPoint]:
    """A person's proposals where nothing is labelled and nobody has said that there is no such point."""
    columns = people.skeleton.columns_of(proposals.skeleton)
    for g in np.flatnonzero(np.isfinite(proposals.xy[said]).all(axis=1)):
        k, name = columns[g], proposals.skeleton.keypoints[g]
        if k >= 0 and (people.v[row, k] > 0 or people.origin[row, k] in REFUSED):
            continue
        kind = TRAP if name == trap else DERIVED if proposals.origin[said, g] == ORIGIN["derived"] else PROPOSAL
        x, y = (proposals.xy[said, g] + (away if kind == TRAP else 0)).tolist()
        score = _rounded(np.clip(np.nan_to_num(proposals.score[said, g]), 0, 1))
        yield ShownPoint(name, x, y, V_OF[VISIBLE], kind, score, _radius(proposals, said, int(g)))


def _rounded(value: float) -> float:
    """A measure as it is shown."""
    return float(f"{value:.4f}")


def _box(xywh: FloatArray) -> tuple[float, float, float, float]:
    x, y, width, height = xywh.tolist()
    return x, y, width, height


def _radius(proposals: Proposals, row: int, k: int) -> str:
    """How far off a proposal may be, for the reviewer."""
    if math.isfinite(radius := float(proposals.radius90[row, k])):
        return f"within {radius:.1f} px in 90 % of cases"
    if math.isfinite(spread := float(proposals.spread_px[row, k])):
        return f"spread {spread:.1f} px, not calibrated"
    return "by a rule" if proposals.origin[row, k] == ORIGIN["derived"] else ""


def region_id(round: int, person_id: str, keypoint: str = "") -> str:  # noqa: A002
    """Id of a person's rectangle, or of one of its keypoints, in all tasks of a round."""
    return sha256(json.dumps([round, person_id, keypoint]).encode())[:ID_LENGTH]


def task(picture: Shown, url: str, student: str) -> dict[str, Any]:
    """The task that shows a picture; `url` is where the server finds it.

    The prediction's score is 1 / (1 + uncertainty) of its least certain person, between 0 and 1 as the server asks, so
    that the least certain come first where the project's tasks are ordered by score.
    """
    uncertainty = max(person.uncertainty for person in picture.people)
    return {
        "data": {
            "image": url,
            "key": picture.key,
            "image_id": picture.image_id,
            "round": picture.round,
            "rank": picture.rank,
            "note": _note(picture),
            "uncertainty": uncertainty,
            "people": [{"person_id": p.person_id, "uncertainty": p.uncertainty} for p in picture.people],
        },
        "predictions": [
            {
                "model_version": f"{student} round {picture.round:03d}",
                "score": _rounded(1 / (1 + uncertainty)),
                "result": [*_keypoints(picture), *_boxes(picture)],
            }
        ],
    }


def _note(picture: Shown) -> str:
    """The line above the picture."""
    kinds = [point.kind for person in picture.people for point in person.points]
    asked = len(picture.people)
    text = f"{asked} {'person' if asked == 1 else 'people'} to review"
    if guesses := sum(kind in (PROPOSAL, TRAP) for kind in kinds):
        text += f", {guesses} keypoints proposed: drag what is off, mark what is hidden or not in the picture"
    if any(person.role == CONTROL for person in picture.people):
        text += "; where nothing is shown, place what is missing"
    rest = "the other person" if picture.others == 1 else f"the {picture.others} others"
    return text + (f". Leave {rest} in this picture alone." if picture.others else ".")


def percent(picture: Shown, person: ShownPerson, point: ShownPoint) -> FloatArray:
    """Where a point was drawn, (2,) percent; what lies outside the picture is drawn at its edge."""
    return np.clip(picture.frame.point_percent(np.array([point.x, point.y]), person.pixel_origin), 0, 100)


def box_percent(picture: Shown, person: ShownPerson) -> FloatArray:
    """Where a person's rectangle was drawn, (4,) xywh percent, cut at the picture's edge."""
    box = picture.frame.box_percent(np.array(person.box), person.pixel_origin)
    low, high = np.clip(box[:2], 0, 100), np.clip(box[:2] + box[2:], 0, 100)
    return np.concatenate([low, high - low])


def _boxes(picture: Shown) -> Iterator[dict[str, Any]]:
    """All rectangles, the smallest first: on the page the first region lies on top, and a large one must cover none."""
    drawn = [(box_percent(picture, person), person) for person in picture.people]
    for box, person in sorted(drawn, key=lambda entry: entry[0][2] * entry[0][3]):
        x, y, width, height = box.tolist()
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [PERSON]}
        meta = {"text": [person.person_id]}
        yield _region(picture, region_id(picture.round, person.person_id), PERSON, "rectanglelabels", value, meta=meta)


def _keypoints(picture: Shown) -> Iterator[dict[str, Any]]:
    """All keypoints, each followed by its visibility; first, so that no rectangle covers them."""
    for person in picture.people:
        for point in person.points:
            yield from keypoint_regions(picture, person, point)


def keypoint_regions(
    picture: Shown, person: ShownPerson, point: ShownPoint, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A keypoint under its person's rectangle, and its visibility; `more` are fields of both."""
    x, y = percent(picture, person, point).tolist()
    name = region_id(picture.round, person.person_id, point.keypoint)
    place = {"x": x, "y": y, "width": KEYPOINT_WIDTH}
    common = {"parentID": region_id(picture.round, person.person_id), **more}
    common |= {"readonly": True} if point.kind in FIXED else {}
    told: dict[str, Any] = {"score": point.score} if point.score is not None else {}
    told |= {"meta": {"text": [point.note]}} if point.note else {}
    value, choice = {**place, "keypointlabels": [point.keypoint]}, {**place, "choices": [CHOICE_OF[point.v]]}
    return (
        _region(picture, name, KEYPOINT, "keypointlabels", value, **common, **told),
        _region(picture, name, VISIBILITY, "choices", choice, **common),
    )


def _region(picture: Shown, name: str, control: str, kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    width, height = picture.frame.shown_size
    return {
        "id": name, "from_name": control, "to_name": IMAGE, "type": kind,
        "original_width": width, "original_height": height, "image_rotation": 0, "value": value, **more,
    }  # fmt: skip
