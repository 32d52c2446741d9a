"""What reviewers said beyond single points: people that nobody had labelled, and boxes that they moved.

A person drawn by several reviewers is one person: rectangles of different answers that overlap by half of what they
cover together are joined, and the points drawn in them with them, under the id that came first. Whoever deletes a
rectangle takes back their own word and nobody else's: the person stays as long as another rectangle of them, a decision
about them or a move of their box stands, and keeps the id.
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
from annotator.store.tasks import Box, BoxRow, NewPerson

SAME_PERSON = 0.5  # intersection over union


@dataclass(frozen=True)
class Reviewed:
    """All that reviewers said and that stands.

    Attributes:
        decisions: in the order they were made, those about one new person all under one id.
        moved: the last box of each person whose box was moved, xywh in pixels as the labels count them.
        new: each new person with their box, in the order they were found.
        same_as: id of each person whom somebody drew -> the id they are known under.
    """

    decisions: Decisions
    moved: dict[str, Box]
    new: tuple[BoxRow, ...]
    same_as: dict[str, str]

    def names_of(self, person_id: str) -> set[str]:
        """All ids under which the store has words about a person."""
        return {person_id, *(name for name, known in self.same_as.items() if known == person_id)}


def reviewed(project: Project) -> Reviewed:
    """Read it from a project's store."""
    drawn = tasks.new_people(project)
    same_as = joined(drawn)
    decisions = project.decisions()
    names = np.array([same_as.get(name, name) for name in decisions.person_id], dtype=object)
    rows = [row for row in tasks.boxes(project) if row.before is not None]
    moved = {same_as.get(row.person_id, row.person_id): row.after for row in rows}
    spoken_of = {*names, *moved}
    found: dict[str, BoxRow] = {}
    for one in sorted(drawn, key=lambda one: not one.stands):
        name = same_as[one.box.person_id]
        if one.stands or name in spoken_of:
            box = moved.get(name, one.box.after)
            found.setdefault(name, replace(one.box, person_id=name, after=box))
    new = tuple(found[one.box.person_id] for one in drawn if one.box.person_id in found)
    return Reviewed(replace(decisions, person_id=names), moved, new, same_as)


def joined(drawn: Sequence[NewPerson]) -> dict[str, str]:
    """Id of each new person -> id of the one that it is: of all that are one, the one read first.

    Two who stand in one version of an answer are two people, and of an answer only the closest one joins another's.
    Rectangles that were taken back join what stands where they were, and bring nobody together.

    Args:
        drawn: in the order they were first read.
    """
    together: dict[int, list[NewPerson]] = {}
    for one in drawn:
        for version in one.versions:
            together.setdefault(version, []).append(one)
    groups: dict[str, list[list[NewPerson]]] = {}  # by picture; a group's first one is compared with
    for one in sorted(drawn, key=lambda one: not one.stands):
        beside = [other for version in one.versions for other in together[version]]
        there = groups.setdefault(one.box.image_id, [])
        near = [group for group in there if _is_theirs(group, one, beside)]
        if near:
            max(near, key=lambda group: overlap(group[0].box.after, one.box.after)).append(one)
        else:
            there.append([one])
    rank = {one.box.person_id: i for i, one in enumerate(drawn)}
    out: dict[str, str] = {}
    for group in (group for there in groups.values() for group in there):
        names = sorted((one.box.person_id for one in group), key=rank.__getitem__)
        out |= dict.fromkeys(names, names[0])
    return out


def _is_theirs(group: Sequence[NewPerson], one: NewPerson, beside: Sequence[NewPerson]) -> bool:
    """Whether a rectangle is of the person that a group is, and none of those `beside` it is closer."""
    first, shared = group[0].box.after, overlap(group[0].box.after, one.box.after)
    if shared < SAME_PERSON or any(member.versions & one.versions for member in group):
        return False
    return all(overlap(first, other.box.after) <= shared for other in beside)


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
