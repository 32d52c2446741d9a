"""Networks looking at labelled people: how far their words lie from the labels, in the body's own frame.

Word minus label is the network's bias plus where that dataset's labels lie. The bias is the same on people of two
datasets, so the difference of the two medians is that of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from annotator.metrics.bootstrap import image_weights, interval
from annotator.skeletons import UNION_21, FloatArray, IntArray
from annotator.students import registry
from annotator.students.onnx import OnnxModel
from annotator.training import Part
from workflows.measuring import STAND_IN, as_union, image_of
from workflows.training_set import check_parts, training_parts
from workflows.words import clear, words

ROUNDS = 1000
TORSO = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
SURE = 0.3  # words less sure than this are left out: what a network does not see says nothing about labels


@dataclass(frozen=True)
class Look:
    """A network's words (N, 21, 2) beside the labels (N, 21, 2) of the same people, NaN where there is none."""

    said: FloatArray
    labels: FloatArray
    part: Part

    @cached_property
    def image(self) -> IntArray:
        """(N,) the image of each person, counted from 0."""
        return image_of(self.part.people)

    def offsets(self) -> FloatArray:
        """Word minus label in torso lengths, (N, 21, 2): up the body, and to its left."""
        axes, length = frame(self.labels)
        return np.asarray(np.einsum("nij,nkj->nki", axes, self.said - self.labels) / length[:, None, None])


@dataclass(frozen=True)
class Looking:
    """Networks and people by name.

    Attributes:
        parts: people and pictures by name; `mpii/choose` is MPII's `choose`.
        cache: file of what was said before.
    """

    parts: dict[str, Part]
    cache: Path

    @classmethod
    def at(cls, data: Path, out: Path) -> Looking:
        """What the students are trained on and checked on; the cache lies in `out`."""
        parts = {part.name: part for part in training_parts(data)}
        return cls(parts | {f"{part.name}/choose": part for part in check_parts(data)}, out / "readouts.sqlite")

    def network(self, name: str, constants: bool = False) -> OnnxModel:
        """A student, or a teacher as it comes or with its card's constants."""
        found = registry.resolve(name, UNION_21).networks[0]
        if constants or found.card.role == "student":
            return found
        return OnnxModel(found.card.model_copy(update={"keypoint_offset_px": {}}), found.path)

    def look(self, name: str, part: str, *, sure: float = SURE, constants: bool = False) -> Look:
        """A network's look at a part; LSP's neck and crown stand beside upper_neck and head_top."""
        people = self.parts[part].people
        packed = words(self.network(name, constants), self.parts[part], self.cache)
        stand_in = {theirs: ours for theirs, ours in STAND_IN["lsp"].items() if theirs in people.skeleton.keypoints}
        labels = as_union(people, stand_in).xy
        return Look(np.where(packed[..., 2:3] > sure, packed[..., :2], np.nan), labels, self.parts[part])


def frame(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors up the body and to its left, (N, 2, 2), and torso lengths (N,), NaN without shoulders and hips.

    Args:
        points: (N, 21, 2).
    """
    top, bottom = (points[:, UNION_21.indices(pair)].mean(axis=1) for pair in TORSO)
    length = np.linalg.norm(top - bottom, axis=1)
    length = np.where(length > 0, length, np.nan)
    up = (top - bottom) / length[:, None]
    side = points[:, UNION_21.index("left_shoulder")] - points[:, UNION_21.index("right_shoulder")]
    across = np.stack([up[:, 1], -up[:, 0]], axis=1)
    across *= np.sign((across * side).sum(axis=1))[:, None]
    return np.stack([up, across], axis=1), length


def moved(points: FloatArray, by: FloatArray) -> FloatArray:
    """Points (N, 21, 2) moved by offsets (21, 2) in torso lengths, up the body and to its left; no torso, no move."""
    axes, length = frame(points)
    return np.asarray(points + np.nan_to_num(np.einsum("nij,ki->nkj", axes, by) * length[:, None, None]))


@dataclass(frozen=True)
class Median:
    """A median of n values, and of resamples of the images, (rounds,)."""

    value: float
    samples: FloatArray
    n: int

    def __sub__(self, other: Median) -> Median:
        return Median(self.value - other.value, self.samples - other.samples, min(self.n, other.n))

    @property
    def bounds(self) -> tuple[float, float]:
        """95 % interval."""
        low, high = interval(self.samples)
        return float(low), float(high)


def median(values: FloatArray, image: IntArray, seed: int = 0) -> Median:
    """Median of values (N,), NaN left out; images are drawn as a whole.

    >>> one = median(np.array([1.0, 2.0, np.nan, 9.0]), np.array([0, 1, 1, 2]))
    >>> one.value, one.n, one.bounds
    (2.0, 3, (1.0, 9.0))
    """
    known = np.isfinite(values)
    if not known.any():
        return Median(np.nan, np.full(ROUNDS, np.nan), 0)
    values, image = values[known], np.unique(image[known], return_inverse=True)[1]
    order = np.argsort(values)
    ranked, medians = values[order], []
    for weights in image_weights(int(image.max()) + 1, ROUNDS, seed):
        total = np.cumsum(weights[:, image[order]], axis=1)
        medians.append(ranked[(total >= total[:, -1:] / 2).argmax(axis=1)])
    return Median(float(np.median(values)), np.concatenate(medians), len(values))


def between(one: Look, other: Look) -> list[list[Median]]:
    """Labels of one dataset minus those of another, by keypoint and axis: the network's own bias falls out."""
    ours, theirs = one.offsets(), other.offsets()
    return [
        [median(theirs[:, k, a], other.image, seed=1) - median(ours[:, k, a], one.image) for a in range(2)]
        for k in range(len(UNION_21))
    ]


def agreed(found: Sequence[Median]) -> float:
    """The mean of several networks' medians where all keep clear of 0 on the same side, else 0."""
    values = [one.value for one in found if one.n]
    same = all(clear(*one.bounds) and one.value * values[0] > 0 for one in found if one.n)
    return float(np.mean(values)) if values and same else 0.0


def cell(one: Median, unit: str = ".3f") -> str:
    """A median with its interval, in bold where that keeps clear of 0.

    >>> cell(Median(-0.1, np.linspace(-0.12, -0.08, 41), 9)), cell(Median(0.0, np.linspace(-0.1, 0.1, 41), 9))
    ('**-.100** (-.119 to -.081)', '.000 (-.095 to .095)')
    """
    if not one.n:
        return ""
    text = [f"{value:{unit}}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{unit}}"
            for value in (one.value, *one.bounds)]  # fmt: skip
    return f"{f'**{text[0]}**' if clear(*one.bounds) else text[0]} ({text[1]} to {text[2]})"
