"""The queue of a round: whom to ask about, chosen once and kept in `rounds/NNN/selection.parquet`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotator.errors import FormatError, InputError, TableError, expected
from annotator.files import file_sha256
from annotator.selection import COST, ROLES, Cost, Request, Selection, asked, choose
from annotator.snapshot import Snapshot, snapshot
from annotator.store import tasks
from annotator.store.project import Project

NAME = "selection.parquet"


@dataclass(frozen=True)
class Queue:
    """Whom a round asks about.

    Attributes:
        selection: the people, ranked.
        path: where they are written.
        round: number of the round.
        keypoints: how many keypoints they are asked about.
        minutes: how long that may take, by `Cost`.
    """

    selection: Selection
    path: Path
    round: int
    keypoints: int
    minutes: float

    def summary(self) -> dict[str, Any]:
        """Numbers for `--json`."""
        chosen = self.selection
        people = [
            {
                "rank": int(chosen.rank[i]),
                "person_id": chosen.person_id[i],
                "image_id": chosen.image_id[i],
                "priority": None if np.isnan(chosen.priority[i]) else float(chosen.priority[i]),
                "role": chosen.role[i],
            }
            for i in range(len(chosen))
        ]
        return {
            **request_of(chosen),
            "round": self.round,
            **self.counts(),
            "keypoints": self.keypoints,
            "minutes": round(self.minutes, 2),
            "selection": str(self.path),
            "people": people,
        }

    def counts(self) -> dict[str, int]:
        """Number of people in each role."""
        return {role: int((self.selection.role == role).sum()) for role in ROLES}

    def lines(self) -> list[str]:
        """The same for people."""
        n, images = len(self.selection), len(set(self.selection.image_id))
        roles = ", ".join(f"{count:,} {role}" for role, count in self.counts().items())
        return [
            f"{n:,} people in {images:,} images ({roles}), {self.keypoints:,} keypoints, about {self.minutes:,.0f} min",
            f"strategy {self.selection.strategy}, seed {self.selection.seed}; wrote {self.path}",
        ]


def select(folder: Path, request: Request, cost: Cost = COST) -> Queue:
    """Choose whom the last round asks about, and keep it.

    The same request about the same proposals gives the selection that is there, byte for byte, whatever was decided
    since: a queue does not change under the reviewers' hands.

    Raises:
        UsageError: an unknown strategy or unit.
        InputError: there is no round, the budget does not pay for what is asked, or another selection of this round
            has gone to the reviewers already.
    """
    with Project.open(folder) as project:
        now = snapshot(project)
        if not now.round:
            raise InputError(expected("a round with proposals (annotator propose PROJECT)", "none", str(folder)))
        path, digest = project.round_folder(now.round) / NAME, file_sha256(now.proposals_file)
        found = load(path) if path.exists() else None
        if found is None or request_of(found) != asdict(request) or found.proposals_sha256 != digest:
            made = choose(now.people, now.proposals, request, cost, digest)
            if found is not None and tasks.sent(project, now.round):
                wanted = f"the selection that went to the reviewers ({_said(found)})"
                raise InputError(expected(wanted, _said(made), str(path)))
            made.save(path)
            found = made
    return _queue(found, path, now, cost)


def load(path: Path) -> Selection:
    """Read a selection; raises FormatError where the file is none."""
    try:
        return Selection.load(path)
    except (pa.ArrowException, KeyError, TypeError, TableError) as error:
        raise FormatError(expected("a selection", str(error).split("\n")[0], str(path))) from error


def request_of(selection: Selection) -> dict[str, Any]:
    """What was asked for when it was made, as `asdict` of a Request."""
    return {name: getattr(selection, name) for name in Request.__dataclass_fields__}


def _said(selection: Selection) -> str:
    return " ".join(f"--{name} {value}" for name, value in request_of(selection).items())


def _queue(selection: Selection, path: Path, now: Snapshot, cost: Cost) -> Queue:
    row_of = {name: row for row, name in enumerate(now.proposals.person_id)}
    place = {name: row for row, name in enumerate(now.labels.person_id)}
    there = [name for name in selection.person_id if name in row_of]  # a person whom a reviewer found may be gone
    labels = now.labels.take(np.array([place[name] for name in there], dtype=np.int64))
    wanted = asked(labels, now.proposals.take(np.array([row_of[name] for name in there], dtype=np.int64)))
    minutes = float(cost.of(wanted, "minutes").sum())
    return Queue(selection, path, now.round, int(wanted.sum()), minutes)
