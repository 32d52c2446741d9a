"""People whom reviewers drew: one under one id whoever drew them, there as long as anybody's word on them stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from annotator.decisions import Decisions
from annotator.people import ORIGIN, ORIGINS
from annotator.reviewed import as_reviewed, joined, overlap, reviewed
from annotator.skeletons import UNION_21
from annotator.store import tasks
from annotator.store.project import Project
from annotator.store.tasks import Box, BoxRow, NewPerson, Reviewed
from tests.projects import NOWHERE, decisions
from tests.store.test_project import SETTINGS, with_records

IMAGE = "made:0"
ANN, BOB = "made:0:1-1-a", "made:0:1-2-b"
BOX, NEAR, FAR = (10.0, 20.0, 40.0, 60.0), (12.0, 20.0, 40.0, 60.0), (200.0, 20.0, 40.0, 60.0)
TIGHT = (11.0, 21.0, 38.0, 58.0)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Two rounds went out, with a task of the same picture each."""
    with Project.create(tmp_path / "p", SETTINGS) as made:
        made.put_people(with_records(3))
        for number in (1, 2):
            tasks.open_round(made, number, unlock=False)
            tasks.put_tasks(made, number, [(f"r{number}", IMAGE, 1, "{}")])
        yield made


@dataclass(frozen=True)
class Word:
    """A version of an annotation: its number, who, the boxes in it (`before` None for a new person), and points."""

    annotation: int
    who: str
    boxes: tuple[tuple[str, Box | None, Box], ...] = ()
    points: tuple[tuple[str, str, float], ...] = ()
    skipped: bool = False


def say(project: Project, *words: Word) -> None:
    """Enter versions, a minute apart; annotations from 10 on are of the second round."""
    for minute, word in enumerate(words):
        number = 1 + (word.annotation >= 10)
        row, when = tasks.put_project(project, number, f"{number} born"), f"2026-01-01T00:{minute:02d}:00.000000+00:00"
        made = decisions(*((person, name, "corrected", word.who, NOWHERE, (x, x)) for person, name, x in word.points))
        review = Reviewed(row, f"r{number}", word.annotation, when, when, word.who, 1.0, word.skipped, False, "[]")
        boxes = [BoxRow(person, IMAGE, 0, before, after) for person, before, after in word.boxes]
        assert tasks.put_answer(project, review, made, ["point"] * len(made), boxes)


DRAWN = Word(1, "Ann", ((ANN, None, BOX),), ((ANN, "nose", 30.0),))
DELETED = Word(1, "Ann")
TWIN = Word(2, "Bob", ((BOB, None, NEAR),), ((BOB, "left_hip", 40.0),))
LATER = Word(10, "Cy", points=((ANN, "head_top", 50.0),))
MOVED = Word(10, "Cy", ((ANN, BOX, TIGHT),))


@pytest.mark.parametrize(
    ("words", "box", "points"),
    [
        ((DRAWN,), BOX, {"nose": 30}),
        ((DRAWN, DELETED), None, {}),
        ((DRAWN, TWIN), BOX, {"nose": 30, "left_hip": 40}),
        ((DRAWN, TWIN, DELETED), NEAR, {"left_hip": 40}),
        ((DRAWN, TWIN, LATER), BOX, {"nose": 30, "left_hip": 40, "head_top": 50}),
        ((DRAWN, TWIN, LATER, DELETED), NEAR, {"left_hip": 40, "head_top": 50}),
        ((DRAWN, TWIN, DELETED, LATER), NEAR, {"left_hip": 40, "head_top": 50}),
        ((DRAWN, LATER, DELETED), BOX, {"head_top": 50}),
        ((DRAWN, MOVED, DELETED), TIGHT, {}),
        ((DRAWN, TWIN, MOVED, DELETED), TIGHT, {"left_hip": 40}),
        ((DRAWN, LATER, DELETED, Word(10, "Cy", skipped=True)), None, {}),
        ((DRAWN, LATER, DELETED, Word(10, "Cy")), None, {}),
        ((DRAWN, LATER, Word(1, "Ann", skipped=True)), BOX, {"head_top": 50}),
    ],
    ids=["drawn", "deleted", "drawn twice", "one of two deleted", "asked about later", "twice, later, deleted",
         "twice, deleted, later", "later, deleted", "moved later, deleted", "twice, moved later, deleted",
         "later word skipped", "later word taken back", "skipped instead of deleted"],
)  # fmt: skip
def test_who_deletes_a_rectangle_takes_back_their_own_word_alone(
    project: Project, words: tuple[Word, ...], box: Box | None, points: dict[str, float]
) -> None:
    say(project, *words)
    people = with_records(3)
    now = as_reviewed(people, "made", [IMAGE, "made:1"], reviewed(project))
    new = now.take(slice(3, None))
    assert now.take(slice(3)).project(people.skeleton).equals(people)
    if box is None:
        assert not len(new) and not len(reviewed(project).decisions)
        return
    assert new.person_id.tolist() == [ANN]  # whose id came first, though nobody may draw them under it any more
    assert new.bbox_xywh.tolist() == [[*box]] and new.image_id.tolist() == [IMAGE]
    placed = {now.skeleton.keypoints[k]: new.xy[0, k].tolist() for k in np.flatnonzero(new.labelled[0])}
    assert placed == {name: [x, x] for name, x in points.items()}
    assert {ORIGINS[code] for code in new.origin[0]} <= {"none", "corrected"}


def test_all_decisions_that_stand_are_about_people_who_are_there(project: Project) -> None:
    say(project, DRAWN, TWIN, LATER, Word(2, "Bob"), DELETED)
    said = reviewed(project)
    assert {*said.decisions.person_id} == {row.person_id for row in said.new} == {ANN}
    standing: Decisions = project.decisions()
    assert len(standing) == len(said.decisions) == 1 and standing.origin.tolist() == [ORIGIN["corrected"]]


def test_all_ids_of_a_person_lead_to_the_tasks_that_decide_about_them(project: Project) -> None:
    say(project, DRAWN, TWIN, LATER, DELETED)
    said = reviewed(project)
    assert said.names_of(ANN) == {ANN, BOB} and said.names_of("made:1") == {"made:1"}
    words = {(name, keypoint) for name in said.names_of(ANN) for keypoint in ("left_hip", "head_top")}
    assert [tasks.keys_deciding(project, number, words) for number in (1, 2)] == [["r1"], ["r2"]]


def test_a_new_persons_id_does_not_change_when_its_answer_is_updated(project: Project) -> None:
    say(project, DRAWN, TWIN, DRAWN)
    assert [row.person_id for row in tasks.boxes(project)] == [BOB, ANN]  # in the order of the last words
    assert [one.box.person_id for one in tasks.new_people(project)] == [ANN, BOB]
    assert [row.person_id for row in reviewed(project).new] == [ANN]


def test_a_rectangle_drawn_anew_in_the_same_answer_is_the_same_person(project: Project) -> None:
    anew = "made:0:1-1-z"
    say(project, DRAWN, LATER, Word(1, "Ann", ((anew, None, NEAR),), ((anew, "nose", 31.0),)))
    (new,) = reviewed(project).new
    assert (new.person_id, new.after) == (ANN, NEAR)
    assert {*reviewed(project).decisions.person_id} == {ANN}


def new(name: str, box: Box, *versions: int, stands: bool = True) -> NewPerson:
    return NewPerson(BoxRow(name, IMAGE, 0, None, box), frozenset(versions), stands)


@pytest.mark.parametrize(
    ("drawn", "same"),
    [
        ([new("a", BOX, 1), new("b", NEAR, 2)], {"a": "a", "b": "a"}),
        ([new("a", BOX, 1), new("b", FAR, 2)], {"a": "a", "b": "b"}),
        ([new("a", BOX, 1), new("b", NEAR, 1)], {"a": "a", "b": "b"}),
        # Both share half with the first; the closer one is that person, the other one somebody else.
        ([new("a", BOX, 1), new("b", (10, 20, 40, 40), 2), new("c", NEAR, 2)], {"a": "a", "b": "b", "c": "a"}),
        ([new("a", BOX, 1), new("b", NEAR, 2), new("c", NEAR, 2)], {"a": "a", "b": "a", "c": "c"}),
        # The wide one shares 1/2 with each of two that share nothing: while it stands it is both, then neither.
        ([new("a", (0, 0, 80, 60), 1), new("b", (0, 0, 40, 60), 2), new("c", (40, 0, 40, 60), 3)],
         {"a": "a", "b": "a", "c": "a"}),
        ([new("a", (0, 0, 80, 60), 1, stands=False), new("b", (0, 0, 40, 60), 2), new("c", (40, 0, 40, 60), 3)],
         {"a": "a", "b": "a", "c": "c"}),
    ],
    ids=["drawn by both", "somebody else", "two in one answer", "two in the other answer", "the same one twice",
         "a wide one between two", "a wide one that was taken back"],
)  # fmt: skip
def test_a_person_whom_several_reviewers_drew_is_one_person(drawn: list[NewPerson], same: dict[str, str]) -> None:
    assert joined(drawn) == same


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(BOX, (30.0, 20.0, 40.0, 60.0)) == pytest.approx(20 / 60)  # half of each, of one and a half
    assert overlap(BOX, (200.0, 0.0, 1.0, 1.0)) == 0


def test_decisions_beyond_the_sources_keypoints_widen_the_skeleton(project: Project) -> None:
    say(project, DRAWN, LATER)
    people = with_records(3)
    assert as_reviewed(people, "made", ["made:1"], reviewed(project)) is people  # nobody of that picture was found
    assert "head_top" in as_reviewed(people, "made", [IMAGE], reviewed(project)).skeleton.keypoints
    assert set(people.skeleton.keypoints) < set(UNION_21.keypoints)
