"""From a person's box to the pixels a network sees, and back."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.students import crop
from tests.networks import blob

SIZE = (64, 48)  # height, width
numbers = st.floats(-500, 500)
boxes = st.tuples(numbers, numbers, st.floats(1, 900), st.floats(1, 900)).map(np.array)
points = st.tuples(numbers, numbers).map(np.array)


def one(box: np.ndarray, factor: float = 1.25) -> np.ndarray:
    return crop.affines(np.array([box], dtype=np.float64), SIZE, factor)


@given(boxes, points)
def test_a_point_comes_back_through_the_inverse(box: np.ndarray, xy: np.ndarray) -> None:
    there = crop.apply(one(box), xy[None, None])
    np.testing.assert_allclose(crop.apply(crop.invert(one(box)), there), xy[None, None], atol=1e-6)


@given(boxes, points, points, st.floats(0.1, 10))
def test_moving_or_zooming_picture_and_box_changes_nothing_in_the_crop(
    box: np.ndarray, xy: np.ndarray, shift: np.ndarray, zoom: float
) -> None:
    moved = np.concatenate([box[:2] * zoom + shift, box[2:] * zoom])
    before = crop.apply(one(box), xy[None, None])
    after = crop.apply(one(moved), (xy * zoom + shift)[None, None])
    np.testing.assert_allclose(after, before, atol=1e-6 * max(1, np.abs(before).max()))


@given(boxes, st.floats(1, 2))
def test_the_box_grows_to_the_crops_aspect_then_by_the_factor_about_its_middle(box: np.ndarray, factor: float) -> None:
    corners = np.array([[[0, 0], [SIZE[1], SIZE[0]]]], dtype=np.float64)
    low, high = crop.apply(crop.invert(one(box, factor)), corners)[0]
    np.testing.assert_allclose((low + high) / 2, box[:2] + box[2:] / 2, atol=1e-6)
    wide = max(box[2], box[3] * 48 / 64)  # a box flatter than the crop keeps its width, any other its height
    np.testing.assert_allclose(high - low, [wide * factor, wide * 64 / 48 * factor], rtol=1e-9)


def test_crop_index_i_lies_at_centre_plus_i_minus_half_the_size_times_the_scale() -> None:
    # box 60 x 80 at (100, 50): centre (130, 90), grown by 1.25 to 75 x 100; 100 / 64 = 1.5625 px a crop pixel
    affine = one(np.array([100.0, 50, 60, 80]))
    i = np.array([[[0.0, 0], [24, 32], [48, 64]]])
    found = crop.apply(crop.invert(affine), i)
    np.testing.assert_allclose(found, [[[130 - 37.5, 90 - 50], [130, 90], [130 + 37.5, 90 + 50]]])


def test_the_map_is_mmposes_own() -> None:
    pytest.importorskip("mmcv")
    from models import openmm_compat

    openmm_compat.prepare()
    from mmpose.structures.bbox import get_warp_matrix

    box = np.array([31.0, -7, 90, 41])
    wide = max(90, 41 * 48 / 64) * 1.25
    scale = np.array([wide, wide * 64 / 48], dtype=np.float32)
    theirs = get_warp_matrix(np.float32([31 + 45, -7 + 20.5]), scale, 0.0, output_size=(48, 64))
    np.testing.assert_allclose(one(box)[0], theirs, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_points_of_any_depth_are_mapped_by_their_own_person(turned: bool) -> None:
    affine = np.concatenate([one(np.array([0.0, 0, 48, 64]), 1), one(np.array([10.0, 20, 96, 128]), 1)])
    xy = np.array([[[[5.0, 6]]], [[[12, 24]]]])  # (N, 1, 1, 2)
    order = [1, 0] if turned else [0, 1]
    # 1 crop pixel a pixel from (0, 0); then half a crop pixel a pixel from (10, 20)
    np.testing.assert_allclose(crop.apply(affine[order], xy[order])[:, 0, 0], np.array([[5, 6], [1, 2]])[order])


def cut(pixels: np.ndarray, box: Any, factor: float = 1) -> np.ndarray:
    return crop.cut(pixels, one(np.array(box, dtype=np.float64), factor)[0], SIZE)


def centre_of(pixels: np.ndarray) -> np.ndarray:
    weight = pixels[..., 0].astype(np.float64)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("zoom", [0.4, 1.0, 1.9, 2.0, 3.7, 7.3])
def test_a_spot_lands_where_the_affine_says_at_every_scale(zoom: float) -> None:
    shape = (round(64 * zoom) + 23, round(48 * zoom) + 31)
    spot = (11 + 20 * zoom, 7 + 30 * zoom)
    found = centre_of(cut(blob(shape, spot, 3 * zoom), (11, 7, 48 * zoom, 64 * zoom)))
    np.testing.assert_allclose(found, [20, 30], atol=0.05)


def test_a_big_picture_is_averaged_before_it_is_sampled() -> None:
    stripes = np.zeros((640, 480, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # one pixel wide; every tenth column alone would be all white or all black
    inner = cut(stripes, (0, 0, 480, 640))[2:-2, 2:-2]
    assert np.abs(inner.astype(int) - 127).max() <= 2


@pytest.mark.parametrize(
    "box",
    [(-900, 0, 48, 64), (0, -900, 48, 64), (900, 0, 48, 64), (0, 900, 48, 64), (-9000, -9000, 480, 640)],
    ids=["left", "above", "right", "below", "far and large"],
)
def test_a_crop_outside_the_picture_is_black(box: tuple[int, ...]) -> None:
    white = np.full((100, 80, 3), 255, dtype=np.uint8)
    assert not cut(white, box).any()


@pytest.mark.parametrize("zoom", [1, 3, 5])
def test_a_picture_reaches_to_its_last_pixel_and_is_black_beyond(zoom: int) -> None:
    # picture 41 x 31, in units of the zoom plus a remainder, in the middle of a crop of 48 x 64 of them
    white = np.full((31 * zoom + zoom // 2, 41 * zoom + zoom // 2, 3), 255, dtype=np.uint8)
    found = cut(white, (-3 * zoom, -16 * zoom, 48 * zoom, 64 * zoom))[..., 0]
    area = found.sum() / 255 * zoom**2
    assert area == pytest.approx(white[..., 0].size, rel=0.03)
    assert not found[:14].any() and not found[50:].any() and not found[:, :1].any() and not found[:, 46:].any()


@pytest.mark.parametrize("shape", [(40, 33_000), (33_000, 40), (1, 33_000), (1, 1)])
def test_pictures_of_any_shape_are_cut(shape: tuple[int, int]) -> None:
    white = np.full((*shape, 3), 255, dtype=np.uint8)
    height, width = shape
    for box in ((width / 2, height / 2, 20, 20), (0, 0, width, height), (-1e6, -1e6, 1e9, 1e9), (0, 0, 1e-3, 1e-3)):
        assert cut(white, box).shape == (*SIZE, 3)


@given(st.integers(0, 2**32 - 1))
def test_only_the_part_that_is_needed_gives_what_the_whole_picture_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    affine = one(np.concatenate([rng.uniform(-60, 80, 2), rng.uniform(5, 60, 2)]))[0]
    whole = cv2.warpAffine(pixels, affine, (48, 64), flags=cv2.INTER_LINEAR)
    assert np.abs(crop.cut(pixels, affine, SIZE).astype(int) - whole).max() <= 8  # warpAffine rounds to 1/32 pixel
