"""What networks say about people of known labels, everything hidden, and how two such words compare.

A network runs once per person; what it said is kept in a cache file, so that a table made again costs no network. Two
words on the same people are compared on the same resamples of the images: a difference has an interval of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from annotator.derived import head_size
from annotator.errors import MissingError, expected
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.metrics.oks import keypoint_similarity
from annotator.metrics.pck import in_mpii_mean, pck_hits
from annotator.people import BoolArray
from annotator.skeletons import UNION_21, FloatArray, IntArray
from annotator.students import registry
from annotator.students.base import readouts
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout
from annotator.training import Part
from workflows.measuring import image_of

ROUNDS = 1000
SHARD = 16  # a run of EfficientPose II holds 16 maps of 368 x 368 a person
PCKH = {"pckh_0.5": 0.5, "pckh_0.1": 0.1}
MEAN = len(UNION_21)  # the column after the keypoints'


def teachers() -> dict[str, registry.Known]:
    """The known teachers whose weights are here, by name.

    Raises:
        MissingError: none is.
    """
    found = {e.card.name: e for e in registry.known() if e.card.role == "teacher" and e.here}
    if not found:
        raise MissingError(expected("teachers' weights (set ANNOTATOR_TEACHERS)", "none", "teachers"))
    return found


def words(network: OnnxModel, part: Part, cache: Path) -> FloatArray:
    """Packed readouts (N, 21, 10) over the union in the people's own pixels; NaN for what the network does not know."""
    people, kept = part.people.project(UNION_21).hide(list(UNION_21.keypoints)), Cache(cache)
    packs: list[FloatArray] = [np.zeros((0, len(network.skeleton), Readout.PACKED))]
    for start in range(0, len(people), SHARD):
        said, _ = readouts([network], part.images, people.take(slice(start, start + SHARD)), kept)
        packs.append(said[0].pack())
    kept.close()
    columns = network.skeleton.columns_of(UNION_21)
    return np.where((columns >= 0)[None, :, None], np.concatenate(packs)[:, columns], np.nan)


@dataclass(frozen=True)
class Bench:
    """People to be measured on, in one way.

    Attributes:
        part: labels and pictures.
        metric: `similarity` (OKS of each keypoint; their mean is the mean OKS), `pckh_0.5` or `pckh_0.1`.
    """

    part: Part
    metric: str

    @cached_property
    def labels(self) -> FloatArray:
        """(N, 21, 2), NaN where there is none."""
        return self.part.people.project(UNION_21).xy

    @cached_property
    def image(self) -> IntArray:
        """(N,) the image of each person, counted from 0."""
        return image_of(self.part.people)

    def halves(self) -> tuple[IntArray, IntArray]:
        """Rows of the people of every second image, and of the others."""
        return np.flatnonzero(self.image % 2 == 0), np.flatnonzero(self.image % 2 == 1)

    def take(self, rows: IntArray) -> Bench:
        """Some of the people."""
        return replace(self, part=replace(self.part, people=self.part.people.take(rows)))

    def counts(self, xy: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Numerators and denominators (N, 22): a column a keypoint, and the mean over `known` ones.

        Args:
            xy: (N, 21, 2) words; a keypoint of which there is none at all is not counted.
            known: (21,) keypoints that count in the mean.
        """
        labelled: BoolArray = np.asarray(np.isfinite(self.labels).all(axis=2))
        counted: BoolArray = np.asarray(labelled & np.isfinite(xy).all(axis=2).any(axis=0))
        if self.metric == "similarity":
            scale, sigmas = self.part.people.scale_px(), UNION_21.oks_sigmas
            up = np.nan_to_num(keypoint_similarity(xy, self.labels, scale, sigmas)) * counted
            n = (counted & known).sum(axis=1, keepdims=True)
            mean = (up * known).sum(axis=1, keepdims=True) / np.maximum(n, 1)
            return np.hstack([up, mean]), np.hstack([counted, n > 0]).astype(np.float64)
        hits, counted = pck_hits(xy, self.labels, counted, head_size(self.labels, UNION_21), PCKH[self.metric])
        pooled = [(x & known & in_mpii_mean(UNION_21)).sum(axis=1, keepdims=True) for x in (hits, counted)]
        return np.hstack([hits, pooled[0]]).astype(np.float64), np.hstack([counted, pooled[1]]).astype(np.float64)


@dataclass(frozen=True)
class Compared:
    """C words on the same people, counted: a column a keypoint, and one for their mean.

    Attributes:
        value: (C, 22) figures.
        samples: (rounds, C, 22) resamples, the same images drawn for all words.
        n: (C, 22) people that each figure rests on.
    """

    value: FloatArray
    samples: FloatArray
    n: IntArray

    def figure(self, one: int, k: int = MEAN) -> tuple[float, float, float]:
        """A figure with its 95 % interval."""
        low, high = interval(self.samples[:, one, k])
        return float(self.value[one, k]), float(low), float(high)

    def gain(self, one: int, other: int, k: int = MEAN) -> tuple[float, float, float]:
        """One figure minus another with the 95 % interval of the difference."""
        low, high = interval(self.samples[:, one, k] - self.samples[:, other, k])
        return float(self.value[one, k] - self.value[other, k]), float(low), float(high)


def compare(bench: Bench, *said: FloatArray) -> Compared:
    """Count words (N, 21, 2 or more) on a bench; their means are over the keypoints that all of them know."""
    places = [one[..., :2] for one in said]
    known = np.logical_and.reduce([np.isfinite(xy).all(axis=2).any(axis=0) for xy in places])
    up, down = (np.stack(column, axis=1) for column in zip(*(bench.counts(xy, known) for xy in places), strict=True))
    shape = up.shape[1:]
    total = down.sum(axis=0)
    flat = up.reshape(len(up), -1), down.reshape(len(down), -1)
    samples = bootstrap_ratios(flat[0], flat[1], bench.image, int(bench.image.max()) + 1, ROUNDS, seed=0)
    value = np.where(total > 0, up.sum(axis=0) / np.maximum(total, 1), np.nan)
    return Compared(value, samples.reshape(-1, *shape), (down > 0).sum(axis=0))


def clear(low: float, high: float) -> bool:
    """Whether an interval keeps clear of 0.

    >>> clear(0.1, 0.2), clear(-0.2, -0.1), clear(-0.1, 0.1)
    (True, True, False)
    """
    return low * high > 0
