"""Proposals: what a model says about the keypoints of people, one row a person, K columns a keypoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from annotator.people import ORIGINS, CodeArray
from annotator.skeletons import FloatArray, Skeleton
from annotator.tables import StrArray, Table

# Why the model was asked; a column of the table holds an index into this tuple.
KINDS = ("labelled", "not_in_schema", "unlabelled", "hidden")
KIND = {word: code for code, word in enumerate(KINDS)}
# Whose labels the radius was calibrated on.
CALIBRATED = ("none", "transferred", "own")

# Stored as 32-bit floats, given as any.
F32 = NDArray[np.floating[Any]]
_F = (np.float32, ("K",))


@dataclass(frozen=True)
class Proposals(Table):
    """A model's word on N people.

    Every keypoint has a row of columns, labelled or not; `kind` says which. Pixels are the source's own convention.

    Attributes:
        skeleton: names the K keypoints.
        student: name of the model.
        person_id, image_id: who.
        scale_px: (N,) the person's scale, sqrt of the area.
        xy: (N, K, 2) pixels, NaN where the model does not know the keypoint.
        score: (N, K) the model's confidence in [0, 1].
        p_present: probability that the keypoint can be placed in this picture at all.
        expected_error_px, radius50, radius80, radius90, radius95: pixels, NaN until estimated.
        spread_px, entropy, peaks: width in pixels, entropy in nats and number of peaks of the predicted distribution.
        disagreement_px: distance between the model's word on the picture and on its mirror image; between the networks
            where several speak (`teachers`).
        origin: codes of ORIGINS: proposed, derived or released.
        kind: codes of KINDS.
        calibrated: codes of CALIBRATED.
    """

    skeleton: Skeleton
    student: str
    person_id: StrArray
    image_id: StrArray
    scale_px: FloatArray
    xy: FloatArray
    score: F32
    p_present: F32
    expected_error_px: F32
    radius50: F32
    radius80: F32
    radius90: F32
    radius95: F32
    spread_px: F32
    entropy: F32
    peaks: F32
    disagreement_px: F32
    origin: CodeArray
    kind: CodeArray
    calibrated: CodeArray

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "person_id": (object, ()), "image_id": (object, ()), "scale_px": (np.float64, ()),
        "xy": (np.float64, ("K", 2)), "score": _F, "p_present": _F, "expected_error_px": _F, "radius50": _F,
        "radius80": _F, "radius90": _F, "radius95": _F, "spread_px": _F, "entropy": _F, "peaks": _F,
        "disagreement_px": _F, "origin": (np.uint8, ("K",)), "kind": (np.uint8, ("K",)),
        "calibrated": (np.uint8, ("K",)),
    }  # fmt: skip

    def rows(self) -> pa.Table:
        """One row per (person, keypoint), the layout of `proposals.parquet`."""
        n, k = self.xy.shape[:2]
        names = np.array(self.skeleton.keypoints, dtype=object)
        flat = {
            f.name: getattr(self, f.name).reshape(-1)
            for f in fields(self)
            if f.name in self.SHAPES and self.SHAPES[f.name] == _F
        }
        return pa.table({
            "person_id": pa.array(np.repeat(self.person_id, k), pa.string()),
            "image_id": pa.array(np.repeat(self.image_id, k), pa.string()),
            "keypoint": pa.array(np.tile(names, n), pa.string()),
            "x": self.xy[..., 0].reshape(-1),
            "y": self.xy[..., 1].reshape(-1),
            **flat,
            "scale_px": np.repeat(self.scale_px, k),
            "origin": _words(self.origin, ORIGINS),
            "kind": _words(self.kind, KINDS),
            "student": pa.array(np.full(n * k, self.student, dtype=object), pa.string()),
            "calibrated": _words(self.calibrated, CALIBRATED),
        })  # fmt: skip


def _words(codes: CodeArray, words: tuple[str, ...]) -> pa.Array:
    return pa.array(np.array(words, dtype=object)[codes.reshape(-1)], pa.string())
