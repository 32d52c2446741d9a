"""What went wrong with a keypoint: Ronchi and Perona's types (arXiv 1707.05388, section 3.1).

As in their coco-analyze, a place belongs to the label that it is most similar to (keypoint similarity, that of OKS) and
is near it from NEAR on. Two things differ: they count a swap towards either side of another person, here it is the same
keypoint of another one; and similarity to another person is measured by that one's area there, by the own one here.
"""

from __future__ import annotations

import numpy as np

from annotator.metrics.oks import keypoint_similarity
from annotator.skeletons import FloatArray, IntArray, Skeleton

ERRORS = {
    "inversion": "most similar to the person's other side",
    "swap": "most similar to another person's",
    "miss": "far from its label, the other side's and other people's",
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

    A place is compared with its own label, with the same person's keypoint of the other side, and with the same
    keypoint of the other labelled people of the picture; where two are equal, the earlier one of these three counts.
    Good: most similar to its own label, by at least GOOD. Jitter: the same, by at least NEAR. Inversion: most similar
    to the other side, and near it. Swap: most similar to another person's, and near it. Miss: near none of them, a
    keypoint without a place among those.

    Args:
        xy, truth_xy: (N, K, 2) pixels, NaN where there is no point.
        image: (N,) number of each person's image.
        scale_px: (N,) sqrt of the person's area in pixels, also for what its points are compared with.
        skeleton: names the K keypoints.
    """
    sigmas = sigmas_of(skeleton)
    to_label = keypoint_similarity(xy, truth_xy, scale_px, sigmas)
    across = np.nan_to_num(keypoint_similarity(xy, truth_xy[:, skeleton.flip], scale_px, sigmas))
    across[:, skeleton.flip == np.arange(len(skeleton))] = 0
    theirs = _to_neighbours(xy, truth_xy, image, scale_px, sigmas)
    own = np.nan_to_num(to_label)
    most = np.argmax([own, across, theirs], axis=0)  # the first one where they are equal
    near = np.max([own, across, theirs], axis=0) >= NEAR
    found = np.select(
        [near & (most == 0) & (own >= GOOD), near & (most == 0), near & (most == 1), near & (most == 2)],
        [TYPES.index(name) for name in TYPES[:-1]],
        TYPES.index("miss"),
    )
    return np.where(np.isnan(to_label), UNLABELLED, found)


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
