"""What went to Label Studio and what came back, in the store: rounds, tasks, answers, boxes, traps.

Everything is written once. A task's `shown` text never changes, whatever is proposed later; an answer is one version of
one annotation, and comes in one transaction with its decisions, so that it is there with all of them or not at all.
"""

from __future__ import annotations

import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotator.decisions import Decisions
from annotator.errors import InputError, expected
from annotator.files import sha256
from annotator.people import ORIGINS
from annotator.store.project import Project, append_decisions
from annotator.tables import StrArray

TITLE_LENGTH = 50  # Label Studio's limit
# Answers that no later version of the same annotation replaced.
STANDING = (
    "NOT EXISTS (SELECT 1 FROM answers AS later WHERE later.project = answers.project"
    " AND later.annotation = answers.annotation AND later.updated_at > answers.updated_at)"
)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Reviewed:
    """One version of an annotation, as the server has it.

    Attributes:
        project: row of the project it is in (`put_project`).
        key: external key of its task.
        annotation: Label Studio's number of it.
        updated_at, created_at: ISO 8601, UTC, always with microseconds, so that they sort.
        reviewer: who.
        lead_time: seconds; None where the server has none.
        skipped: the reviewer skipped the task; it has no decisions.
        ground_truth: marked as such by somebody there.
        result: its regions as JSON, untouched.
        problems: what could not be understood, one line each.
    """

    project: int
    key: str
    annotation: int
    updated_at: str
    created_at: str
    reviewer: str
    lead_time: float | None
    skipped: bool
    ground_truth: bool
    result: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoxRow:
    """A person's box that is new (`before` is None) or was moved, xywh in pixels as the labels count them."""

    person_id: str
    image_id: str
    pixel_origin: int
    before: Box | None
    after: Box


@dataclass(frozen=True)
class NewPerson:
    """A person whom a reviewer drew.

    Attributes:
        box: their rectangle as it was drawn last.
        versions: of the answer, all that have it.
        stands: whether the last one has.
    """

    box: BoxRow
    versions: frozenset[int]
    stands: bool


@dataclass(frozen=True)
class TrapRow:
    """Whether a reviewer saw that a displaced proposal was wrong."""

    reviewer: str
    person_id: str
    keypoint: str
    caught: bool


def open_round(project: Project, number: int, *, unlock: bool) -> str:
    """Title of a round's project on any server: made once, before anything is sent.

    Raises:
        InputError: the round went out with labels locked and they are to be unlocked now, or the other way round.
    """
    with project.writing():
        tail = f" round {number:03d} {secrets.token_hex(4)}"
        name = (project.folder.resolve().name or "annotator")[: TITLE_LENGTH - len(tail)]
        project.db.execute("INSERT OR IGNORE INTO label_rounds VALUES (?, ?, ?)", (number, name + tail, unlock))
        row = project.db.execute("SELECT title, unlock FROM label_rounds WHERE round = ?", (number,)).fetchone()
    if bool(row[1]) != unlock:
        words = ("locked", "unlocked (--unlock)")
        where = f"{project.folder}: round {number}"
        raise InputError(expected(f"labels {words[row[1]]}, as it went out", words[unlock], where))
    return str(row[0])


def rounds_out(project: Project) -> list[tuple[int, str]]:
    """Number and title of each round that was sent, or was about to be."""
    return [(int(number), str(title)) for number, title in project.db.execute(
        "SELECT round, title FROM label_rounds ORDER BY round")]  # fmt: skip


def sent(project: Project, number: int) -> bool:
    """Whether tasks of a round have gone to the reviewers, or were about to."""
    question = "SELECT EXISTS (SELECT 1 FROM tasks WHERE round = ?)"
    return bool(project.db.execute(question, (number,)).fetchone()[0])


def put_project(project: Project, number: int, server: str) -> int:
    """Row of a round's project on a server, which `server` tells from all others."""
    with project.writing():
        project.db.execute("INSERT OR IGNORE INTO label_projects (round, server) VALUES (?, ?)", (number, server))
        question = "SELECT id FROM label_projects WHERE round = ? AND server = ?"
        return int(project.db.execute(question, (number, server)).fetchone()[0])


def projects_of(project: Project, number: int) -> list[str]:
    """Where a round went: what tells each of its projects from all others."""
    question = "SELECT server FROM label_projects WHERE round = ? ORDER BY id"
    return [str(server) for (server,) in project.db.execute(question, (number,))]


def put_tasks(project: Project, number: int, rows: Iterable[tuple[str, str, int, str]]) -> None:
    """Enter tasks before they are sent: key, image_id, rank, shown. What is known under a key stays as it is."""
    packed = [(key, number, image_id, rank, zlib.compress(shown.encode())) for key, image_id, rank, shown in rows]
    with project.writing():
        project.db.executemany("INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?)", packed)


def keys_of(project: Project, number: int) -> list[str]:
    """External keys of a round's tasks, in ranked order."""
    return [key for (key,) in project.db.execute("SELECT key FROM tasks WHERE round = ? ORDER BY rank, key", (number,))]


def shown_of(project: Project, key: str) -> str | None:
    """What was shown under a key; None where nothing was."""
    row = project.db.execute("SELECT shown FROM tasks WHERE key = ?", (key,)).fetchone()
    return zlib.decompress(row[0]).decode() if row else None


def put_reproposed(project: Project, key: str, at: str, points: str) -> None:
    """Enter what is proposed again for a task, before it is shown; `at` is the time, ISO 8601."""
    packed = zlib.compress(points.encode())
    try:
        with project.writing():
            project.db.execute("INSERT INTO reproposed (key, at, points) VALUES (?, ?, ?)", (key, at, packed))
    except sqlite3.IntegrityError as error:
        raise InputError(expected("a task of the project", error, f"{project.folder}: {key}")) from error


def reproposed_of(project: Project, key: str) -> list[str]:
    """All that was proposed again for a task, in the order it was shown."""
    rows = project.db.execute("SELECT points FROM reproposed WHERE key = ? ORDER BY id", (key,))
    return [zlib.decompress(packed).decode() for (packed,) in rows]


def put_sent(project: Project, row: int, there: Iterable[tuple[str, int]]) -> None:
    """Note under which number each key is on a server; keys that are not ours are left out."""
    with project.writing():
        project.db.executemany(
            "INSERT OR REPLACE INTO sent SELECT ?, key, ? FROM tasks WHERE key = ?",
            [(row, number, key) for key, number in there],
        )


def seen(project: Project, row: int) -> str | None:
    """All that was submitted before this time has been read; None before the first whole pull."""
    found = project.db.execute("SELECT seen FROM label_projects WHERE id = ?", (row,)).fetchone()[0]
    return None if found is None else str(found)


def put_seen(project: Project, row: int, when: str) -> None:
    """Note that all submitted before `when` has been read; never goes back."""
    with project.writing():
        project.db.execute(
            "UPDATE label_projects SET seen = ? WHERE id = ? AND (seen IS NULL OR seen < ?)", (when, row, when)
        )


def has_answer(project: Project, row: int, annotation: int, updated_at: str) -> bool:
    """Whether this version of an annotation is in the store."""
    question = "SELECT EXISTS (SELECT 1 FROM answers WHERE project = ? AND annotation = ? AND updated_at = ?)"
    return bool(project.db.execute(question, (row, annotation, updated_at)).fetchone()[0])


def put_answer(
    project: Project,
    review: Reviewed,
    made: Decisions,
    gestures: Sequence[str],
    boxes: Sequence[BoxRow] = (),
    traps: Sequence[TrapRow] = (),
) -> bool:
    """Enter a version of an annotation with all that follows from it, in one transaction; False where it is there.

    Args:
        review: the version.
        made: its decisions.
        gestures: of each decision, how its point was given.
        boxes: new and moved boxes; a new person becomes one of the project's people.
        traps: what became of displaced proposals.

    Raises:
        InputError: a decision about somebody who is neither in the project nor new.
    """
    try:
        with project.writing():
            number = _insert_answer(project.db, review)
            if number is None:
                return False
            for box in boxes:
                _insert_box(project.db, number, box)
            made = replace(made, when=_first_said(project.db, review, made))
            for decision, gesture in zip(append_decisions(project.db, made), gestures, strict=True):
                project.db.execute("INSERT INTO decided_by VALUES (?, ?, ?)", (decision, number, gesture))
            for trap in traps:
                row = (number, trap.person_id, trap.keypoint, trap.caught)
                project.db.execute("INSERT INTO traps VALUES (?, ?, ?, ?)", row)
    except sqlite3.IntegrityError as error:
        raise InputError(expected("an answer about people of the project", error, str(project.folder))) from error
    return True


def _insert_answer(db: sqlite3.Connection, review: Reviewed) -> int | None:
    packed = zlib.compress(review.result.encode())
    problems = "\n".join(review.problems)
    row = db.execute(
        "INSERT INTO answers (project, key, annotation, updated_at, created_at, reviewer, lead_time, skipped,"
        " ground_truth, result, problems) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (project, annotation, updated_at) DO NOTHING RETURNING id",
        (review.project, review.key, review.annotation, review.updated_at, review.created_at, review.reviewer,
         review.lead_time, review.skipped, review.ground_truth, packed, problems),
    ).fetchone()  # fmt: skip
    return None if row is None else int(row[0])


def _first_said(db: sqlite3.Connection, review: Reviewed, made: Decisions) -> StrArray:
    """When each decision was made: as its annotation's version before this one had it, if that said the very same.

    Else whoever opens an old annotation again to mend one point would have the last word on all others in it.
    """
    before = db.execute(
        "SELECT id FROM answers WHERE project = ? AND annotation = ? AND updated_at < ?"
        " ORDER BY updated_at DESC LIMIT 1",
        (review.project, review.annotation, review.updated_at),
    ).fetchone()
    if before is None:
        return made.when
    said = {
        row[:6]: str(row[6])
        for row in db.execute(
            "SELECT person_id, keypoint, origin, after_x, after_y, after_v, at FROM decisions"
            " JOIN decided_by ON decision = decisions.id WHERE answer = ?",
            before,
        )
    }
    words = [
        (made.person_id[i], made.keypoint[i], ORIGINS[made.origin[i]],
         *(None if np.isnan(value) else float(value) for value in made.after_xy[i]), int(made.after_v[i]))
        for i in range(len(made))
    ]  # fmt: skip
    return np.array([said.get(word, when) for word, when in zip(words, made.when, strict=True)], dtype=object)


def _insert_box(db: sqlite3.Connection, answer: int, box: BoxRow) -> None:
    if box.before is None:
        # A person's digest is of the record it came with: here of who found it where.
        record = sha256(f"{box.person_id} {box.image_id}".encode())
        source = box.image_id.partition(":")[0]
        db.execute("INSERT OR IGNORE INTO people VALUES (?, ?, ?)", (box.person_id, source, record))
    before = box.before or (None,) * 4
    db.execute(
        "INSERT INTO boxes (answer, person_id, image_id, pixel_origin, before_x, before_y, before_width, before_height,"
        " x, y, width, height) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (answer, box.person_id, box.image_id, box.pixel_origin, *before, *box.after),
    )


def answers(project: Project) -> Iterator[Reviewed]:
    """All answers that stand, in the order they were read."""
    for row in project.db.execute(
        "SELECT project, key, annotation, updated_at, created_at, reviewer, lead_time, skipped, ground_truth, result,"
        f" problems FROM answers WHERE {STANDING} ORDER BY id"
    ):
        number, key, annotation, updated, created, reviewer, lead_time, skipped, truth, packed, problems = row
        result, told = zlib.decompress(packed).decode(), tuple(str(problems).splitlines())
        yield Reviewed(
            number, key, annotation, updated, created, reviewer, lead_time, bool(skipped), bool(truth), result, told
        )


def boxes(project: Project) -> list[BoxRow]:
    """New and moved boxes of answers that stand, in the order they were made: of one person the last one counts."""
    rows = project.db.execute(
        "SELECT person_id, image_id, pixel_origin, before_x, before_y, before_width, before_height, x, y, width, height"
        f" FROM boxes JOIN answers ON answers.id = answer WHERE {STANDING} ORDER BY answers.updated_at, boxes.id"
    )
    return [BoxRow(row[0], row[1], row[2], None if row[3] is None else row[3:7], row[7:]) for row in rows]


def new_people(project: Project) -> list[NewPerson]:
    """Everybody whom reviewers ever drew, in the order they were first read: it never changes."""
    rows = project.db.execute(
        "SELECT person_id, image_id, pixel_origin, x, y, width, height, answers.id,"
        f" {STANDING} FROM boxes JOIN answers ON answers.id = answer WHERE before_x IS NULL"
        " ORDER BY MIN(boxes.id) OVER (PARTITION BY person_id), answers.updated_at"
    )
    out: dict[str, NewPerson] = {}
    for person, image, origin, x, y, width, height, version, stands in rows:
        box = BoxRow(person, image, origin, None, (x, y, width, height))
        before = out[person].versions if person in out else frozenset()
        out[person] = NewPerson(box, before | {version}, bool(stands))
    return list(out.values())


def traps(project: Project) -> list[TrapRow]:
    """What became of each displaced proposal, in the order answers were read; of an answer the last version counts."""
    rows = project.db.execute(
        "SELECT reviewer, person_id, keypoint, caught FROM traps JOIN answers ON answers.id = answer"
        f" WHERE {STANDING} ORDER BY answers.id, person_id, keypoint"
    )
    return [TrapRow(reviewer, person, keypoint, bool(caught)) for reviewer, person, keypoint, caught in rows]


def gestures(project: Project) -> list[tuple[str, str, str, str]]:
    """Reviewer, person_id, keypoint and gesture of each decision that an answer made and that stands."""
    return list(project.db.execute(
        "SELECT answers.reviewer, person_id, keypoint, gesture FROM decided_by JOIN answers ON answers.id = answer"
        f" JOIN decisions ON decisions.id = decision WHERE {STANDING} ORDER BY decision"
    ))  # fmt: skip


def keys_deciding(project: Project, number: int, points: set[tuple[str, str]]) -> list[str]:
    """External keys of a round's tasks whose standing answers decide any of these (person_id, keypoint)."""
    rows = project.db.execute(
        "SELECT tasks.key, person_id, keypoint FROM decided_by JOIN answers ON answers.id = answer"
        " JOIN decisions ON decisions.id = decision JOIN tasks ON tasks.key = answers.key"
        f" WHERE tasks.round = ? AND {STANDING} ORDER BY rank, tasks.key",
        (number,),
    )
    return list(dict.fromkeys(key for key, person, keypoint in rows if (person, keypoint) in points))
