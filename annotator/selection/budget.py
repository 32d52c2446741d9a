"""What it costs to ask about a person, in people, keypoints or minutes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.errors import UsageError, expected
from annotator.people import BoolArray
from annotator.skeletons import FloatArray

UNITS = ("people", "keypoints", "minutes")


@dataclass(frozen=True)
class Cost:
    """What a person costs a reviewer.

    Attributes:
        seconds_per_keypoint: labelling by hand takes 9 to 54 seconds a person, which is read here as 9 for the four
            keypoints that a COCO person lacks (2.25 s each) and 54 for all 21 (2.57 s each). The upper figure, so that
            a budget is kept: a proposal that is right takes less, one that must be moved as long as a new point.
    """

    seconds_per_keypoint: float = 54 / 21

    def of(self, asked: BoolArray, unit: str) -> FloatArray:
        """(N,) cost of each person in the unit, from the (N, K) keypoints asked about.

        >>> Cost().of(np.array([[True] * 4 + [False] * 17]), "minutes").round(3)
        array([0.171])

        Raises:
            UsageError: an unknown unit.
        """
        if unit not in UNITS:
            raise UsageError(expected(f"one of {', '.join(UNITS)}", repr(unit), "--unit"))
        keypoints = asked.sum(axis=1).astype(np.float64)
        if unit == "people":
            return np.ones(len(asked))
        return keypoints if unit == "keypoints" else np.asarray(keypoints * self.seconds_per_keypoint / 60)


COST = Cost()


def affordable(cost: FloatArray, budget: float) -> int:
    """How many of the first ones a budget pays for, stopping at the first it does not.

    So a larger budget takes the same people first, whatever they cost.
    """
    # A person that costs exactly what is left is paid for, whatever the additions before it rounded away.
    return int(np.searchsorted(np.cumsum(cost), budget * (1 + 1e-12), side="right"))
