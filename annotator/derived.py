"""Keypoints that follow from others by a rule, exactly.

MPII's pelvis and thorax are the midpoints of hips and shoulders (median deviation .007 head sizes, its rounding), and
its upper_neck and head_top are the ends of a head rectangle's axis: with c the rectangle's centre, D its diagonal and
u the unit vector from the thorax to c, upper_neck = c - .4 D u and head_top = c + .4 D u.
"""

from __future__ import annotations

import numpy as np

from annotator.skeletons import FloatArray, Skeleton

MIDPOINTS = {"pelvis": ("left_hip", "right_hip"), "thorax": ("left_shoulder", "right_shoulder")}
# PCKh's head size is .6 D and the two ends are .8 D apart: head size = .75 of their distance.
HALF_HEAD_AXIS = 0.4
HEAD_SIZE_PER_AXIS = 0.75


def midpoints(xy: FloatArray, skeleton: Skeleton) -> FloatArray:
    """Pelvis and thorax where both their parents are there, (N, K, 2); NaN everywhere else.

    Args:
        xy: (N, K, 2) pixels, NaN where there is no point.
        skeleton: names the K columns; keypoints it lacks are left out.
    """
    out = np.full_like(xy, np.nan)
    for name, parents in MIDPOINTS.items():
        if name in skeleton.keypoints and all(parent in skeleton.keypoints for parent in parents):
            out[:, skeleton.index(name)] = xy[:, skeleton.indices(parents)].mean(axis=1)
    return out


def head_from_rectangle(rectangle_xyxy: FloatArray, thorax_xy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """MPII's upper_neck and head_top, each (N, 2), from head rectangles (N, 4) and thoraxes (N, 2), in pixels."""
    corner_a, corner_b = rectangle_xyxy[:, :2], rectangle_xyxy[:, 2:]
    centre = (corner_a + corner_b) / 2
    diagonal = np.linalg.norm(corner_b - corner_a, axis=1, keepdims=True)
    axis = centre - thorax_xy
    half = HALF_HEAD_AXIS * diagonal * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    return centre - half, centre + half


def head_size(xy: FloatArray, skeleton: Skeleton) -> FloatArray:
    """PCKh's head size per person in pixels, (N,): .75 of |head_top - upper_neck|; NaN where either is missing."""
    if not {"head_top", "upper_neck"} <= set(skeleton.keypoints):
        return np.full(len(xy), np.nan)
    ends = xy[:, skeleton.index("head_top")] - xy[:, skeleton.index("upper_neck")]
    return np.asarray(HEAD_SIZE_PER_AXIS * np.linalg.norm(ends, axis=1))
