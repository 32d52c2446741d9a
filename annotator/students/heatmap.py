"""Reading heatmaps: the highest cell, refined below a cell's width, and how wide and how lonely the peak is.

DARK (Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020, eq. 4-8): the
map's logarithm is a paraboloid around a Gaussian's peak, so one Newton step from the highest cell finds the peak.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.skeletons import FloatArray, IntArray
from annotator.students.readout import Readout

# A second peak is one at least this many cells away and this high beside the first.
PEAK_DISTANCE, PEAK_SHARE = 4, 1 / 3


def decode(maps: FloatArray, stride: float, offset_px: float = 0.0, dark_kernel: int = 3) -> Readout:
    """Read (N, K, h, w) maps with peaks of about 1; crop pixel = cell index * stride + offset_px."""
    n, k, h, w = maps.shape
    flat = np.maximum(maps.reshape(n * k, h, w), 0)
    top = flat.reshape(n * k, h * w).argmax(axis=1)
    cell = np.stack([top % w, top // w], axis=1)
    height = flat[np.arange(n * k), cell[:, 1], cell[:, 0]]
    xy = dark(flat, cell, dark_kernel)
    second, share, peaks = second_peak(flat, cell, height)
    spread, entropy = _shape(flat, xy)
    return Readout(
        xy=xy.reshape(n, k, 2) * stride + offset_px,
        score=np.clip(height, 0, 1).reshape(n, k),
        spread=spread.reshape(n, k) * stride,
        entropy=entropy.reshape(n, k),
        peaks=peaks.reshape(n, k),
        second_xy=second.reshape(n, k, 2) * stride + offset_px,
        second_share=share.reshape(n, k),
        flip=np.full((n, k), np.nan),
    )


def peaks_px(maps: FloatArray, stride: float, offset_px: float, dark_kernel: int) -> FloatArray:
    """Just the places (N, K, 2) in crop pixels."""
    n, k, h, w = maps.shape
    flat = np.maximum(maps.reshape(n * k, h, w), 0)
    top = flat.reshape(n * k, h * w).argmax(axis=1)
    xy = dark(flat, np.stack([top % w, top // w], axis=1), dark_kernel)
    return np.asarray(xy.reshape(n, k, 2) * stride + offset_px)


def unmirror(maps: FloatArray, flip: IntArray, shift: float) -> FloatArray:
    """Maps (N, K, h, w) of mirrored crops as if of the crops themselves, moved right by `shift` cells (0 to 1)."""
    back = maps[:, flip, :, ::-1]
    moved = np.concatenate([back[..., :1], back[..., :-1]], axis=3)
    return np.asarray((1 - shift) * back + shift * moved)


def dark(maps: FloatArray, cell: IntArray, kernel: int) -> FloatArray:
    """Peaks (M, 2) as x, y in cells, from maps (M, h, w) and their highest cells (M, 2); at most one cell away."""
    m = len(maps)
    blurred = np.stack([cv2.GaussianBlur(one, (kernel, kernel), 0) for one in maps.astype(np.float32)]) if m else maps
    log = np.pad(np.log(np.maximum(blurred, 1e-10)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    # The 3 x 3 neighbourhood of every highest cell, (M, 3, 3) as [dy, dx].
    around = np.array([-1, 0, 1])
    c = log[
        np.arange(m)[:, None, None], cell[:, 1, None, None] + 1 + around[:, None], cell[:, 0, None, None] + 1 + around
    ]
    dx, dy = (c[:, 1, 2] - c[:, 1, 0]) / 2, (c[:, 2, 1] - c[:, 0, 1]) / 2
    dxx, dyy = c[:, 1, 2] - 2 * c[:, 1, 1] + c[:, 1, 0], c[:, 2, 1] - 2 * c[:, 1, 1] + c[:, 0, 1]
    dxy = (c[:, 2, 2] - c[:, 0, 2] - c[:, 2, 0] + c[:, 0, 0]) / 4
    det = dxx * dyy - dxy**2
    peak = (det > 1e-9) & (dxx < 0)
    safe = np.where(peak, det, 1)
    step = np.stack([-(dyy * dx - dxy * dy) / safe, -(dxx * dy - dxy * dx) / safe], axis=1)
    return np.asarray(cell + np.where(peak[:, None], np.clip(step, -1, 1), 0.0))


def second_peak(maps: FloatArray, cell: IntArray, height: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The next peak (M, 2), its share of both heights (M,), and the number of peaks (M,)."""
    m, h, w = maps.shape
    near = (np.abs(np.arange(w) - cell[:, :1])[:, None, :] < PEAK_DISTANCE) & (
        np.abs(np.arange(h) - cell[:, 1:])[:, :, None] < PEAK_DISTANCE
    )
    rest = np.where(near | ~_local_maxima(maps), 0, maps)
    top = rest.reshape(m, h * w).argmax(axis=1)
    value = rest.reshape(m, h * w)[np.arange(m), top]
    there = value > PEAK_SHARE * np.maximum(height, 1e-9)
    xy = np.where(there[:, None], np.stack([top % w, top // w], axis=1), np.nan)
    peaks = 1.0 + (rest > PEAK_SHARE * np.maximum(height, 1e-9)[:, None, None]).sum(axis=(1, 2))
    return xy, np.where(there, value / np.maximum(value + height, 1e-9), 0), peaks


def _local_maxima(maps: FloatArray) -> NDArray[np.bool_]:
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    around = [
        padded[:, 1 + dy : padded.shape[1] - 1 + dy, 1 + dx : padded.shape[2] - 1 + dx]
        for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy
    ]  # fmt: skip
    return np.asarray((maps >= np.maximum.reduce(around)) & (maps > 0))


def _shape(maps: FloatArray, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Root mean square distance from the peak, in cells, and entropy, of maps (M, h, w) taken as distributions."""
    _, h, w = maps.shape
    p = maps / np.maximum(maps.sum(axis=(1, 2), keepdims=True), 1e-9)
    along_x, along_y = p.sum(axis=1), p.sum(axis=2)
    variance = (along_x * (np.arange(w) - xy[:, :1]) ** 2).sum(axis=1)
    variance += (along_y * (np.arange(h) - xy[:, 1:]) ** 2).sum(axis=1)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=(1, 2))
    return np.sqrt(variance), entropy
