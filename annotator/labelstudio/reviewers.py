"""Who reviewed what, where reviewers disagree, how far apart they place a keypoint, and who submits without looking.

Disagreements are shown in the project on the server, too, as a tab of the Data Manager that holds their tasks alone:
one more word on such a task, new or corrected, and the next pull settles it (`annotator.agreement`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import binomtest

from annotator.agreement import Open, settle
from annotator.decisions import DECIDED
from annotator.labelstudio import sync
from annotator.labelstudio.client import Client
from annotator.people import ORIGINS
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.spread import Spread, spread
from annotator.store import settings, tasks
from annotator.store.project import Project

TAB = "reviewers disagree"
NOTES = (
    "spread: root mean square distance from the reviewers' mean; no radius is smaller. >: placed with the proposal in",
    "sight, so at least this. OKS sigma: from points placed blind by two or more reviewers, over the person's scale.",
)
ADDED = tuple(name for name, origin in zip(UNION_21.keypoints, UNION_21.sigma_origins, strict=True) if origin != "coco")


@dataclass(frozen=True)
class Reviewer:
    """What one reviewer did.

    Attributes:
        name: who.
        answers, skipped: submitted and skipped tasks.
        minutes: time spent on submitted tasks, as far as the server says it.
        decisions: number of each word, those that stand.
        traps, caught: displaced proposals shown, and seen to be wrong.
        low, high: 95 % interval of the share caught (Wilson's); 0 and 1 where none was shown.
    """

    name: str
    answers: int
    skipped: int
    minutes: float
    decisions: dict[str, int]
    traps: int
    caught: int
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """What is known about the reviewers of a project."""

    reviewers: tuple[Reviewer, ...]
    open: tuple[Open, ...]
    spread: Spread

    def summary(self) -> dict[str, Any]:
        """Everything for `--json`; what is not known is null."""
        return {
            "reviewers": [asdict(one) for one in self.reviewers],
            "open": [{**asdict(one), "apart_px": _number(one.apart_px)} for one in self.open],
            "keypoints": {row["keypoint"]: row for row in self.keypoints()},
        }

    def keypoints(self) -> list[dict[str, Any]]:
        """Of each keypoint that two reviewers placed: people, spread in heads, whether blind, and the OKS sigma."""
        found = self.spread
        return [
            {
                "keypoint": name,
                "people": int(found.n[k]),
                "heads": _number(found.heads[k]),
                "blind": bool(found.blind[k]),
                "sigma": _number(found.sigma[k]),
                "sigma_people": int(found.sigma_n[k]),
                "sigma_low": _number(found.low[k]),
                "sigma_high": _number(found.high[k]),
                "sigma_used": UNION_21.oks_sigmas[k],
                "sigma_measured": name not in ADDED,
            }
            for k, name in enumerate(UNION_21.keypoints)
            if found.n[k] or found.sigma_n[k]
        ]

    def tables(self) -> list[Table | str]:
        """The same to print; nothing where nobody reviewed."""
        out: list[Table | str] = [self._reviewers()] if self.reviewers else []
        if rows := self.keypoints():
            out += [self._keypoints(rows), *NOTES]
        return out + self._open()

    def _reviewers(self) -> Table:
        table = _table("reviewer", "answers", "skipped", "minutes", *DECIDED, "traps caught", "95 %")
        for one in self.reviewers:
            caught = (f"{one.caught} of {one.traps}", f"{one.low:.0%} to {one.high:.0%}") if one.traps else ("-", "-")
            numbers = (one.answers, one.skipped, round(one.minutes), *(one.decisions.get(word, 0) for word in DECIDED))
            table.add_row(one.name, *(f"{number:,}" for number in numbers), *caught)
        return table

    def _keypoints(self, rows: list[dict[str, Any]]) -> Table:
        table = _table("keypoint", "people", "spread, heads", "OKS sigma", "95 %", "people", "sigma in use")
        for row in rows:
            heads = "-" if row["heads"] is None else f"{'' if row['blind'] else '> '}{row['heads']:.3f}"
            sigma = ("-", "-") if row["sigma"] is None else (
                f"{row['sigma']:.3f}", f"{row['sigma_low']:.3f} to {row['sigma_high']:.3f}")  # fmt: skip
            used = f"{row['sigma_used']:.3f}" + (" (not measured)" if row["keypoint"] in ADDED else "")
            table.add_row(row["keypoint"], str(row["people"]), heads, *sigma, str(row["sigma_people"]), used)
        return table

    def _open(self) -> list[Table | str]:
        out: list[Table | str] = (
            [f"reviewers disagree on {len(self.open):,} points, the furthest apart first:"] if self.open else []
        )
        for one in self.open:
            said = ", ".join(f"{who} {word}" for who, word in zip(one.reviewers, one.words, strict=True))
            apart = "" if np.isnan(one.apart_px) else f", {one.apart_px:.1f} px apart (may be {one.tolerance_px:.1f})"
            out.append(f"  {one.person_id} {one.keypoint}: {said}{apart}")
        return out


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    return table


def report(project: Project) -> Report:
    """What is known about a project's reviewers."""
    now = snapshot(project)
    return Report(
        tuple(reviewers(project)),
        settle(now.people, now.said.decisions).open,
        spread(now.people, now.said.decisions),
    )


def report_of(folder: Path, *, needed: bool) -> Report | None:
    """The report of a project; None for a folder that is none and need not be one."""
    if not needed and not (folder / settings.NAME).exists():
        return None
    with Project.open(folder) as project:
        return report(project)


def reviewers(project: Project) -> list[Reviewer]:
    """What each reviewer did, by name. A trap counts once for each reviewer it was shown to."""
    answers: dict[str, list[tasks.Reviewed]] = {}
    for answer in tasks.answers(project):
        answers.setdefault(answer.reviewer, []).append(answer)
    seen: dict[str, dict[tuple[str, str], bool]] = {}
    for trap in tasks.traps(project):
        seen.setdefault(trap.reviewer, {})[trap.person_id, trap.keypoint] = trap.caught
    made = project.decisions()
    words: dict[str, Counter[str]] = {}
    for who, code in zip(made.reviewer, made.origin, strict=True):
        words.setdefault(who, Counter())[ORIGINS[code]] += 1
    return [
        _reviewer(name, answers.get(name, []), words.get(name, Counter()), list(seen.get(name, {}).values()))
        for name in sorted({*answers, *words})
    ]


def _reviewer(name: str, answers: Iterable[tasks.Reviewed], words: Counter[str], traps: Sequence[bool]) -> Reviewer:
    submitted = [answer for answer in answers if not answer.skipped]
    seconds = sum(answer.lead_time or 0 for answer in submitted)
    low, high = binomtest(sum(traps), len(traps)).proportion_ci(method="wilson") if traps else (0.0, 1.0)
    skipped = sum(answer.skipped for answer in answers)
    return Reviewer(
        name, len(submitted), skipped, seconds / 60, dict(words), len(traps), sum(traps), float(low), float(high)
    )


def disagreements(project: Project, client: Client) -> list[str]:
    """Bring the tabs on the server up to date with what reviewers disagree on, and say where they are, a line each.

    A round's tab is replaced each time, and taken away where all is settled. Projects the server does not have are
    passed over: they are on another one; those edited by hand are, too.
    """
    now = snapshot(project)
    open_ = settle(now.people, now.said.decisions).open
    words = {(name, one.keypoint) for one in open_ for name in now.said.names_of(one.person_id)}
    urls = _show(project, client, words)
    return [f"reviewers disagree on {len(open_):,} points: {', '.join(urls) or 'no tab here'}"] if open_ else []


def _show(project: Project, client: Client, wanted: set[tuple[str, str]]) -> list[str]:
    """Addresses of the tabs with the tasks that decide these (person_id, keypoint), one a round."""
    urls = []
    for number, title in tasks.rounds_out(project):
        there = client.find_project(title)
        if there is None or sync.difference(project, client, there):
            continue
        keys = set(tasks.keys_deciding(project, number, wanted))
        found = [task for key, task in client.keys_of(there.id) if key in keys] if keys else []
        for view in client.request("GET", "api/dm/views/", params={"project": there.id}):
            if view["data"].get("title") == TAB:
                client.request("DELETE", f"api/dm/views/{view['id']}/")
        if found:
            view = client.request("POST", "api/dm/views/", {"project": there.id, "data": _tab(found)})
            urls.append(f"{client.url}/projects/{there.id}/data?tab={view['id']}")
    return urls


def _tab(numbers: Sequence[int]) -> dict[str, Any]:
    """A tab of the Data Manager that lists these tasks."""
    items = [{"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": n} for n in numbers]
    return {"title": TAB, "type": "list", "target": "tasks", "filters": {"conjunction": "or", "items": items}}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
