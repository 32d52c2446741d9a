"""Choosing whom to ask: laws that hold for any people, budget, strategy and seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.derived import head_size
from annotator.errors import InputError, TableError, UsageError
from annotator.people import ORIGIN, People
from annotator.proposals import KIND, Proposals, uncertainty
from annotator.selection import COST, STRATEGIES, UNITS, Request, Selection, asked, choose
from annotator.selection.strategies import strata_of
from annotator.skeletons import COCO_17, MPII_16, UNION_21
from tests.builders import make_people, make_proposals


def scene(n: int = 20, seed: int = 0, source: str = "made") -> tuple[People, Proposals]:
    """COCO's people over the union, and proposals for all keypoints."""
    people = make_people(n, COCO_17, seed, source=source).project(UNION_21)
    return people, make_proposals(people, seed)


def spent(people: People, proposals: Proposals, chosen: Selection, unit: str) -> float:
    row_of = {name: row for row, name in enumerate(people.person_id)}
    rows = [row_of[name] for name in chosen.person_id]
    return float(COST.of(asked(people, proposals)[rows], unit).sum())


REQUESTS = st.builds(
    Request,
    budget=st.one_of(st.integers(8, 90).map(float), st.floats(8, 60)),  # one control and one trap: 8 keypoints
    unit=st.sampled_from(UNITS),
    strategy=st.sampled_from(sorted(STRATEGIES)),
    controls=st.integers(0, 1),
    traps=st.integers(0, 1),
    seed=st.integers(0, 2**32),
)


@given(REQUESTS, st.integers(2, 30), st.randoms())
def test_the_same_seed_chooses_the_same_people_in_whatever_order_they_come(
    request_: Request, n: int, random: Any
) -> None:
    people, proposals = scene(n)
    rows, others = list(range(n)), list(range(n))
    random.shuffle(rows)
    random.shuffle(others)
    chosen = choose(people, proposals, request_)
    assert chosen.equals(choose(people.take(rows), proposals.take(others), request_))


@given(REQUESTS)
def test_the_budget_is_never_exceeded_and_nobody_else_would_fit(request_: Request) -> None:
    people, proposals = scene()
    chosen = choose(people, proposals, request_)
    cost = spent(people, proposals, chosen, request_.unit)
    assert cost <= request_.budget * (1 + 1e-9)
    dearest = COST.of(asked(people, proposals), request_.unit).max()
    assert len(chosen) == len(people) or cost + dearest > request_.budget


@given(REQUESTS, st.floats(0, 30))
def test_a_larger_budget_takes_the_same_people_first(request_: Request, more: float) -> None:
    people, proposals = scene()
    few, many = (choose(people, proposals, replace(request_, budget=request_.budget + extra)) for extra in (0, more))
    first = [name for name, role in zip(few.person_id, few.role, strict=True) if role == "review"]
    assert [name for name, role in zip(many.person_id, many.role, strict=True) if role == "review"][
        : len(first)
    ] == first
    drawn = [{role: set(c.person_id[c.role == role]) for role in ("control", "trap")} for c in (few, many)]
    assert drawn[0] == drawn[1]


@given(REQUESTS)
def test_everybody_reviewed_comes_in_the_order_of_priority(request_: Request) -> None:
    chosen = choose(*scene(), request_)
    priority = chosen.priority[chosen.role == "review"]
    assert (np.diff(priority) <= 0).all()


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_ties_are_broken_by_the_seed(seed: int, other: int) -> None:
    people, proposals = scene(12)
    alike = replace(proposals, spread_px=np.ones(proposals.xy.shape[:2]), scale_px=np.ones(12))
    assert len(set(uncertainty(alike))) == 1
    a, b = (choose(people, alike, Request(12, seed=s)) for s in (seed, other))
    assert (list(a.person_id) == list(b.person_id)) == (seed == other)  # one chance of 12! that it is not so


def test_the_least_certain_come_first() -> None:
    people, proposals = scene(5)
    missing = np.isin(proposals.kind, [KIND["not_in_schema"]])
    spread = np.where(missing, np.array([[3.0], [1.0], [5.0], [2.0], [4.0]]), 99.0)  # what is not asked does not count
    sure = replace(proposals, spread_px=spread, scale_px=np.full(5, 10.0))
    chosen = choose(people, sure, Request(3))
    assert list(chosen.person_id) == ["made:2", "made:4", "made:0"]
    assert chosen.priority == pytest.approx([0.5, 0.4, 0.3])


@given(st.integers(0, 2**32), st.integers(1, 59))
def test_stratified_gives_each_stratum_its_share_to_within_one(seed: int, budget: int) -> None:
    parts = [scene(20, 1, "a"), scene(40, 2, "b")]
    people, proposals = People.concat([p for p, _ in parts]), Proposals.concat([q for _, q in parts])
    stratum = dict(zip(people.person_id, strata_of(people, proposals).tolist(), strict=True))
    chosen = choose(people, proposals, Request(budget, strategy="stratified", seed=seed))
    for number in range(6):
        size = sum(value == number for value in stratum.values())
        found = sum(stratum[name] == number for name in chosen.person_id)
        assert abs(found - size * budget / 60) < 2  # one above or below, counted from a threshold between two people


def test_who_has_nothing_left_to_ask_is_not_chosen() -> None:
    people, proposals = scene(4)
    assert asked(people, proposals).sum(axis=1).tolist() == [4] * 4  # COCO lacks four of the union's keypoints
    origin = people.origin.copy()
    origin[0, 17:] = ORIGIN["rejected"]
    origin[1, 17:20] = ORIGIN["absent"]
    decided = replace(people, origin=origin)
    derived = replace(proposals, origin=np.where(np.arange(21) == 17, ORIGIN["derived"], proposals.origin))
    assert asked(decided, derived).sum(axis=1).tolist() == [0, 1, 3, 3]
    chosen = choose(decided, derived.take([0, 1, 3]), Request(10, seed=3))  # the third has no proposals
    assert set(chosen.person_id) == {"made:1", "made:3"}


@given(st.integers(0, 2**32), st.sampled_from(["coco", "mpii"]))
def test_a_trap_is_a_surely_proposed_keypoint_more_than_a_head_away(seed: int, which: str) -> None:
    people = make_people(12, COCO_17 if which == "coco" else MPII_16, seed % 100).project(UNION_21)
    proposals = make_proposals(people)
    chosen = choose(people, proposals, Request(12, traps=12, seed=seed))
    assert set(chosen.role) == {"trap"}
    wanted = asked(people, proposals)
    for i, name in enumerate(chosen.person_id):
        row = list(people.person_id).index(name)
        k = UNION_21.index(chosen.trap_keypoint[i])
        assert wanted[row, k]
        assert proposals.spread_px[row, k] == proposals.spread_px[row, wanted[row]].min()
        known = np.where(people.labelled[row][:, None], people.xy[row], proposals.xy[row])
        away = np.hypot(chosen.trap_dx[i], chosen.trap_dy[i])
        assert away > head_size(known[None], UNION_21)[0]
        assert away > 0.25 * proposals.scale_px[row]


def test_controls_and_traps_are_drawn_from_everybody_whatever_the_strategy() -> None:
    people, proposals = scene(200)
    sure = np.argsort(
        uncertainty(replace(proposals, xy=np.where(asked(people, proposals)[..., None], proposals.xy, np.nan)))
    )
    half = set(people.person_id[sure[:100]])  # those the strategy would take last
    chosen = choose(people, proposals, Request(100, controls=50, seed=1))
    controls = set(chosen.person_id[chosen.role == "control"])
    assert len(controls) == 50
    assert 15 < len(controls & half) < 35  # 25 on average, standard deviation 3


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request(5, strategy="oracle"), UsageError, "--strategy: expected one of random, stratified, least_"),
        (Request(5, unit="hours"), UsageError, "--unit: expected one of people, keypoints, minutes, got 'hours'"),
        (Request(-1), UsageError, "--budget: expected 0 or more, got -1"),
        (Request(float("nan")), UsageError, "--budget: expected 0 or more, got nan"),
        (Request(3, controls=2, traps=2), InputError,
         r"expected enough for 2 controls and 2 traps \(here 4 people\), got 20 people to ask about and a budget of 3"),
        (Request(99, controls=21), InputError, "expected enough for 21 controls and 0 traps"),
    ],
    ids=["strategy", "unit", "negative", "nan", "too small", "too few"],
)  # fmt: skip
def test_what_cannot_be_chosen_is_said(request_: Request, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        choose(*scene(), request_)


def test_a_selection_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    chosen = choose(*scene(), Request(9, "people", "stratified", 2, 3, 7), proposals_sha256="abc")
    chosen.save(tmp_path / "selection.parquet")
    back = Selection.load(tmp_path / "selection.parquet")
    assert back.equals(chosen)
    assert (back.strategy, back.budget, back.controls, back.traps, back.seed) == ("stratified", 9, 2, 3, 7)
    assert back.proposals_sha256 == "abc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": np.array([2, 1])}, "expected ranks from 1 to 2, got others"),
        ({"person_id": np.array(["a", "a"], dtype=object)}, "expected everybody once, got somebody twice"),
        ({"role": np.array(["review", "boss"], dtype=object)}, "expected one of review, control, trap"),
        ({"trap_dx": np.array([0.0, 0.0])}, "expected a displaced keypoint for traps alone"),
    ],
    ids=["rank", "person", "role", "trap"],
)
def test_a_selection_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    chosen = choose(*scene(5), Request(2, traps=1, controls=1))
    assert sorted(chosen.role) == ["control", "trap"]
    change = {"trap_dy": np.array([0.0, 0.0]), **change} if "trap_dx" in change else change
    with pytest.raises(TableError, match=message):
        replace(chosen, **change)


@pytest.mark.parametrize(
    ("unit", "cost"),
    [("people", 1), ("keypoints", 4), ("minutes", 4 * 54 / 21 / 60)],  # 2.57 s a keypoint
)
def test_a_coco_person_costs_its_four_missing_keypoints(unit: str, cost: float) -> None:
    people, proposals = scene(3)
    assert COST.of(asked(people, proposals), unit) == pytest.approx([cost] * 3)
