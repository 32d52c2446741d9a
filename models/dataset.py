"""A training set on disk (`annotator.training` writes it) -> rows of people with their crop, labels and teachers.

set.json     names: skeleton, mirror images, datasets and how far their labels are trusted, teachers
arrays.npz   labels, teachers' mixtures, and the affine picture -> stored crop, one row a person
crops.bin    JPEGs one after the other; `offset` in arrays.npz says where each begins
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module()
class PeopleSet(Dataset):
    """People of one or several datasets in one epoch.

    Crops are decoded once and kept, so that an epoch costs no decoding.

    Args:
        folder: where the training set lies.
        subset: keep every row r with r % subset == 0 (learning curves).
        datasets: keep only these (single-dataset students).

    Raises:
        ValueError: another version of the format.
    """

    VERSION = 1

    def __init__(self, folder: str, subset: int = 1, datasets: list[str] | None = None) -> None:
        root = Path(folder)
        self.info = json.loads((root / "set.json").read_text())
        if self.info["version"] != self.VERSION:
            raise ValueError(f"{root}: expected a training set of version {self.VERSION}, got {self.info['version']}")
        with np.load(root / "arrays.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        keep = np.arange(len(self.arrays["dataset"])) % subset == 0
        if datasets is not None:
            keep &= np.isin(self.arrays["dataset"], [self.info["datasets"].index(name) for name in datasets])
        self.rows = np.flatnonzero(keep)
        self.crops = self._decode(root / "crops.bin")

    def _decode(self, path: Path) -> np.ndarray:
        data = np.fromfile(path, dtype=np.uint8)
        offset = self.arrays.pop("offset")
        crops = np.empty((len(self.rows), *self.info["size_hw"], 3), dtype=np.uint8)
        for i, row in enumerate(self.rows):
            crops[i] = cv2.imdecode(data[offset[row] : offset[row + 1]], cv2.IMREAD_COLOR_RGB)
        return crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = self.rows[i]
        return {"row": row, "crop": torch.from_numpy(self.crops[i])} | {
            name: torch.as_tensor(column[row]) for name, column in self.arrays.items()
        }
