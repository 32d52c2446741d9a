"""Intervals by resampling images: people of one picture share its light, blur and crowd, so they are drawn together.

Efron and Tibshirani, An introduction to the bootstrap, 1993: percentile intervals of cluster resamples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from annotator.skeletons import FloatArray, IntArray

# Weights drawn at once: 4 million doubles are 32 MB.
CHUNK = 4_000_000


def image_weights(n_images: int, rounds: int, seed: int) -> Iterator[FloatArray]:
    """How often each image is drawn in each round, in pieces of (rounds, n_images); every row sums to n_images.

    >>> [weights.sum(axis=1) for weights in image_weights(4, 2, seed=0)]
    [array([4., 4.])]
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(n_images, 1))
    for start in range(0, rounds, step):
        rows = min(step, rounds - start)
        drawn = rng.integers(0, n_images, (rows, n_images)) + np.arange(rows)[:, None] * n_images
        yield np.bincount(drawn.reshape(-1), minlength=rows * n_images).reshape(rows, n_images).astype(np.float64)


def sum_by_image(values: FloatArray, image: IntArray, n_images: int) -> FloatArray:
    """Sums over the people of each image: (N, C) to (n_images, C)."""
    people = np.arange(len(image))
    matrix = sparse.csr_array((np.ones(len(image)), (image, people)), shape=(n_images, len(image)))
    return np.asarray(matrix @ np.asarray(values, dtype=np.float64))


def bootstrap_ratios(
    numerator: FloatArray, denominator: FloatArray, image: IntArray, n_images: int, rounds: int, seed: int
) -> FloatArray:
    """Resamples of C ratios sum(numerator) / sum(denominator), (rounds, C); NaN where a resample counts nothing.

    All columns share the drawn images, so differences of columns may be taken round by round.

    Args:
        numerator, denominator: (N, C) per person, e.g. correct and counted keypoints.
        image: (N,) image of each person, 0 to n_images - 1.
        n_images: images drawn in every round.
        rounds: resamples.
        seed: of the generator; the same seed gives the same resamples.
    """
    up, down = sum_by_image(numerator, image, n_images), sum_by_image(denominator, image, n_images)
    out: list[FloatArray] = [np.zeros((0, up.shape[1]))]
    for weights in image_weights(n_images, rounds, seed):
        total = weights @ down
        out.append(np.where(total > 0, (weights @ up) / np.where(total > 0, total, 1), np.nan))
    return np.concatenate(out)


def interval(samples: FloatArray, level: float = 0.95) -> FloatArray:
    """Lower and upper percentile of resamples along their first axis, (2, ...); NaN where there is nothing to rank.

    >>> interval(np.arange(101.0)).round(1)
    array([ 2.5, 97.5])
    """
    out = np.full((2, *samples.shape[1:]), np.nan)
    ranked = np.isfinite(samples).any(axis=0) if len(samples) else np.zeros(samples.shape[1:], bool)
    tail = 100 * (1 - level) / 2
    if ranked.any():
        out[:, ranked] = np.nanpercentile(samples[:, ranked], [tail, 100 - tail], axis=0)
    return out
