"""The people as they stand: labels with the decisions of reviewers applied. Computed, never stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from annotator.agreement import TOLERANCE, Tolerance, settle
from annotator.decisions import Decisions
from annotator.errors import TableError, expected
from annotator.people import People
from annotator.skeletons import UNION_21


def current_people(people: People, decisions: Decisions, tolerance: Tolerance = TOLERANCE) -> People:
    """The same people with every point that reviewers decided as they left it.

    A decided point has the decision's place, visibility and origin; one that was rejected or is absent has no place. A
    point on which reviewers disagree is as the dataset has it (see `agreement.settle`). The label that a decision
    replaced stays in the person's own record, whence writers take it as `previous`.

    Args:
        people: over any skeleton; decisions about others are left out.
        decisions: about keypoints of the union, in the order they were made.
        tolerance: how far apart reviewers may be and still mean the same place.

    Raises:
        TableError: a decision about a keypoint that `people.skeleton` lacks: it would be lost.
    """
    settled = settle(people, decisions, tolerance).decisions
    if not len(settled):
        return people
    row_of = {name: row for row, name in enumerate(people.person_id)}
    rows = np.array([row_of[name] for name in settled.person_id], dtype=np.int64)
    columns = people.skeleton.columns_of(UNION_21)[UNION_21.indices(settled.keypoint)]
    if (columns < 0).any():
        name = settled.keypoint[np.flatnonzero(columns < 0)[0]]
        raise TableError(expected(f"a skeleton with {name}", people.skeleton.name, "current_people"))
    xy, v, origin = people.xy.copy(), people.v.copy(), people.origin.copy()
    xy[rows, columns], v[rows, columns], origin[rows, columns] = settled.after_xy, settled.after_v, settled.origin
    return replace(people, xy=xy, v=v, origin=origin)
