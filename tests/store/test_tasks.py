"""What went out and what came back is written once; the last version of an answer stands."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import InputError
from annotator.store import tasks
from annotator.store.project import Project
from annotator.store.tasks import BoxRow, Reviewed, TrapRow
from tests.store.test_project import NAN, SETTINGS, decisions, with_records

NOSE = ("made:0", "nose", "accepted", (10.0, 20.0), 2, (10.0, 20.0), 2)
MOVED = ("made:0", "nose", "corrected", (10.0, 20.0), 2, (1 / 3, 0.1), 1)
GONE = ("made:0", "nose", "absent", (10.0, 20.0), 2, NAN, 0)


@pytest.fixture
def project(tmp_path: Path):
    with Project.create(tmp_path / "p", SETTINGS) as made:
        made.put_people(with_records(3))
        tasks.open_round(made, 1, unlock=False)
        tasks.put_tasks(made, 1, [("k1", "made:0", 2, "shown 1"), ("k0", "made:1", 1, "shown 0")])
        yield made


def version(project: Project, minute: int, annotation: int = 7, server: str = "3 born") -> Reviewed:
    row = tasks.put_project(project, 1, server)
    when = f"2026-01-01T00:{minute:02d}:00.000000+00:00"
    return Reviewed(row, "k1", annotation, when, when, "ann", 12.5, skipped=False, ground_truth=False, result="[]")


def standing(project: Project) -> list[str]:
    made = project.decisions()
    return [f"{person} {code}" for person, code in zip(made.person_id, made.origin, strict=True)]


def test_a_title_is_given_once_and_fits(tmp_path: Path) -> None:
    for name in ("p", "x" * 200):
        with Project.create(tmp_path / name, SETTINGS) as project:
            title = tasks.open_round(project, 12, unlock=True)
            assert title == tasks.open_round(project, 12, unlock=True) != tasks.open_round(project, 13, unlock=True)
            assert len(title) <= 50 and " round 012 " in title and title.startswith(name[:10])
            with pytest.raises(
                InputError, match=r"round 12: expected labels unlocked \(--unlock\), as it went out, got"
            ):
                tasks.open_round(project, 12, unlock=False)


def test_what_is_shown_under_a_key_never_changes(project: Project) -> None:
    tasks.put_tasks(project, 1, [("k1", "made:0", 9, "another")])
    assert tasks.keys_of(project, 1) == ["k0", "k1"] and tasks.keys_of(project, 2) == []
    assert (tasks.shown_of(project, "k1"), tasks.shown_of(project, "k2")) == ("shown 1", None)
    assert tasks.sent(project, 1) and not tasks.sent(project, 2)
    with pytest.raises(sqlite3.IntegrityError, match="tasks are appended, never edited"):
        project.db.execute("DELETE FROM tasks")


def test_the_mark_of_what_was_read_never_goes_back(project: Project) -> None:
    row = tasks.put_project(project, 1, "3 born")
    assert tasks.put_project(project, 1, "3 born") == row != tasks.put_project(project, 1, "4 born")
    assert tasks.seen(project, row) is None
    for when in ("2026-01-02", "2026-01-01"):
        tasks.put_seen(project, row, when)
        assert tasks.seen(project, row) == "2026-01-02"


def test_a_version_enters_once_with_everything(project: Project) -> None:
    first = version(project, 1)
    box = BoxRow("made:0:1-7-b1", "made:0", 1, None, (1.0, 2.0, 3.0, 4.0))
    trap = TrapRow("ann", "made:0", "nose", caught=True)
    for there in (False, True):
        assert tasks.has_answer(project, first.project, 7, first.updated_at) is there
        assert tasks.put_answer(project, first, decisions(NOSE), ["point"], [box], [trap]) is not there
    assert list(tasks.answers(project)) == [first]
    assert tasks.boxes(project) == [box] and tasks.traps(project) == [trap]
    assert tasks.gestures(project) == [("ann", "made:0", "nose", "point")] and len(project.decisions()) == 1
    assert tasks.keys_deciding(project, 1, {("made:0", "nose")}) == ["k1"]


def test_the_last_version_stands_in_whatever_order_they_come(project: Project) -> None:
    for minute, row in ((2, MOVED), (1, NOSE), (3, GONE)):
        tasks.put_answer(project, version(project, minute), decisions(row), ["point"])
        expected = GONE if minute == 3 else MOVED
        assert project.decisions().equals(decisions(expected))
    skipped = replace(version(project, 4), skipped=True)
    tasks.put_answer(project, skipped, decisions(), [])
    assert len(project.decisions()) == 0 and [answer.skipped for answer in tasks.answers(project)] == [True]


def at(project: Project, minute: int, *rows, annotation: int = 7) -> None:
    """Enter a version whose decisions were made when it was submitted."""
    review, made = version(project, minute, annotation), decisions(*rows)
    made = replace(made, when=np.array([review.updated_at] * len(made), dtype=object))
    tasks.put_answer(project, review, made, ["point"] * len(made))


def test_an_old_annotation_opened_again_has_no_new_word_on_what_it_repeats(project: Project) -> None:
    ear = ("made:0", "left_ear", "absent", NAN, 0, NAN, 0)
    at(project, 1, NOSE, ear)
    at(project, 2, MOVED, annotation=8)  # another reviewer's word on the nose, later
    at(project, 3, NOSE)  # the first one again, without the ear
    made = project.decisions()
    assert made.equals(replace(decisions(NOSE, MOVED), when=made.when))
    assert [when[14:16] for when in made.when] == ["01", "02"]
    at(project, 4, GONE)
    assert [when[14:16] for when in project.decisions().when] == ["02", "04"]


def test_decisions_come_in_the_order_they_were_made_whenever_they_were_read(project: Project) -> None:
    at(project, 5, MOVED, annotation=8)
    at(project, 4, NOSE)
    assert [when[14:16] for when in project.decisions().when] == ["04", "05"]


def test_answers_of_other_annotations_and_other_servers_stand_beside_each_other(project: Project) -> None:
    tasks.put_answer(project, version(project, 1), decisions(NOSE), ["point"])
    tasks.put_answer(project, version(project, 2, annotation=8), decisions(MOVED), ["point"])
    tasks.put_answer(project, version(project, 3, server="3 reborn"), decisions(GONE), ["head_box"])
    project.record_decisions(decisions(("made:1", "nose", "absent", NAN, 0, NAN, 0)))
    assert len(project.decisions()) == 4


def test_an_answer_about_a_stranger_leaves_nothing(project: Project) -> None:
    stranger = ("made:9", "nose", "absent", NAN, 0, NAN, 0)
    with pytest.raises(InputError, match="expected an answer about people of the project, got FOREIGN KEY"):
        tasks.put_answer(project, version(project, 1), decisions(NOSE, stranger), ["point", "point"])
    assert not list(tasks.answers(project)) and len(project.decisions()) == 0
    # A new person of the same answer is no stranger.
    box = BoxRow("made:9", "made:0", 0, None, (1.0, 2.0, 3.0, 4.0))
    assert tasks.put_answer(project, version(project, 1), decisions(NOSE, stranger), ["point", "point"], [box])


def test_what_was_proposed_again_comes_back_in_its_order_and_under_its_task(project: Project) -> None:
    for points in ("first", "second"):
        tasks.put_reproposed(project, "k1", "2026-01-01T00:00:00+00:00", points)
    assert (tasks.reproposed_of(project, "k1"), tasks.reproposed_of(project, "k0")) == (["first", "second"], [])
    with pytest.raises(InputError, match="k9: expected a task of the project, got FOREIGN KEY"):
        tasks.put_reproposed(project, "k9", "2026-01-01T00:00:00+00:00", "third")


@pytest.mark.parametrize("table", ["answers", "decided_by", "boxes", "traps", "reproposed"])
def test_what_came_back_cannot_be_changed_even_by_hand(project: Project, table: str) -> None:
    box = BoxRow("made:0", "made:0", 0, (0.0, 0.0, 1.0, 1.0), (1.0, 2.0, 3.0, 4.0))
    trap = TrapRow("ann", "made:0", "nose", caught=False)
    tasks.put_answer(project, version(project, 1), decisions(NOSE), ["point"], [box], [trap])
    tasks.put_reproposed(project, "k1", "2026-01-01T00:00:00+00:00", "points")
    column = project.db.execute(f"SELECT name FROM pragma_table_info('{table}') LIMIT 1").fetchone()[0]
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} are appended, never edited"):
            project.db.execute(change)
