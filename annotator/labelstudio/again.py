"""Proposals that were made again while a reviewer worked, kept before they are shown.

An answer is compared with these as with what was pushed: a point that lies where one of them was shown is a proposal
that the reviewer kept, and no word of the reviewer's own. The page keeps a region's note, so a region of which nothing
is known here still says that it is a guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from annotator.labelstudio.tasks import ShownPoint
from annotator.store import tasks
from annotator.store.project import Project

NOTE = "proposed again"  # the end of such a region's note
# (person_id, keypoint) -> its proposals, in the order they were shown.
Again = Mapping[tuple[str, str], Sequence[ShownPoint]]
NEVER: Again = {}


def keep(project: Project, key: str, points: Mapping[str, Sequence[ShownPoint]]) -> None:
    """Enter what is about to be shown in a task: points by person_id.

    Raises:
        InputError: no such task.
        StorageError: the store cannot be written.
    """
    entries = {person: [asdict(point) for point in some] for person, some in points.items()}
    text = json.dumps(entries, ensure_ascii=False, allow_nan=False)
    tasks.put_reproposed(project, key, datetime.now(UTC).isoformat(timespec="microseconds"), text)


def known(project: Project, key: str) -> Again:
    """All that was proposed again in a task."""
    out: dict[tuple[str, str], list[ShownPoint]] = {}
    for text in tasks.reproposed_of(project, key):
        for person, entries in json.loads(text).items():
            for entry in entries:
                out.setdefault((person, entry["keypoint"]), []).append(ShownPoint(**entry))
    return out
