"""People: the labels as they stand, one row a person, K columns a keypoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from annotator.errors import TableError, expected
from annotator.skeletons import FloatArray, Skeleton
from annotator.tables import StrArray, Table

# Where a point comes from; a column of the table holds an index into this tuple.
ORIGINS = ("none", "labelled", "derived", "proposed", "released", "accepted", "corrected", "control", "rejected",
           "absent")  # fmt: skip
ORIGIN = {word: code for code, word in enumerate(ORIGINS)}
HUMAN_ORIGINS = ("labelled", "accepted", "corrected", "control")
# COCO's segment area is on average .53 of the box's: what stands in where a dataset has no segments.
AREA_PER_BOX = 0.53

BoolArray = NDArray[np.bool_]
# Stored as 8-bit codes, given as any integers.
CodeArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class People(Table):
    """Labels of N people.

    Attributes:
        skeleton: names the K keypoints.
        person_id: unique, never changes, e.g. `coco:230831`.
        image_id: row of Images this person is in.
        source: dataset, e.g. `coco`.
        xy: (N, K, 2) pixels in the source's own convention, NaN where there is no point.
        v: (N, K) COCO's visibility: 0 unlabelled, 1 occluded, 2 visible.
        in_schema: (N, K) whether the person's dataset labels this keypoint at all.
        origin: (N, K) codes of ORIGINS; `none` where there is no point.
        bbox_xywh: (N, 4) pixels in the source's own convention.
        bbox_given: whether the box came with the dataset (True) or was computed from the keypoints.
        area: segment area in square pixels, NaN where the dataset has none.
        pixel_origin: coordinate of the first pixel: 0, or 1 for MPII and LSP.
        record: the source's own record as JSON, so that fields unknown to us go back untouched.
    """

    skeleton: Skeleton
    person_id: StrArray
    image_id: StrArray
    source: StrArray
    xy: FloatArray
    v: CodeArray
    in_schema: BoolArray
    origin: CodeArray
    bbox_xywh: FloatArray
    bbox_given: BoolArray
    area: FloatArray
    pixel_origin: CodeArray
    record: StrArray

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "person_id": (object, ()), "image_id": (object, ()), "source": (object, ()),
        "xy": (np.float64, ("K", 2)), "v": (np.uint8, ("K",)), "in_schema": (np.bool_, ("K",)),
        "origin": (np.uint8, ("K",)), "bbox_xywh": (np.float64, (4,)), "bbox_given": (np.bool_, ()),
        "area": (np.float64, ()), "pixel_origin": (np.uint8, ()), "record": (object, ()),
    }  # fmt: skip

    def check(self) -> None:
        """Every label has a finite place, everything else has none, and no id is used twice."""
        there = np.isfinite(self.xy).all(axis=2)
        if (bad := (self.v > 0) != there).any():
            row, k = np.argwhere(bad)[0]
            where = f"People {self.person_id[row]}: {self.skeleton.keypoints[k]}"
            raise TableError(expected("v > 0 exactly where xy is finite", f"v {self.v[row, k]}", where))
        if (self.v > 2).any():
            raise TableError(expected("v of 0, 1 or 2", int(self.v.max()), "People.v"))
        if len(set(self.person_id)) != len(self):
            ids, counts = np.unique(self.person_id.astype(str), return_counts=True)
            raise TableError(expected("unique ids", f"{ids[counts > 1][0]} twice", "People.person_id"))
        if not (np.isfinite(self.bbox_xywh).all() and (self.bbox_xywh[:, 2:] > 0).all()):
            raise TableError(expected("boxes with positive width and height", "others", "People.bbox_xywh"))

    @property
    def labelled(self) -> BoolArray:
        """(N, K) whether there is a label."""
        return self.v > 0

    def scale_px(self) -> FloatArray:
        """(N,) sqrt of the segment area, or of .53 of the box's where there is none: the unit of OKS."""
        box_area = AREA_PER_BOX * self.bbox_xywh[:, 2] * self.bbox_xywh[:, 3]
        return np.asarray(np.sqrt(np.where(self.area > 0, self.area, box_area)))

    def align(self, skeleton: Skeleton) -> People:
        """The same people over another skeleton's columns, matched by name and definition.

        Raises:
            TableError: a label would be lost, since `skeleton` lacks its keypoint.
        """
        columns = self.skeleton.columns_of(skeleton)
        lost = np.setdiff1d(np.arange(len(self.skeleton)), columns)
        if self.labelled[:, lost].any():
            names = [self.skeleton.keypoints[k] for k in lost if self.labelled[:, k].any()]
            raise TableError(expected(f"a skeleton with {', '.join(names)}", skeleton.name, "People.align"))
        return self.project(skeleton)

    def project(self, skeleton: Skeleton) -> People:
        """As `align`, but keypoints that `skeleton` lacks are left out."""
        columns = self.skeleton.columns_of(skeleton)
        absent = columns < 0
        changed: dict[str, NDArray[Any]] = {}
        for name, fill in (("xy", np.nan), ("v", 0), ("in_schema", False), ("origin", ORIGIN["none"])):
            column = getattr(self, name)[:, columns]
            column[:, absent] = fill
            changed[name] = column
        return replace(self, skeleton=skeleton, **changed)

    def hide(self, names: list[str]) -> People:
        """The same people with these keypoints unlabelled; the way every accuracy figure is made."""
        columns = self.skeleton.indices(names)
        xy, v, origin = self.xy.copy(), self.v.copy(), self.origin.copy()
        xy[:, columns], v[:, columns], origin[:, columns] = np.nan, 0, ORIGIN["none"]
        return replace(self, xy=xy, v=v, origin=origin)


def people(
    skeleton: Skeleton,
    *,
    person_id: Any,
    image_id: Any,
    source: str,
    xy: FloatArray,
    v: NDArray[Any],
    bbox_xywh: FloatArray,
    bbox_given: Any = True,
    area: Any = np.nan,
    pixel_origin: int = 0,
    in_schema: Any = True,
    record: Any = "",
) -> People:
    """Freshly read people of one source: every label has origin `labelled`, every unlabelled point becomes NaN.

    Scalars are spread over all rows. Only readers of `formats` call this: nothing else may write `labelled`.
    """
    n, k = len(person_id), len(skeleton)
    v = np.asarray(v, dtype=np.uint8).reshape(n, k)
    labelled = v > 0
    return People(
        skeleton,
        person_id=np.asarray(person_id, dtype=object),
        image_id=np.asarray(image_id, dtype=object),
        source=np.full(n, source, dtype=object),
        xy=np.where(labelled[..., None], np.asarray(xy, dtype=np.float64).reshape(n, k, 2), np.nan),
        v=v,
        in_schema=np.broadcast_to(np.asarray(in_schema, dtype=bool), (n, k)).copy(),
        origin=np.where(labelled, ORIGIN["labelled"], ORIGIN["none"]).astype(np.uint8),
        bbox_xywh=np.asarray(bbox_xywh, dtype=np.float64).reshape(n, 4),
        bbox_given=np.broadcast_to(np.asarray(bbox_given, dtype=bool), (n,)).copy(),
        area=np.broadcast_to(np.asarray(area, dtype=np.float64), (n,)).copy(),
        pixel_origin=np.full(n, pixel_origin, dtype=np.uint8),
        record=np.asarray(record, dtype=object) if not isinstance(record, str) else np.full(n, record, dtype=object),
    )


def box_of_keypoints(xy: FloatArray, margin: float = 0.1) -> FloatArray:
    """Box around each person's labelled keypoints, (N, 4) xywh, widened by `margin` of its longer side on every side.

    The stated rule for datasets without boxes; such boxes carry `bbox_given = False`. People without any label get NaN.
    """
    seen = np.isfinite(xy).all(axis=2, keepdims=True)
    low = np.where(seen, xy, np.inf).min(axis=1)
    high = np.where(seen, xy, -np.inf).max(axis=1)
    pad = np.maximum(margin * (high - low).max(axis=1, keepdims=True), 1.0)
    box = np.concatenate([low - pad, high - low + 2 * pad], axis=1)
    return np.where(np.isfinite(box), box, np.nan)
