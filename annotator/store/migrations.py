"""The store's schema, as steps that are only ever appended; each runs once, in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable


def m001_people(db: sqlite3.Connection) -> None:
    """Who is in the project: ids that never change, and a digest of the record each came with."""
    db.execute(
        "CREATE TABLE people (person_id TEXT PRIMARY KEY, source TEXT NOT NULL, record_sha256 TEXT NOT NULL)"
        " WITHOUT ROWID"
    )


def m002_decisions(db: sqlite3.Connection) -> None:
    """What reviewers said; rows are appended, never edited."""
    db.execute(
        "CREATE TABLE decisions (id INTEGER PRIMARY KEY, person_id TEXT NOT NULL REFERENCES people,"
        " keypoint TEXT NOT NULL, origin TEXT NOT NULL, reviewer TEXT NOT NULL, at TEXT NOT NULL,"
        " before_x REAL, before_y REAL, before_v INTEGER NOT NULL,"
        " after_x REAL, after_y REAL, after_v INTEGER NOT NULL)"
    )
    for change in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER decisions_no_{change.lower()} BEFORE {change} ON decisions"
            " BEGIN SELECT RAISE(ABORT, 'decisions are appended, never edited'); END"
        )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (m001_people, m002_decisions)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a store up to date; a store from a newer version is refused by the caller (`version` > len)."""
    for number in range(version(db), len(MIGRATIONS)):
        with db:
            db.execute("BEGIN IMMEDIATE")
            if version(db) == number:
                MIGRATIONS[number](db)
                db.execute(f"PRAGMA user_version = {number + 1}")


def version(db: sqlite3.Connection) -> int:
    """Number of migrations that ran."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])
