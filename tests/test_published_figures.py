"""Published predictions give the published figures.

`hg_s2_b1` and `hg_s8_b1`: table "PCKh@0.5 on the validation set" of github.com/bearpaw/pytorch-pose (README, rows
"last"), whose mean is the plain mean over 14 keypoints; its truth is `pos_gt_src` with `headboxes_src`.
CPM: Wei et al., Convolutional pose machines, CVPR 2016, section on LSP (person-centric), 84.32 and 90.5; the yardstick
is the one of its code (testing/src/run_benchmark.m: rows 10 and 3 of joints.mat, left shoulder and right hip).
Newell's and Tompson's means on these 2,958 people are no published figures: they come from an independent script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from annotator.derived import head_size
from annotator.metrics import mpii_parts, pck, pck_hits, torso_size
from annotator.metrics.pck import in_mpii_mean
from annotator.skeletons import LSP_14, MPII_16

h5py = pytest.importorskip("h5py")
MPII, LSP = Path("annotations_only/mpii_valid_predictions"), Path("annotations_only/lsp_test_predictions")
PARTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def stored(path: Path) -> np.ndarray:
    """A file's predictions as (2958, 16, 2)."""
    if path.suffix == ".mat":
        return loadmat(path)["preds"].astype(float)
    with h5py.File(path) as file:
        preds = file["preds"][:].astype(float)
    return preds if preds.shape[-1] == 2 else preds.transpose(2, 1, 0)


@pytest.fixture(scope="session")
def detections(data: Path) -> dict[str, np.ndarray]:
    """Truth of MPII's 2,958 validation people as Tompson et al. and bearpaw evaluate against it."""
    return loadmat(data / MPII / "detections_our_format.mat")


@pytest.mark.parametrize(
    ("name", "published", "mean"),
    [
        ("hg_s2_b1", (95.80, 94.57, 88.12, 83.31, 86.24, 80.88, 77.44), 86.76),
        ("hg_s8_b1", (96.79, 95.19, 90.08, 85.32, 87.48, 84.26, 80.73), 88.64),
    ],
)
def test_hourglasses_get_their_published_pckh(data, detections, name, published, mean):
    truth, boxes = detections["pos_gt_src"].transpose(2, 0, 1), detections["headboxes_src"]
    head = 0.6 * np.linalg.norm(boxes[1] - boxes[0], axis=0)
    labelled = detections["jnt_missing"].T == 0
    xy = stored(data / MPII / f"bearpaw-{name}.mat")
    parts = mpii_parts(*pck_hits(xy, truth, labelled, head, 0.5), MPII_16)
    assert [round(100 * parts[part], 2) for part in PARTS] == list(published)
    share = pck(xy, truth, labelled, head, 0.5)[in_mpii_mean(MPII_16)]
    assert round(100 * share.mean(), 2) == mean


@pytest.mark.parametrize(
    ("file", "mean"),
    [
        ("newell.h5", 88.4),
        ("tompson.h5", 82.3),
        ("bearpaw-hg_s1_b1.mat", 85.1),
        ("bearpaw-hg_s2_b1.mat", 87.3),
        ("bearpaw-hg_s8_b1.mat", 89.1),
    ],
)
def test_pckh_by_the_stored_head_size_agrees_with_an_independent_script(data, file, mean):
    with h5py.File(data / MPII / "valid.h5") as valid:
        truth, head = valid["part"][:], valid["normalize"][:]
    labelled = (truth != 0).any(axis=2)
    parts = mpii_parts(*pck_hits(stored(data / MPII / file), truth, labelled, head, 0.5), MPII_16)
    assert round(100 * parts["mean"], 1) == mean


def test_head_size_from_two_keypoints_stands_in_for_the_head_box(detections):
    boxes, missing = detections["headboxes_src"], detections["jnt_missing"].T == 1
    whole = ~missing[:, [8, 9]].any(axis=1)
    ours = head_size(detections["pos_gt_src"].transpose(2, 0, 1), MPII_16)[whole]
    theirs = 0.6 * np.linalg.norm(boxes[1] - boxes[0], axis=0)[whole]
    median, most = np.percentile(np.abs(ours / theirs - 1), [50, 99])
    assert median < 1e-5
    assert most < 0.015  # heads that leave the picture were cut off at its edge


@pytest.mark.parametrize(("file", "total"), [("cpm_LSP_6s", 84.32), ("cpm_MPII_LSP_6s", 90.5)])
def test_pose_machines_get_their_published_pck(data, file, total):
    truth = loadmat(data / "lsp/joints.mat")["joints"][:2, :, 1000:].transpose(2, 1, 0)
    xy = loadmat(data / LSP / f"{file}.mat")["prediction_all"].transpose(2, 0, 1).astype(float)
    share = pck(xy, truth, np.ones((1000, 14), bool), torso_size(truth, LSP_14), 0.2)
    assert round(100 * share.mean(), 2) == total
