"""Reading SimCC: one distribution over x and one over y for every keypoint.

SimCC (Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022) as used
by RTMPose (Jiang et al., arXiv 2303.07399).
"""

from __future__ import annotations

import numpy as np

from annotator.skeletons import FloatArray, IntArray
from annotator.students.readout import Readout

# Mass within this many crop pixels of the peak is the score of a network trained on probability targets.
SCORE_REACH_PX = 8.0
PEAK_SHARE = 1 / 3


def decode(
    raw_x: FloatArray,
    raw_y: FloatArray,
    split: float,
    *,
    beta: float = 1.0,
    smooth_px: float = 0.0,
    score: str = "mass",
) -> Readout:
    """Read raw outputs (N, K, W) and (N, K, H), bins of 1/split crop pixels.

    The peak is the highest bin, or, with `smooth_px`, the middle of the Gaussian window that holds most mass: a narrow
    spike on a wrong limb then loses against a broad hill. `score` is the mass near the peak (`mass`) or the smaller of
    the two raw maxima, as MMPose reports (`max`).
    """
    axes = [_axis(softmax(beta * raw), split, smooth_px) for raw in (raw_x, raw_y)]
    (x, mass_x, var_x, ent_x, peaks_x), (y, mass_y, var_y, ent_y, peaks_y) = axes
    raw_score = np.minimum(raw_x.max(axis=2), raw_y.max(axis=2))
    return Readout(
        xy=np.stack([x, y], axis=2),
        score=np.clip(np.sqrt(mass_x * mass_y) if score == "mass" else raw_score, 0, 1),
        spread=np.sqrt(var_x + var_y),
        entropy=ent_x + ent_y,
        peaks=np.maximum(peaks_x, peaks_y),
        second_xy=np.full((*x.shape, 2), np.nan),
        second_share=np.zeros_like(x),
        flip=np.full_like(x, np.nan),
    )


def softmax(raw: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    e = np.exp(raw - raw.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _axis(p: FloatArray, split: float, smooth_px: float) -> tuple[FloatArray, ...]:
    """Peak, mass near it, variance about it, entropy and number of peaks, in pixels, of distributions (N, K, B)."""
    bins = p.shape[2]
    at = np.arange(bins) / split
    smooth = p @ _window(bins, max(smooth_px, 0.5) * split)
    top = (smooth if smooth_px else p).argmax(axis=2)
    peak = _parabola(smooth, top) / split
    distance = at - peak[..., None]
    mass = np.where(np.abs(distance) <= SCORE_REACH_PX, p, 0).sum(axis=2)
    variance = (p * distance**2).sum(axis=2)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=2)
    high = smooth > PEAK_SHARE * smooth.max(axis=2, keepdims=True)
    peaks = 1 + ((~high[..., :-1]) & high[..., 1:]).sum(axis=2) - (1 - high[..., 0].astype(int))
    return peak, mass, variance, entropy, peaks.astype(np.float64)


def _parabola(smooth: FloatArray, top: FloatArray) -> FloatArray:
    """Peak below a bin's width: a parabola through the logarithms of the highest bin and its neighbours."""
    inner = np.clip(top, 1, smooth.shape[2] - 2).astype(np.int64)
    log = np.log(np.maximum(np.take_along_axis(smooth, inner[..., None] + np.array([-1, 0, 1]), axis=2), 1e-12))
    curve = log[..., 0] - 2 * log[..., 1] + log[..., 2]
    step = np.where(curve < -1e-9, (log[..., 0] - log[..., 2]) / (2 * np.where(curve < -1e-9, curve, -1)), 0)
    return np.where(inner == top, top + np.clip(step, -0.5, 0.5), top).astype(np.float64)


def _window(bins: int, width: float) -> FloatArray:
    """Gaussian smoothing as a matrix (B, B)."""
    i = np.arange(bins)
    return np.exp(-((i[:, None] - i[None]) ** 2) / (2 * width**2)).astype(np.float32)


def unmirror(raw_x: FloatArray, raw_y: FloatArray, flip: IntArray, split: float) -> tuple[FloatArray, FloatArray]:
    """Raw outputs of mirrored crops as if of the crops themselves.

    Crop index i becomes W - 1 - i, so bin b becomes split * (W - 1) - b: reversing alone is split - 1 bins off.
    """
    shift = round(split) - 1
    back = raw_x[:, flip, ::-1]
    moved = np.concatenate([back[..., shift:], np.repeat(back[..., -1:], shift, axis=2)], axis=2)
    return moved, raw_y[:, flip]
