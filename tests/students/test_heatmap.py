"""Places, widths and second peaks read off heatmaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.skeletons import COCO_17
from annotator.students import heatmap

W, H = 24, 32


def hill(x: float, y: float, sigma: float = 1.5, height: float = 1.0) -> np.ndarray:
    """A Gaussian (H, W) with its top at cell (x, y)."""
    rows, columns = np.mgrid[:H, :W]
    return height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def maps(*planes: np.ndarray) -> np.ndarray:
    """(1, K, H, W)"""
    return np.stack(planes)[None].astype(np.float32)


inner = st.tuples(st.floats(6, W - 7), st.floats(6, H - 7))  # further out the blur meets the edge


@given(inner, st.floats(1.2, 2.5), st.floats(0.2, 1), st.sampled_from([3, 7, 11]))
def test_the_top_of_a_hill_is_found_below_a_cells_width(
    place: tuple[float, float], sigma: float, height: float, kernel: int
) -> None:
    found = heatmap.decode(maps(hill(*place, sigma, height)), 1, 0, kernel)
    np.testing.assert_allclose(found.xy[0, 0], place, atol=0.05)
    assert found.score[0, 0] == pytest.approx(height, rel=0.2) and found.score[0, 0] <= height + 1e-6


@given(inner, st.sampled_from([1.0, 4.0, 255 / 63]), st.floats(-2, 2))
def test_a_crop_pixel_is_cell_times_stride_plus_offset(
    place: tuple[float, float], stride: float, offset: float
) -> None:
    plain = heatmap.decode(maps(hill(*place)), 1)
    found = heatmap.decode(maps(hill(*place)), stride, offset)
    np.testing.assert_allclose(found.xy, plain.xy * stride + offset)
    np.testing.assert_allclose(found.spread, plain.spread * stride)
    np.testing.assert_allclose(heatmap.peaks_px(maps(hill(*place)), stride, offset, 3), found.xy)


@given(st.tuples(st.integers(0, W - 1), st.integers(0, H - 1)))
def test_a_place_is_never_more_than_a_cell_from_the_highest_cell(cell: tuple[int, int]) -> None:
    lonely = np.zeros((H, W))
    lonely[cell[1], cell[0]] = 1
    assert np.abs(heatmap.decode(maps(lonely), 1).xy[0, 0] - cell).max() <= 1


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_reading_the_mirror_image_is_mirroring_what_is_read(seed: int, shift: float) -> None:
    """A cell at j * stride + offset of a mirrored crop lies at width - 1 - that: .75 cells right for 4 and 0."""
    rng = np.random.default_rng(seed)
    stride, width = 4.0, 4 * W
    offset = (1 - shift) * stride / 2 - 0.5  # where `shift` is the exact one
    centres = rng.uniform([5, 5], [W - 6, H - 6], (17, 2))
    crop = maps(*[hill(x, y) for x, y in centres])
    pixels = centres * stride + offset
    mirrored_cells = ((width - 1 - pixels[:, 0]) - offset) / stride
    mirrored = maps(*[hill(mirrored_cells[k], centres[k, 1]) for k in COCO_17.flip])
    back = heatmap.decode(heatmap.unmirror(mirrored, COCO_17.flip, shift), stride, offset)
    np.testing.assert_allclose(back.xy, heatmap.decode(crop, stride, offset).xy, atol=0.1 * stride)


def test_unmirroring_swaps_sides_turns_rows_and_moves_right() -> None:
    one = np.zeros((1, 3, 1, 4))
    one[0, 1, 0] = [1, 2, 3, 4]  # left; becomes right, read backwards
    back = heatmap.unmirror(one, np.array([0, 2, 1]), 0.25)
    # backwards 4 3 2 1; a quarter of the left neighbour, the first being its own
    np.testing.assert_allclose(back[0, 2, 0], [4, 3.25, 2.25, 1.25])
    assert not back[0, :2].any()


def test_a_second_hill_is_found_with_its_share() -> None:
    found = heatmap.decode(maps(hill(6, 8) + hill(17, 20, height=0.6)), 4, 1)
    np.testing.assert_allclose(found.xy[0, 0], [25, 33], atol=0.1)
    np.testing.assert_allclose(found.second_xy[0, 0], [17 * 4 + 1, 20 * 4 + 1])
    assert found.second_share[0, 0] == pytest.approx(0.6 / 1.6, abs=1e-4)
    assert found.peaks[0, 0] == 2


@pytest.mark.parametrize(
    ("other", "why"),
    [(hill(17, 20, height=0.3), "lower than a third"), (hill(9, 8, height=0.9), "three cells away: the same hill")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_second_hill_is_none(other: np.ndarray, why: str) -> None:
    found = heatmap.decode(maps(np.maximum(hill(6, 8, 1), other)), 1)
    assert found.peaks[0, 0] == 1 and found.second_share[0, 0] == 0 and np.isnan(found.second_xy[0, 0]).all(), why


def test_three_hills_are_three_peaks() -> None:
    found = heatmap.decode(maps(hill(4, 4) + hill(18, 5, height=0.8) + hill(11, 27, height=0.5)), 1)
    assert found.peaks[0, 0] == 3
    np.testing.assert_allclose(found.second_xy[0, 0], [18, 5])


def test_spread_and_entropy_of_a_map_worked_by_hand() -> None:
    plane = np.zeros((H, W))
    plane[10, 10], plane[10, 14] = 0.6, 0.2  # p = 3/4, 1/4
    found = heatmap.decode(maps(plane), 4, 0, 1)
    # a lonely cell is no paraboloid: log(.6) beside log(1e-10) on both sides, so the step is 0 and the place (10, 10)
    np.testing.assert_allclose(found.xy[0, 0], [40, 40])
    assert found.spread[0, 0] == pytest.approx(4 * np.sqrt(0.25 * 4**2))
    assert found.entropy[0, 0] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_values_below_zero_count_as_zero_and_scores_stay_within_one() -> None:
    low = hill(8, 8, height=1.3)
    low[20:] = -0.4
    found = heatmap.decode(maps(low), 1)
    assert found.score[0, 0] == 1
    assert found.spread[0, 0] == pytest.approx(np.sqrt(2) * 1.5, rel=0.02)  # sigma 1.5 on either axis


def test_an_empty_map_has_no_score_and_finite_numbers() -> None:
    found = heatmap.decode(maps(np.zeros((H, W)), np.full((H, W), -1)), 4)
    assert not found.score.any() and np.isfinite(found.xy).all() and np.isfinite(found.spread).all()


def test_nobody_is_read_as_nobody() -> None:
    assert heatmap.decode(np.zeros((0, 17, H, W)), 4).xy.shape == (0, 17, 2)
