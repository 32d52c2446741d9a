"""How far apart reviewers place one and the same keypoint: the floor of any radius, and an estimate of OKS's sigmas.

COCO's sigma of a keypoint is the root of E[d^2 / s^2], d being a human's distance from the true place and s the
person's scale, sqrt(area) (cocodataset.org/#keypoints-eval). With n independent points of one person the sum of their
squared distances from their mean, over n - 1, is an unbiased estimate of E[d^2]; sums are pooled over people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotator.agreement import groups, independent
from annotator.decisions import PLACED, Decisions
from annotator.derived import head_size
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.people import BoolArray, People
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21, FloatArray, IntArray

BLIND = ("control",)
ROUNDS = 1000
# Share of a plane normal distribution within a radius: 1 - exp(-r^2 / (2 sigma^2)), sigma along one axis.
QUANTILES = {"radius50": 0.5, "radius80": 0.8, "radius90": 0.9, "radius95": 0.95}


@dataclass(frozen=True)
class Spread:
    """Per keypoint of the union, (21,) each; NaN where no two reviewers placed it for one person.

    Attributes:
        n: people for whom two or more reviewers placed it.
        heads: root mean square distance from where reviewers would place it on average, in head sizes.
        blind: no reviewer saw a proposal. Where nobody placed it blind twice, `n` and `heads` come from points placed
            with a proposal in sight, which draws them together: a lower bound.
        sigma: estimate of the OKS sigma, from blind points alone.
        sigma_n: people it comes from.
        low, high: 95 % interval of the sigma, people resampled by image.
    """

    n: IntArray
    heads: FloatArray
    blind: BoolArray
    sigma: FloatArray
    sigma_n: IntArray
    low: FloatArray
    high: FloatArray


def spread(people: People, decisions: Decisions, *, rounds: int = ROUNDS, seed: int = 0) -> Spread:
    """How far apart reviewers place each keypoint.

    Args:
        people: as they stand, over the union; heads and scales are theirs.
        decisions: all of them.
        rounds, seed: of the intervals' resampling.
    """
    standing = groups(decisions)
    blind, shown = (_sums(people, decisions, standing, words) for words in (BLIND, PLACED))
    seen_blind = blind.heads_n.sum(axis=0) > 0
    squared = np.where(seen_blind, _ratio(blind.heads, blind.heads_n), _ratio(shown.heads, shown.heads_n))
    sigma = np.sqrt(_ratio(blind.scales, blind.degrees))
    rows = np.flatnonzero(blind.degrees.any(axis=1))
    images, image = np.unique(people.image_id[rows].astype(str), return_inverse=True)
    drawn = bootstrap_ratios(blind.scales[rows], blind.degrees[rows], image, len(images), rounds, seed)
    low, high = interval(np.sqrt(drawn))
    return Spread(
        n=np.where(seen_blind, (blind.heads_n > 0).sum(axis=0), (shown.heads_n > 0).sum(axis=0)),
        heads=np.sqrt(squared),
        blind=seen_blind,
        sigma=sigma,
        sigma_n=(blind.degrees > 0).sum(axis=0),
        low=low,
        high=high,
    )


@dataclass(frozen=True)
class _Sums:
    """Squared distances per person and keypoint, (N, 21), in heads and in scales, and their degrees of freedom."""

    heads: FloatArray
    heads_n: FloatArray
    scales: FloatArray
    degrees: FloatArray


def _sums(
    people: People, decisions: Decisions, standing: dict[tuple[str, str], list[int]], words: tuple[str, ...]
) -> _Sums:
    row_of = {name: row for row, name in enumerate(people.person_id)}
    squares, degrees = np.zeros((len(people), len(UNION_21))), np.zeros((len(people), len(UNION_21)))
    for person, keypoint, points in independent(decisions, standing, words):
        if person in row_of:
            place = row_of[person], UNION_21.index(keypoint)
            squares[place] = ((points - points.mean(axis=0)) ** 2).sum()
            degrees[place] = len(points) - 1
    head = head_size(people.xy, people.skeleton)[:, None]
    known = np.isfinite(head) & (head > 0)
    heads = np.where(known, squares / np.where(known, head, 1) ** 2, 0)
    return _Sums(heads, np.where(known, degrees, 0), squares / people.scale_px()[:, None] ** 2, degrees)


def _ratio(sums: FloatArray, degrees: FloatArray) -> FloatArray:
    total = degrees.sum(axis=0)
    return np.where(total > 0, sums.sum(axis=0) / np.maximum(total, 1), np.nan)


def with_floor(proposals: Proposals, people: People, found: Spread) -> Proposals:
    """The same proposals, none surer than reviewers are: no radius and no spread below theirs.

    Where the person's head size is not known, or no two reviewers placed the keypoint, nothing changes; nor where there
    is no radius.

    Args:
        proposals: over the union.
        people: as they stand; rows are joined by person_id.
        found: the reviewers' spread.
    """
    row_of = {name: row for row, name in enumerate(people.person_id)}
    rows = np.array([row_of[name] for name in proposals.person_id], dtype=np.int64)
    rms = head_size(people.xy, people.skeleton)[rows, None] * found.heads
    least = {name: rms * np.sqrt(-np.log1p(-share)) for name, share in QUANTILES.items()} | {"spread_px": rms}
    raised: dict[str, Any] = {name: _at_least(getattr(proposals, name), floor) for name, floor in least.items()}
    return replace(proposals, **raised)


def _at_least(values: FloatArray, floor: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values) & (floor > values), floor, values)
