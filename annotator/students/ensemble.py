"""Several networks' words on the same people, fused keypoint by keypoint."""

from __future__ import annotations

import numpy as np

from annotator.people import BoolArray
from annotator.skeletons import FloatArray
from annotator.students.readout import Readout

# Words further apart than this fraction of the person's scale speak of different places: they are not averaged.
AGREE = 0.15


def fuse(packed: FloatArray, trust: FloatArray, scale_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fuse C networks' packed readouts (C, N, K, 10), NaN where a network has no word, into one (N, K, 10).

    The network with the highest trust * score leads a keypoint; those that agree with it are averaged with it, weighted
    by trust * score. Also returns the largest distance between any two words, (N, K) pixels, NaN with fewer than two.

    Args:
        packed: see `Readout.pack`.
        trust: (C, K) weights from the cards.
        scale_px: (N,) sqrt of the person's area.
    """
    words = [Readout.unpack(one) for one in packed]
    xy = np.stack([word.xy for word in words])
    known: BoolArray = np.asarray(np.isfinite(xy).all(axis=3), dtype=np.bool_)
    weight = np.where(known, trust[:, None] * np.stack([np.nan_to_num(word.score) for word in words]) + 1e-9, 0)
    lead = weight.argmax(axis=0)
    first = np.take_along_axis(xy, lead[None, ..., None], axis=0)[0]
    near = known & (np.linalg.norm(xy - first, axis=3) < AGREE * scale_px[:, None])
    weight = np.where(near, weight, 0)
    share = weight / np.maximum(weight.sum(axis=0), 1e-12)
    out = np.take_along_axis(packed, lead[None, ..., None], axis=0)[0].copy()
    out[..., :2] = np.where(
        np.any(known, axis=0)[..., None], (share[..., None] * np.nan_to_num(xy)).sum(axis=0), np.nan
    )
    apart = np.full(first.shape[:2], np.nan)
    for a in range(len(words)):
        for b in range(a):
            apart = np.fmax(apart, np.linalg.norm(xy[a] - xy[b], axis=2))
    return out, apart
