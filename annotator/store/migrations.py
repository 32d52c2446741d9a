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


def m003_label_studio(db: sqlite3.Connection) -> None:
    """What went to Label Studio, word for word, and what came back; both are appended, never edited."""
    for table in (
        # One title a round, written before the project is made on a server.
        "label_rounds (round INTEGER PRIMARY KEY, title TEXT NOT NULL, unlock INTEGER NOT NULL)",
        # `server` is the project's number and birth there; `seen`: all submitted before it has been read.
        "label_projects (id INTEGER PRIMARY KEY, round INTEGER NOT NULL REFERENCES label_rounds,"
        " server TEXT NOT NULL, seen TEXT, UNIQUE (round, server))",
        "tasks (key TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES label_rounds, image_id TEXT NOT NULL,"
        " rank INTEGER NOT NULL, shown BLOB NOT NULL)",
        "sent (project INTEGER NOT NULL REFERENCES label_projects, key TEXT NOT NULL REFERENCES tasks,"
        " task INTEGER NOT NULL, PRIMARY KEY (project, key))",
        # One row a version of an annotation; the last one stands.
        "answers (id INTEGER PRIMARY KEY, project INTEGER NOT NULL REFERENCES label_projects,"
        " key TEXT NOT NULL REFERENCES tasks, annotation INTEGER NOT NULL, updated_at TEXT NOT NULL,"
        " created_at TEXT NOT NULL, reviewer TEXT NOT NULL, lead_time REAL, skipped INTEGER NOT NULL,"
        " ground_truth INTEGER NOT NULL, result BLOB NOT NULL, problems TEXT NOT NULL,"
        " UNIQUE (project, annotation, updated_at))",
        "decided_by (decision INTEGER PRIMARY KEY REFERENCES decisions, answer INTEGER NOT NULL REFERENCES answers,"
        " gesture TEXT NOT NULL)",
        "boxes (id INTEGER PRIMARY KEY, answer INTEGER NOT NULL REFERENCES answers,"
        " person_id TEXT NOT NULL REFERENCES people, image_id TEXT NOT NULL, pixel_origin INTEGER NOT NULL,"
        " before_x REAL, before_y REAL, before_width REAL, before_height REAL,"
        " x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL)",
        "traps (answer INTEGER NOT NULL REFERENCES answers, person_id TEXT NOT NULL, keypoint TEXT NOT NULL,"
        " caught INTEGER NOT NULL, PRIMARY KEY (answer, person_id, keypoint))",
    ):
        db.execute(f"CREATE TABLE {table}")
    for table in ("tasks", "answers", "decided_by", "boxes", "traps"):
        for change in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} are appended, never edited'); END"
            )


def m004_reproposed(db: sqlite3.Connection) -> None:
    """What was proposed again while a reviewer worked on a task; appended, never edited."""
    db.execute(
        "CREATE TABLE reproposed (id INTEGER PRIMARY KEY, key TEXT NOT NULL REFERENCES tasks, at TEXT NOT NULL,"
        " points BLOB NOT NULL)"
    )
    db.execute("CREATE INDEX reproposed_key ON reproposed (key)")
    for change in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER reproposed_no_{change.lower()} BEFORE {change} ON reproposed"
            " BEGIN SELECT RAISE(ABORT, 'reproposed are appended, never edited'); END"
        )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_people,
    m002_decisions,
    m003_label_studio,
    m004_reproposed,
)


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
