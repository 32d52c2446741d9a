"""Object keypoint similarity, COCO's measure of how near a person's predicted keypoints are to the labels.

Lin et al., Microsoft COCO, ECCV 2014; the formula stands at cocodataset.org/#keypoints-eval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.skeletons import FloatArray


def keypoint_similarity(xy: FloatArray, truth_xy: FloatArray, scale_px: FloatArray, oks_sigmas: Any) -> FloatArray:
    """exp(-d^2 / (2 s^2 (2 sigma)^2)) of every keypoint, (N, K): 1 on the label, towards 0 far from it.

    d is the distance in pixels, s^2 the person's area (as pycocotools, plus the spacing of floats at 1, so that an
    area of 0 divides nothing by zero). NaN where there is no label, 0 where there is a label but no prediction.

    Args:
        xy: (N, K, 2) predicted, pixels.
        truth_xy: (N, K, 2) labels, pixels.
        scale_px: (N,) sqrt of the person's area in pixels.
        oks_sigmas: (K,) COCO's per-keypoint constants.

    One person of scale 10 and sigma .05: 2 s^2 (2 sigma)^2 = 2, so a distance of 1 px gives exp(-1/2).

    >>> keypoint_similarity(np.array([[[3.0, 4.0]]]), np.array([[[3.0, 5.0]]]), np.array([10.0]), [0.05]).round(4)
    array([[0.6065]])
    """
    distance2 = ((xy - truth_xy) ** 2).sum(axis=2)
    area = np.asarray(scale_px, dtype=np.float64)[:, None] ** 2 + np.spacing(1)
    similarity = np.exp(-distance2 / (2 * np.asarray(oks_sigmas)) ** 2 / area / 2)
    there = np.isfinite(truth_xy).all(axis=2)
    return np.asarray(np.where(there, np.where(np.isnan(similarity), 0.0, similarity), np.nan))


def oks(xy: FloatArray, truth_xy: FloatArray, v: NDArray[Any], scale_px: FloatArray, oks_sigmas: Any) -> FloatArray:
    """Mean similarity over each person's labelled keypoints (v > 0), (N,), in [0, 1], higher is better.

    NaN for a person with no label. Arguments as `keypoint_similarity`; v: (N, K) COCO's visibility.

    >>> xy, labels = np.zeros((1, 2, 2)), np.array([[[0.0, 0.0], [0.0, 1.0]]])
    >>> oks(xy, labels, np.array([[2, 1]]), np.array([10.0]), [0.05, 0.05]).round(4)  # (1 + exp(-1/2)) / 2
    array([0.8033])
    """
    labelled = np.asarray(v) > 0
    similarity = np.where(labelled, keypoint_similarity(xy, truth_xy, scale_px, oks_sigmas), 0.0)
    count = labelled.sum(axis=1)
    return np.asarray(np.where(count > 0, similarity.sum(axis=1) / np.maximum(count, 1), np.nan))


def mean_oks(xy: FloatArray, truth_xy: FloatArray, v: NDArray[Any], scale_px: FloatArray, oks_sigmas: Any) -> float:
    """Mean of `oks` over the people with a label; NaN where nobody has one."""
    each = oks(xy, truth_xy, v, scale_px, oks_sigmas)
    each = each[~np.isnan(each)]
    return float(each.mean()) if len(each) else float("nan")
