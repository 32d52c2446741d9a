"""Projects with a round of made-up proposals: no network runs, so they take no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from annotator import rounds, sources
from annotator.decisions import Decisions
from annotator.formats.dataset import Dataset
from annotator.people import ORIGIN, People
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21
from tests.builders import make_proposals

NOWHERE = (np.nan, np.nan)


def project(folder: Path, *given: tuple[Path, Path], proposed: bool = True, only: Path | None = None) -> list[Dataset]:
    """A project of some sources; with a first round unless `proposed` is false."""
    datasets = sources.init(folder, [sources.source_settings(*source, only=only) for source in given])
    if proposed:
        propose(folder, datasets)
    return datasets


def propose(folder: Path, datasets: list[Dataset], seed: int = 0) -> Proposals:
    """A first round of made-up proposals."""
    return write_round(folder, People.concat([dataset.people.project(UNION_21) for dataset in datasets]), seed=seed)


def write_round(folder: Path, people: People, number: int = 1, seed: int = 0) -> Proposals:
    """Made-up proposals for people as a round of a project."""
    proposals = rounds.with_rules(made(people, seed), people)
    target = folder / "rounds" / f"{number:03d}"
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(proposals.rows(), target / "proposals.parquet")
    return proposals


def made(people: People, seed: int = 0) -> Proposals:
    """Proposals for every keypoint that the people's datasets do not label at all."""
    return replace(make_proposals(people, seed), student="made")


def decisions(*rows: tuple[str, str, str, str, tuple[float, float], tuple[float, float]], v: int = 2) -> Decisions:
    """(person, keypoint, origin, reviewer, before, after), a minute apart; visible where there is a point."""
    person, keypoint, origin, reviewer, before, after = zip(*rows, strict=True) if rows else ([],) * 6
    before_xy, after_xy = (np.array(points, dtype=np.float64).reshape(-1, 2) for points in (before, after))
    return Decisions(
        person_id=np.array(person, dtype=object),
        keypoint=np.array(keypoint, dtype=object),
        origin=np.array([ORIGIN[word] for word in origin], dtype=np.uint8),
        reviewer=np.array(reviewer, dtype=object),
        when=np.array([f"2026-01-01T00:{i:02d}:00Z" for i in range(len(rows))], dtype=object),
        before_xy=before_xy,
        before_v=np.where(np.isfinite(before_xy).all(axis=1), v, 0),
        after_xy=after_xy,
        after_v=np.where(np.isfinite(after_xy).all(axis=1), v, 0),
    )
