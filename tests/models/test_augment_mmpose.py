"""Augmentation as RTMPose has it: draws as MMPose's own transforms make them, pixels as OpenCV moves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest, truncnorm

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import augment_mmpose, openmm_compat
from models.augment import Augmentation
from models.dataset import PeopleSet
from models.preprocess import Preprocessor
from models.recipe import load_recipe
from tests.models.test_steps import Watch

openmm_compat.prepare()

from mmpose.datasets.transforms.common_transforms import RandomBBoxTransform, RandomHalfBody
from mmpose.datasets.transforms.topdown_transforms import TopdownAffine
from mmpose.structures.bbox import get_warp_matrix

STORED, CONTEXT, SIZE_HW, N = (320, 240), 1.5, (256, 192), 4000
CENTRE, BOX = np.array([120.0, 160.0]), np.array([160.0, 320 / 1.5])  # in stored pixels, 1.25 times the person's
BELOW = np.arange(17) >= 11  # COCO's hips, knees and ankles
STAGES = {"first": (1.0, {}), "last": (0.5, load_recipe("paper_t")["last_augmentation"])}


def recipe_of(stage: str) -> Augmentation:
    return Augmentation(**load_recipe("paper_t")["augmentation"] | STAGES[stage][1])


def somebodies(n: int) -> np.ndarray:
    """N people, one row each: 17 keypoints in stored pixels, head above feet, each unlabelled (NaN) now and then."""
    rng = np.random.default_rng(1)
    rows = np.linspace(80, 240, 17)[None] + rng.normal(0, 8, (n, 17))
    points = np.stack([CENTRE[0] + rng.normal(0, 25, (n, 17)), rows], axis=2)
    points[rng.random((n, 17)) < rng.uniform(0, 0.7, (n, 1))] = np.nan
    return points


def theirs(points: np.ndarray, how: Augmentation) -> np.ndarray:
    """Affines (N, 2, 3) of MMPose's transforms, without mirror images."""
    np.random.seed(0)  # noqa: NPY002  (MMPose draws from it)
    n = len(points)
    results = {
        "keypoints": np.nan_to_num(points), "keypoints_visible": np.isfinite(points[..., 0]).astype(float),
        "upper_body_ids": list(np.flatnonzero(~BELOW)), "lower_body_ids": list(np.flatnonzero(BELOW)),
        "bbox_center": np.tile(CENTRE, (n, 1)), "bbox_scale": np.tile(BOX, (n, 1)),
    }  # fmt: skip
    results = RandomHalfBody().transform(results)
    moved = RandomBBoxTransform(how.shift, scale_factor=how.scale, rotate_factor=how.rotate)
    results = moved.transform(results)
    size_wh = SIZE_HW[::-1]
    grown = TopdownAffine._fix_aspect_ratio(results["bbox_scale"], size_wh[0] / size_wh[1])
    rows = zip(results["bbox_center"], grown, results["bbox_rotation"], strict=True)
    return np.array([get_warp_matrix(*row, output_size=size_wh) for row in rows])


def ours(points: np.ndarray, how: Augmentation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return augment_mmpose.affines(points, BELOW, STORED, SIZE_HW, CONTEXT, how, rng)


def told(affine: np.ndarray) -> dict[str, np.ndarray]:
    """What affines (N, 2, 3) are: zoom of a box as it is, degrees, and which stored pixel lies in the middle, (N,)."""
    square = np.concatenate([affine, np.tile([[[0.0, 0, 1]]], (len(affine), 1, 1))], axis=1)
    middle = np.linalg.inv(square) @ [SIZE_HW[1] / 2, SIZE_HW[0] / 2, 1]
    zoom = np.sqrt(np.abs(np.linalg.det(affine[:, :, :2]))) / 1.2
    degrees = np.degrees(np.arctan2(affine[:, 1, 0], affine[:, 1, 1]))
    # OpenCV's affines are of 32 bits: what is the same is the same to three digits.
    return {"zoom": zoom, "degrees": degrees.round(3) + 0.0, "x": middle[:, 0].round(3), "y": middle[:, 1].round(3)}


@pytest.fixture(scope="module", params=STAGES)
def drawn(request) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Ours and MMPose's draws for the same people, of whom .3 of those with enough labels are halved."""
    how, points = recipe_of(request.param), somebodies(N)
    affine, mirrored = ours(points, how)
    affine[mirrored, 0] *= -1  # MMPose mirrors the picture before it draws the crop
    affine[mirrored, 0, 2] += SIZE_HW[1]
    return told(affine), told(theirs(points, how))


def test_numbers_are_normal_cut_at_one_sigma_as_scipy_draws_them_for_mmpose():
    numbers = augment_mmpose.truncated_normal(np.random.default_rng(0), (100_000,))
    # Uniform ones would be off by .02.
    assert kstest(numbers, truncnorm(-1, 1).cdf).statistic < 0.006


@pytest.mark.parametrize("name", ["zoom", "degrees", "x", "y"])
def test_crops_are_moved_as_mmpose_moves_them(drawn, name):
    here, there = (side[name] for side in drawn)
    # The shares below any number; two samples of one distribution differ by .044 in one case of a thousand.
    assert ks_2samp(here, there).statistic < 0.04


def test_as_many_crops_are_not_turned_and_not_shifted_as_mmpose_leaves(drawn):
    here, there = drawn
    for name, at in (("degrees", 0), ("x", CENTRE[0])):
        still = [np.mean(np.abs(side[name] - at) < 1e-3) for side in (here, there)]
        assert still[0] == pytest.approx(still[1], abs=0.03) and still[0] > 0.3


@pytest.mark.parametrize("stage", STAGES)
def test_a_box_of_scale_s_is_a_zoom_of_one_over_s(stage):
    how, nowhere = recipe_of(stage), np.full((N, 17, 2), np.nan)
    low, high = how.scale
    for affine in (ours(nowhere, how)[0], theirs(nowhere, how)):
        box = 1 / told(affine)["zoom"]
        assert (box.min(), box.max()) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
        # A normal cut at one sigma has a deviation of .54 of it.
        assert (box.mean(), box.std()) == (pytest.approx(1, abs=0.01), pytest.approx(0.54 * (high - 1), rel=0.03))


@pytest.mark.parametrize(
    ("upper", "lower", "halves"),
    [
        (5, 3, {"": 1.0}),  # 8 labels, of the 9 it takes
        (7, 2, {"": 0.7, "upper": 0.3}),  # two of the lower body are too few
        (3, 6, {"": 0.7, "upper": 0.21, "lower": 0.09}),
        (11, 6, {"": 0.7, "upper": 0.21, "lower": 0.09}),
    ],
    ids=["too-few", "no-lower-half", "as-few-as-will-do", "all"],
)
def test_halves_are_those_of_mmpose(upper, lower, halves):
    points = np.full((N, 17, 2), np.nan)
    rng = np.random.default_rng(2)
    points[:, :upper] = rng.uniform((90, 60), (150, 140), (upper, 2))
    points[:, 11 : 11 + lower] = rng.uniform((100, 180), (140, 280), (lower, 2))
    still = Augmentation(flip=0, scale=(1, 1), rotate=0, shift=0, half_body=0.3, mmpose=True)
    for affine in (ours(points, still)[0], theirs(points, still)):
        middle = np.stack([told(affine)[axis] for axis in "xy"], axis=1)
        of_half = {"upper": points[0, :upper], "lower": points[0, 11 : 11 + lower]}
        middles = {"": CENTRE} | {name: half.mean(axis=0) for name, half in of_half.items()}
        shares = {name: np.mean(np.abs(middle - at).max(axis=1) < 0.01) for name, at in middles.items()}
        assert shares == pytest.approx({name: halves.get(name, 0.0) for name in middles}, abs=0.02)


def test_a_half_is_cut_exactly_where_mmpose_cuts_it():
    points = somebodies(400)
    still = Augmentation(flip=0, scale=(1, 1), rotate=0, shift=0, half_body=1.0, mmpose=True)
    whole = ours(points, replace(still, half_body=0))[0]
    seen = theirs(points, still)
    # In forty draws everybody's upper and lower half, where both will do, were drawn at least once.
    nearest = np.min([np.abs(ours(points, still, seed)[0] - seen).max(axis=(1, 2)) for seed in range(40)], axis=0)
    halved = np.abs(seen - whole).max(axis=(1, 2)) > 1e-3
    assert halved.sum() > 50 and (nearest[halved] < 1e-3).all()


def test_mirror_images_are_half_of_all_and_otherwise_the_same():
    how, nowhere = recipe_of("first"), np.full((N, 17, 2), np.nan)
    affine, mirrored = ours(nowhere, how)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.03)
    assert ((np.linalg.det(affine[:, :, :2]) < 0) == mirrored).all()


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Colours of all kinds, (8, 3, 48, 40), whole numbers."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 3, 6, 5)).repeat(8, axis=2).repeat(8, axis=3)
    grey = np.broadcast_to(rng.integers(0, 256, (8, 1, 48, 40)), coarse.shape)
    mixed = np.where(rng.random((8, 1, 48, 40)) < 0.2, grey, coarse + rng.integers(-9, 10, coarse.shape))
    return torch.from_numpy(mixed.clip(0, 255)).float()


def by_opencv(pixels: torch.Tensor, of_one) -> np.ndarray:
    """What a function of an RGB picture (H, W, 3) of 8 bits makes of each, (B, 3, H, W)."""
    pictures = pixels.permute(0, 2, 3, 1).numpy().astype(np.uint8)
    return np.stack([of_one(np.ascontiguousarray(one)) for one in pictures]).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("by", [(0, 0, 0), (4, 0, 0), (-4, 0, 0), (0, 29, 0), (0, -29, 0), (0, 0, 29), (3, -20, -29)])
def test_hue_saturation_and_value_move_as_opencv_would_move_them(photographs, by):
    def of_one(picture):
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.int16) + np.array(by, dtype=np.int16)
        hsv[..., 0] %= 180
        return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)

    found = augment_mmpose.hsv_moved(photographs.clone(), np.tile(np.array(by, dtype=float), (8, 1))).numpy()
    off = np.abs(found - by_opencv(photographs, of_one))
    # OpenCV divides by tables: one hue in fifty is a step beside its own, which is up to nine levels of a channel.
    assert np.median(off) == 0 and np.quantile(off, 0.95) <= 1 and off.max() <= 12


def test_values_move_as_often_and_as_far_as_in_mmdetection():
    grey = torch.full((N, 3, 2, 2), 100.0)
    how = Augmentation(colour=0, blank=0, hsv=(0, 0, 30))
    by = augment_mmpose.recolour(grey, how, np.random.default_rng(0))[:, 0, 0, 0].numpy() - 100
    # Half of the crops, by a uniform number cut to a whole one: 29 at most, and of these one in thirty by none.
    assert np.mean(by == 0) == pytest.approx(0.5 + 0.5 / 30, abs=0.02)
    assert (by.min(), by.max()) == (-29, 29)
    assert np.abs(by[by != 0]).mean() == pytest.approx(15, abs=0.5)


@pytest.mark.parametrize(
    ("smooth", "opencvs"),
    [
        (augment_mmpose.averaged, lambda picture, side: cv2.blur(picture, (side, side))),
        (augment_mmpose.median, cv2.medianBlur),
    ],
    ids=["blur", "median"],
)
@pytest.mark.parametrize("side", [3, 5, 7])
def test_blur_is_opencvs(photographs, smooth, opencvs, side):
    wanted = by_opencv(photographs, lambda picture: opencvs(picture, side))
    assert np.array_equal(smooth(photographs, side).numpy(), wanted)


@pytest.mark.parametrize(("name", "smooth"), [("blur", augment_mmpose.averaged), ("median", augment_mmpose.median)])
def test_one_crop_in_ten_is_blurred_and_each_side_is_as_likely(photographs, name, smooth):
    crops = photographs[:1].repeat(3000, 1, 1, 1)[..., :16, :16]
    how = Augmentation(**{"colour": 0, "blank": 0, name: 0.1})
    found = augment_mmpose.recolour(crops.clone(), how, np.random.default_rng(0))
    share = [(found == smooth(crops[:1], side)).flatten(1).all(dim=1).float().mean().item() for side in (3, 5, 7)]
    assert share == pytest.approx([0.1 / 3] * 3, abs=0.012)
    assert (found == crops).flatten(1).all(dim=1).float().mean().item() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("stage", STAGES)
def test_a_hole_is_black_two_to_four_tenths_of_each_side_and_anywhere(stage):
    white = torch.full((4000, 3, 40, 30), 255.0)
    how = Augmentation(colour=0, blank=0, hole=recipe_of(stage).hole)
    black = (augment_mmpose.recolour(white, how, np.random.default_rng(0)) == 0).all(dim=1).numpy()
    holed = black.any(axis=(1, 2))
    assert holed.mean() == pytest.approx(STAGES[stage][0], abs=0.03)
    rows, columns = black[holed].any(axis=2), black[holed].any(axis=1)
    for at, length in ((rows, 40), (columns, 30)):
        side = at.sum(axis=1)
        # int(length * uniform(.2, .4)), which the upper end is not reached by.
        assert (side.min(), side.max()) == (0.2 * length, 0.4 * length - 1)
        assert at[:, 0].any() and at[:, -1].any()
    assert np.array_equal(black[holed].sum(axis=(1, 2)), rows.sum(axis=1) * columns.sum(axis=1))


def test_a_batch_augmented_so_is_sent_ahead_and_nothing_of_it_is_read_back(dots_set):
    people = PeopleSet(str(dots_set))
    how = load_recipe("paper_t")["augmentation"] | {"blur": 1.0, "median": 1.0}
    prepare = Preprocessor(people.info, (64, 64), 2.0, how).to("meta")
    prepare.crops, people.with_crops = torch.from_numpy(people.crops).to("meta"), False
    rows = people.batch(list(range(8)))
    with Watch() as watch:
        prepare(rows, training=True)
    assert watch.sent["ahead"] > 5 and not watch.sent["waiting"] and not watch.read


@pytest.mark.parametrize("change", [{"hsv": (90, 0, 0)}, {"blur": 1.0}, {"median": 1.0}, {"hole": 1.0}])
def test_pixels_of_a_batch_in_training_are_changed_as_the_recipe_says(dots_set, change):
    people = PeopleSet(str(dots_set))

    def made(how: dict[str, Any], *, training: bool) -> torch.Tensor:
        prepare = Preprocessor(people.info, (64, 64), 2.0, {"colour": 0, "blank": 0} | how)
        return prepare(people.batch(list(range(8))), training=training)["inputs"]

    assert not torch.equal(made(change, training=True), made({}, training=True))
    assert torch.equal(made(change, training=False), made({}, training=False))


def test_half_bodies_are_those_of_labels_whatever_teachers_say(dots_set):
    people = PeopleSet(str(dots_set))
    names = people.info["keypoints"]
    rows = people.batch(list(range(len(people))))
    how = {"flip": 0, "scale": (1, 1), "rotate": 0, "shift": 0, "half_body": 1.0, "mmpose": True}
    prepare = Preprocessor(people.info, (128, 96), 4.0, how)
    whole = Preprocessor(people.info, (128, 96), 4.0, how | {"half_body": 0})(dict(rows), training=True)["affine"]
    assert not torch.allclose(prepare(dict(rows), training=True)["affine"], whole)
    # With eight labels left, a teacher that is sure of another keypoint makes nobody nine.
    rows["xy"][:, [k for k in range(len(names)) if k not in (5, 6, 7, 8, 9, 10, 11, 12)]] = torch.nan
    assert torch.allclose(prepare(dict(rows), training=True)["affine"], whole)
