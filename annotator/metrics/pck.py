"""Percentage of correct keypoints: the share of keypoints within a fraction of a length of the person's own body.

PCK is Yang and Ramanan's (Articulated human detection with flexible mixtures of parts, PAMI 2013). PCKh measures by
the head and is Andriluka et al.'s (2D human pose estimation: new benchmark and state of the art analysis, CVPR 2014).
MPII's head size is .6 of the diagonal of its head box; where head boxes are lacking, `derived.head_size`, .75 of the
distance from upper_neck to head_top, stands in: MPII's two keypoints are .8 of the diagonal apart by construction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.people import BoolArray
from annotator.skeletons import FloatArray, Skeleton

# Rows of MPII's tables. Its mean leaves out pelvis and thorax: they are near the given centre, so too easy.
MPII_PARTS = {
    "head": ("head_top",),
    **{part: (f"left_{part}", f"right_{part}") for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
}
NOT_IN_MPII_MEAN = ("pelvis", "thorax")


def pck_hits(
    xy: FloatArray, truth_xy: FloatArray, labelled: BoolArray, reference_px: FloatArray, threshold: float
) -> tuple[BoolArray, BoolArray]:
    """Which keypoints are correct, and which count, both (N, K).

    Correct is |xy - truth_xy| <= threshold x reference_px (MMPose leaves the border itself out). A keypoint counts
    where it is labelled and the person's reference is known and above 0; one that counts and has no prediction is
    wrong.

    Args:
        xy, truth_xy: (N, K, 2) pixels.
        labelled: (N, K).
        reference_px: (N,) head or torso size, NaN where unknown.
        threshold: fraction of the reference.
    """
    reference = np.asarray(reference_px, dtype=np.float64)[:, None]
    counted = np.asarray(labelled, dtype=bool) & (np.nan_to_num(reference) > 0)
    distance = np.sqrt(((xy - truth_xy) ** 2).sum(axis=2))
    return np.asarray(counted & (distance <= threshold * reference)), counted


def pck(
    xy: FloatArray, truth_xy: FloatArray, labelled: BoolArray, reference_px: FloatArray, threshold: float
) -> FloatArray:
    """Share of correct keypoints per keypoint, (K,), in [0, 1], higher is better; NaN where none counts.

    Three people with a head of 10 px, errors 4, 5 and 6 px: two are within half a head.

    >>> xy, labels = np.array([[[4.0, 0]], [[5.0, 0]], [[6.0, 0]]]), np.zeros((3, 1, 2))
    >>> pck(xy, labels, np.ones((3, 1), bool), np.full(3, 10.0), 0.5).round(3)
    array([0.667])
    """
    hits, counted = pck_hits(xy, truth_xy, labelled, reference_px, threshold)
    n = counted.sum(axis=0)
    return np.asarray(np.where(n > 0, hits.sum(axis=0) / np.maximum(n, 1), np.nan))


def torso_size(xy: FloatArray, skeleton: Skeleton) -> FloatArray:
    """|left shoulder - right hip| in pixels, (N,), NaN where either is missing: the torso of LSP's PCK@.2.

    Left and right are the person's own. This diagonal is the one of the code that goes with Wei et al.
    (Convolutional pose machines, CVPR 2016); the other gives figures a tenth of a point apart.
    """
    if not {"left_shoulder", "right_hip"} <= set(skeleton.keypoints):
        return np.full(len(xy), np.nan)
    torso = xy[:, skeleton.index("left_shoulder")] - xy[:, skeleton.index("right_hip")]
    return np.asarray(np.linalg.norm(torso, axis=1))


def part_shares(share: FloatArray, skeleton: Skeleton) -> dict[str, NDArray[Any]]:
    """Plain mean of the left and right share of each body part that the skeleton has; `share` is (..., K)."""
    return {
        part: np.asarray(share[..., skeleton.indices(names)].mean(axis=-1))
        for part, names in MPII_PARTS.items()
        if set(names) <= set(skeleton.keypoints)
    }


def mpii_parts(hits: NDArray[Any], counted: NDArray[Any], skeleton: Skeleton) -> dict[str, float]:
    """The rows of MPII's tables: a share per body part, and their mean, as MMPose's MpiiPCKAccuracy computes them.

    A part is the plain mean of its left and right share. `mean` is all correct over all counted, pelvis and thorax
    left out, so a keypoint weighs as often as it is labelled. NaN where nobody has the part labelled.

    Args:
        hits, counted: (N, K) of `pck_hits`.
        skeleton: names the K columns.
    """
    right, n = np.asarray(hits).sum(axis=0), np.asarray(counted).sum(axis=0)
    share = np.where(n > 0, right / np.maximum(n, 1), np.nan)
    mean = in_mpii_mean(skeleton)
    pooled = float(right[mean].sum() / n[mean].sum()) if n[mean].any() else float("nan")
    return {**{part: float(value) for part, value in part_shares(share, skeleton).items()}, "mean": pooled}


def in_mpii_mean(skeleton: Skeleton) -> BoolArray:
    """(K,) whether MPII's mean counts the keypoint."""
    return np.array([name not in NOT_IN_MPII_MEAN for name in skeleton.keypoints])
