"""Proposes the rest of a person again while a reviewer corrects it, from the regions as they stand.

The network is told of all that is labelled, clicked and moved, and asked about what nobody has touched. People to be
placed blind are not helped, and a displaced proposal stays where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from annotator import rounds
from annotator.errors import InputError, expected
from annotator.labelstudio import again
from annotator.labelstudio.answers import HEAD_BOX, MOVED, NEW, UNTOUCHED, Found, read, thorax_of
from annotator.labelstudio.clicks import Result, Standing, standing
from annotator.labelstudio.config import HEAD_POINTS, V_OF, VISIBLE
from annotator.labelstudio.tasks import (
    CONTROL,
    DERIVED,
    LABEL,
    LOCKED,
    PROPOSAL,
    Shown,
    ShownPerson,
    ShownPoint,
    guesses,
    keypoint_regions,
    task,
)  # fmt: skip
from annotator.labelstudio.versions import utc
from annotator.people import People
from annotator.proposals import to_write
from annotator.skeletons import SKELETONS, FloatArray
from annotator.snapshot import Snapshot, snapshot
from annotator.spread import Spread, spread, with_floor
from annotator.store import tasks
from annotator.store.project import Project
from annotator.students import registry
from annotator.students.base import PoseModel
from annotator.students.cache import Cache

# Below what anybody sees, in pixels: such a proposal is not sent again.
STILL = 1e-3
# The page saves its draft at most five seconds after a change; until then only we know what we answered.
UNSAVED = timedelta(seconds=10)


@dataclass
class Live:
    """A project and a student, ready to answer; threads may share it.

    Attributes:
        folder: the project's.
        model: proposes.
        now: the project as it stood when this was made.
        floor: the reviewers' own spread.
        kept: predictions made before.
    """

    folder: Path
    model: PoseModel
    now: Snapshot
    floor: Spread
    kept: Cache

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[str, list[tuple[datetime, Result]]] = {}  # by key of the task

    @classmethod
    def open(cls, folder: Path, student: str = registry.DEFAULT) -> Live:
        """Read a project and find a student.

        Raises:
            InputError: no such student, or no round of the project.
            MissingError: its weights are not on this machine.
        """
        with Project.open(folder) as project:
            model = registry.resolve(student, SKELETONS[project.settings.skeleton], folder)
            now = snapshot(project)
            if not now.round:
                raise InputError(expected("a round with proposals (annotator propose PROJECT)", "none", str(folder)))
            return cls(folder, model, now, spread(now.people, now.said.decisions, rounds=0), Cache(project.cache))

    @property
    def version(self) -> str:
        """What signs a prediction: as the last round's are, so that the server does not ask for them again."""
        return f"{self.now.proposals.student} round {self.now.round:03d}"

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names of the keypoints."""
        return self.model.skeleton.keypoints

    def predict(self, asked: dict[str, Any], clicked: Result | None = None) -> dict[str, Any]:
        """A prediction for a task as Label Studio gives it: what was pushed, or what follows from the clicks.

        Args:
            asked: the task, with its `data`, the reviewer's `drafts` (`updated_at` in UTC), and `annotations`.
            clicked: the regions that the reviewer made or changed; None where nobody is at work on it.

        Raises:
            InputError: the task was not pushed from here, or its picture cannot be read.
            StorageError: what is to be shown cannot be kept; then it is not shown.
        """
        key = str(asked["data"].get("key", ""))
        with self._lock, Project.open(self.folder) as project:
            text = tasks.shown_of(project, key)
            if text is None:
                wanted = "a task that was pushed from this project"
                raise InputError(expected(wanted, f"the key {key!r}" if key else "one without a key", str(self.folder)))
            picture = Shown.from_json(text)
            pushed: dict[str, Any] = task(picture, "", self.now.proposals.student)["predictions"][0]
            if clicked is None:
                return pushed
            unsaved = self._unsaved(key, asked.get("drafts") or [])
            regions = standing(picture, asked, pushed["result"], clicked, self.keypoints, unsaved)
            points = self._rest(picture, regions, again.known(project, key), _annotations(asked))
            if any(points.values()):
                again.keep(project, key, points)
            result = [*regions.answered]
            for person in picture.people:
                for point in points.get(person.person_id, ()):
                    result += keypoint_regions(picture, person, point, origin="prediction")
            self._answered.setdefault(key, []).append((datetime.now(UTC), result))
        return {"result": result, "score": pushed["score"], "model_version": self.version}

    def _unsaved(self, key: str, drafts: list[dict[str, Any]]) -> Result:
        """What was answered after the last draft was saved, in that order; what is too old is forgotten."""
        now = datetime.now(UTC)
        for name in [*self._answered]:
            self._answered[name] = [one for one in self._answered[name] if now - one[0] < UNSAVED]
        self._answered = {name: some for name, some in self._answered.items() if some}
        saved = max((str(draft["updated_at"]) for draft in drafts), default="")
        return [
            entry for when, result in self._answered.get(key, []) if utc(when.isoformat()) > saved for entry in result
        ]

    def _rest(
        self, picture: Shown, regions: Standing, known: again.Again, submitted: list[Result]
    ) -> dict[str, list[ShownPoint]]:
        """What is to be proposed again, by person: nothing on which a submitted annotation has a word of its own."""
        names = self.keypoints
        answer = read(picture, regions.result, names, "live", known)
        boxes = {box.person_id: box.after for box in answer.boxes if box.before}
        said = {
            (one.person_id, one.keypoint)
            for result in submitted
            for one in read(picture, result, names, "live", known).points
            if one.outcome != UNTOUCHED or one.after_v != one.before_v
        }
        out = {}
        for person in picture.people:
            if person.person_id in regions.helped and person.role != CONTROL:
                found = [one for one in answer.points if one.person_id == person.person_id]
                box = boxes.get(person.person_id, person.box)
                points = self._again(person, found, box, everything=regions.unsaved)
                out[person.person_id] = [one for one in points if (person.person_id, one.keypoint) not in said]
        return out

    def _again(
        self, person: ShownPerson, found: Sequence[Found], box: tuple[float, float, float, float], *, everything: bool
    ) -> Iterator[ShownPoint]:
        """One person's proposals where they differ from what stands, which `found` tells, or all of them."""
        rows = np.flatnonzero(self.now.people.person_id == person.person_id)
        if not len(rows):
            wanted = f"people of {self.folder} (start again after new ones were pushed)"
            raise InputError(expected(wanted, person.person_id, "label backend"))
        known, free = given(person, found, self.keypoints)
        one = replace(self.now.people.take(rows[:1]), bbox_xywh=np.array([box]))
        proposals = rounds.repropose(self.model, self.now.images, one, known[None], self.kept)
        if not len(proposals):
            raise InputError(expected("a picture that can be read", "another", str(one.image_id[0])))
        written = with_floor(to_write(proposals), one, self.floor)
        moved: dict[str, tuple[float, float]] = {}
        for point in guesses(_blank(one), 0, written, 0, "", np.zeros(2)):
            before = free.get(point.keypoint)
            if before is None:
                continue
            if everything or np.abs(np.subtract(before, (point.x, point.y))).max() > STILL:
                moved[point.keypoint] = (point.x, point.y)
                yield replace(point, note=f"{point.note}, {again.NOTE}".removeprefix(", "))
        for name, (x, y) in head_ends(found, moved).items():
            yield ShownPoint(name, x, y, V_OF[VISIBLE], PROPOSAL, note=f"by the head's rectangle, {again.NOTE}")


def given(
    person: ShownPerson, found: Sequence[Found], keypoints: Sequence[str]
) -> tuple[FloatArray, dict[str, tuple[float, float]]]:
    """What is known of a person, (K, 2) with NaN elsewhere, and where the points lie that may be proposed again.

    Known are labels and what the reviewer placed, moved, or gave another visibility. A displaced proposal that nobody
    moved is neither; what the reviewer took away is neither, too.
    """
    kind_of = {point.keypoint: point.kind for point in person.points}
    known = np.full((len(keypoints), 2), np.nan)
    free = {}
    for one in found:
        kind = kind_of.get(one.keypoint, "")
        touched = one.outcome in (MOVED, NEW) or (one.outcome == UNTOUCHED and one.after_v != one.before_v)
        if one.after_v and (touched or kind in (LOCKED, LABEL)):
            known[keypoints.index(one.keypoint)] = one.after
        elif one.outcome == UNTOUCHED and kind in (PROPOSAL, DERIVED):
            free[one.keypoint] = one.after
    return known, free


def head_ends(found: Sequence[Found], moved: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Where a head rectangle puts upper_neck and head_top, as it will at the pull, once other points have moved.

    The rectangle's middle and diagonal stay; its axis leads from the thorax as that will stand.
    """
    ends = {one.keypoint: np.array(one.after) for one in found if one.gesture == HEAD_BOX}
    standing = {one.keypoint: one.after for one in found if one.after_v > 0} | dict(moved)
    thorax = thorax_of({name: np.array(place) for name, place in standing.items()})
    if len(ends) < len(HEAD_POINTS) or thorax is None:
        return {}
    neck, top = (ends[name] for name in HEAD_POINTS)
    middle = (neck + top) / 2
    half = (middle - thorax) / np.linalg.norm(middle - thorax) * np.linalg.norm(top - neck) / 2
    at = (middle - half, middle + half)
    return {name: (float(x), float(y)) for name, (x, y) in zip(HEAD_POINTS, at, strict=True)}


def _annotations(asked: dict[str, Any]) -> list[Result]:
    """What was submitted of a task, where its reviewer has no draft: theirs or another's, which is not told."""
    return [] if asked.get("drafts") else [one["result"] for one in asked.get("annotations") or []]


def _blank(people: People) -> People:
    """The same people without a point."""
    return people.hide([*people.skeleton.keypoints])
