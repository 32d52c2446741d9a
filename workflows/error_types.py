"""What went wrong with a keypoint: Ronchi and Perona's types (arXiv 1707.05388, section 3.1).

A place is near a labelled point where its keypoint similarity to it (that of OKS) is at least NEAR. The paper counts a
swap towards either side of another person; here it is the same keypoint of another one.
"""

from __future__ import annotations

import numpy as np

from annotator.metrics.oks import keypoint_similarity
from annotator.skeletons import FloatArray, IntArray, Skeleton

ERRORS = {
    "inversion": "at the person's other side",
    "swap": "at another person's",
    "miss": "anywhere else",
}
TYPES = ("good", "jitter", *ERRORS)
GOOD, NEAR = 0.85, 0.5
# Nobody measured these two. The placeholder elsewhere is as strict as an eye; CrowdPose takes the shoulder's.
SIGMAS = {"upper_neck": 0.079, "head_top": 0.079}
UNLABELLED = -1


def error_types(
    xy: FloatArray, truth_xy: FloatArray, image: IntArray, scale_px: FloatArray, skeleton: Skeleton
) -> IntArray:
    """The type of every keypoint, (N, K) indices into TYPES, UNLABELLED where there is no label.

    Good: at least GOOD similar to its label. Jitter: near it. Else inversion: near the same person's keypoint of the
    other side; swap: near the same keypoint of another labelled person of the picture (the more similar of the two
    counts, inversion where they are equal). Miss: the rest, a keypoint without a place among them.

    Args:
        xy, truth_xy: (N, K, 2) pixels, NaN where there is no point.
        image: (N,) number of each person's image.
        scale_px: (N,) sqrt of the person's area in pixels, also for what its points are compared with.
        skeleton: names the K keypoints.
    """
    sigmas = sigmas_of(skeleton)
    own = keypoint_similarity(xy, truth_xy, scale_px, sigmas)
    across = np.nan_to_num(keypoint_similarity(xy, truth_xy[:, skeleton.flip], scale_px, sigmas))
    across[:, skeleton.flip == np.arange(len(skeleton))] = 0
    theirs = _to_neighbours(xy, truth_xy, image, scale_px, sigmas)
    found = np.select(
        [own >= GOOD, own >= NEAR, (across >= NEAR) & (across >= theirs), theirs >= NEAR],
        [TYPES.index(name) for name in TYPES[:-1]],
        TYPES.index("miss"),
    )
    return np.where(np.isnan(own), UNLABELLED, found)


def sigmas_of(skeleton: Skeleton) -> FloatArray:
    """(K,) COCO's per-keypoint constants, and SIGMAS."""
    pairs = zip(skeleton.keypoints, skeleton.oks_sigmas, strict=True)
    return np.array([SIGMAS.get(name, sigma) for name, sigma in pairs])


def _to_neighbours(
    xy: FloatArray, truth_xy: FloatArray, image: IntArray, scale_px: FloatArray, sigmas: FloatArray
) -> FloatArray:
    """(N, K) similarity to the same keypoint of the most similar other person of the picture; 0 where there is none."""
    same = image[:, None] == image
    np.fill_diagonal(same, val=False)
    one, other = np.nonzero(same)
    near = np.nan_to_num(keypoint_similarity(xy[one], truth_xy[other], scale_px[one], sigmas))
    out = np.zeros(xy.shape[:2])
    np.maximum.at(out, one, near)
    return out
