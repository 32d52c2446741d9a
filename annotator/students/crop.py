"""Crops: from a person's box to the pixels a network sees, and the affine between the two.

Coordinates are pixel indices (the first pixel's centre is 0), on the picture and on the crop alike. Crop index i lies
at centre + (i - size / 2) * scale, which is MMPose's convention, so exported MMPose networks see the same pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.skeletons import FloatArray


def affines(bbox_xywh: FloatArray, size_hw: tuple[int, int], factor: float) -> FloatArray:
    """Picture -> crop, (N, 2, 3): boxes grown to the crop's aspect ratio, then by `factor` about their centre."""
    height, width = size_hw
    centre = bbox_xywh[:, :2] + bbox_xywh[:, 2:] / 2
    zoom = np.minimum(width / bbox_xywh[:, 2], height / bbox_xywh[:, 3]) / factor
    out = np.zeros((len(bbox_xywh), 2, 3))
    out[:, 0, 0] = out[:, 1, 1] = zoom
    out[:, :, 2] = np.array([width / 2, height / 2]) - centre * zoom[:, None]
    return out


def apply(affine: FloatArray, xy: FloatArray) -> FloatArray:
    """Map points (N, ..., 2) by affines (N, 2, 3)."""
    moved = np.einsum("nij,n...j->n...i", affine[..., :2], xy)
    return np.asarray(moved + affine[..., 2].reshape(-1, *[1] * (xy.ndim - 2), 2))


def invert(affine: FloatArray) -> FloatArray:
    """Inverse maps, (N, 2, 3)."""
    inverse = np.linalg.inv(affine[..., :2])
    return np.concatenate([inverse, -inverse @ affine[..., 2:]], axis=-1)


def cut(pixels: NDArray[np.uint8], affine: FloatArray, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """One crop (H, W, 3) of a picture, bilinear, black beyond the picture's edge.

    A crop much smaller than its source is averaged first, since bilinear sampling alone would alias.
    """
    height, width = size_hw
    shrink = max(int(1 / max(np.sqrt(abs(np.linalg.det(affine[:, :2]))), 1e-9) + 1e-6), 1)
    part, corner = _part(pixels, affine, size_hw, margin=shrink)
    if not part.size:
        return np.zeros((height, width, 3), dtype=np.uint8)
    step = np.minimum(shrink, part.shape[1::-1])
    if (step > 1).any():
        part = _averaged(part, int(step[0]), int(step[1]))
    # Index j of the averaged part covers step pixels of the picture, from corner + step * j on.
    middle = corner + (step - 1) / 2
    up = np.array([[step[0], 0, middle[0]], [0, step[1], middle[1]], [0, 0, 1.0]])
    local = (np.vstack([affine, [0, 0, 1.0]]) @ up)[:2]
    return np.asarray(cv2.warpAffine(part, local, (width, height), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def _part(
    pixels: NDArray[np.uint8], affine: FloatArray, size_hw: tuple[int, int], margin: int
) -> tuple[NDArray[np.uint8], FloatArray]:
    """The pixels that a crop needs, and the picture's x, y of the first of them: warpAffine takes no side of 32,768."""
    corners = np.array([[0, 0], [size_hw[1], 0], [0, size_hw[0]], [size_hw[1], size_hw[0]]], dtype=np.float64)
    region = apply(invert(affine[None]), corners[None])[0]
    size = np.array(pixels.shape[1::-1])
    low = np.clip(np.floor(region.min(axis=0)) - margin, 0, size).astype(int)
    high = np.clip(np.ceil(region.max(axis=0)) + margin + 1, 0, size).astype(int)
    return pixels[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)


def _averaged(part: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    """Means of blocks `across` x `down`; what a block lacks beyond the last pixel is black."""
    below, right = -part.shape[0] % down, -part.shape[1] % across
    if below or right:
        part = np.asarray(cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0), dtype=np.uint8)
    size = (part.shape[1] // across, part.shape[0] // down)
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
