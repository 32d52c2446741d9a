"""Augmentation: where the pixels go is where the points go."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import augment
from models.augment import NONE, Augmentation
from models.recipe import load_recipe
from tests.models.made import blob, centroid

STORED, CONTEXT = (320, 240), 1.5
NOWHERE = np.full((1, 4, 2), np.nan)
MOVED = Augmentation(half_body=0, colour=0, blank=0)


def affines(n: int, how: Augmentation, seed: int = 0, size_hw: tuple[int, int] = (128, 96), points=None):
    points = np.tile(NOWHERE, (n, 1, 1)) if points is None else points
    return augment.affines(points, STORED, size_hw, CONTEXT, how, np.random.default_rng(seed))


def moved(affine: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points (K, 2) by one affine (2, 3)."""
    return xy @ affine[:, :2].T + affine[:, 2]


@pytest.mark.parametrize("size_hw", [(256, 192), (128, 96), (96, 96)], ids=["full", "half", "square"])
@pytest.mark.parametrize("flip", [0.0, 1.0], ids=["as-is", "mirrored"])
def test_a_drawn_dot_lands_where_its_label_lands(size_hw, flip):
    how, dot = Augmentation(flip=flip, half_body=0), np.array([130.0, 150.0])
    crop = np.repeat((255 * blob(STORED[::-1], dot, sigma=3)).round().astype(np.uint8)[..., None], 3, axis=2)
    affine, mirrored = affines(40, how, seed=3, size_hw=size_hw)
    pixels = augment.warp(torch.from_numpy(np.stack([crop] * 40)), affine, size_hw)
    assert mirrored.all() == bool(flip)
    for one, matrix in zip(pixels[:, 0].numpy(), affine, strict=True):
        # A dot of half a pixel's width, rounded to 8 bits, has its middle to a quarter of a pixel.
        assert centroid(one) == pytest.approx(moved(matrix, dot[None])[0], abs=0.25)


def test_a_mirror_image_is_the_crop_read_backwards():
    # Index i of the plain crop is index W - 1 - i of the mirror image.
    plain, mirrored = (affines(1, Augmentation(flip, (1, 1), 0, 0, 0, 0, 0, 0))[0][0] for flip in (0, 1))
    at = np.array([[100.0, 30.0], [7.0, 200.0]])
    assert moved(mirrored, at) == pytest.approx(moved(plain, at) * [-1, 1] + [95, 0])


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        # 240 stored pixels show 1.5 x 96 network pixels' worth: .6; the middle (120, 160) goes to the middle (48, 64).
        ((128, 96), [[0.6, 0, -24], [0, 0.6, -32]]),
        ((256, 192), [[1.2, 0, -48], [0, 1.2, -64]]),
        # A square shows all of the upright crop's height: 1.5 x 64 / 320 = .3.
        ((64, 64), [[0.3, 0, -4], [0, 0.3, -16]]),
    ],
    ids=["half", "full", "square"],
)
def test_no_augmentation_only_cuts_out_the_middle(size_hw, expected):
    affine, mirrored = affines(2, NONE, size_hw=size_hw)
    assert affine == pytest.approx(np.array([expected, expected]))
    assert not mirrored.any()


def test_no_augmentation_leaves_the_colours():
    pixels = torch.rand(2, 3, 8, 8) * 255
    assert torch.equal(augment.recolour(pixels.clone(), NONE, np.random.default_rng(0)), pixels)


@pytest.mark.parametrize(
    ("recipe", "drawn"),
    [
        ("rtmpose_t", (366.926732, 11, 24, -9049.405, 3923135461)),
        ("evening", (394.677470, 11, 24, 32069.764, 1416172751)),
        ("tiny", (396.714842, 11, 24, 21537.721, 2082544061)),
        ("longer", (376.539138, 11, 23, 27073.794, 3787108845)),
    ],
)
def test_recipes_draw_what_they_drew_when_students_were_trained_with_them(recipe, drawn):
    how = Augmentation(**load_recipe(recipe)["augmentation"])
    of, rng = np.random.default_rng(5), np.random.default_rng(11)
    points = of.uniform((60, 80), (180, 240), (24, 21, 2))
    crops = of.integers(0, 256, (24, 40, 30, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    affine, mirrored = augment.affines(points, STORED, (64, 48), CONTEXT, how, rng)
    pixels = augment.recolour(augment.warp(torch.from_numpy(crops), affine, (64, 48)), how, rng)
    pixels, alone = augment.blended(pixels, 12, how, rng)
    # Sums with random signs, and the next number: one draw more, less or elsewhere would change it.
    by_pixel, by_place = of.normal(size=pixels.shape), of.normal(size=affine.shape)
    sums = (affine * by_place).sum(), mirrored.sum(), int(alone.sum()), (pixels.numpy() * by_pixel).sum()
    assert sums == pytest.approx(drawn[:4], abs=0.05)
    assert rng.integers(2**32) == drawn[4]


def test_zoom_angle_and_shift_stay_within_their_bounds():
    affine, _ = affines(2000, MOVED)
    zoom = np.sqrt(np.abs(np.linalg.det(affine[:, :, :2]))) / 0.6
    angle = np.degrees(np.arctan2(affine[:, 1, 0], affine[:, 1, 1]))
    middle = np.array([moved(one, np.array([[120.0, 160.0]]))[0] for one in affine])
    assert (zoom.min(), zoom.max()) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.35, abs=0.01))
    assert 45 < np.abs(angle).max() <= 60
    assert np.mean(angle == 0) == pytest.approx(0.4, abs=0.04)
    # A shift of at most .08 x 96 = 7.68, and one index less where the crop is mirrored.
    assert (np.abs(middle[:, 0] - 47.5) <= 7.68 + 0.5).all() and (np.abs(middle[:, 1] - 64) <= 0.08 * 128).all()


def test_the_accelerators_warp_is_opencvs_within_rounding():
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (4, 20, 15, 3))
    crops = np.repeat(np.repeat(coarse, 16, axis=1), 16, axis=2).round().astype(np.uint8)
    crops = torch.from_numpy(crops)
    affine, _ = affines(4, MOVED, seed=1)
    here = augment.warp(crops, affine, (128, 96))
    there = augment.warp_on_device(crops, affine, (128, 96))
    shifted = augment.warp_on_device(crops, affine + np.array([[0, 0, 0.1], [0, 0, 0]]), (128, 96))
    # OpenCV rounds places to 1/32 pixel and values to whole numbers; a tenth of a pixel would be three times that.
    assert (here - there).abs().mean() < 0.7
    assert (here - shifted).abs().mean() > 3 * (here - there).abs().mean()


def test_beyond_the_stored_crop_all_is_black():
    white = torch.full((1, *STORED, 3), 255, dtype=torch.uint8)
    far = np.array([[[1.0, 0, 50], [0, 1, 0]]])
    for warp in (augment.warp, augment.warp_on_device):
        pixels = warp(white, far, (64, 64))
        assert (pixels[..., :49] == 0).all() and (pixels[..., 51:] == 255).all()


def test_a_half_body_crop_holds_one_half_and_is_closer():
    rng = np.random.default_rng(5)
    # With its margin of at most 1.8 a half is less than 180 pixels high, of the 213 that an unmoved crop shows.
    points = np.stack([rng.uniform(100, 140, (50, 12)), rng.uniform(110, 210, (50, 12))], axis=2)
    affine, _ = affines(50, Augmentation(0, (1, 1), 0, 0, 0, 1.0, 0, 0), points=points)
    zoom = np.sqrt(np.linalg.det(affine[:, :, :2]))
    upper = []
    for one, matrix in zip(points, affine, strict=True):
        by_height = moved(matrix, one[np.argsort(one[:, 1])])
        held = [bool(((half >= 0) & (half <= [95, 127])).all()) for half in (by_height[:6], by_height[6:])]
        assert any(held)
        upper.append(held[0])
    assert (zoom > 0.6).all() and (zoom <= 1.2 + 1e-9).all()
    assert 0.3 < np.mean(upper) < 0.9


def test_with_fewer_than_eight_known_keypoints_nobody_is_halved():
    points = np.full((3, 21, 2), np.nan)
    points[:, :7] = np.random.default_rng(0).uniform(100, 150, (3, 7, 2))
    halved, _ = affines(3, Augmentation(0, (1, 1), 0, 0, 0, 1.0, 0, 0), points=points)
    assert halved == pytest.approx(affines(3, NONE)[0])


def test_colours_stay_in_range_and_blanks_are_squares_of_one_value():
    rng = np.random.default_rng(0)
    pixels = torch.rand(20, 3, 60, 50) * 255
    bright = augment.recolour(pixels.clone(), Augmentation(colour=0.5, blank=0), rng)
    assert bright.min() >= 0 and bright.max() <= 255 and not torch.equal(bright, pixels)
    for before, after in zip(
        pixels, augment.recolour(pixels.clone(), Augmentation(colour=0, blank=1), rng), strict=True
    ):
        rows, columns = torch.nonzero((before != after).any(dim=0), as_tuple=True)
        square = after[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert square.shape[1] == square.shape[2] and 5 <= square.shape[1] <= 20
        assert (square == square[0, 0, 0]).all()


def test_a_pasted_square_shows_what_another_s_crop_shows_there():
    rng = np.random.default_rng(0)
    pixels = torch.rand(20, 3, 60, 50) * 255
    pasted = augment.recolour(pixels.clone(), Augmentation(colour=0, blank=1, paste=1), rng)
    for i in range(20):
        changed = (pasted[i] != pixels[i]).all(dim=0)
        assert 25 <= changed.sum() <= 400 and torch.equal(pasted[i][:, changed], pixels[i - 1][:, changed])


def test_who_is_blended_shows_two_people_and_is_not_alone():
    rng = np.random.default_rng(0)
    pixels = torch.rand(20, 3, 6, 5) * 255
    mixed, alone = augment.blended(pixels, 12, Augmentation(blend=0.5), rng)
    assert alone[12:].all() and 0 < (~alone).sum() < 12
    assert torch.equal(mixed[alone], pixels[alone])
    for i in torch.nonzero(~alone).flatten():
        share = (mixed[i] - pixels[i]) / (pixels[i - 1] - pixels[i])
        assert 0.3 <= share.median() <= 0.7 and torch.allclose(share, share.median(), atol=1e-2)
