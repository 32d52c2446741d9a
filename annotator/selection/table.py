"""Selection: the people a round asks about, in the order they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from annotator.errors import TableError, expected
from annotator.skeletons import FloatArray, IntArray
from annotator.tables import StrArray, Table

ROLES = ("review", "control", "trap")


@dataclass(frozen=True)
class Selection(Table):
    """One row a chosen person, ranked; `selection.parquet` of a round.

    Attributes:
        person_id, image_id: who.
        rank: 1 for the first to be asked; no two alike.
        priority: the strategy's own number, higher = sooner.
        role: `review` (proposals are shown), `control` (none are: every point is placed blind), or `trap` (one of the
            shown proposals is displaced on purpose; whoever submits it as it is does not look).
        trap_keypoint: the displaced keypoint of a trap, empty for everybody else.
        trap_dx, trap_dy: by how many pixels of the picture it is shown elsewhere; 0 for everybody else.
        strategy, budget, unit, controls, traps, seed: what was asked for.
        proposals_sha256: digest of the round's proposals.parquet it was made from; empty where there is no file.
    """

    person_id: StrArray
    image_id: StrArray
    rank: IntArray
    priority: FloatArray
    role: StrArray
    trap_keypoint: StrArray
    trap_dx: FloatArray
    trap_dy: FloatArray
    strategy: str = ""
    budget: float = 0
    unit: str = "people"
    controls: int = 0
    traps: int = 0
    seed: int = 0
    proposals_sha256: str = ""

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "person_id": (object, ()), "image_id": (object, ()), "rank": (np.int64, ()), "priority": (np.float64, ()),
        "role": (object, ()), "trap_keypoint": (object, ()), "trap_dx": (np.float64, ()), "trap_dy": (np.float64, ()),
    }  # fmt: skip

    def check(self) -> None:
        """Ranks count from 1, nobody is chosen twice, and traps alone are displaced."""
        if (self.rank != np.arange(1, len(self) + 1)).any():
            raise TableError(expected(f"ranks from 1 to {len(self)}", "others", "Selection.rank"))
        if len(set(self.person_id)) != len(self):
            raise TableError(expected("everybody once", "somebody twice", "Selection.person_id"))
        if not np.isin(self.role.astype(str), ROLES).all():
            raise TableError(expected(f"one of {', '.join(ROLES)}", "another role", "Selection.role"))
        displaced = (self.trap_keypoint != "") & ((self.trap_dx != 0) | (self.trap_dy != 0))
        if (displaced != (self.role == "trap")).any():
            raise TableError(expected("a displaced keypoint for traps alone", "otherwise", "Selection.trap_keypoint"))
