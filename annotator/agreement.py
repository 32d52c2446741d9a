"""Several reviewers on one point: whose word stands, where they agree, and where somebody else must decide.

Of each reviewer the last word counts. Who was shown an earlier answer and changed it has replaced it; all others
decided independently, and their points are joined where more than half of them lie within a tolerance of the median.
What stays open changes nothing: the point is as it was until one more word makes a majority.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from annotator.decisions import Decisions
from annotator.people import ORIGIN, ORIGINS, People
from annotator.skeletons import UNION_21, FloatArray
from annotator.tables import StrArray


@dataclass(frozen=True)
class Tolerance:
    """How far from the median a reviewer's point may lie and still mean the same place.

    Attributes:
        sigmas: in OKS sigmas of the keypoint times the person's scale. Within one of them COCO's own annotators put a
            point about two times of three; within three nearly always.
        least_px: pixels; nobody clicks more exactly than this, however small the person.
    """

    sigmas: float = 3.0
    least_px: float = 2.0

    def of(self, people: People) -> FloatArray:
        """(N, 21) pixels, for the union's keypoints."""
        sigmas_px = np.outer(people.scale_px(), UNION_21.oks_sigmas)
        return np.asarray(np.maximum(self.sigmas * sigmas_px, self.least_px))


TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Open:
    """A point on which reviewers disagree.

    Attributes:
        person_id, image_id, keypoint: which.
        reviewers: who decided, in the order of their words.
        words: what each said, an origin.
        apart_px: largest distance between two of their points; NaN where fewer than two placed one.
        tolerance_px: what would have passed.
    """

    person_id: str
    image_id: str
    keypoint: str
    reviewers: tuple[str, ...]
    words: tuple[str, ...]
    apart_px: float
    tolerance_px: float


@dataclass(frozen=True)
class Settled:
    """What stands after all words are weighed.

    Attributes:
        decisions: at most one for a person and keypoint.
        open: disagreements, most distant first.
    """

    decisions: Decisions
    open: tuple[Open, ...]


Point = tuple[float, float]
# A point goes to a reviewer in percent of the picture and comes back: what it moves on the way is far less than this.
SAME_PX = 1e-3


def groups(decisions: Decisions) -> dict[tuple[str, str], list[int]]:
    """Rows of the independent words that stand for each (person, keypoint), each reviewer's last, in their order."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(decisions.person_id, decisions.keypoint, strict=True)):
        rows.setdefault(key, []).append(row)
    before, after = decisions.before_xy.tolist(), decisions.after_xy.tolist()
    for key, found in rows.items():
        if len(found) > 1:
            rows[key] = _standing(found, decisions.reviewer, before, after)
    return rows


def _standing(rows: list[int], reviewer: StrArray, before: list[list[float]], after: list[list[float]]) -> list[int]:
    """Those of one point's words that no later one replaced.

    A word replaces the same reviewer's, and those it started from: it found what another had left, and that one had
    left something else than it had found.
    """
    standing: list[int] = []
    for row in rows:
        standing = [
            other
            for other in standing
            if reviewer[other] != reviewer[row]
            and not (_same(before[row], after[other]) and not _same(before[other], after[other]))
        ]
        standing.append(row)
    return standing


def _same(a: list[float], b: list[float]) -> bool:
    if math.isnan(a[0]) or math.isnan(b[0]):
        return math.isnan(a[0]) and math.isnan(b[0])
    return abs(a[0] - b[0]) <= SAME_PX and abs(a[1] - b[1]) <= SAME_PX


def settle(people: People, decisions: Decisions, tolerance: Tolerance = TOLERANCE) -> Settled:
    """One decision for each point, and the points on which reviewers disagree.

    A point that one reviewer decided is as that one said. Joined points are the mean of those within the tolerance of
    the median; their origin is the words' own where that is one, else `corrected` (or `rejected`, where most say that
    there is no point here), and they are visible where more than half say so.

    Args:
        people: whom to settle; only their ids, pictures and scales are read, and nobody else's decisions.
        decisions: over the union's keypoints, in the order they were made.
        tolerance: what counts as the same place.
    """
    row_of = {name: row for row, name in enumerate(people.person_id)}
    decisions = decisions.take(np.array([name in row_of for name in decisions.person_id], dtype=bool))
    limits = tolerance.of(people)
    place = [None if math.isnan(x) else (x, y) for x, y in decisions.after_xy.tolist()]
    last: list[int] = []
    joined: dict[int, list[int]] = {}
    open_: list[Open] = []
    for (person, keypoint), rows in groups(decisions).items():
        if len(rows) > 1:
            limit = float(limits[row_of[person], UNION_21.index(keypoint)])
            agreed = agreeing([place[row] for row in rows], limit)
            if not agreed:
                open_.append(_open(decisions.take(rows), str(people.image_id[row_of[person]]), limit))
                continue
            rows = joined[len(last)] = [rows[i] for i in agreed]
        last.append(rows[-1])
    open_.sort(key=lambda one: (-np.nan_to_num(one.apart_px), one.person_id, one.keypoint))
    return Settled(_joined(decisions, last, joined), tuple(open_))


def agreeing(points: Sequence[Point | None], limit_px: float) -> list[int]:
    """Which of several points agree: more than half of all, near the median; or more than half that are no points.

    >>> agreeing([(10, 10), (12, 10), (90, 90)], limit_px=5), agreeing([(10, 10), None, None], limit_px=5)
    ([0, 1], [1, 2])
    >>> agreeing([(10, 10), (90, 90)], limit_px=5), agreeing([(10, 10), None], limit_px=5)
    ([], [])
    """
    placed = [point for point in points if point is not None]
    if 2 * len(placed) > len(points):
        x, y = median(p[0] for p in placed), median(p[1] for p in placed)
        agreed = [i for i, p in enumerate(points) if p is not None and math.hypot(p[0] - x, p[1] - y) <= limit_px]
    else:
        agreed = [i for i, point in enumerate(points) if point is None]
    return agreed if 2 * len(agreed) > len(points) else []


def _joined(decisions: Decisions, last: list[int], joined: dict[int, list[int]]) -> Decisions:
    """The last word on each point; where several agree, what they come to."""
    out = decisions.take(np.array(last, dtype=np.int64))
    reviewer, origin = out.reviewer.copy(), out.origin.copy()
    xy, v = out.after_xy.copy(), out.after_v.copy()
    for place, rows in joined.items():
        placed = v[place] > 0
        reviewer[place] = ", ".join(sorted(decisions.reviewer[rows]))
        if len(set(decisions.origin[rows].tolist())) > 1:
            origin[place] = ORIGIN["corrected" if placed else "rejected"]
        if placed:
            points = decisions.after_xy[rows]
            # The mean of equal numbers may differ from them in the last bit.
            xy[place] = points[0] if (points == points[0]).all() else points.mean(axis=0)
            v[place] = 1 + (2 * (decisions.after_v[rows] == 2).sum() > len(rows))
    return replace(out, reviewer=reviewer, origin=origin, after_xy=xy, after_v=v)


def _open(words: Decisions, image_id: str, limit_px: float) -> Open:
    points = words.after_xy[np.isfinite(words.after_xy).all(axis=1)]
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    return Open(
        person_id=str(words.person_id[0]),
        image_id=image_id,
        keypoint=str(words.keypoint[0]),
        reviewers=tuple(map(str, words.reviewer)),
        words=tuple(ORIGINS[code] for code in words.origin),
        apart_px=float(apart.max()) if len(points) > 1 else float("nan"),
        tolerance_px=limit_px,
    )


def independent(
    decisions: Decisions, standing: Mapping[tuple[str, str], list[int]], words: tuple[str, ...]
) -> Iterator[tuple[str, str, FloatArray]]:
    """(person, keypoint, (n, 2) points) wherever two or more reviewers placed one with any of these origins.

    `standing` is `groups(decisions)`.
    """
    codes, origins = {ORIGIN[word] for word in words}, decisions.origin.tolist()
    for (person, keypoint), rows in standing.items():
        chosen = [row for row in rows if origins[row] in codes]
        if len(chosen) > 1:
            yield person, keypoint, decisions.after_xy[chosen]
