"""Metrics: hand-worked numbers, laws, and pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotator.metrics import (
    bootstrap_ratios,
    interval,
    keypoint_similarity,
    match_by_oks,
    mean_oks,
    mpii_parts,
    oks,
    pck,
    pck_hits,
    torso_size,
)
from annotator.metrics.bootstrap import image_weights
from annotator.metrics.coco_ap import AP_NAMES
from annotator.skeletons import COCO_17, LSP_14, MPII_16

SIGMAS = np.array(COCO_17.oks_sigmas)


# --- OKS -------------------------------------------------------------------------------------------------------------


def test_oks_of_a_person_worked_by_hand():
    # scale 10, sigma .05: 2 s^2 (2 sigma)^2 = 2. Distances 0, 1 and 2 px: 1, exp(-1/2), exp(-2); the fourth is
    # unlabelled and does not count: (1 + .606531 + .135335) / 3.
    truth = np.array([[[5.0, 5.0], [5.0, 6.0], [7.0, 5.0], [np.nan, np.nan]]])
    xy = np.full((1, 4, 2), 5.0)
    assert oks(xy, truth, np.array([[2, 1, 2, 0]]), np.array([10.0]), [0.05] * 4)[0] == pytest.approx(
        0.5806220, abs=1e-7
    )


def test_similarity_is_0_without_prediction_and_nan_without_label():
    truth, xy = np.array([[[1.0, 1.0], [np.nan, np.nan]]]), np.array([[[np.nan, np.nan], [3.0, 3.0]]])
    assert np.array_equal(keypoint_similarity(xy, truth, np.ones(1), [0.1, 0.1]), [[0.0, np.nan]], equal_nan=True)


def test_mean_oks_leaves_out_people_without_labels():
    truth = np.array([[[1.0, 1.0]], [[np.nan, np.nan]]])
    assert mean_oks(np.ones((2, 1, 2)), truth, np.array([[2], [0]]), np.ones(2), [0.1]) == 1.0
    assert np.isnan(mean_oks(np.ones((1, 1, 2)), truth[1:], np.array([[0]]), np.ones(1), [0.1]))


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1, 300), spread=st.floats(0, 200))
@settings(max_examples=60, deadline=None)
def test_oks_equals_that_of_pycocotools(seed, scale, spread):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 640, (3, 17, 2))
    xy, v, area = (
        truth + rng.normal(0, spread, truth.shape),
        rng.integers(0, 3, (3, 17)),
        scale**2 * rng.uniform(0.5, 2, 3),
    )
    v[:, 0] = 2
    theirs = COCOeval(iouType="keypoints")
    box = [0.0, 0.0, 1.0, 1.0]
    triples = np.concatenate([truth, v[..., None]], axis=2).reshape(3, -1)
    theirs._gts[1, 1] = [{"keypoints": k.tolist(), "bbox": box, "area": a} for k, a in zip(triples, area, strict=True)]
    predicted = np.concatenate([xy, np.ones((3, 17, 1))], axis=2).reshape(3, -1)
    theirs._dts[1, 1] = [{"keypoints": k.tolist(), "score": -i} for i, k in enumerate(predicted)]
    ours = oks(xy, np.where(v[..., None] > 0, truth, np.nan), v, np.sqrt(area), SIGMAS)
    np.testing.assert_allclose(ours, theirs.computeOks(1, 1).diagonal(), atol=1e-9, rtol=0)


# --- PCK -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "threshold", "correct"),
    [(5.0, 0.5, True), (5.1, 0.5, False), (1.0, 0.1, True), (1.1, 0.1, False)],
    ids=["on the border", "past it", "on the finer border", "past that"],
)
def test_keypoint_is_correct_up_to_and_with_the_threshold(error, threshold, correct):
    xy, truth = np.array([[[error, 0.0]]]), np.zeros((1, 1, 2))
    assert pck(xy, truth, np.ones((1, 1), bool), np.array([10.0]), threshold)[0] == correct


def test_pck_counts_missing_predictions_as_wrong_and_skips_what_has_no_label_or_yardstick():
    # Four people: right, no prediction, no label, no yardstick. Two count, one is right.
    xy = np.array([[[0.0, 0.0]], [[np.nan, np.nan]], [[0.0, 0.0]], [[0.0, 0.0]]])
    truth = np.array([[[0.0, 0.0]], [[0.0, 0.0]], [[np.nan, np.nan]], [[0.0, 0.0]]])
    labelled = np.isfinite(truth).all(axis=2)
    assert pck(xy, truth, labelled, np.array([10.0, 10.0, 10.0, np.nan]), 0.5)[0] == 0.5


def test_torso_is_left_shoulder_to_right_hip():
    xy = np.full((1, 14, 2), 100.0)
    xy[0, LSP_14.index("left_shoulder")], xy[0, LSP_14.index("right_hip")] = (3.0, 4.0), (0.0, 0.0)
    assert torso_size(xy, LSP_14)[0] == 5.0


def test_mpii_mean_weighs_keypoints_by_their_labels_and_leaves_out_the_trunk():
    # 2 people. Both wrists labelled in both, the left always right, the right never; the head labelled once and right;
    # pelvis wrong twice. wrist = (1 + 0) / 2, head = 1, mean = (2 + 0 + 1) / (2 + 2 + 1).
    counted, hits = np.zeros((2, 16), bool), np.zeros((2, 16), bool)
    for name, n, right in (("left_wrist", 2, 2), ("right_wrist", 2, 0), ("head_top", 1, 1), ("pelvis", 2, 0)):
        counted[:n, MPII_16.index(name)], hits[:right, MPII_16.index(name)] = True, True
    parts = mpii_parts(hits, counted, MPII_16)
    assert (parts["wrist"], parts["head"], parts["mean"]) == (0.5, 1.0, 0.6)
    assert np.isnan(parts["knee"])


# --- intervals -------------------------------------------------------------------------------------------------------


def test_same_seed_same_resamples_another_seed_others():
    rng = np.random.default_rng(0)
    ratio = (rng.random((20, 1)), np.ones((20, 1)), np.arange(20) // 2, 10, 50)
    assert np.array_equal(bootstrap_ratios(*ratio, seed=1), bootstrap_ratios(*ratio, seed=1))
    assert not np.array_equal(bootstrap_ratios(*ratio, seed=1), bootstrap_ratios(*ratio, seed=2))


def test_people_of_one_image_are_drawn_together():
    # Ten copies of everybody on the same picture know nothing new: the resamples stay the same.
    value = np.random.default_rng(3).random((30, 1))
    alone = bootstrap_ratios(value, np.ones((30, 1)), np.arange(30), 30, 200, seed=5)
    crowd = bootstrap_ratios(
        np.repeat(value, 10, axis=0), np.ones((300, 1)), np.repeat(np.arange(30), 10), 30, 200, seed=5
    )
    np.testing.assert_allclose(alone, crowd)


def test_interval_of_a_share_is_about_two_standard_errors_wide():
    # 400 pictures of one keypoint each, 80 % right: the standard error is sqrt(.8 x .2 / 400) = .02.
    hits = (np.arange(400) % 5 > 0)[:, None]
    low, high = interval(bootstrap_ratios(hits, np.ones((400, 1)), np.arange(400), 400, 4000, seed=0))[:, 0]
    assert (low, high) == (pytest.approx(0.8 - 1.96 * 0.02, abs=0.005), pytest.approx(0.8 + 1.96 * 0.02, abs=0.005))


def test_column_that_counts_nothing_has_no_interval():
    samples = bootstrap_ratios(np.zeros((2, 1)), np.zeros((2, 1)), np.arange(2), 2, 10, seed=0)
    assert np.isnan(interval(samples)).all()


def test_weights_draw_as_many_images_as_there_are_in_every_piece(monkeypatch):
    monkeypatch.setattr("annotator.metrics.bootstrap.CHUNK", 30)
    pieces = list(image_weights(10, 8, seed=0))
    assert [len(piece) for piece in pieces] == [3, 3, 2]
    assert (np.concatenate(pieces).sum(axis=1) == 10).all()


# --- AP --------------------------------------------------------------------------------------------------------------


def scene(seed: int, n_images: int = 12, k: int = 5) -> dict[str, Any]:
    """People of all sizes with predictions near and far, some twice, some people without labels, one crowd."""
    rng = np.random.default_rng(seed)
    n = 3 * n_images
    image, scale = np.repeat(np.arange(n_images), 3), rng.uniform(20, 200, n)
    low = rng.uniform(0, 300, (n, 1, 2))
    truth = low + rng.random((n, k, 2)) * scale[:, None, None]
    v = rng.integers(0, 3, (n, k))
    v[0], crowd = 0, np.zeros(n, bool)
    v[4], crowd[4] = 0, True
    rows = np.concatenate([np.arange(n), rng.integers(0, n, n // 4)])
    xy = truth[rows] + rng.normal(0, 0.12, (len(rows), k, 2)) * scale[rows, None, None]
    return {
        "truth_xy": truth, "v": v, "area": scale**2, "bbox_xywh": np.column_stack([low[:, 0], scale, scale]),
        "image": image, "crowd": crowd, "xy": xy, "score": rng.random(len(rows)).round(2),
        "predicted_image": image[rows], "oks_sigmas": np.full(k, 0.08), "n_images": n_images,
    }  # fmt: skip


def coco_by_hand(folder: Path, s: dict[str, Any]) -> dict[str, float]:
    """AP of a scene by COCOeval on files written here."""
    triples = np.concatenate([np.where(s["v"][..., None] > 0, s["truth_xy"], 0), s["v"][..., None]], axis=2)
    people = [
        {"id": i + 1, "image_id": int(s["image"][i]), "category_id": 1, "keypoints": triples[i].ravel().tolist(),
         "num_keypoints": int((s["v"][i] > 0).sum()), "area": float(s["area"][i]), "bbox": s["bbox_xywh"][i].tolist(),
         "iscrowd": int(s["crowd"][i])}
        for i in range(len(triples))
    ]  # fmt: skip
    predicted = np.concatenate([s["xy"], np.ones((*s["xy"].shape[:2], 1))], axis=2)
    results = [
        {"image_id": int(m), "category_id": 1, "keypoints": k.ravel().tolist(), "score": float(score)}
        for m, k, score in zip(s["predicted_image"], predicted, s["score"], strict=True)
    ]
    images = [{"id": i} for i in range(s["n_images"])]
    document = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (folder / "truth.json").write_text(json.dumps(document))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        run = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "keypoints")
        run.params.kpt_oks_sigmas = s["oks_sigmas"]
        run.evaluate()
        run.accumulate()
        run.summarize()
    return dict(zip(AP_NAMES, run.stats.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_ap_equals_cocoeval_on_files(tmp_path, seed):
    made = scene(seed)
    stats = match_by_oks(**made).stats
    assert stats == coco_by_hand(tmp_path, made)
    assert 0.1 < stats["ap"] < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_ap_of_a_resample_equals_cocoeval_on_the_images_drawn(tmp_path, seed):
    made = scene(seed)
    drawn = np.sort(np.random.default_rng(seed).integers(0, 12, 12))
    copy = dict(made)
    for of, names in (("image", ("truth_xy", "v", "area", "bbox_xywh", "crowd")), ("predicted_image", ("xy", "score"))):
        rows = [np.flatnonzero(made[of] == image) for image in drawn]
        copy |= {name: made[name][np.concatenate(rows)] for name in names}
        copy[of] = np.repeat(np.arange(12), [len(r) for r in rows])
    ours = match_by_oks(**made).resampled(np.bincount(drawn, minlength=12).astype(float))
    theirs = list(coco_by_hand(tmp_path, copy).values())
    np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), theirs, atol=1e-12)


def test_ap_without_any_prediction_is_0_and_without_people_in_range_unknown():
    made = scene(0)
    made |= {"xy": made["xy"][:0], "score": made["score"][:0], "predicted_image": made["predicted_image"][:0]}
    made["area"] = np.full(36, 100.0**2)
    matches = match_by_oks(**made)
    assert (matches.stats["ap"], matches.stats["ar"]) == (0.0, 0.0)
    assert np.isnan(matches.stats["apm"])
    assert np.array_equal(matches.bootstrap(2, seed=0)[:, [0, 3]], [[0.0, np.nan]] * 2, equal_nan=True)


def test_hits_are_never_counted_twice_by_the_two_thresholds():
    rng = np.random.default_rng(0)
    xy, truth, head = rng.normal(0, 3, (50, 4, 2)), np.zeros((50, 4, 2)), rng.uniform(5, 15, 50)
    fine, counted = pck_hits(xy, truth, np.ones((50, 4), bool), head, 0.1)
    coarse, same = pck_hits(xy, truth, np.ones((50, 4), bool), head, 0.5)
    assert (fine <= coarse).all()
    assert np.array_equal(counted, same)
