"""Keypoints by rule: worked by hand, and measured on MPII's own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator import formats
from annotator.derived import MIDPOINTS, head_from_rectangle, head_size, midpoints
from annotator.people import People
from annotator.skeletons import COCO_17, MPII_16, UNION_21
from tests.builders import make_people


def test_midpoints_are_there_exactly_where_both_parents_are() -> None:
    xy = np.full((2, 21, 2), np.nan)
    xy[0, UNION_21.index("left_hip")], xy[0, UNION_21.index("right_hip")] = (10, 20), (30, 50)
    xy[1, UNION_21.index("left_shoulder")] = (1, 1)
    out = midpoints(xy, UNION_21)
    assert out[0, UNION_21.index("pelvis")].tolist() == [20, 35]
    assert np.isfinite(out).all(axis=2).sum() == 1


def test_skeleton_without_pelvis_derives_nothing() -> None:
    assert np.isnan(midpoints(make_people(3, COCO_17).xy, COCO_17)).all()


@given(st.integers(0, 2**31))
def test_midpoints_move_with_the_person(seed: int) -> None:
    xy = make_people(2, UNION_21, seed).xy
    step = np.array([3, -4])
    np.testing.assert_allclose(midpoints(xy + step, UNION_21), midpoints(xy, UNION_21) + step)


def test_head_ends_lie_on_the_line_from_the_thorax_through_the_rectangle() -> None:
    # rectangle 30 x 40 around (15, 20): diagonal 50, half an axis .4 x 50 = 20; thorax straight below
    neck, top = head_from_rectangle(np.array([[0.0, 0, 30, 40]]), np.array([[15.0, 100]]))
    assert (neck.tolist(), top.tolist()) == ([[15, 40]], [[15, 0]])
    xy = np.full((1, 16, 2), np.nan)
    xy[:, MPII_16.index("upper_neck")], xy[:, MPII_16.index("head_top")] = neck, top
    assert head_size(xy, MPII_16).tolist() == [30]  # .75 x 40 px between the ends, = .6 x the diagonal of 50


def test_head_size_is_nan_without_a_head() -> None:
    assert np.isnan(head_size(np.zeros((2, 17, 2)), COCO_17)).all()
    assert np.isnan(head_size(np.full((1, 16, 2), np.nan), MPII_16)).all()


@pytest.fixture(scope="module")
def mpii(data: Path) -> People:
    return formats.read(data / "mpii/mpii_train.json", data / "mpii/images", "mpii").people


@pytest.mark.parametrize("name", MIDPOINTS)
def test_mpiis_thorax_and_pelvis_are_the_midpoints(mpii: People, name: str) -> None:
    k = MPII_16.index(name)
    off = np.linalg.norm(midpoints(mpii.xy, MPII_16)[:, k] - mpii.xy[:, k], axis=1) / head_size(mpii.xy, MPII_16)
    off = off[np.isfinite(off)]
    assert len(off) > 1300
    assert np.median(off) < 0.01  # head sizes; measured .006 and .007


def test_mpiis_head_axis_points_at_the_thorax(mpii: People) -> None:
    """Thorax, upper_neck and head_top lie on one line: how far is the neck from the line through the others, in px."""
    thorax, neck, top = (mpii.xy[:, MPII_16.index(name)] for name in ("thorax", "upper_neck", "head_top"))
    line = top - thorax
    off = np.abs(line[:, 0] * (neck - thorax)[:, 1] - line[:, 1] * (neck - thorax)[:, 0]) / np.linalg.norm(line, axis=1)
    off = off[np.isfinite(off)]
    assert len(off) > 1400
    assert np.median(off) < 1e-3
    assert np.quantile(off, 0.99) < 0.6
