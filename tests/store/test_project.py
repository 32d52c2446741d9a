"""A project: made, opened again, refused where it is another; people and decisions kept for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator.decisions import Decisions
from annotator.errors import FormatError, InputError, StorageError
from annotator.people import ORIGIN, People
from annotator.skeletons import COCO_17
from annotator.store import migrations
from annotator.store.project import Project
from annotator.store.settings import Settings, SourceSettings
from tests.builders import make_people

SOURCE = SourceSettings(name="a", format="coco", annotations="/a.json", images="/a", sha256="1")
SETTINGS = Settings(sources=(SOURCE,))
NAN = (np.nan, np.nan)


def with_records(n: int, word: str = "") -> People:
    table = make_people(n, COCO_17)
    return replace(table, record=np.array([f'{{"id": {i}{word}}}' for i in range(n)], dtype=object))


def decisions(*rows: tuple[str, str, str, tuple[float, float], int, tuple[float, float], int]) -> Decisions:
    """person, keypoint, origin, before, v, after, v; by Ann, a minute apart."""
    person, keypoint, origin, before, before_v, after, after_v = zip(*rows, strict=True) if rows else ([],) * 7
    return Decisions(
        person_id=np.array(person, dtype=object),
        keypoint=np.array(keypoint, dtype=object),
        origin=np.array([ORIGIN[word] for word in origin], dtype=np.uint8),
        reviewer=np.array(["Ann"] * len(rows), dtype=object),
        when=np.array([f"2026-01-01T00:{i:02d}:00Z" for i in range(len(rows))], dtype=object),
        before_xy=np.array(before, dtype=np.float64).reshape(-1, 2),
        before_v=np.array(before_v, dtype=np.uint8),
        after_xy=np.array(after, dtype=np.float64).reshape(-1, 2),
        after_v=np.array(after_v, dtype=np.uint8),
    )


MADE = (
    ("made:0", "nose", "accepted", (10.1, 20.2), 2, (10.1, 20.2), 2),
    ("made:1", "left_hip", "corrected", (1 / 3, 0.1), 1, (2 / 3, -0.1), 2),
    ("made:1", "left_ear", "control", NAN, 0, (5.0, 6.0), 1),
    ("made:2", "nose", "rejected", (7.0, 8.0), 2, NAN, 0),
    ("made:0", "nose", "absent", NAN, 0, NAN, 0),
)


def test_a_project_is_made_opened_and_made_again_unchanged(tmp_path: Path) -> None:
    with Project.create(tmp_path / "deep" / "p", SETTINGS) as project:
        project.put_people(with_records(3))
        project.record_decisions(decisions(*MADE))
    for again in (Project.open(tmp_path / "deep" / "p"), Project.create(tmp_path / "deep" / "p", SETTINGS)):
        with again as project:
            assert project.settings == SETTINGS
            assert project.decisions().equals(decisions(*MADE))
            assert project.cache == tmp_path / "deep" / "p" / "cache" / "readouts.sqlite"
            assert project.round_folder(7).name == "007"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (SETTINGS.model_copy(update={"sources": (SOURCE.model_copy(update={"sha256": "2"}),)}),
         "sources[0].sha256 '2' instead of '1'"),
        (SETTINGS.model_copy(update={"sources": (SOURCE.model_copy(update={"images": "/b", "only": "/list"}),)}),
         "sources[0].images '/b' instead of '/a'"),
        (SETTINGS.model_copy(update={"sources": (SOURCE, SOURCE)}), "2 sources instead of 1"),
    ],
    ids=["content", "first of two", "more sources"],
)  # fmt: skip
def test_another_project_in_the_same_folder_is_refused_with_the_first_difference(
    tmp_path: Path, wanted: Settings, found: str
) -> None:
    Project.create(tmp_path, SETTINGS).db.close()
    with pytest.raises(InputError) as error:
        Project.create(tmp_path, wanted)
    assert str(error.value) == f"{tmp_path}: expected the project that is there, got {found}"


@pytest.mark.parametrize("name", ["annotations.json", "problems.jsonl"])
def test_a_file_of_somebody_elses_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("labels of many days")
    with pytest.raises(InputError, match=f"expected a folder without {name}, which would be overwritten"):
        Project.create(tmp_path, SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_where_the_folder_is_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("")
    with pytest.raises(StorageError, match="expected a folder, got a file"):
        Project.create(tmp_path / "p", SETTINGS)


def test_a_store_from_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    Project.create(tmp_path, SETTINGS).db.close()
    newer = len(migrations.MIGRATIONS) + 1
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute(f"PRAGMA user_version = {newer}")
    before = (tmp_path / "store.sqlite").read_bytes()
    with pytest.raises(
        FormatError, match=f"expected a store of version {newer - 1} or less, got version {newer}: update"
    ):
        Project.open(tmp_path)
    assert (tmp_path / "store.sqlite").read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    Project.create(tmp_path, SETTINGS).db.close()
    (tmp_path / "store.sqlite").unlink()
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute("CREATE TABLE dogs (name)")
    before = (tmp_path / "store.sqlite").read_bytes()
    with pytest.raises(FormatError, match=r"store\.sqlite: expected a store, got another program's database"):
        Project.open(tmp_path)
    assert (tmp_path / "store.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda path: path.write_bytes(b"no database at all " * 300), FormatError, "expected a store, got file is not"),
        (lambda path: path.mkdir(), StorageError, "expected a store that can be written, got unable to open"),
    ],
    ids=["no database", "a folder"],
)
def test_a_store_that_cannot_be_opened_is_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    Project.create(tmp_path, SETTINGS).db.close()
    (tmp_path / "store.sqlite").unlink()
    spoil(tmp_path / "store.sqlite")
    with pytest.raises(error, match=rf"store\.sqlite: {message}"):
        Project.open(tmp_path)


def test_people_enter_once_and_a_changed_record_is_refused(tmp_path: Path) -> None:
    with Project.create(tmp_path, SETTINGS) as project:
        project.put_people(with_records(3))
        project.put_people(with_records(5))
        known = project.db.execute("SELECT person_id FROM people ORDER BY person_id").fetchall()
        assert [name for (name,) in known] == [f"made:{i}" for i in range(5)]
        with pytest.raises(InputError, match="made:0: expected the record this person came with, got another"):
            project.put_people(with_records(6, word=', "mood": 1'))
        assert project.db.execute("SELECT count(*) FROM people").fetchone() == (5,)


def test_decisions_come_back_in_their_order_to_the_last_bit(tmp_path: Path) -> None:
    with Project.create(tmp_path, SETTINGS) as project:
        assert len(project.decisions()) == 0
        project.put_people(with_records(3))
        project.record_decisions(decisions(*MADE[:2]))
        project.record_decisions(decisions())
        project.record_decisions(decisions(*MADE[2:]))
        both = project.decisions()
    alone = Decisions.concat([decisions(*MADE[:2]), decisions(*MADE[2:])])
    order = np.argsort(alone.when.astype(str), kind="stable")
    assert both.equals(alone.take(order))


def test_a_decision_about_a_stranger_is_refused_with_all_that_came_with_it(tmp_path: Path) -> None:
    with Project.create(tmp_path, SETTINGS) as project:
        project.put_people(with_records(1))
        with pytest.raises(InputError, match="expected decisions about people of the project, got FOREIGN KEY"):
            project.record_decisions(decisions(*MADE))
        assert len(project.decisions()) == 0
        project.record_decisions(decisions(MADE[0]))  # the store goes on
        assert len(project.decisions()) == 1


def test_a_decision_cannot_be_changed_even_by_hand(tmp_path: Path) -> None:
    with Project.create(tmp_path, SETTINGS) as project:
        project.put_people(with_records(3))
        project.record_decisions(decisions(*MADE))
        for change in ("UPDATE decisions SET origin = 'accepted'", "DELETE FROM decisions WHERE id = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="appended, never edited"):
                project.db.execute(change)
        assert project.decisions().equals(decisions(*MADE))


def test_a_store_that_is_locked_is_4_not_a_traceback(tmp_path: Path) -> None:
    with (
        Project.create(tmp_path, SETTINGS) as project,
        closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other,
    ):
        project.db.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="expected a store that can be written, got database is locked"):
            project.put_people(with_records(3))
