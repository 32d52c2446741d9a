"""One version of an annotation, from the server into the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from annotator.labelstudio import again, answers
from annotator.labelstudio.outcome import Pulled
from annotator.labelstudio.tasks import Shown
from annotator.people import ORIGINS
from annotator.store import tasks
from annotator.store.project import Project


def enter(
    project: Project,
    row: int,
    entry: dict[str, Any],
    annotation: dict[str, Any],
    keypoints: Sequence[str],
    users: Mapping[int, str],
) -> Pulled:
    """Enter a version with its decisions, unless it is there; a skipped one decides nothing.

    Args:
        project: where it goes.
        row: of the server's project (`tasks.put_project`).
        entry: the task, as the server gives it.
        annotation: the version.
        keypoints: the skeleton's names.
        users: address of each user's number.

    Returns:
        What it came to; nothing where it was there before.
    """
    number, updated = int(annotation["id"]), utc(annotation["updated_at"])
    if tasks.has_answer(project, row, number, updated):
        return Pulled()
    where = f"task {entry['id']}, annotation {number}"
    key = str(entry["data"].get("key", ""))
    text = tasks.shown_of(project, key)
    if text is None:
        return Pulled(problems=[f"{where}: expected a task that was pushed from here, got another; passed over"])
    picture, skipped = Shown.from_json(text), bool(annotation.get("was_cancelled"))
    result = annotation.get("result") or []
    later = again.known(project, key)
    answer = answers.Answer() if skipped else answers.read(picture, result, keypoints, f"{row}-{number}", later)
    who = reviewer_of(annotation, users)
    made = answer.decisions(who, updated)
    review = tasks.Reviewed(
        project=row,
        key=key,
        annotation=number,
        updated_at=updated,
        created_at=utc(annotation.get("created_at") or updated),
        reviewer=who,
        lead_time=annotation.get("lead_time"),
        skipped=skipped,
        ground_truth=bool(annotation.get("ground_truth")),
        result=json.dumps(result),
        problems=tuple(answer.problems),
    )
    origin = picture.people[0].pixel_origin
    boxes = [tasks.BoxRow(box.person_id, box.image_id, origin, box.before, box.after) for box in answer.boxes]
    traps = [tasks.TrapRow(who, person, name, caught) for (person, name), caught in answer.traps.items()]
    if not tasks.put_answer(project, review, made, answer.gestures, boxes, traps):
        return Pulled()  # another pull was faster
    pulled = Pulled(answers=int(not skipped), skipped=int(skipped))
    pulled.decisions.update(ORIGINS[code] for code in made.origin)
    pulled.new_people = sum(box.before is None for box in boxes)
    pulled.moved_boxes = len(boxes) - pulled.new_people
    pulled.traps_missed = sum(not trap.caught for trap in traps)
    pulled.problems = [f"{where}, {who}: {problem}" for problem in answer.problems]
    return pulled


def reviewer_of(annotation: dict[str, Any], users: Mapping[int, str]) -> str:
    """Who submitted an annotation: the address, as far as the server says it.

    >>> reviewer_of({"completed_by": 3}, {3: "ann@example.org"}), reviewer_of({"completed_by": 4}, {})
    ('ann@example.org', 'user 4')
    >>> reviewer_of({"completed_by": {"id": 3, "email": "ann@example.org"}}, {})
    'ann@example.org'
    """
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        return str(who.get("email") or f"user {who.get('id')}")
    return users.get(who, f"user {who}") if isinstance(who, int) else f"user {who}"


def utc(when: str) -> str:
    """A time in UTC, always with microseconds, so that times sort as text.

    >>> utc("2026-01-02T03:04:05Z"), utc("2026-01-02T05:04:05.25+02:00")
    ('2026-01-02T03:04:05.000000+00:00', '2026-01-02T03:04:05.250000+00:00')
    """
    return datetime.fromisoformat(when).astimezone(UTC).isoformat(timespec="microseconds")
