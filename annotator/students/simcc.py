"""Reading SimCC: one distribution over x and one over y for every keypoint.

SimCC (Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022) as used
by RTMPose (Jiang et al., arXiv 2303.07399).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

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
    axes = [_axis(np.asarray(beta * raw, dtype=np.float32), split, smooth_px) for raw in (raw_x, raw_y)]
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


def places(raw_x: FloatArray, raw_y: FloatArray, split: float) -> FloatArray:
    """Just the highest bins, refined, (N, K, 2) in crop pixels."""
    return np.stack([_parabola(raw, raw.argmax(axis=2)) / split for raw in (raw_x, raw_y)], axis=2)


def softmax(raw: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    e = np.exp(raw - raw.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _axis(logits: FloatArray, split: float, smooth_px: float) -> tuple[FloatArray, ...]:
    """Peak, mass near it, variance about it, entropy and number of peaks, in pixels and nats, of axes (N, K, B)."""
    bins = logits.shape[2]
    p = softmax(logits)
    at = (np.arange(bins) / split).astype(np.float32)
    # Half a pixel of smoothing takes the noise of single bins out of the parabola and out of the count of peaks.
    smooth = gaussian_filter1d(p, max(smooth_px, 0.5) * split, axis=2, mode="constant", truncate=3.0)
    top = (smooth if smooth_px else p).argmax(axis=2)
    peak = _parabola(np.log(np.maximum(smooth, np.float32(1e-12))), top) / split
    reach = round(SCORE_REACH_PX * split)
    window = top[..., None] + np.arange(-reach, reach + 1)
    inside = (window >= 0) & (window < bins)
    mass = np.where(inside, np.take_along_axis(p, np.clip(window, 0, bins - 1), axis=2), 0).sum(axis=2)
    distance = at - peak[..., None].astype(np.float32)
    variance = np.einsum("nkb,nkb,nkb->nk", p, distance, distance)
    # -sum p log p with log p = logits - log Z.
    top_logit = logits.max(axis=2)
    log_z = top_logit + np.log(np.exp(logits - top_logit[..., None]).sum(axis=2))
    entropy = log_z - np.einsum("nkb,nkb->nk", p, logits)
    high = smooth > PEAK_SHARE * smooth.max(axis=2, keepdims=True)
    peaks = high[..., 0].astype(np.float64) + ((~high[..., :-1]) & high[..., 1:]).sum(axis=2)
    return peak, mass, variance, entropy, peaks


def _parabola(log: FloatArray, top: IntArray) -> FloatArray:
    """Peak below a bin's width, in bins: a parabola through the logarithms of the highest bin and its neighbours."""
    inner = np.clip(top, 1, log.shape[2] - 2)
    three = np.take_along_axis(log, inner[..., None] + np.array([-1, 0, 1]), axis=2).astype(np.float64)
    curve = three[..., 0] - 2 * three[..., 1] + three[..., 2]
    bends = curve < -1e-9
    step = np.where(bends, (three[..., 0] - three[..., 2]) / (2 * np.where(bends, curve, -1)), 0)
    return np.where(inner == top, top + np.clip(step, -0.5, 0.5), top).astype(np.float64)


def unmirror(raw_x: FloatArray, raw_y: FloatArray, flip: IntArray, split: float) -> tuple[FloatArray, FloatArray]:
    """Raw outputs of mirrored crops as if of the crops themselves.

    Crop index i becomes W - 1 - i, so bin b becomes split * (W - 1) - b: reversing alone is split - 1 bins off.
    """
    shift = round(split) - 1
    back = raw_x[:, flip, ::-1]
    moved = np.concatenate([back[..., shift:], np.repeat(back[..., -1:], shift, axis=2)], axis=2)
    return moved, raw_y[:, flip]
