"""Where a person's head points must lie beside one another: checks that need no truth, in head sizes.

Two frames. The body's: up is from the middle of the shoulders to the middle of nose and ears (two of the three must be
there). The head's: up is from upper_neck to head_top, which lie 1.33 head sizes apart by MPII's rule; left is across
it, on the side of the left shoulder. A value is a distance in one of them; a check holds where it is within limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotator.derived import HALF_HEAD_AXIS, HEAD_SIZE_PER_AXIS
from annotator.people import BoolArray
from annotator.skeletons import UNION_21, FloatArray

NECK_AND_TOP = ("upper_neck", "head_top")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
EYES, EARS = FACE[1:3], FACE[3:]
SHOULDERS = ("left_shoulder", "right_shoulder")
# PCKh's head size is .75 of |head_top - upper_neck| = .8 D, so that a head rectangle's corners lie D / 2 = .83 head
# sizes from its middle, whatever its shape, which the two ends do not tell.
CORNER = 0.5 / (2 * HALF_HEAD_AXIS * HEAD_SIZE_PER_AXIS)


@dataclass(frozen=True)
class Heads:
    """Points of N people with their head sizes.

    Attributes:
        xy: (N, 21, 2) pixels over the union's keypoints, labelled and added ones together, NaN where there is none.
        size: (N,) head size in pixels.
    """

    xy: FloatArray
    size: FloatArray

    def at(self, *names: str) -> FloatArray:
        """(N, P, 2) places of keypoints."""
        return np.asarray(self.xy[:, UNION_21.indices(names)])

    @cached_property
    def shoulders(self) -> FloatArray:
        """(N, 1, 2) the middle of the shoulders."""
        return np.asarray(self.at(*SHOULDERS).mean(axis=1, keepdims=True))

    @cached_property
    def centre(self) -> FloatArray:
        """(N, 1, 2) the middle of upper_neck and head_top."""
        return np.asarray(self.at(*NECK_AND_TOP).mean(axis=1, keepdims=True))

    @cached_property
    def body(self) -> FloatArray:
        """(N, 1, 2) unit vector from the shoulders to the middle of nose and ears."""
        return _unit(_middle(self.at("nose", *EARS), least=2) - self.shoulders)

    @cached_property
    def head(self) -> FloatArray:
        """(N, 1, 2) unit vector from upper_neck to head_top."""
        return _unit(self.at("head_top") - self.at("upper_neck"))

    @cached_property
    def left(self) -> FloatArray:
        """(N, 1, 2) unit vector across the head's axis, on the side of the left shoulder."""
        across = self.head[..., ::-1] * [-1, 1]
        to_the_left = self.at(SHOULDERS[0]) - self.at(SHOULDERS[1])
        return np.asarray(across * np.sign((across * to_the_left).sum(axis=2, keepdims=True)))

    def along(self, vector: FloatArray, axis: FloatArray) -> FloatArray:
        """(N, P) part of vectors (N, P, 2) along an axis (N, 1, 2), in head sizes."""
        return np.asarray((vector * axis).sum(axis=2) / self.size[:, None])

    def beside(self, vector: FloatArray, axis: FloatArray) -> FloatArray:
        """(N, P) how far vectors lead away from an axis, in head sizes."""
        return np.abs(self.along(vector, axis[..., ::-1] * [-1, 1]))

    @cached_property
    def ears(self) -> FloatArray:
        """(N, 1, 2) of both ears, or the one that is there."""
        return _middle(self.at(*EARS), least=1)


def _middle(points: FloatArray, least: int) -> FloatArray:
    """(N, 1, 2) mean of the points that are there; NaN where there are fewer than `least`."""
    there = np.isfinite(points).all(axis=2, keepdims=True)
    count = there.sum(axis=1, keepdims=True)
    total = np.where(there, points, 0).sum(axis=1, keepdims=True)
    return np.asarray(np.where(count >= least, total / np.maximum(count, 1), np.nan))


def _unit(vector: FloatArray) -> FloatArray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.where(length > 0, length, np.nan))


@dataclass(frozen=True)
class Check:
    """A value of each of some points (N, P), in head sizes, and the limits it must keep."""

    title: str
    value: Callable[[Heads], FloatArray]
    low: float
    high: float

    def holds(self, heads: Heads) -> tuple[BoolArray, BoolArray]:
        """Where the check can be asked, and where it holds, both (N, P)."""
        value = self.value(heads)
        return np.isfinite(value), np.asarray((value >= self.low) & (value <= self.high))


def _from_neck(*names: str) -> Callable[[Heads], FloatArray]:
    return lambda heads: heads.along(heads.at(*names) - heads.at("upper_neck"), heads.head)


def _from_centre(heads: Heads) -> FloatArray:
    return np.asarray(np.linalg.norm(heads.at(*FACE) - heads.centre, axis=2) / heads.size[:, None])


def _own_side(heads: Heads) -> FloatArray:
    return heads.along(heads.at(*EARS) - heads.centre, heads.left) * [1, -1]


# Limits leave 2.5 % of right answers on the `choose` splits beyond each, rounded outwards to .05 (`--split choose`
# prints them); CORNER is the rule's own.
CHECKS = (
    Check("head_top above the ears", lambda h: h.along(h.at("head_top") - h.ears, h.body), 0.15, 1.0),
    Check("head_top beside the body's axis", lambda h: h.beside(h.at("head_top") - h.shoulders, h.body), 0, 0.8),
    Check("upper_neck above the shoulders", lambda h: h.along(h.at("upper_neck") - h.shoulders, h.body), -0.15, 0.65),
    Check("upper_neck below the nose", lambda h: h.along(h.at("nose") - h.at("upper_neck"), h.body), 0.2, 1.05),
    Check("upper_neck beside the body's axis", lambda h: h.beside(h.at("upper_neck") - h.shoulders, h.body), 0, 0.35),
    Check("nose between upper_neck and head_top", _from_neck("nose"), 0.15, 1.05),
    Check("eyes between upper_neck and head_top", _from_neck(*EYES), 0.35, 1.15),
    Check("ears between upper_neck and head_top", _from_neck(*EARS), 0.25, 1.05),
    Check("nose, eyes, ears within the head rectangle's reach", _from_centre, 0, CORNER),
    Check("left eye to the left of the right", lambda h: h.along(h.at(EYES[0]) - h.at(EYES[1]), h.left), -0.2, 0.55),
    Check("each ear on its own side of the head's axis", _own_side, -0.35, 0.6),
)


def counts(heads: Heads) -> tuple[FloatArray, FloatArray]:
    """Points that keep each check and points that were asked, both (N, C + 1); last, people who keep all theirs."""
    asked, kept = [], []
    for check in CHECKS:
        can, holds = check.holds(heads)
        asked.append(can.sum(axis=1))
        kept.append((can & holds).sum(axis=1))
    up, down = np.stack(kept, axis=1), np.stack(asked, axis=1)
    anything = down.any(axis=1, keepdims=True)
    whole = anything & (up == down).all(axis=1, keepdims=True)
    return np.hstack([up, whole]).astype(np.float64), np.hstack([down, anything]).astype(np.float64)
