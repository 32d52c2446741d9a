"""From rows of a training set to an augmented batch: the targets say where the pixels went."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.images import read_pixels
from annotator.skeletons import UNION_21
from annotator.students import crop
from annotator.students.cache import Cache
from annotator.training import FACTOR, Part, write_set
from models import targets
from models.dataset import PeopleSet
from models.preprocess import MEAN, STD, Preprocessor
from tests.models.made import CHANNEL, centroid, dotted

SIZE_HW, SPLIT = (128, 96), 4.0
PLAIN = {"colour": 0, "blank": 0, "half_body": 0}


@pytest.fixture(scope="module")
def people(dots_set):
    return PeopleSet(str(dots_set))


@pytest.fixture
def rows(people):
    """A fresh batch of all people."""
    return torch.utils.data.default_collate([people[i] for i in range(len(people))])


def preprocessor(people, seed: int = 0, step: int = 0, **augmentation) -> Preprocessor:
    made = Preprocessor(people.info, SIZE_HW, SPLIT, PLAIN | augmentation, seed)
    made.step = step
    return made


def pixels(batch) -> np.ndarray:
    """Inputs as 0..255, (B, 3, H, W)."""
    return (batch["inputs"] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)).numpy()


def peak(target: tuple[torch.Tensor, torch.Tensor], row: int, k: int) -> np.ndarray:
    """Highest bins, in pixels."""
    return np.array([int(axis[row, k].argmax()) / SPLIT for axis in target])


def flat(value) -> list[torch.Tensor]:
    """All tensors of a nested batch."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [one for part in (value.values() if isinstance(value, dict) else value) for one in flat(part)]


def test_a_check_may_have_other_teachers_and_datasets_than_the_training(people, rows):
    info = people.info | {"teachers": people.info["teachers"] * 2, "label_weight": people.info["label_weight"][:1]}
    found = Preprocessor(info, SIZE_HW, SPLIT)(rows)
    assert torch.equal(found["truth"]["dataset"], rows["dataset"]) and torch.isfinite(found["inputs"]).all()


@pytest.mark.parametrize(
    ("stored_hw", "least", "most"), [((384, 288), 0.95, 1), (None, 0.5, 0.75)], ids=["sharp", "as-it-is"]
)
def test_crops_stored_sharper_show_a_network_the_detail_that_propose_cuts(people, tmp_path, stored_hw, least, most):
    images, table = dotted(tmp_path / "dots", 1)
    grey = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    cv2.imwrite(images.path[0], cv2.GaussianBlur(grey, None, sigmaX=0.6))
    table, size_hw = replace(table, bbox_xywh=4 * table.bbox_xywh), (256, 192)
    write_set(tmp_path / "set", [Part("dots", images, table)], [], UNION_21, Cache(None), size_hw=stored_hw)
    # As a check of a training on crops of another size.
    shown = pixels(Preprocessor(people.info, size_hw)(PeopleSet(str(tmp_path / "set")).batch([0])))[0]
    cut = crop.cut(read_pixels(Path(images.path[0])), crop.affines(table.bbox_xywh, size_hw, FACTOR)[0], size_hw)
    assert least < 1 - ((shown.transpose(1, 2, 0) - cut) ** 2).mean() / cut.var() < most


def test_crops_that_are_kept_are_looked_up(people, rows):
    sent, kept = preprocessor(people, 7, 3), preprocessor(people, 7, 3)
    kept.crops = torch.from_numpy(people.crops)
    without = {name: column.flip(0) for name, column in rows.items() if name != "crop"}
    with_crops = {name: column.flip(0) for name, column in rows.items()}
    assert torch.equal(sent(with_crops, training=True)["inputs"], kept(without, training=True)["inputs"])


def test_same_seed_and_step_give_the_same_batch(people, rows):
    first, second = (preprocessor(people, 7, 3, colour=0.3, blank=1.0)(dict(rows), training=True) for _ in range(2))
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(flat(first), flat(second), strict=True))


@pytest.mark.parametrize(("seed", "step"), [(7, 4), (8, 3)], ids=["another-step", "another-seed"])
def test_another_step_or_seed_gives_another_batch(people, rows, seed, step):
    first = preprocessor(people, 7, 3)(dict(rows), training=True)
    other = preprocessor(people, seed, step)(dict(rows), training=True)
    assert not torch.equal(first["inputs"], other["inputs"])


@pytest.mark.parametrize("source", ["labels", "dots"])
def test_targets_peak_where_the_dots_went_left_and_right_swapped_in_mirror_images(people, rows, source):
    batch = preprocessor(people, flip=0.5)(dict(rows), training=True)
    wanted, weight = batch["targets"]["labels"] if source == "labels" else batch["targets"]["teachers"][source]
    mirrored = (torch.linalg.det(batch["affine"][:, :, :2]) < 0).numpy()
    names, shown, checked = people.info["keypoints"], pixels(batch), 0
    assert 0 < mirrored.sum() < 16
    for row in range(16):
        # What is the right wrist in the picture is the left one of whoever is in the mirror.
        for drawn, name in {"nose": "nose", "right_wrist": "left_wrist" if mirrored[row] else "right_wrist"}.items():
            k, dot = names.index(name), shown[row, CHANNEL[drawn]]
            if weight[row, k] > 0 and dot[[0, -1]].max() + dot[:, [0, -1]].max() < 1:
                assert peak(wanted, row, k) == pytest.approx(centroid(dot), abs=0.8)
                checked += 1
    assert checked > 15


def test_a_teachers_target_is_its_mixture_moved_by_hand(people, rows):
    batch = preprocessor(people, flip=1.0, rotate_share=1.0)(dict(rows), training=True)
    (along_x, along_y), _ = batch["targets"]["teachers"]["dots"]
    left, right = (people.info["keypoints"].index(f"{side}_wrist") for side in ("left", "right"))
    affine = batch["affine"].numpy().astype(np.float64)
    zoom = np.sqrt(np.abs(np.linalg.det(affine[:, :, :2])))
    at_x, at_y = np.arange(96 * 4) / 4, np.arange(128 * 4) / 4
    for row in range(16):
        parts = rows["teacher_xy"][row, 0, left].numpy() @ affine[row, :, :2].T + affine[row, :, 2]
        sigma = np.hypot(1.6, float(rows["teacher_sigma"][row, 0, left]) * zoom[row])
        share = rows["teacher_share"][row, 0, left].numpy() * ((parts >= 0) & (parts <= [95, 127])).all(axis=1)
        for at, axis, found in ((at_x, 0, along_x), (at_y, 1, along_y)):
            hill = (share * np.exp(-((at[:, None] - parts[:, axis]) ** 2) / (2 * sigma**2))).sum(axis=1)
            # Mirrored: what the teacher said of the left wrist is a target for the right one.
            assert found[row, right].numpy() == pytest.approx(hill / max(hill.sum(), 1e-12), abs=1e-4)


def test_labels_weigh_what_their_dataset_is_trusted_and_nothing_where_it_labels_nothing(people, rows):
    still = preprocessor(people, flip=0, scale=(1, 1), rotate=0, shift=0)
    _, weight = still(dict(rows), training=True)["targets"]["labels"]
    nose, pelvis, knee = (people.info["keypoints"].index(name) for name in ("nose", "pelvis", "left_knee"))
    # COCO people (first eight) are trusted fully and lack the pelvis; MPII people half, and lack the nose.
    assert weight[:, nose].tolist() == [1.0] * 8 + [0.0] * 8
    assert weight[:, pelvis].tolist() == [0.0] * 8 + [0.5] * 8
    assert weight[:, knee].tolist() == [1.0] * 8 + [0.5] * 8


def test_what_leaves_the_crop_has_no_target(people, rows):
    k = people.info["keypoints"].index("right_wrist")
    rows["xy"][:, k] += 1000
    rows["teacher_xy"][:, 0, k] += 1000
    wanted = preprocessor(people, flip=0)(dict(rows), training=True)["targets"]
    for target, weight in (wanted["labels"], wanted["teachers"]["dots"]):
        assert not weight[:, k].any()
        assert not any(axis[:, k].any() for axis in target)


@pytest.mark.parametrize(("score", "speaks"), [(0.19, False), (0.21, True)])
def test_an_unsure_teacher_says_nothing(people, rows, score, speaks):
    k = people.info["keypoints"].index("right_wrist")
    rows["teacher_score"][:, 0, k] = score
    batch = preprocessor(people, flip=0, shift=0)(dict(rows), training=True)
    _, sure = batch["targets"]["teachers"]["dots"]
    assert sure[:, k].any().item() is speaks


def test_checking_sees_the_middle_of_each_crop_whatever_the_step(people, rows):
    batches = [preprocessor(people, step=step)(dict(rows), training=False) for step in (0, 5)]
    assert torch.equal(batches[0]["inputs"], batches[1]["inputs"])
    assert torch.equal(batches[0]["truth"]["v"], rows["v"])
    # A box of 60 x 80 times 1.25 fills the crop: 128 / 100 = 1.28; its middle (80, 60) lies at (48, 64).
    expected = [[1.28, 0, 48 - 80 * 1.28], [0, 1.28, 64 - 60 * 1.28]]
    assert batches[0]["affine"].numpy() == pytest.approx(np.array([expected] * 16), abs=1e-3)
    assert targets.zoom(batches[0]["affine"]).numpy() == pytest.approx(1.28)


@pytest.mark.parametrize(("trust", "spoken"), [(1.0, True), (0.0, False)], ids=["trusted", "not-trusted"])
def test_a_keypoint_is_known_from_its_label_or_from_a_trusted_teacher(people, rows, trust, spoken):
    nose, eye = (people.info["keypoints"].index(name) for name in ("nose", "left_eye"))
    # The teacher finds noses, of which half lose their labels, and no eyes, whose labels MPII's people lack.
    rows["xy"][::2, nose], rows["v"][::2, nose] = torch.nan, 0
    info = people.info | {"teachers": [one | {"trust": trust} for one in people.info["teachers"]]}
    batch = Preprocessor(info, SIZE_HW, SPLIT, PLAIN | {"flip": 0}, known=True)(dict(rows), training=True)
    known = torch.isfinite(batch["known"]).all(dim=-1)
    labelled = (rows["v"] > 0) & targets.inside(batch["targets"]["xy"], SIZE_HW[::-1])
    coco = rows["dataset"] == people.info["datasets"].index("coco")
    assert torch.equal(batch["known"][labelled], batch["targets"]["xy"][labelled])
    assert bool(known[::2, nose][coco[::2]].all()) is spoken
    assert not known[~coco, eye].any()
