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
    shrink = int(1 / max(np.sqrt(abs(np.linalg.det(affine[:, :2]))), 1e-9))
    if shrink >= 2:
        pixels, affine = _averaged(pixels, affine, shrink, size_hw)
    flags = cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(pixels, affine, (width, height), flags=flags), dtype=np.uint8)


def _averaged(
    pixels: NDArray[np.uint8], affine: FloatArray, shrink: int, size_hw: tuple[int, int]
) -> tuple[NDArray[np.uint8], FloatArray]:
    """The part of the picture that the crop needs, shrunk by an integer factor, and the affine from there."""
    corners = np.array([[0, 0], [size_hw[1], 0], [0, size_hw[0]], [size_hw[1], size_hw[0]]], dtype=np.float64)
    region = apply(invert(affine[None]), corners[None])[0]
    low = np.clip(np.floor(region.min(axis=0)).astype(int) - shrink, 0, None)
    high = np.ceil(region.max(axis=0)).astype(int) + shrink
    part = pixels[low[1] : high[1], low[0] : high[0]]
    rows, columns = part.shape[0] // shrink, part.shape[1] // shrink
    if rows == 0 or columns == 0:
        return pixels, affine
    small = cv2.resize(part[: rows * shrink, : columns * shrink], (columns, rows), interpolation=cv2.INTER_AREA)
    # Index j of the small picture covers indices shrink*j .. shrink*j + shrink-1 of the part.
    up = np.array([[shrink, 0, low[0] + (shrink - 1) / 2], [0, shrink, low[1] + (shrink - 1) / 2], [0, 0, 1.0]])
    return np.asarray(small, dtype=np.uint8), (np.vstack([affine, [0, 0, 1.0]]) @ up)[:2]
