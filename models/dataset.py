"""A training set on disk (`annotator.training` writes it) -> rows of people with their crop, labels and teachers.

set.json     names: skeleton, mirror images, datasets and how far their labels are trusted, teachers
arrays.npz   labels, teachers' mixtures, and the affine picture -> stored crop, one row a person
crops.bin    JPEGs one after the other; `offset` in arrays.npz says where each begins
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch.utils.data import Dataset

from annotator.errors import FormatError, InputError, expected
from annotator.files import read_bytes

VERSION = 1
# Crops are decoded once where they take no more than this, so that an epoch costs no decoding.
DECODED_BYTES = 6 << 30


def read_info(folder: Path) -> dict[str, Any]:
    """`set.json` of a training set.

    Raises:
        FormatError: it is not there (then the set was not written to its end), is not JSON, or is of another version.
    """
    path = folder / "set.json"
    try:
        info = json.loads(read_bytes(path, "a training set's names (written last)"))
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(expected("JSON", error, str(path))) from error
    version = info.get("version") if isinstance(info, dict) else None
    if version != VERSION:
        raise FormatError(expected(f"a training set of version {VERSION}", version, str(path)))
    return info


def same_keypoints(ours: Sequence[str], theirs: Sequence[str], where: str) -> None:
    """Raises InputError where a set or weights are of other keypoints, or of the same in another order."""
    if list(ours) != list(theirs):
        raise InputError(expected(f"the keypoints {', '.join(ours)}", ", ".join(theirs), where))


def read_arrays(folder: Path, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Columns of `arrays.npz`, one row a person; `offset` has one entry more.

    Raises:
        FormatError: cut short, or not of the same set as `set.json` and `crops.bin`.
    """
    path, crops = folder / "arrays.npz", folder / "crops.bin"
    try:
        with np.load(io.BytesIO(read_bytes(path, "the arrays of a training set"))) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (ValueError, zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(expected("the arrays of a training set", error, str(path))) from error
    people, found = sum(info["people"]), len(columns.get("offset", ())) - 1
    if people != found or any(len(c) != people for name, c in columns.items() if name != "offset"):
        raise FormatError(expected(f"{people} people, as set.json says", found, str(path)))
    wanted, found = int(columns["offset"][-1]), crops.stat().st_size if crops.is_file() else 0
    if wanted != found:
        raise FormatError(expected(f"{wanted} bytes of crops", found, str(crops)))
    return columns


def fitting(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """A set's datasets that are asked for by name or by pattern (* and ?), in the order in which they are.

    >>> fitting(["mpii", "coco*"], ["coco", "mpii", "coco2017", "lsp"])
    ['mpii', 'coco', 'coco2017']

    Raises:
        FormatError: a name or pattern that fits none.
    """
    found = {one: [name for name in names if name == one or fnmatchcase(name, one)] for one in wanted}
    if unknown := sorted(one for one, some in found.items() if not some):
        raise FormatError(expected(f"datasets among {', '.join(names)}", ", ".join(unknown), "datasets"))
    return list(dict.fromkeys(name for some in found.values() for name in some))


def chosen(dataset: np.ndarray, names: list[str], subset: int = 1, datasets: list[str] | None = None) -> np.ndarray:
    """Rows to train on: each `subset`-th person, of the datasets that are named or fit a pattern only.

    >>> chosen(np.array([0, 0, 1, 1, 1]), ["coco", "mpii"], subset=2)
    array([0, 2, 4])
    >>> chosen(np.array([0, 0, 1, 1, 1]), ["coco", "mpii"], datasets=["mpii"])
    array([2, 3, 4])
    """
    keep = np.arange(len(dataset)) % subset == 0
    if datasets is not None:
        keep &= np.isin(dataset, [names.index(name) for name in fitting(datasets, names)])
    return np.flatnonzero(keep)


def held(people: int, info: dict[str, Any]) -> bool:
    """Whether the crops of so many people are few enough to be held decoded."""
    height, width = info["size_hw"]
    return bool(people * height * width * 3 <= DECODED_BYTES)


@DATASETS.register_module()
class PeopleSet(Dataset):
    """People of one or several datasets in one epoch.

    Args:
        folder: where the training set lies.
        subset: keep every row r with r % subset == 0 (learning curves).
        datasets: keep only these (single-dataset students).

    Raises:
        FormatError: unfinished, of another version, or files that do not fit together.
    """

    metainfo: ClassVar[dict[str, Any]] = {"dataset_name": "people"}

    def __init__(self, folder: str, subset: int = 1, datasets: list[str] | None = None) -> None:
        root = Path(folder)
        self.info, self.path = read_info(root), root / "crops.bin"
        self.arrays = read_arrays(root, self.info)
        self.offset = self.arrays.pop("offset")
        self.rows = chosen(self.arrays["dataset"], self.info["datasets"], subset, datasets)
        self.jpegs = np.memmap(self.path, dtype=np.uint8, mode="r")
        self.crops = self._decode_all() if held(len(self.rows), self.info) else None
        # Whoever keeps them elsewhere (`hooks.KeepHook`) needs only to know which.
        self.with_crops = True

    def _decode(self, row: int) -> np.ndarray:
        """RGB pixels (H, W, 3) of one stored crop."""
        begin, end = self.offset[row : row + 2]
        pixels = cv2.imdecode(np.array(self.jpegs[begin:end]), cv2.IMREAD_COLOR_RGB) if end > begin else None
        size = tuple(self.info["size_hw"])
        if pixels is None or pixels.shape[:2] != size:
            found = "no picture" if pixels is None else f"one of {pixels.shape[:2]}"
            raise FormatError(expected(f"a crop of {size} for person {row}", found, str(self.path)))
        return pixels

    def count(self) -> dict[str, int]:
        """How many people of each dataset."""
        counts = np.bincount(self.arrays["dataset"][self.rows], minlength=len(self.info["datasets"]))
        return {name: int(n) for name, n in zip(self.info["datasets"], counts, strict=True) if n}

    def _decode_all(self) -> np.ndarray:
        crops = np.empty((len(self.rows), *self.info["size_hw"], 3), dtype=np.uint8)

        def fill(i: int) -> None:
            crops[i] = self._decode(self.rows[i])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # A list, so that what one of them raises is raised.
            list(pool.map(fill, range(len(self.rows))))
        return crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {name: column[0] for name, column in self.batch([i]).items()}

    def batch(self, at: list[int]) -> dict[str, Any]:
        """Columns of several people, by their places in this set."""
        rows = self.rows[at]
        columns = {name: torch.from_numpy(column[rows]) for name, column in self.arrays.items()}
        columns |= {"row": torch.from_numpy(rows), "at": torch.as_tensor(at)}
        if self.with_crops:
            crops = np.stack([self._decode(row) for row in rows]) if self.crops is None else self.crops[at]
            columns["crop"] = torch.from_numpy(crops)
        return columns

    # What torch's loader asks for, where its `collate_fn` is `as_it_is`.
    __getitems__ = batch


@FUNCTIONS.register_module()
def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch that its dataset made whole."""
    return batch
