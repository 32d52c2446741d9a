"""What reviewers said beyond single points: people that nobody had labelled, and boxes that they moved.

A person drawn by several reviewers is one person: new rectangles of different answers that overlap by half of what they
cover together are joined under the id that came first, and the points drawn in them with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotator.current import current_people
from annotator.decisions import Decisions
from annotator.people import ORIGIN, People
from annotator.skeletons import UNION_21, union
from annotator.store import tasks
from annotator.store.project import Project
from annotator.store.tasks import Box, BoxRow

SAME_PERSON = 0.5  # intersection over union


@dataclass(frozen=True)
class Reviewed:
    """All that reviewers said and that stands.

    Attributes:
        decisions: in the order they were made, those about one new person all under one id.
        moved: the last box of each person whose box was moved, xywh in pixels as the labels count them.
        new: each new person with their box, in the order they were found.
    """

    decisions: Decisions
    moved: dict[str, Box]
    new: tuple[BoxRow, ...]


def reviewed(project: Project) -> Reviewed:
    """Read it from a project's store."""
    rows = tasks.boxes(project)
    rank = tasks.first_seen(project)
    new = sorted((row for row in rows if row.before is None), key=lambda row: rank[row.person_id])
    same_as = joined(new)
    decisions = project.decisions()
    names = np.array([same_as.get(name, name) for name in decisions.person_id], dtype=object)
    first = {row.person_id: row for row in new if same_as[row.person_id] == row.person_id}
    moved = {same_as.get(row.person_id, row.person_id): row.after for row in rows if row.before is not None}
    found = tuple(replace(row, after=moved.get(name, row.after)) for name, row in first.items())
    return Reviewed(replace(decisions, person_id=names), moved, found)


def joined(new: Sequence[BoxRow]) -> dict[str, str]:
    """Id of each new person -> id of the one that it is: the first whose box it shares in another answer."""
    out: dict[str, str] = {}
    for i, row in enumerate(new):
        others = [
            other
            for other in new[:i]
            if other.image_id == row.image_id
            and out[other.person_id] == other.person_id
            and _answer(other) != _answer(row)
            and overlap(other.after, row.after) >= SAME_PERSON
        ]
        best = max(others, key=lambda other: overlap(other.after, row.after), default=row)
        out[row.person_id] = best.person_id
    return out


def _answer(row: BoxRow) -> list[str]:
    """The answer that a new person's id begins with: `IMAGE:PROJECT-ANNOTATION-REGION`."""
    return row.person_id.removeprefix(f"{row.image_id}:").split("-", 2)[:2]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes xywh."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(np.add(a[:2], a[2:]), np.add(b[:2], b[2:]))
    both = float(np.clip(high - low, 0, None).prod())
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def as_reviewed(people: People, source: str, images: Sequence[str], said: Reviewed) -> People:
    """A source's people with all that reviewers said, over their own keypoints and those that decisions add.

    People whom nobody touched are as they were, in the same rows; new ones come after them. Where nothing was said
    about any of them, it is the same table.

    Args:
        people: as the source has them.
        source: its name.
        images: ids of its pictures.
        said: what reviewers said, about all sources.
    """
    there = set(images)
    new = [row for row in said.new if row.image_id in there]
    known = {*people.person_id, *(row.person_id for row in new)}
    decisions = said.decisions.take(np.array([name in known for name in said.decisions.person_id], dtype=bool))
    moved = np.array([name in said.moved for name in people.person_id], dtype=bool)
    if not (new or len(decisions) or moved.any()):
        return people
    if (people.skeleton.columns_of(UNION_21)[UNION_21.indices(decisions.keypoint)] < 0).any():
        people = people.project(union(people.skeleton, UNION_21))
    if moved.any():
        boxes = people.bbox_xywh.copy()
        boxes[moved] = [said.moved[name] for name in people.person_id[moved]]
        people = replace(people, bbox_xywh=boxes, bbox_given=people.bbox_given | moved)
    if new:
        people = People.concat([people, _newcomers(people, source, new)])
    return current_people(people, decisions)


def _newcomers(people: People, source: str, new: Sequence[BoxRow]) -> People:
    """People with a box and nothing else."""
    n, k = len(new), len(people.skeleton)
    return People(
        people.skeleton,
        person_id=np.array([row.person_id for row in new], dtype=object),
        image_id=np.array([row.image_id for row in new], dtype=object),
        source=np.full(n, source, dtype=object),
        xy=np.full((n, k, 2), np.nan),
        v=np.zeros((n, k), dtype=np.uint8),
        in_schema=np.tile(people.in_schema.any(axis=0), (n, 1)),
        origin=np.full((n, k), ORIGIN["none"]),
        bbox_xywh=np.array([row.after for row in new], dtype=np.float64),
        bbox_given=np.ones(n, dtype=bool),
        area=np.full(n, np.nan),
        pixel_origin=np.array([row.pixel_origin for row in new]),
        record=np.full(n, "", dtype=object),
    )
