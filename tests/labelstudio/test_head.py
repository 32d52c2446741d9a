"""A head rectangle instead of two points: upper neck and head top by MPII's rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotator.labelstudio.tasks import Shown
from annotator.skeletons import UNION_21
from tests.labelstudio.made import (
    PEOPLE,
    PROPOSALS,
    Result,
    answer,
    as_points,
    box_id,
    changed,
    drawn,
    move,
    pictures,
    regions,
    selection,
    submitted,
    without,
)

# A head of 60 x 80 px (diagonal 100) whose middle is 100 px straight above the middle of the shoulders: the two points
# lie .4 x 100 px below and above that middle.
SHOULDERS = {"left_shoulder": (340.0, 300.0), "right_shoulder": (300.0, 300.0)}
HEAD = ((320.5 - 30) / 6.4, (200.5 - 40) / 4.8, 60 / 6.4, 80 / 4.8)
ENDS = {"upper_neck": (320.0, 240.0), "head_top": (320.0, 160.0)}


def with_shoulders(roles: str = "", labelled: bool = True) -> Shown:
    xy, v = PEOPLE.xy.copy(), PEOPLE.v.copy()
    for name, place in SHOULDERS.items():
        k = UNION_21.index(name)
        xy[0, k], v[0, k] = (place, 2) if labelled else ((np.nan, np.nan), 0)
    origin = np.where(v > 0, 1, 0)
    people = replace(PEOPLE, xy=xy, v=v, origin=origin)
    return pictures(people, PROPOSALS, selection(people, roles))[0]


def head(picture: Shown, name: str = "h1", rotation: float = 0) -> Result:
    result = drawn(picture, "rectanglelabels", "head", HEAD, name, box_id(picture, 0))
    result[0]["value"]["rotation"] = rotation
    return result


@pytest.mark.parametrize(("roles", "decision"), [("", "corrected"), ("c", "control")], ids=["shown", "blind"])
def test_a_head_rectangle_gives_neck_and_top_by_the_rule(roles: str, decision: str) -> None:
    picture = with_shoulders(roles)
    found = answer(picture, submitted(picture) + head(picture))
    assert found.problems == []
    ends = {one.keypoint: one for one in found.points if one.person_id == "made:0" and one.keypoint in ENDS}
    assert {name: one.after for name, one in ends.items()} == {
        name: pytest.approx(place, abs=1e-9) for name, place in ENDS.items()
    }
    assert {(one.origin, one.gesture) for one in ends.values()} == {(decision, "head_box")}
    assert {g for one, g in zip(found.points, [one.gesture for one in found.points], strict=True)
            if one.keypoint not in ENDS} == {"point"}  # fmt: skip


def test_two_plain_points_remain_possible_and_are_told_apart() -> None:
    picture = with_shoulders()
    result = submitted(picture)
    found = answer(picture, changed(result, regions(picture, result, 0, "head_top"), move(1, 0)))
    assert {one.gesture for one in found.points} == {"point"}
    assert as_points(found)["made:0", "head_top"] == ("moved", "corrected")


def test_a_moved_shoulder_moves_what_follows_from_the_head() -> None:
    picture = with_shoulders(labelled=False)
    placed = [entry for name, (x, y) in SHOULDERS.items() for entry in drawn(
        picture, "keypointlabels", name, ((x + 0.5) / 6.4, (y + 0.5) / 4.8), name, box_id(picture, 0))]  # fmt: skip
    thorax = regions(picture, submitted(picture), 0, "thorax")
    found = answer(picture, without(submitted(picture), thorax) + placed + head(picture))
    ends = {one.keypoint: one.after for one in found.points if one.person_id == "made:0" and one.keypoint in ENDS}
    assert ends == {name: pytest.approx(place, abs=1e-9) for name, place in ENDS.items()}


def test_a_head_without_a_thorax_below_it_is_reported() -> None:
    picture = with_shoulders(labelled=False)
    result = without(submitted(picture), regions(picture, submitted(picture), 0, "thorax"))
    found = answer(picture, result + head(picture))
    assert found.problems == ["made:0: head: expected both shoulders or a thorax below it, got neither"]
    assert as_points(found)["made:0", "head_top"] == ("untouched", "accepted")


def test_points_placed_beside_a_head_rectangle_count() -> None:
    picture = with_shoulders()
    result = submitted(picture)
    found = answer(picture, changed(result, regions(picture, result, 0, "head_top"), move(1, 0)) + head(picture))
    assert found.problems == ["made:0: head: expected a rectangle or points, got both; the points count (head_top)"]
    assert {one.gesture for one in found.points} == {"point"}


def test_a_turned_head_rectangle_counts_with_its_own_middle() -> None:
    picture = with_shoulders()
    found = answer(picture, submitted(picture) + head(picture, rotation=90))
    # A quarter turn about (290.5, 160.5) px: the middle comes to 40 px left and 30 px below that corner.
    middle, thorax = np.array([290.0 - 40, 160 + 30]), np.array([320.0, 300])
    away = 40 * (middle - thorax) / np.linalg.norm(middle - thorax)
    ends = {one.keypoint: one.after for one in found.points if one.person_id == "made:0"}
    assert ends["upper_neck"] == pytest.approx(middle - away) and ends["head_top"] == pytest.approx(middle + away)
