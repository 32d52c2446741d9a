"""The store's schema grows by steps that each run once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from annotator.store import migrations


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def tables(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]


def test_every_step_has_its_number_in_its_name() -> None:
    numbers = [step.__name__.split("_")[0] for step in migrations.MIGRATIONS]
    assert numbers == [f"m{i:03d}" for i in range(1, len(numbers) + 1)]


def test_a_new_store_gets_all_steps_and_an_old_one_those_it_lacks(db: sqlite3.Connection) -> None:
    assert migrations.version(db) == 0
    migrations.MIGRATIONS[0](db)
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO people VALUES ('a:1', 'a', 'digest')")
    migrations.migrate(db)
    assert migrations.version(db) == len(migrations.MIGRATIONS)
    assert {"decisions", "people"} <= set(tables(db))
    assert db.execute("SELECT person_id FROM people").fetchall() == [("a:1",)]
    migrations.migrate(db)
    assert migrations.version(db) == len(migrations.MIGRATIONS)


def test_a_step_that_fails_leaves_nothing(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE decisions (id)")  # in the way of the second step
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrations.migrate(db)
    assert migrations.version(db) == 1 and tables(db) == ["decisions", "people"]
    db.execute("DROP TABLE decisions")
    migrations.migrate(db)
    assert migrations.version(db) == len(migrations.MIGRATIONS)


def test_two_that_open_a_store_at_once_migrate_it_once(tmp_path: Path) -> None:
    def work(_: int) -> int:
        with closing(sqlite3.connect(tmp_path / "store.sqlite", timeout=60, isolation_level=None)) as db:
            migrations.migrate(db)
            return migrations.version(db)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(16))) == {len(migrations.MIGRATIONS)}


@pytest.mark.parametrize("change", ["UPDATE decisions SET after_x = 0", "DELETE FROM decisions"])
def test_decisions_are_appended_never_edited(db: sqlite3.Connection, change: str) -> None:
    migrations.migrate(db)
    db.execute("INSERT INTO people VALUES ('a:1', 'a', 'digest')")
    row = "(1, 'a:1', 'nose', 'corrected', 'ann', '2026-01-01T00:00:00Z', NULL, NULL, 0, 1.5, 2.5, 2)"
    db.execute(f"INSERT INTO decisions VALUES {row}")
    with pytest.raises(sqlite3.IntegrityError, match="decisions are appended, never edited"):
        db.execute(change)
    assert db.execute("SELECT after_x FROM decisions").fetchall() == [(1.5,)]
