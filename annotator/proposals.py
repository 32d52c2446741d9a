"""Proposals: what a model says about the keypoints of people, one row a person, K columns a keypoint."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotator.errors import FormatError, TableError, expected
from annotator.files import read_bytes
from annotator.people import ORIGIN, ORIGINS, BoolArray, CodeArray
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

    @classmethod
    def none(cls, skeleton: Skeleton) -> Self:
        """Nobody's proposals: what a project without a round has."""
        k = len(skeleton)
        columns = {
            name: np.zeros((0, *(k if d == "K" else d for d in trailing)), dtype)
            for name, (dtype, trailing) in cls.SHAPES.items()
        }
        return cls(skeleton, student="", **columns)

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

    @classmethod
    def read_rows(cls, path: Path, skeleton: Skeleton) -> Self:
        """Inverse of `rows`: the people of a `proposals.parquet` in its order, over the skeleton it was made for.

        Raises:
            FormatError: no such file, not Parquet, or not one row per person and keypoint of `skeleton`.
        """
        read_bytes(path, "proposals.parquet")
        try:
            table = pq.read_table(path)
            k = len(skeleton)
            if table["keypoint"].to_pylist() != [*skeleton.keypoints] * (len(table) // k):
                raise FormatError(expected(f"one row per person and keypoint of {skeleton.name}", "others", str(path)))
            columns = {name: table[name].to_numpy() for name in table.column_names}
            flat = {name: columns[name].reshape(-1, k) for name, shape in cls.SHAPES.items() if shape == _F}
            first = {name: columns[name][::k] for name in ("person_id", "image_id", "scale_px")}
            return cls(
                skeleton,
                student=str(columns["student"][0]) if len(table) else "",
                xy=np.stack([columns["x"], columns["y"]], axis=1).reshape(-1, k, 2),
                origin=_codes(columns["origin"], ORIGINS).reshape(-1, k),
                kind=_codes(columns["kind"], KINDS).reshape(-1, k),
                calibrated=_codes(columns["calibrated"], CALIBRATED).reshape(-1, k),
                **first,
                **flat,
            )
        except (pa.ArrowException, KeyError, TableError) as error:
            wanted = "Parquet with one row per person and keypoint"
            raise FormatError(expected(wanted, str(error).split("\n")[0], str(path))) from error


def to_write(proposals: Proposals) -> Proposals:
    """What goes into annotations.json: keypoints the dataset does not label, and hidden ones.

    A keypoint that could have been labelled and was not is mostly outside the picture; until the probability of its
    presence is known it stays in proposals.parquet alone.
    """
    left_out = np.isin(proposals.kind, [KIND["unlabelled"], KIND["labelled"]])
    return replace(proposals, xy=np.where(left_out[..., None], np.nan, proposals.xy))


def drawable(proposals: Proposals) -> BoolArray:
    """(N, K) proposals that were asked for and have a place."""
    return np.asarray((proposals.kind != KIND["labelled"]) & np.isfinite(proposals.xy).all(axis=2))


def radius_px(proposals: Proposals) -> FloatArray:
    """(N, K) how far a proposal may be off, in pixels: radius90, or spread_px where no radius is estimated."""
    return np.where(np.isfinite(proposals.radius90), proposals.radius90, proposals.spread_px).astype(np.float64)


def uncertainty(proposals: Proposals) -> FloatArray:
    """(N,) mean of `radius_px` over the person's scale, higher = less sure.

    The mean is over its proposed keypoints; NaN where none of them has a radius. In units of the scale a small and a
    large person compare as OKS compares them; 1 - score would not do, since a score is the mass near a peak in one
    network and a peak's height in another.
    """
    relative = radius_px(proposals) / proposals.scale_px[:, None]
    counted = drawable(proposals) & (proposals.origin != ORIGIN["derived"]) & np.isfinite(relative)
    count = counted.sum(axis=1)
    total = np.where(counted, relative, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _codes(words: NDArray[Any], known: tuple[str, ...]) -> NDArray[np.uint8]:
    code = {word: i for i, word in enumerate(known)}
    return np.array([code[word] for word in words], dtype=np.uint8)


def _words(codes: CodeArray, words: tuple[str, ...]) -> pa.Array:
    return pa.array(np.array(words, dtype=object)[codes.reshape(-1)], pa.string())
