"""What all tables share: frozen dataclasses of numpy columns, checked once at the door, sliced together.

A table class lists its columns as dataclass fields and says in `SHAPES` what each must look like; K is the number of
keypoints of its skeleton. Functions return new tables and never write into one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotator.errors import TableError, expected
from annotator.files import atomic_path
from annotator.skeletons import Skeleton

StrArray = NDArray[np.object_]


class Table:
    """Base of Images, People, Proposals and Decisions.

    `SHAPES` maps a column to (dtype, trailing shape), with "K" standing for the number of keypoints; object columns
    hold str.
    """

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {}

    def __post_init__(self) -> None:
        key = next(iter(self.SHAPES))
        rows = len(getattr(self, key))
        for name, (dtype, trailing) in self.SHAPES.items():
            column = np.asarray(getattr(self, name), dtype=dtype)
            shape = (rows, *(len(self.skeleton) if d == "K" else d for d in trailing))
            if column.shape != shape:
                raise TableError(expected(f"shape {shape}", column.shape, f"{type(self).__name__}.{name}"))
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        self.check()

    skeleton: Skeleton

    def check(self) -> None:
        """Rules beyond shape and type; raises TableError."""

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self.SHAPES))))

    def take(self, rows: Any) -> Self:
        """The rows of an index array, a boolean mask or a slice, all columns together."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.SHAPES})  # type: ignore[type-var]

    @classmethod
    def concat(cls, tables: list[Self]) -> Self:
        """Tables of one skeleton, one after the other."""
        if len({getattr(t, "skeleton", None) for t in tables}) != 1:
            raise TableError(expected("tables of one skeleton", len(tables), f"{cls.__name__}.concat"))
        columns = {name: np.concatenate([getattr(t, name) for t in tables]) for name in cls.SHAPES}
        return replace(tables[0], **columns)  # type: ignore[type-var]

    def equals(self, other: Self) -> bool:
        """Same rows in the same order, NaN equal to NaN."""
        return getattr(self, "skeleton", None) == getattr(other, "skeleton", None) and all(
            _same(getattr(self, name), getattr(other, name)) for name in self.SHAPES
        )

    def to_arrow(self) -> pa.Table:
        """Arrow table; array columns become fixed-size lists, everything that is no column goes to the metadata."""
        arrays = {name: _to_arrow(getattr(self, name)) for name in self.SHAPES}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.SHAPES}  # type: ignore[arg-type]
        rest["skeleton"] = asdict(rest["skeleton"]) if "skeleton" in rest else None
        return pa.table(arrays, metadata={"annotator": json.dumps(rest)})

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """Inverse of `to_arrow`."""
        rest = json.loads(table.schema.metadata[b"annotator"])
        skeleton = rest.pop("skeleton")
        if skeleton:
            rest["skeleton"] = _skeleton(skeleton)
        k = len(rest["skeleton"]) if skeleton else 0
        sizes = {name: tuple(k if d == "K" else d for d in shape) for name, (_, shape) in cls.SHAPES.items()}
        return cls(**{name: _from_arrow(table[name], sizes[name]) for name in cls.SHAPES}, **rest)

    def save(self, path: Path) -> None:
        """Write as Parquet, whole or not at all."""
        with atomic_path(path) as temporary:
            pq.write_table(self.to_arrow(), temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls.from_arrow(pq.read_table(path))


def _skeleton(stored: dict[str, Any]) -> Skeleton:
    columns = {name: tuple(value) for name, value in stored.items() if name not in ("name", "edges")}
    return Skeleton(name=stored["name"], edges=tuple((a, b) for a, b in stored["edges"]), **columns)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _to_arrow(column: NDArray[Any]) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column, type=pa.string()) if column.dtype == object else pa.array(column)
    flat = pa.array(column.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(column.shape[1:])))


def _from_arrow(column: pa.ChunkedArray, trailing: tuple[int, ...]) -> NDArray[Any]:
    if not trailing:
        return np.asarray(column.to_numpy())
    flat = np.concatenate([np.asarray(c.flatten()) for c in column.chunks]) if column.num_chunks else np.zeros(0)
    return flat.reshape(len(column), *trailing)
