"""A project folder: settings, store, cache and rounds, and where each thing lies."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from annotator.decisions import Decisions
from annotator.errors import FormatError, InputError, StorageError, expected
from annotator.files import sha256
from annotator.people import ORIGIN, ORIGINS, People
from annotator.skeletons import FloatArray
from annotator.store import migrations, settings
from annotator.store.settings import Settings

# Files that a project writes beside its settings.
OUTPUTS = ("annotations.json", "problems.jsonl")
# Of a decision, in the order of their table.
COLUMNS = "person_id, keypoint, origin, reviewer, at, before_x, before_y, before_v, after_x, after_y, after_v"


@dataclass
class Project:
    """An open project; a context manager.

    Attributes:
        folder: where it lies.
        settings: what `annotator.toml` says.
        db: the store.
    """

    folder: Path
    settings: Settings
    db: sqlite3.Connection

    @classmethod
    def create(cls, folder: Path, wanted: Settings) -> Project:
        """Make a project, or open one that was made with the same settings.

        Raises:
            InputError: the folder holds a project with other settings, or no project but a file we would overwrite.
            StorageError: the folder cannot be written.
        """
        if (folder / settings.NAME).exists():
            if (found := settings.load(folder)) != wanted:
                raise InputError(expected("the project that is there", _difference(found, wanted), str(folder)))
        else:
            if folder.exists() and not folder.is_dir():
                raise StorageError(expected("a folder", "a file", str(folder)))
            for name in OUTPUTS:
                if (folder / name).exists():
                    wanted_there = f"a folder without {name}, which would be overwritten"
                    raise InputError(expected(wanted_there, "one that has it", str(folder)))
            settings.save(folder, wanted)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Open a project.

        Raises:
            FormatError: there is none, or its store is not ours or from a newer version.
        """
        found = settings.load(folder)
        path = folder / "store.sqlite"
        with ExitStack() as undo:
            try:
                db = sqlite3.connect(path, timeout=60, isolation_level=None)
                undo.callback(db.close)
                _check_ours(db, path)
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA foreign_keys=ON")
                migrations.migrate(db)
            except sqlite3.OperationalError as error:
                raise StorageError(expected("a store that can be written", error, str(path))) from error
            except sqlite3.DatabaseError as error:
                raise FormatError(expected("a store", error, str(path))) from error
            undo.pop_all()
        return cls(folder, found, db)

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    @property
    def cache(self) -> Path:
        """Predictions made before; safe to delete."""
        return self.folder / "cache" / "readouts.sqlite"

    def round_folder(self, number: int) -> Path:
        """Folder of a round, counted from 1."""
        return self.folder / "rounds" / f"{number:03d}"

    def put_people(self, people: People) -> None:
        """Enter people that are not known yet; a known person whose record has changed is refused.

        Raises:
            InputError: a person's record is not the one that entered the project.
        """
        digests = [sha256(record.encode()) for record in people.record]
        known = dict(self.db.execute("SELECT person_id, record_sha256 FROM people"))
        for person_id, digest in zip(people.person_id, digests, strict=True):
            if known.get(person_id, digest) != digest:
                raise InputError(expected("the record this person came with", "another", f"{self.folder}: {person_id}"))
        rows = list(zip(people.person_id, people.source, digests, strict=True))
        with self.writing():
            self.db.executemany("INSERT OR IGNORE INTO people VALUES (?, ?, ?)", rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it, or nothing where something is raised."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield
            self.db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StorageError(expected("a store that can be written", error, f"{self.folder}/store.sqlite")) from error
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def record_decisions(self, made: Decisions) -> None:
        """Append what a reviewer said, all of it or nothing.

        Raises:
            InputError: a decision about somebody who is not in the project.
        """
        try:
            with self.writing():
                append_decisions(self.db, made)
        except sqlite3.IntegrityError as error:
            raise InputError(expected("decisions about people of the project", error, str(self.folder))) from error

    def decisions(self) -> Decisions:
        """All decisions that stand, in the order they were made: those of an answer updated since do not.

        What an update repeats word for word was made when it was said first (see `tasks.put_answer`).
        """
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM decisions WHERE NOT EXISTS (SELECT 1 FROM decided_by"
            " JOIN answers ON answers.id = answer JOIN answers AS later ON later.project = answers.project"
            " AND later.annotation = answers.annotation AND later.updated_at > answers.updated_at"
            " WHERE decision = decisions.id) ORDER BY at, id"
        ).fetchall()
        column = list(zip(*rows, strict=True)) or [()] * 11
        return Decisions(
            person_id=np.array(column[0], dtype=object),
            keypoint=np.array(column[1], dtype=object),
            origin=np.array([ORIGIN[word] for word in column[2]], dtype=np.uint8),
            reviewer=np.array(column[3], dtype=object),
            when=np.array(column[4], dtype=object),
            before_xy=_points(column[5], column[6]),
            before_v=np.array(column[7], dtype=np.uint8),
            after_xy=_points(column[8], column[9]),
            after_v=np.array(column[10], dtype=np.uint8),
        )


def append_decisions(db: sqlite3.Connection, made: Decisions) -> list[int]:
    """Append decisions within a transaction of the caller's, and return their numbers."""
    marks = ", ".join("?" * 11)
    return [
        db.execute(
            f"INSERT INTO decisions ({COLUMNS}) VALUES ({marks}) RETURNING id",
            (made.person_id[i], made.keypoint[i], ORIGINS[made.origin[i]], made.reviewer[i], made.when[i],
             *_nullable(made.before_xy[i]), int(made.before_v[i]), *_nullable(made.after_xy[i]), int(made.after_v[i])),
        ).fetchone()[0]
        for i in range(len(made))
    ]  # fmt: skip


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    """Raise FormatError for another program's database, or a store from a newer version."""
    question = "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    version, tables = db.execute(question).fetchone()
    if version > len(migrations.MIGRATIONS):
        what = f"version {version}: update annotator"
        raise FormatError(expected(f"a store of version {len(migrations.MIGRATIONS)} or less", what, str(path)))
    if tables and not version:
        raise FormatError(expected("a store", "another program's database", str(path)))


def _nullable(xy: FloatArray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in xy]


def _points(x: tuple[float | None, ...], y: tuple[float | None, ...]) -> FloatArray:
    return np.array([x, y], dtype=np.float64).T.reshape(-1, 2)


def _difference(found: Settings, wanted: Settings) -> str:
    """The first setting in which two projects differ."""
    old, new = found.model_dump(), wanted.model_dump()
    if len(old["sources"]) != len(new["sources"]):
        return f"{len(new['sources'])} sources instead of {len(old['sources'])}"
    for i, (a, b) in enumerate(zip(old["sources"], new["sources"], strict=True)):
        for name in a:
            if a[name] != b[name]:
                return f"sources[{i}].{name} {b[name]!r} instead of {a[name]!r}"
    for name in old:
        if old[name] != new[name]:
            return f"another {name}"
    return "other settings"
