"""Decisions: what a reviewer said about one keypoint of one person. Appended, never edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from annotator.errors import TableError, expected
from annotator.people import ORIGIN, CodeArray
from annotator.skeletons import FloatArray
from annotator.tables import StrArray, Table

DECIDED = ("accepted", "corrected", "control", "rejected", "absent")
PLACED = ("accepted", "corrected", "control")


@dataclass(frozen=True)
class Decisions(Table):
    """One row a decision, in the order they were made.

    Attributes:
        person_id, keypoint: what it is about.
        origin: code of ORIGINS, one of accepted, corrected, control, rejected, absent.
        reviewer: who.
        when: ISO 8601, UTC.
        before_xy, before_v: (M, 2), (M,) the point as the reviewer found it, NaN and 0 where there was none.
        after_xy, after_v: the point as it was left, NaN and 0 for rejected and absent.
    """

    person_id: StrArray
    keypoint: StrArray
    origin: CodeArray
    reviewer: StrArray
    when: StrArray
    before_xy: FloatArray
    before_v: CodeArray
    after_xy: FloatArray
    after_v: CodeArray

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "person_id": (object, ()), "keypoint": (object, ()), "origin": (np.uint8, ()), "reviewer": (object, ()),
        "when": (object, ()), "before_xy": (np.float64, (2,)), "before_v": (np.uint8, ()),
        "after_xy": (np.float64, (2,)), "after_v": (np.uint8, ()),
    }  # fmt: skip

    def check(self) -> None:
        """Only reviewers' words, and a place exactly where the reviewer left a point."""
        if not np.isin(self.origin, [ORIGIN[word] for word in DECIDED]).all():
            raise TableError(expected(f"one of {', '.join(DECIDED)}", "another origin", "Decisions.origin"))
        placed = np.isin(self.origin, [ORIGIN[word] for word in PLACED])
        if (np.isfinite(self.after_xy).all(axis=1) != placed).any() or ((self.after_v > 0) != placed).any():
            raise TableError(expected("after_xy exactly where a point was placed", "otherwise", "Decisions.after_xy"))
