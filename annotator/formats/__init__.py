"""Annotation files of the field: one module a format, one row in FORMATS, one way to read and write them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annotator.errors import FormatError, StorageError, UsageError, expected
from annotator.formats import coco, halpe, lsp, mpii, mpii_mat, yolo
from annotator.formats.dataset import Dataset, Problem
from annotator.formats.records import Triples, load_json
from annotator.images import Images
from annotator.people import BoolArray
from annotator.skeletons import Skeleton


class Format(NamedTuple):
    """What a module can do.

    Attributes:
        read: `(path, root, source=...)` -> Dataset; `root` is the folder of the pictures.
        write: `(path, dataset)`.
        looks_like: why a path may hold this format, or nothing.
        looked_for: what that is, for errors.
        triples: `(dataset)` -> skeleton and numbers of its records as written; None where records hold no such numbers.
        restricted: `(dataset, images, kept)` -> `rest` for only these images and people; None where nothing changes.
    """

    read: Callable[..., Dataset]
    write: Callable[[Path, Dataset], None]
    looks_like: Callable[[Path], str]
    looked_for: str
    triples: Callable[[Dataset], tuple[Skeleton, Triples]] | None
    restricted: Callable[[Dataset, Images, BoolArray], dict[str, Any]] | None


FORMATS = {
    module.NAME: Format(
        module.read,
        module.write,
        module.looks_like,
        module.LOOKED_FOR,
        getattr(module, "triples", None),
        getattr(module, "restricted", None),
    )
    for module in (coco, mpii, mpii_mat, halpe, lsp, yolo)
}
# MPII comes as a list of people and as MATLAB's structure; both are `mpii` to whoever asks.
MATLAB_OF = {mpii.NAME: mpii_mat.NAME}


def read(
    path: Path,
    root: Path,
    format: str = "auto",  # noqa: A002 (the option's name everywhere)
    *,
    source: str | None = None,
) -> Dataset:
    """Read an annotation file.

    Args:
        path: the file, or for YOLO-pose the folder.
        root: folder of the pictures that it names.
        format: a name of FORMATS, or `auto`.
        source: what the ids begin with and the table's `source` says; the format's own name where it is not given.

    Raises:
        FormatError: the file cannot be used at all; records that cannot be used are in `Dataset.problems`.
    """
    name = guess(path)[0] if format == "auto" else _named(format, path)
    return FORMATS[name].read(path, root, **({"source": source} if source else {}))


def write(path: Path, dataset: Dataset, format: str) -> None:  # noqa: A002
    """Write a dataset; pixels are brought to the format's own convention.

    Raises:
        InputError: the format cannot hold these people; each module says what it cannot hold.
        StorageError: the disk is full, or the place cannot be written.
    """
    FORMATS[_named(format, path)].write(path, dataset)


def guess(path: Path) -> tuple[str, str]:
    """The format of a file or folder and why; raises FormatError where none fits, or several do."""
    if not path.exists():
        raise FormatError(expected("an annotation file", "no such file", str(path)))
    try:
        reasons = {name: why for name, entry in FORMATS.items() if (why := entry.looks_like(path))}
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(expected("an annotation file", error.strerror, str(path))) from error
    if not reasons and path.suffix.lower() == ".json":
        load_json(path)  # broken JSON is worth a better word than "none of these"
    if len(reasons) != 1:
        wanted = "; ".join(f"{name}: {entry.looked_for}" for name, entry in FORMATS.items())
        found = " and ".join(f"{name} ({why})" for name, why in reasons.items()) or "none of these"
        raise FormatError(expected(f"one format ({wanted})", found, str(path)))
    return next(iter(reasons.items()))


def restrict(dataset: Dataset, file_names: Iterable[str]) -> Dataset:
    """Only the named pictures, with their people; names that the dataset does not have become problems."""
    wanted = list(dict.fromkeys(file_names))
    images = dataset.images.take(np.isin(dataset.images.file_name.astype(str), wanted))
    kept = np.isin(dataset.people.image_id.astype(str), images.image_id.astype(str))
    unknown = set(wanted) - set(dataset.images.file_name)
    problems = tuple(
        Problem(str(dataset.path), "list", "a picture of this file", name, name) for name in wanted if name in unknown
    )
    restricted = FORMATS[dataset.format].restricted
    rest = restricted(dataset, images, kept) if restricted else dataset.rest
    return replace(
        dataset, images=images, people=dataset.people.take(kept), problems=dataset.problems + problems, rest=rest
    )


def _named(name: str, path: Path) -> str:
    if name not in FORMATS:
        raise UsageError(expected(f"a format, one of {', '.join(FORMATS)}", repr(name), "format"))
    return MATLAB_OF.get(name, name) if path.suffix.lower() == ".mat" else name
