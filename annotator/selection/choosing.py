"""Choosing: priorities, ties, controls and traps, up to a budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from annotator.derived import head_size
from annotator.errors import InputError, UsageError, expected
from annotator.people import ORIGIN, BoolArray, People
from annotator.proposals import Proposals, radius_px, to_write
from annotator.selection.budget import COST, Cost, affordable
from annotator.selection.strategies import STRATEGIES
from annotator.selection.table import Selection
from annotator.skeletons import FloatArray, IntArray
from annotator.tables import StrArray

# Of the person's scale, where no head is known: 95 % of the 1,505 heads of MPII's train split are .23 of it or less.
HEAD_PER_SCALE = 0.25
# Half a head more than the largest error anybody calls correct, so that a glance shows it.
TRAP_HEADS = 1.5
DIRECTIONS = 16


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        budget: how much may be spent, in `unit`.
        unit: people, keypoints or minutes.
        strategy: a name of STRATEGIES.
        controls: people among them that are shown without proposals.
        traps: people among them that have one proposal displaced.
        seed: of all chance.
    """

    budget: float
    unit: str = "people"
    strategy: str = "least_certain"
    controls: int = 0
    traps: int = 0
    seed: int = 0

    def check(self) -> None:
        """Raise UsageError for a strategy nobody knows, or a number below 0."""
        if self.strategy not in STRATEGIES:
            raise UsageError(expected(f"one of {', '.join(STRATEGIES)}", repr(self.strategy), "--strategy"))
        for name in ("budget", "controls", "traps", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(expected("0 or more", getattr(self, name), f"--{name}"))


def asked(people: People, proposals: Proposals) -> BoolArray:
    """(N, K) keypoints a reviewer is asked about: the model placed them, and nobody has decided yet.

    Keypoints that follow by a rule are not asked about, nor those the dataset could have labelled and did not, which
    are mostly outside the picture. Rows are joined: row i of both tables is the same person over the same skeleton.
    """
    placed = np.isfinite(to_write(proposals).xy).all(axis=2) & (proposals.origin == ORIGIN["proposed"])
    return np.asarray(placed & (people.origin == ORIGIN["none"]))


def choose(
    people: People, proposals: Proposals, request: Request, cost: Cost = COST, proposals_sha256: str = ""
) -> Selection:
    """The people to ask about, ranked; the budget is never exceeded.

    Who has nothing to be asked about is not chosen. Controls and traps are drawn from everybody by chance, whatever the
    strategy: only blind points of people drawn at random say how good proposals are in general. They are paid first;
    the strategy's first ones have the rest, and all are mixed in the ranking. Ties are broken by chance, then by
    person_id; the order of the rows does not matter.

    Args:
        people: as they stand (`current_people`), over the proposals' skeleton.
        proposals: rows are joined by person_id; who has none is not chosen.
        request: budget, strategy, controls, traps, seed.
        cost: of a keypoint, for minutes.
        proposals_sha256: kept in the table.

    Raises:
        UsageError: an unknown strategy or unit.
        InputError: the budget does not pay for the controls and traps, or there are not so many people.
    """
    request.check()
    people, proposals = _joined(people, proposals)
    wanted = asked(people, proposals)
    some = wanted.any(axis=1)
    people, proposals, wanted = people.take(some), proposals.take(some), wanted[some]
    # A generator for each purpose, so that more controls do not reshuffle the rest.
    by_strategy, by_chance, for_ties, for_traps, for_mixing = (
        np.random.default_rng([request.seed, purpose]) for purpose in range(5)
    )
    shown = replace(proposals, xy=np.where(wanted[..., None], proposals.xy, np.nan))
    priority = STRATEGIES[request.strategy](people, shown, by_strategy)
    price = cost.of(wanted, request.unit)
    drawn = by_chance.permutation(len(people))[: request.controls + request.traps]
    spent = float(price[drawn].sum())
    if len(drawn) < request.controls + request.traps or spent > request.budget:
        there = f"{len(people)} people to ask about and a budget of {request.budget:g} {request.unit}"
        extra = f"{request.controls} controls and {request.traps} traps (here {spent:g} {request.unit})"
        raise InputError(expected(f"enough for {extra}", there, "select"))
    order = np.lexsort((people.person_id.astype(str), for_ties.random(len(people)), -priority))
    order = order[~np.isin(order, drawn)]
    taken = order[: affordable(price[order], request.budget - spent)]
    role = np.full(len(people), "review", dtype=object)
    role[drawn[: request.controls]], role[drawn[request.controls :]] = "control", "trap"
    rows = _mixed(taken, drawn, for_mixing)
    keypoint, shift = _traps(people, proposals, wanted, np.flatnonzero(role == "trap"), for_traps)
    return Selection(
        **asdict(request),
        proposals_sha256=proposals_sha256,
        person_id=people.person_id[rows],
        image_id=people.image_id[rows],
        rank=np.arange(1, len(rows) + 1),
        priority=priority[rows],
        role=role[rows],
        trap_keypoint=keypoint[rows],
        trap_dx=shift[rows, 0],
        trap_dy=shift[rows, 1],
    )


def _joined(people: People, proposals: Proposals) -> tuple[People, Proposals]:
    """The rows of people that have proposals, by person_id, and their proposals in the same order."""
    row_of = {name: row for row, name in enumerate(proposals.person_id)}
    both = sorted((str(name), row) for row, name in enumerate(people.person_id) if name in row_of)
    rows = np.array([row for _, row in both], dtype=np.int64)
    theirs = np.array([row_of[name] for name, _ in both], dtype=np.int64)
    return people.take(rows), proposals.take(theirs)


def _mixed(ranked: IntArray, drawn: IntArray, rng: np.random.Generator) -> IntArray:
    """The ranked ones in their order, with those that were drawn at random places between them."""
    n = len(ranked) + len(drawn)
    places = rng.permutation(n)[: len(drawn)]
    out = np.zeros(n, dtype=np.int64)
    out[places] = drawn
    out[np.setdiff1d(np.arange(n), places)] = ranked
    return out


def _traps(
    people: People, proposals: Proposals, wanted: BoolArray, rows: IntArray, rng: np.random.Generator
) -> tuple[StrArray, FloatArray]:
    """Names of displaced keypoints, (N,), and their displacements in pixels, (N, 2).

    The surest of the person's keypoints is displaced, so that an honest reviewer does not take it for the model's own
    error; by TRAP_HEADS heads, into the person's box and away from its other points where that can be had.
    """
    keypoint = np.full(len(people), "", dtype=object)
    shift = np.zeros((len(people), 2))
    unsure = np.where(wanted, np.nan_to_num(radius_px(proposals), nan=1e9), np.inf)
    for row in rows:
        k = int(np.argmin(unsure[row]))
        keypoint[row] = proposals.skeleton.keypoints[k]
        shift[row] = _away(people, proposals, int(row), k, rng)
    return keypoint, shift


def _away(people: People, proposals: Proposals, row: int, k: int, rng: np.random.Generator) -> FloatArray:
    """Displacement of one keypoint: of some directions, the one that ends inside the box, furthest from all points."""
    points = np.where(people.labelled[row][:, None], people.xy[row], proposals.xy[row])
    head = head_size(points[None], people.skeleton)[0]
    reach = TRAP_HEADS * max(np.nan_to_num(head), HEAD_PER_SCALE * proposals.scale_px[row])
    angles = 2 * np.pi * (np.arange(DIRECTIONS) + rng.random()) / DIRECTIONS
    steps = reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = proposals.xy[row, k] + steps
    low = people.bbox_xywh[row, :2]
    inside = ((ends >= low) & (ends <= low + people.bbox_xywh[row, 2:])).all(axis=1)
    others = np.delete(points, k, axis=0)
    others = others[np.isfinite(others).all(axis=1)]
    clear = np.linalg.norm(ends[:, None] - others[None], axis=2).min(axis=1, initial=np.inf)
    toward = -np.linalg.norm(ends - (low + people.bbox_xywh[row, 2:] / 2), axis=1)
    best = np.lexsort((toward, clear if inside.any() else toward, inside))[-1]
    return np.asarray(steps[best])
