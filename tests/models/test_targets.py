"""Mixtures in picture pixels, rendered in a crop, against numbers worked by hand and against the density itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the train extra")

from models import targets

NAN = math.nan


def render(parts: list[tuple[float, float, float, float]], size_wh: tuple[int, int], split: float = 1.0):
    """Targets of one keypoint whose parts are (x, y, width, share)."""
    table = torch.tensor([[parts]])
    x, y = targets.render(table[..., :2], table[..., 2], table[..., 3], size_wh, split)
    return x[0, 0].numpy(), y[0, 0].numpy()


def test_a_point_is_a_bell_over_the_bins():
    x, y = render([(1, 0, 1, 1)], (4, 2))
    # Heights e^-1/2, 1, e^-1/2, e^-2 = .6065, 1, .6065, .1353, sum 2.3484; on y 1, e^-1/2, sum 1.6065.
    assert x == pytest.approx([0.25827, 0.42582, 0.25827, 0.05763], abs=1e-5)
    assert y == pytest.approx([0.62246, 0.37754], abs=1e-5)


def test_bins_lie_a_fraction_of_a_pixel_apart():
    x, y = render([(1.5, 0, 1, 1)], (4, 2), split=2)
    assert (len(x), len(y), x.argmax()) == (8, 4, 3)
    # One bin to the side is half a pixel: e^-1/8 of the height.
    assert x[2] / x[3] == pytest.approx(math.exp(-1 / 8), abs=1e-5)


def test_parts_keep_their_shares():
    # Three quarters about 16, one quarter about 48 and twice as wide: the halves meet far from both.
    x, _ = render([(16, 5, 2, 0.75), (48, 5, 4, 0.25)], (64, 16), split=2)
    assert (x[:64].sum(), x[64:].sum()) == (pytest.approx(0.75, abs=1e-3), pytest.approx(0.25, abs=1e-3))


def test_a_part_without_share_may_have_no_place():
    alone, beside = render([(3, 4, 1, 1)], (8, 8)), render([(3, 4, 1, 1), (NAN, NAN, 1, 0)], (8, 8))
    for a, b in zip(alone, beside, strict=True):
        assert np.array_equal(a, b)


def test_no_share_at_all_gives_nothing():
    x, y = render([(3, 4, 1, 0), (NAN, NAN, 1, 0)], (8, 8))
    assert not x.any() and not y.any()


@given(st.floats(0, 31), st.floats(0, 15), st.floats(0.5, 5), st.floats(0.05, 0.95), st.sampled_from([1.0, 2.0, 4.0]))
def test_targets_sum_to_one(x, y, sigma, share, split):
    for axis in render([(x, y, sigma, share), (31 - x, 15 - y, sigma, 1 - share)], (32, 16), split):
        assert axis.sum() == pytest.approx(1, abs=1e-5)
        assert (axis >= 0).all()


@pytest.mark.parametrize(
    ("x", "y", "there"),
    [(0, 0, True), (3, 1, True), (-0.1, 0, False), (3.1, 0, False), (0, 1.1, False), (NAN, 0, False)],
    ids=["first-pixel", "last-pixel", "left-of-it", "right-of-it", "below-it", "nowhere"],
)
def test_inside_is_between_the_first_and_the_last_pixel(x, y, there):
    assert bool(targets.inside(torch.tensor([x, y]), (4, 2))) is there


def test_transform_rotates_scales_and_shifts():
    # A quarter turn (x, y) -> (-y, x), twice as large, then (10, 20) on.
    affine = torch.tensor([[[0.0, -2.0, 10.0], [2.0, 0.0, 20.0]]])
    assert targets.transform(affine, torch.tensor([[[3.0, 4.0]]])).tolist() == [[[2.0, 26.0]]]
    assert targets.zoom(affine).item() == pytest.approx(2)


@settings(max_examples=60)
@given(
    angle=st.floats(-math.pi, math.pi),
    zoom=st.floats(0.4, 2.5),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    mirrored=st.booleans(),
    means=st.tuples(*[st.floats(20, 44)] * 4),
    widths=st.tuples(st.floats(1, 3), st.floats(1, 3)),
    share=st.floats(0.1, 0.9),
)
def test_a_moved_mixture_is_the_density_of_the_moved_crop(angle, zoom, shift, mirrored, means, widths, share):
    """The density at each crop pixel is that of the picture point it shows: the marginals must be the targets."""
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    affine = np.concatenate([linear, np.array(shift)[:, None]], axis=1)
    in_crop, share_of = np.array(means).reshape(2, 2), np.array([share, 1 - share])
    in_picture = (in_crop - shift) @ np.linalg.inv(linear).T
    sigma = np.array(widths) / zoom

    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1)  # (y, x, 2)
    shown = (grid - np.array(shift)) @ np.linalg.inv(linear).T
    distance = ((shown[:, :, None] - in_picture) ** 2).sum(axis=-1)
    density = (share_of * np.exp(-distance / (2 * sigma**2)) / sigma**2).sum(axis=-1)
    density /= density.sum()

    moved = torch.tensor(affine[None], dtype=torch.float32)
    at = targets.transform(moved, torch.tensor(in_picture[None, None], dtype=torch.float32))
    width = torch.tensor(sigma[None, None], dtype=torch.float32) * targets.zoom(moved)
    x, y = targets.render(at, width, torch.tensor(share_of[None, None], dtype=torch.float32), (64, 64), 1.0)
    assert x[0, 0].numpy() == pytest.approx(density.sum(axis=0), abs=2e-4)
    assert y[0, 0].numpy() == pytest.approx(density.sum(axis=1), abs=2e-4)
