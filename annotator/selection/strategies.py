"""Strategies: functions of tables that give each person a priority, higher = sooner. One more is one more function.

`people` and `proposals` are joined: row i of both is the same person. Chance comes from `rng` alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from annotator.people import People
from annotator.proposals import Proposals, uncertainty
from annotator.skeletons import FloatArray, IntArray

Strategy = Callable[[People, Proposals, np.random.Generator], FloatArray]
SIZES = 3  # small, medium and large people of a source: enough strata to matter, few enough to be filled


def random(people: People, proposals: Proposals, rng: np.random.Generator) -> FloatArray:  # noqa: ARG001
    """(N,) everybody alike: what every other strategy has to beat."""
    return rng.random(len(people))


def stratified(people: People, proposals: Proposals, rng: np.random.Generator) -> FloatArray:
    """(N,) random within strata, so that however many are taken, each stratum has its share to within one person.

    A stratum is a source and a third of its people by scale: what most decides how hard a person is to label. Within a
    stratum of n people the i-th in random order gets the quantile (i + u) / n, u being one random number for the
    stratum; the priority is minus that.
    """
    strata = strata_of(people, proposals)
    quantile = np.zeros(len(people))
    for stratum in range(int(strata.max(initial=-1)) + 1):
        rows = np.flatnonzero(strata == stratum)
        quantile[rng.permutation(rows)] = (np.arange(len(rows)) + rng.random()) / max(len(rows), 1)
    return -quantile


def strata_of(people: People, proposals: Proposals) -> IntArray:
    """(N,) number of each person's stratum: source and third by scale, thirds within the source."""
    out = np.zeros(len(people), dtype=np.int64)
    for i, source in enumerate(sorted(set(people.source))):
        rows = np.flatnonzero(people.source == source)
        place = np.argsort(np.argsort(proposals.scale_px[rows], kind="stable"), kind="stable")
        out[rows] = SIZES * i + place * SIZES // len(rows)
    return out


def least_certain(people: People, proposals: Proposals, rng: np.random.Generator) -> FloatArray:  # noqa: ARG001
    """(N,) `proposals.uncertainty`: mean expected error of the proposals over the person's scale."""
    return uncertainty(proposals)


STRATEGIES: dict[str, Strategy] = {"random": random, "stratified": stratified, "least_certain": least_certain}
