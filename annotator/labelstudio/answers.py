"""What a reviewer submitted, compared with what was shown: per keypoint an outcome, and the decision it makes.

A keypoint's region finds its person by the region it hangs under, else by its id, which we gave it; one drawn anew
that hangs under nothing belongs to the one person around it who lacks it. Its *name* says which keypoint it is, so two
swapped names are two moved keypoints. What cannot be told is reported and makes no decision; the raw answer stays in
the store, and the reviewer may update it.

| shown                | back at its place | moved               | gone       | "not in the picture" |
|----------------------|-------------------|---------------------|------------|----------------------|
| locked, derived      | -                 | reported            | -          | reported             |
| label (`--unlock`)   | - (new v: corrected) | corrected        | unanswered | absent               |
| proposal             | accepted          | corrected           | unanswered | absent               |
| trap                 | - (missed)        | corrected (caught)  | - (caught) | absent (caught)      |
| nothing              |                   | corrected or control | unanswered | absent              |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotator.decisions import Decisions
from annotator.derived import MIDPOINTS, head_from_rectangle
from annotator.labelstudio.again import NEVER, Again
from annotator.labelstudio.config import HEAD, HEAD_POINTS, V_OF, VISIBLE
from annotator.labelstudio.regions import FLAT, Drawn, Region, gather
from annotator.labelstudio.tasks import CONTROL, FIXED, LABEL, PROPOSAL, TRAP, Shown, ShownPerson, ShownPoint, percent
from annotator.labelstudio.tasks import box_percent as shown_box
from annotator.people import ORIGIN
from annotator.skeletons import FloatArray

# Percent of the picture's side. The page keeps what it did not move to the last bit; the finest drag is .01.
SAME = 1e-6
UNTOUCHED, MOVED, NEW, DELETED, ABSENT = "untouched", "moved", "new", "deleted", "absent"
POINT, HEAD_BOX = "point", "head_box"
# Of the way a trap was displaced: who moved it less has not seen that it is wrong.
CAUGHT = 0.5
NOWHERE = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Found:
    """One keypoint of one person in an answer.

    Attributes:
        outcome: untouched, moved, new, deleted or absent.
        gesture: `point`, or `head_box` where it follows from a head rectangle.
        origin: the decision it makes, '' for none.
        before, after: pixels as the labels count them, NaN where there is no point; with their v.
    """

    person_id: str
    keypoint: str
    outcome: str
    gesture: str
    origin: str
    before: tuple[float, float]
    before_v: int
    after: tuple[float, float]
    after_v: int


@dataclass(frozen=True)
class FoundBox:
    """A person's box that is new (`before` is None) or was moved, xywh in pixels as the labels count them."""

    person_id: str
    image_id: str
    before: tuple[float, float, float, float] | None
    after: tuple[float, float, float, float]


@dataclass
class Answer:
    """One submitted annotation, understood.

    Attributes:
        points: keypoints shown or drawn, in the order of people and of what was shown.
        boxes: new and moved boxes.
        traps: (person_id, keypoint) -> whether the reviewer saw that it was wrong.
        problems: what could not be understood, one line each.
    """

    points: list[Found] = field(default_factory=list)
    boxes: list[FoundBox] = field(default_factory=list)
    traps: dict[tuple[str, str], bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def decisions(self, reviewer: str, when: str) -> Decisions:
        """The decisions it makes; `gestures` has the same order."""
        made = [found for found in self.points if found.origin]
        n = len(made)
        return Decisions(
            person_id=np.array([found.person_id for found in made], dtype=object),
            keypoint=np.array([found.keypoint for found in made], dtype=object),
            origin=np.array([ORIGIN[found.origin] for found in made], dtype=np.uint8),
            reviewer=np.full(n, reviewer, dtype=object),
            when=np.full(n, when, dtype=object),
            before_xy=np.array([found.before for found in made], dtype=np.float64).reshape(n, 2),
            before_v=np.array([found.before_v for found in made], dtype=np.uint8),
            after_xy=np.array([found.after for found in made], dtype=np.float64).reshape(n, 2),
            after_v=np.array([found.after_v for found in made], dtype=np.uint8),
        )

    @property
    def gestures(self) -> list[str]:
        """How each decision's point was given: `point` or `head_box`."""
        return [found.gesture for found in self.points if found.origin]


def read(
    picture: Shown, result: Sequence[dict[str, Any]], keypoints: Sequence[str], new_id: str, again: Again = NEVER
) -> Answer:
    """Understand a submitted annotation.

    Args:
        picture: what was shown.
        result: the annotation's result as Label Studio returns it.
        keypoints: the skeleton's names.
        new_id: begins the ids of people who are new; unique for each annotation, the same for each of its versions.
        again: what was proposed again while the reviewer worked.
    """
    drawn = gather(picture, result, keypoints)
    answer = Answer(problems=list(drawn.problems))
    for person in picture.people:
        _person(answer, picture, person, drawn, keypoints, again)
    for region in drawn.new_people:
        name = f"{picture.image_id}:{new_id}-{region.id}"
        origin = picture.people[0].pixel_origin
        box = picture.frame.box_xywh(region.corners, origin)
        somebody = ShownPerson(name, "review", origin, tuple(box.tolist()), 0.0, ())
        answer.boxes.append(FoundBox(name, picture.image_id, None, somebody.box))
        _person(answer, picture, somebody, drawn, keypoints, NEVER, region.id)
    return answer


def _person(
    answer: Answer,
    picture: Shown,
    person: ShownPerson,
    drawn: Drawn,
    keypoints: Sequence[str],
    again: Again,
    rectangle: str = "",
) -> None:
    """Add one person's box and keypoints to the answer."""
    owner = rectangle or person.person_id
    if (box := drawn.boxes.get(owner)) and not rectangle:
        moved = box.rotation or np.abs(box.xywh - shown_box(picture, person)).max() > SAME
        if moved and box.is_flat:
            answer.problems.append(f"{owner}: {FLAT}; its box stays")
        elif moved:
            after = tuple(picture.frame.box_xywh(box.corners, person.pixel_origin).tolist())
            answer.boxes.append(FoundBox(person.person_id, picture.image_id, person.box, after))
    elif not rectangle:
        answer.problems.append(f"{owner}: expected its rectangle, got none; its box stays")
    sent = {point.keypoint: point for point in person.points}
    found: dict[str, Found] = {}
    for name in keypoints:
        regions = drawn.points.get((owner, name), [])
        if len(regions) > 1:
            answer.problems.append(f"{person.person_id}: {name}: expected one, got {len(regions)}")
            continue
        region, later = regions[0] if regions else None, again.get((person.person_id, name), ())
        if region and region.again and not later:
            wanted = "a proposal that was shown from here"
            answer.problems.append(f"{person.person_id}: {name}: expected {wanted}, got another's")
            continue
        if later:
            sent[name] = _last_shown(picture, person, region, sent.get(name), later)
        if entry := _keypoint(answer, picture, person, name, sent.get(name), region):
            found[name] = entry
    if head := drawn.heads.get(owner):
        _head(answer, picture, person, sent, found, head)
    answer.points += found.values()


def _last_shown(
    picture: Shown, person: ShownPerson, region: Region | None, sent: ShownPoint | None, later: Sequence[ShownPoint]
) -> ShownPoint:
    """The proposal that lies where the region is, the last one first; the last one where the reviewer moved it."""
    for point in (*reversed(later), *([sent] if sent else [])):
        if region and not _is_moved(picture, person, region, point):
            return point
    return later[-1]


def _is_moved(picture: Shown, person: ShownPerson, region: Region, point: ShownPoint) -> bool:
    return bool(np.abs(region.xy - percent(picture, person, point)).max() > SAME)


def _keypoint(
    answer: Answer, picture: Shown, person: ShownPerson, name: str, sent: ShownPoint | None, region: Region | None
) -> Found | None:
    """One keypoint: outcome and decision by the table above."""
    if sent is None and region is None:
        return None
    where = f"{person.person_id}: {name}"
    before, before_v = ((sent.x, sent.y), sent.v) if sent else (NOWHERE, 0)
    absent = region is not None and region.v == 0
    moved = False
    if sent is None:
        outcome = ABSENT if absent else NEW
    elif region is None:
        outcome = DELETED
    else:
        moved = _is_moved(picture, person, region, sent)
        outcome = ABSENT if absent else MOVED if moved else UNTOUCHED
    if region is None or absent:
        after, after_v = NOWHERE, 0
    elif sent and not moved:  # to the last bit what was sent, though it was drawn at the picture's edge
        after, after_v = before, region.v if region.v > 0 else sent.v
    else:
        x, y = picture.frame.point_xy(region.xy, person.pixel_origin).tolist()
        after, after_v = (x, y), region.v if region.v > 0 else V_OF[VISIBLE]
    if sent and sent.kind in FIXED:
        if outcome != DELETED and (outcome != UNTOUCHED or after_v != before_v):
            answer.problems.append(f"{where}: expected it where it is locked, got another place or visibility")
        return Found(person.person_id, name, UNTOUCHED, POINT, "", before, before_v, before, before_v)
    origin = _origin(person, sent, outcome, after_v)
    if sent and sent.kind == TRAP:
        away = np.hypot(after[0] - sent.x, after[1] - sent.y) if outcome == MOVED else np.inf
        caught = outcome != UNTOUCHED and bool(away > CAUGHT * person.trap_px)
        answer.traps[person.person_id, name] = caught
        origin = origin if caught else ""
    return Found(person.person_id, name, outcome, POINT, origin, before, before_v, after, after_v)


def _origin(person: ShownPerson, sent: ShownPoint | None, outcome: str, after_v: int) -> str:
    """The decision that an outcome makes, for what may be moved."""
    if outcome == ABSENT:
        return "absent"
    if outcome == NEW:
        return "control" if person.role == CONTROL else "corrected"
    if outcome == MOVED:
        return "corrected"
    if outcome == UNTOUCHED and sent:
        if sent.kind == PROPOSAL:
            return "accepted"
        return "corrected" if sent.kind == LABEL and after_v != sent.v else ""
    return ""


def _head(
    answer: Answer,
    picture: Shown,
    person: ShownPerson,
    sent: dict[str, ShownPoint],
    found: dict[str, Found],
    head: Region,
) -> None:
    """Put upper_neck and head_top where a head rectangle puts them."""
    where = f"{person.person_id}: {HEAD}"
    if fixed := [name for name in HEAD_POINTS if name in sent and sent[name].kind in FIXED]:
        answer.problems.append(f"{where}: expected a person without {fixed[0]}, got a label that is locked")
        return
    if placed := [name for name in HEAD_POINTS if name in found and found[name].outcome in (NEW, MOVED, ABSENT)]:
        answer.problems.append(f"{where}: expected a rectangle or points, got both; the points count ({placed[0]})")
        return
    thorax = thorax_of({name: np.array(one.after) for name, one in found.items() if one.after_v > 0})
    points = head_points(picture, person, head.corners, thorax) if thorax is not None else None
    if points is None:
        answer.problems.append(f"{where}: expected both shoulders or a thorax below it, got neither")
        return
    origin = "control" if person.role == CONTROL else "corrected"
    for name, (x, y) in zip(HEAD_POINTS, points.tolist(), strict=True):
        old = sent.get(name)
        before, before_v = ((old.x, old.y), old.v) if old else (NOWHERE, 0)
        outcome = MOVED if old else NEW
        if old and old.kind == TRAP:
            answer.traps[person.person_id, name] = True
        found[name] = Found(person.person_id, name, outcome, HEAD_BOX, origin, before, before_v, (x, y), V_OF[VISIBLE])


def thorax_of(places: Mapping[str, FloatArray]) -> FloatArray | None:
    """Middle of the shoulders among a person's points, else the thorax itself."""
    left, right = MIDPOINTS["thorax"]
    if left in places and right in places:
        return np.asarray((places[left] + places[right]) / 2)
    return places.get("thorax")


def head_points(picture: Shown, person: ShownPerson, corners: FloatArray, thorax: FloatArray) -> FloatArray | None:
    """Upper neck and head top (2, 2) in pixels, by MPII's rule from a rectangle's corners (4, 2) in percent.

    A turned rectangle counts with its own diagonal. None where the thorax is the rectangle's middle: it has no axis.
    """
    across = picture.frame.point_xy(corners[[0, 2]], person.pixel_origin)
    if np.linalg.norm(across.mean(axis=0) - thorax) == 0:
        return None
    neck, top = head_from_rectangle(across.reshape(1, 4), thorax.reshape(1, 2))
    return np.concatenate([neck, top])
