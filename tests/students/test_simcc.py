"""Places, scores and widths read off SimCC's two axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.skeletons import COCO_17, FloatArray
from annotator.students import simcc

W, H, SPLIT = 96, 128, 2  # crop pixels and bins a pixel


def axis(size: int, at: float, sigma_px: float = 3.0, split: int = SPLIT) -> np.ndarray:
    """Logits of a Gaussian with its middle at crop pixel `at`."""
    return -((np.arange(size * split) / split - at) ** 2) / (2 * sigma_px**2)


def axes(places: list[tuple[float, float]], sigma_px: float = 3.0, split: int = SPLIT) -> tuple[FloatArray, FloatArray]:
    """(1, K, bins) over x and over y."""
    x = np.stack([axis(W, x, sigma_px, split) for x, _ in places])[None]
    y = np.stack([axis(H, y, sigma_px, split) for _, y in places])[None]
    return x.astype(np.float32), y.astype(np.float32)


def of_shares(size: int, shares: dict[int, float]) -> np.ndarray:
    """Logits of a distribution with these shares on these bins, (1, 1, bins)."""
    p = np.full(size * SPLIT, 1e-12)
    for at, share in shares.items():
        p[at] = share
    return np.log(p, dtype=np.float32)[None, None]


inner = st.tuples(st.floats(12, W - 13), st.floats(12, H - 13))


@given(inner, st.floats(1, 4), st.sampled_from([1, 2, 3]), st.sampled_from([0.0, 2.0, 6.0]))
def test_the_middle_of_a_hill_is_found_below_a_bins_width(
    place: tuple[float, float], sigma_px: float, split: int, smooth_px: float
) -> None:
    found = simcc.decode(*axes([place], sigma_px, split), split, smooth_px=smooth_px)
    np.testing.assert_allclose(found.xy[0, 0], place, atol=0.05)


@given(inner, st.floats(0.7, 4))
def test_spread_is_the_root_of_both_variances(place: tuple[float, float], sigma_px: float) -> None:
    found = simcc.decode(*axes([place], sigma_px), SPLIT)
    assert found.spread[0, 0] == pytest.approx(np.sqrt(2) * sigma_px, rel=0.03)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_reading_the_mirror_image_is_mirroring_what_is_read(seed: int, split: int) -> None:
    """Crop index i of the mirror image is W - 1 - i of the crop, and left is right."""
    rng = np.random.default_rng(seed)
    places = rng.uniform([12, 12], [W - 13, H - 13], (17, 2))
    mirrored = [(W - 1 - places[k, 0], places[k, 1]) for k in COCO_17.flip]
    back = simcc.unmirror(*axes(mirrored, split=split), COCO_17.flip, split)
    plain = simcc.decode(*axes([(x, y) for x, y in places], split=split), split)
    np.testing.assert_allclose(simcc.decode(*back, split).xy, plain.xy, atol=0.02)


def test_unmirroring_swaps_sides_and_turns_columns() -> None:
    x = np.array([[[0, 0], [1, 2], [0, 0]]], dtype=np.float64)
    y = np.array([[[0, 0], [5, 6], [0, 0]]], dtype=np.float64)
    one_bin = simcc.unmirror(x, y, np.array([0, 2, 1]), 1)
    np.testing.assert_array_equal(one_bin[0][0], [[0, 0], [0, 0], [2, 1]])
    np.testing.assert_array_equal(one_bin[1][0], [[0, 0], [0, 0], [5, 6]])
    # two bins a pixel: bin b is bin 2 (W - 1) - b, so bin 0 is bin 0 of this one pixel and bin 1 lies beyond it
    np.testing.assert_array_equal(simcc.unmirror(x, y, np.array([0, 2, 1]), 2)[0][0, 2], [1, 1])


def test_mass_spread_entropy_and_peaks_worked_by_hand() -> None:
    # x: 3/4 at 20 px, 1/4 at 40 px; y: all at 30 px
    found = simcc.decode(of_shares(W, {40: 0.75, 80: 0.25}), of_shares(H, {60: 1.0}), SPLIT)
    np.testing.assert_allclose(found.xy[0, 0], [20, 30], atol=1e-4)
    assert found.score[0, 0] == pytest.approx(np.sqrt(0.75 * 1), abs=1e-4)  # the other quarter is more than 8 px away
    assert found.spread[0, 0] == pytest.approx(np.sqrt(0.25 * 20**2), rel=1e-3)
    assert found.entropy[0, 0] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), abs=1e-4)
    assert found.peaks[0, 0] == 1  # a third of the highest is needed, and 1/4 is no more than that of 3/4


@pytest.mark.parametrize(
    ("shares", "peaks"),
    [
        ({40: 1.0}, 1),
        ({40: 0.6, 80: 0.4}, 2),
        ({40: 0.4, 80: 0.3, 120: 0.3}, 3),
        ({0: 0.5, 191: 0.5}, 2),
        ({40: 0.5, 41: 0.5}, 1),
    ],
    ids=["one", "two", "three", "at both ends", "neighbours are one"],
)
def test_peaks_are_counted_along_the_axis_that_has_more(shares: dict[int, float], peaks: int) -> None:
    flat = of_shares(W, {10: 1.0})
    assert simcc.decode(of_shares(W, shares), flat, SPLIT).peaks[0, 0] == peaks
    assert simcc.decode(flat, of_shares(W, shares), SPLIT).peaks[0, 0] == peaks


def test_smoothing_prefers_a_broad_hill_to_a_narrow_spike() -> None:
    p = np.exp(axis(W, 60, 4))
    p *= 0.85 / p.sum()
    p[20] = 0.15  # the highest bin by far, with less mass than the hill
    x, y = np.log(np.maximum(p, 1e-12))[None, None], axis(H, 50)[None, None]
    assert simcc.decode(x, y, SPLIT).xy[0, 0, 0] == pytest.approx(10, abs=0.5)
    assert simcc.decode(x, y, SPLIT, smooth_px=4).xy[0, 0, 0] == pytest.approx(60, abs=0.5)


def test_beta_sharpens_the_raw_output() -> None:
    x, y = axes([(40, 50)], 6)
    blunt, sharp = simcc.decode(x, y, SPLIT), simcc.decode(x, y, SPLIT, beta=4)
    assert sharp.spread[0, 0] == pytest.approx(blunt.spread[0, 0] / 2, rel=0.01)  # sigma / sqrt(beta)
    np.testing.assert_allclose(sharp.xy, blunt.xy, atol=0.01)


@pytest.mark.parametrize(
    ("top_x", "top_y", "score"), [(0.7, 0.4, 0.4), (0.3, 0.9, 0.3), (3, 2, 1), (-1, 0.5, 0)], ids=str
)
def test_mmposes_score_is_the_smaller_of_both_raw_maxima_within_0_and_1(
    top_x: float, top_y: float, score: float
) -> None:
    x, y = axes([(40, 50)])
    found = simcc.decode(x - x.max() + top_x, y - y.max() + top_y, SPLIT, score="max")
    assert found.score[0, 0] == pytest.approx(score, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_the_highest_bins_are_those_mmpose_finds(seed: int) -> None:
    pytest.importorskip("mmcv", reason="needs the train extra")
    from models import openmm_compat

    openmm_compat.prepare()
    from mmpose.codecs.utils import get_simcc_maximum

    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.5, 1, (3, 17, 2 * W)).astype(np.float32), rng.normal(0.5, 1, (3, 17, 2 * H)).astype(np.float32)
    theirs, score = get_simcc_maximum(x, y)
    found = simcc.decode(x, y, SPLIT, beta=10, score="max")
    assert np.abs(found.xy * SPLIT - theirs).max() <= 0.5 + 1e-6
    np.testing.assert_allclose(found.score, np.clip(score, 0, 1), atol=1e-6)
    assert np.abs(simcc.places(x, y, SPLIT) * SPLIT - theirs).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("size", [W, H])
def test_a_place_at_the_end_of_an_axis_stays_on_it(size: int) -> None:
    for at in (0, size - 1):
        found = simcc.decode(axis(size, at)[None, None], axis(size, at)[None, None], SPLIT).xy[0, 0]
        np.testing.assert_allclose(found, [at, at], atol=0.5)


def test_people_are_read_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (7, 17, 2 * W)).astype(np.float32), rng.normal(0, 1, (7, 17, 2 * H)).astype(np.float32)
    together = simcc.decode(x, y, SPLIT, beta=10).pack()
    alone = np.concatenate([simcc.decode(x[i : i + 1], y[i : i + 1], SPLIT, beta=10).pack() for i in range(7)])
    assert together.tobytes() == alone.tobytes()


def test_nobody_is_read_as_nobody() -> None:
    assert simcc.decode(np.zeros((0, 17, 2 * W)), np.zeros((0, 17, 2 * H)), SPLIT).xy.shape == (0, 17, 2)
