"""Several reviewers: whose word stands, and the people as they stand after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.agreement import agreeing, groups, independent, settle
from annotator.current import current_people
from annotator.decisions import Decisions
from annotator.errors import TableError
from annotator.people import ORIGIN, ORIGINS, People
from annotator.skeletons import COCO_17, UNION_21
from tests.builders import make_people
from tests.projects import NOWHERE, decisions

P, FAR = (100.0, 100.0), (200.0, 100.0)


def one(*words: tuple[str, str, tuple[float, float], tuple[float, float]]) -> Decisions:
    """Words of (origin, reviewer, before, after) on one point: the tolerance is 3 * .026 * 100 = 7.8 px."""
    return decisions(*(("made:0", "head_top", *word) for word in words))


def people(n: int = 2) -> People:
    """People of scale 100 px, without any of the four keypoints that COCO lacks."""
    return replace(make_people(n, COCO_17).project(UNION_21), area=np.full(n, 10_000.0))


@pytest.mark.parametrize(
    ("words", "origin", "after"),
    [
        ([("accepted", "Ann", P, P)], "accepted", P),
        ([("accepted", "Ann", P, P), ("accepted", "Bob", P, P)], "accepted", P),
        ([("control", "Ann", NOWHERE, P), ("control", "Bob", NOWHERE, (104, 100))], "control", (102, 100)),
        ([("accepted", "Ann", P, P), ("corrected", "Bob", P, (106, 100))], "corrected", (103, 100)),
        ([("corrected", "Ann", P, FAR), ("corrected", "Bob", P, (104, 100)), ("accepted", "Cid", P, P)],
         "corrected", (102, 100)),
        ([("corrected", "Ann", P, FAR), ("corrected", "Ann", P, (104, 100))], "corrected", (104, 100)),
        ([("corrected", "Ann", P, FAR), ("corrected", "Bob", FAR, (150, 100))], "corrected", (150, 100)),
        ([("rejected", "Ann", P, NOWHERE), ("control", "Bob", NOWHERE, P)], "control", P),
        ([("rejected", "Ann", P, NOWHERE), ("absent", "Bob", P, NOWHERE)], "rejected", None),
        ([("absent", "Ann", P, NOWHERE), ("absent", "Bob", P, NOWHERE), ("accepted", "Cid", P, P)], "absent", None),
        ([("corrected", "Ann", P, FAR), ("accepted", "Bob", P, P)], None, None),
        ([("absent", "Ann", P, NOWHERE), ("accepted", "Bob", P, P)], None, None),
        ([("corrected", "Ann", P, FAR), ("accepted", "Bob", P, P), ("corrected", "Cid", P, (101, 100))],
         "corrected", (100.5, 100)),
    ],
    ids=["one word", "both keep it", "blind, mean", "near enough", "one outlier", "last word of a reviewer",
         "who saw it and moved it", "placed where one saw nothing", "nothing here", "two of three", "far apart",
         "there or not", "a third word settles it"],
)  # fmt: skip
def test_words_of_reviewers_come_to_one_decision_or_stay_open(
    words: list[tuple[str, str, tuple[float, float], tuple[float, float]]],
    origin: str | None,
    after: tuple[float, float] | None,
) -> None:
    settled = settle(people(), one(*words))
    if origin is None:
        assert len(settled.decisions) == 0
        assert [(o.person_id, o.keypoint, o.reviewers) for o in settled.open] == [
            ("made:0", "head_top", ("Ann", "Bob"))
        ]
        return
    assert settled.open == ()
    assert ORIGINS[settled.decisions.origin[0]] == origin
    np.testing.assert_allclose(settled.decisions.after_xy[0], after or NOWHERE)


def test_disagreement_says_how_far_apart_and_what_would_have_passed() -> None:
    apart = settle(people(), one(("corrected", "Ann", P, FAR), ("corrected", "Bob", P, (100, 175)))).open[0]
    assert apart.apart_px == pytest.approx(125)  # 100 and 75 to the sides of a right angle
    assert apart.tolerance_px == pytest.approx(7.8)
    assert (apart.image_id, apart.words) == ("made:0", ("corrected", "corrected"))


POINTS = st.none() | st.tuples(st.floats(90, 110), st.floats(90, 110))


@given(st.lists(POINTS, min_size=1, max_size=6), st.floats(0, 40))
def test_those_who_agree_are_most_of_all_and_lie_near_each_other(
    points: list[tuple[float, float] | None], limit: float
) -> None:
    agreed = agreeing(points, limit)
    assert not agreed or 2 * len(agreed) > len(points)
    placed = [points[i] for i in agreed if points[i] is not None]
    assert len(placed) in (0, len(agreed))
    assert all(np.hypot(a[0] - b[0], a[1] - b[1]) <= 2 * limit + 1e-9 for a in placed for b in placed)


@given(st.permutations(range(3)))
def test_independent_words_come_to_the_same_in_any_order(order: list[int]) -> None:
    words = [("corrected", "Ann", P, FAR), ("corrected", "Bob", P, (104.0, 100.0)), ("accepted", "Cid", P, P)]
    settled = settle(people(), one(*(words[i] for i in order)))
    np.testing.assert_allclose(settled.decisions.after_xy, [[102, 100]])


def test_visible_takes_more_than_half_of_those_who_agree() -> None:
    both = Decisions.concat([one(("control", "Ann", NOWHERE, P)), decisions(
        ("made:0", "head_top", "control", "Bob", NOWHERE, P), v=1)])  # fmt: skip
    assert settle(people(), both).decisions.after_v.tolist() == [1]


@given(st.integers(0, 1000), st.integers(0, 6))
def test_no_decisions_leave_the_people_as_they_are(seed: int, n: int) -> None:
    table = make_people(n, COCO_17, seed)
    assert current_people(table, decisions()).equals(table)


def test_decisions_change_their_points_and_nothing_else() -> None:
    table = people()
    made = decisions(
        ("made:1", "nose", "corrected", "Ann", tuple(table.xy[1, 0]), (5.5, 6.5)),
        ("made:1", "pelvis", "control", "Ann", NOWHERE, (7.0, 8.0)),
        ("made:1", "thorax", "absent", "Ann", P, NOWHERE),
        ("made:9", "nose", "corrected", "Ann", P, FAR),  # nobody here
    )
    now = current_people(table, made)
    names = [UNION_21.index(name) for name in ("nose", "pelvis", "thorax")]
    assert [ORIGINS[code] for code in now.origin[1, names]] == ["corrected", "control", "absent"]
    np.testing.assert_array_equal(now.xy[1, names], [[5.5, 6.5], [7, 8], NOWHERE])
    assert now.v[1, names].tolist() == [2, 2, 0]
    others = np.setdiff1d(np.arange(21), names)
    np.testing.assert_array_equal(now.xy[1, others], table.xy[1, others])
    assert now.take([0]).equals(table.take([0]))
    assert table.origin[1, names[0]] == ORIGIN["labelled"]  # the table that was given is not written into


def test_a_decision_that_would_be_lost_is_refused() -> None:
    with pytest.raises(TableError, match="current_people: expected a skeleton with pelvis, got coco17"):
        current_people(make_people(1, COCO_17), decisions(("made:0", "pelvis", "control", "Ann", NOWHERE, P)))


def test_independent_points_are_those_of_two_or_more_reviewers() -> None:
    made = decisions(
        ("made:0", "nose", "control", "Ann", NOWHERE, P),
        ("made:0", "nose", "control", "Bob", NOWHERE, FAR),
        ("made:0", "pelvis", "control", "Ann", NOWHERE, P),
        ("made:1", "nose", "accepted", "Ann", P, P),
        ("made:1", "nose", "accepted", "Bob", P, P),
    )
    found = [
        (person, keypoint, points.tolist())
        for person, keypoint, points in independent(made, groups(made), ("control",))
    ]
    assert found == [("made:0", "nose", [[100, 100], [200, 100]])]
