"""Offsets in the body's own frame: found as they were made, whatever way the body lies; medians and tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.images import Images
from annotator.people import box_of_keypoints, people
from annotator.skeletons import UNION_21
from annotator.training import Part
from workflows.looks import Look, Median, agreed, between, cell, frame, median, moved

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = UNION_21.indices(
    ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]
)
NOSE, UPPER_NECK, HEAD_TOP = UNION_21.indices(["nose", "upper_neck", "head_top"])
offset = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))


def standing(n: int, seed: int = 0) -> np.ndarray:
    """People (N, 21, 2) upright and facing us, their torso 100 px long, all else anywhere."""
    xy = np.random.default_rng(seed).uniform(50, 350, (n, 21, 2))
    xy[:, [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]] = [(230, 100), (170, 100), (220, 200), (180, 200)]
    return xy


def seen(said: np.ndarray, labels: np.ndarray) -> Look:
    """Each person in a picture of its own."""
    n = len(labels)
    names = np.array([f"made:{i}" for i in range(n)], dtype=object)
    table = people(
        UNION_21, person_id=names, image_id=names, source="made", xy=np.nan_to_num(labels),
        v=np.isfinite(labels).all(axis=2) * 2, bbox_xywh=box_of_keypoints(labels),
    )  # fmt: skip
    empty, size = np.full(n, "", dtype=object), np.full(n, 400)
    return Look(said, labels, Part("made", Images(names, empty, empty, size, size, empty), table))


def turned(points: np.ndarray, angle: float, mirrored: bool = False) -> np.ndarray:
    """Points rotated about the origin, or seen in a mirror: left and right are then on the other side."""
    c, s = np.cos(angle), np.sin(angle)
    out = points @ np.array([[c, s], [-s, c]])
    return out * [-1, 1] if mirrored else out


def test_up_is_from_hips_to_shoulders_and_left_is_the_persons_own():
    axes, length = frame(standing(1))
    np.testing.assert_allclose(axes[0], [[0, -1], [1, 0]])  # y grows downwards; who faces us has the left on our right
    assert length[0] == 100


@given(offset, st.floats(0, 2 * np.pi), st.booleans(), st.floats(0.2, 5))
def test_an_offset_is_the_move_that_made_it_however_the_body_lies(move, angle, mirrored, zoom):
    labels = zoom * turned(standing(3), angle, mirrored)
    by = np.zeros((21, 2))
    by[NOSE] = move
    found = seen(moved(labels, by), labels).offsets()
    np.testing.assert_allclose(found, np.broadcast_to(by, found.shape), atol=1e-9)


def test_a_body_without_hips_or_of_no_length_has_no_offset():
    labels = standing(2)
    labels[0, LEFT_HIP] = np.nan
    labels[1, [LEFT_HIP, RIGHT_HIP]] = labels[1, [LEFT_SHOULDER, RIGHT_SHOULDER]]
    assert np.isnan(seen(labels, labels).offsets()).all()


@settings(max_examples=5)  # each resamples 42 medians
@given(offset, offset)
def test_a_networks_own_bias_falls_out_of_the_difference_of_two_datasets(bias, apart):
    by_network, by_labels = np.zeros((21, 2)), np.zeros((21, 2))
    by_network[NOSE], by_labels[NOSE] = bias, apart
    true = standing(5)
    one = seen(moved(true, by_network), moved(true, by_labels))  # its labels lie off by `apart`
    found = between(one, seen(moved(true, by_network), true))[NOSE]
    np.testing.assert_allclose([axis.value for axis in found], apart, atol=1e-9)
    assert all(low <= axis.value + 1e-9 and axis.value - 1e-9 <= high for axis in found for low, high in [axis.bounds])


def test_the_median_is_the_middle_and_people_of_one_picture_are_drawn_together():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, np.nan])
    assert median(values, np.zeros(6, dtype=np.int64)).bounds == (2, 2)  # one picture: every draw is the same
    found = median(values, np.arange(6))
    assert (found.value, found.n) == (2, 5)
    assert found.bounds[0] <= 1 and found.bounds[1] >= 3


def test_of_nothing_there_is_no_median():
    found = median(np.full(3, np.nan), np.arange(3))
    assert np.isnan(found.value) and found.n == 0 and cell(found) == ""


def about(value: float, half: float = 0.01, n: int = 9) -> Median:
    return Median(value, np.linspace(value - half, value + half, 41), n)


@pytest.mark.parametrize(
    ("found", "offset"),
    [
        ([about(0.1), about(0.2)], 0.15),
        ([about(-0.1), about(-0.2)], -0.15),
        ([about(0.1), about(-0.2)], 0),
        ([about(0.1), about(0.005)], 0),  # the second one's interval holds 0
        ([about(0.1), about(np.nan, n=0)], 0.1),
        ([about(np.nan, n=0)], 0),
    ],
    ids=["both up", "both down", "apart", "one not clear", "one does not know it", "nobody knows it"],
)
def test_networks_agree_on_an_offset_where_all_that_know_it_find_it_on_one_side(found, offset):
    assert agreed(found) == pytest.approx(offset)
