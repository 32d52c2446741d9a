"""Halpe-FullBody JSON: COCO's document with 136 triples a person and categories that do not name them.

The first 26 are Halpe-26 (COCO's 17, head, neck, hip, and three points a foot); the 110 of face and hands are passed
through. This cannot be held: keypoints outside Halpe-26 (writing people who have them labelled is refused), and
whether a box or an area came with the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from annotator.formats import cocolike, cocowrite
from annotator.formats.cocolike import Layout, categories_in
from annotator.formats.dataset import Dataset
from annotator.formats.records import Triples
from annotator.skeletons import HALPE_26, Skeleton, make, union

NAME = "halpe"
LOOKED_FOR = "a JSON object with images, annotations and categories, and 136 keypoints a person"
TRIPLES = 136
FULL_BODY = union(HALPE_26, make("halpe", [f"halpe_{t}" for t in range(len(HALPE_26), TRIPLES)]), name="halpe136")
_COLUMNS = np.where(np.arange(TRIPLES) < len(HALPE_26), np.arange(TRIPLES), -1)


def looks_like(path: Path) -> str:
    """Why this may be a Halpe file, or nothing."""
    categories = categories_in(path)
    unnamed = categories and all(len(category.get("keypoints", ())) in (0, TRIPLES) for category in categories)
    return "a JSON object whose categories do not name their keypoints, as Halpe's" if unnamed else ""


def read(path: Path, root: Path, source: str = NAME) -> Dataset:
    """Read a Halpe file; `root` is the folder of its pictures.

    Raises:
        FormatError: the file cannot be used at all; faults of single records are in `Dataset.problems`.
    """
    return cocolike.read(path, root, source, NAME, layout_of)


def write(path: Path, dataset: Dataset) -> None:
    """Write a Halpe file."""
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": [], "skeleton": []}
    cocowrite.write(path, dataset, NAME, layout_of, (HALPE_26, category, _COLUMNS))


def triples(_: Dataset) -> tuple[Skeleton, Triples]:
    """Halpe-26 and 110 numbered points of face and hands; a function from a person's record to all x, y, v triples."""
    return FULL_BODY, lambda record: [record["keypoints"][3 * t : 3 * t + 3] for t in range(TRIPLES)]


restricted = cocowrite.restricted


def layout_of(categories: list[Any], where: str) -> Layout:
    """Every category has the same 136 triples."""
    numbers = cocolike.category_ids(categories, where)
    return Layout(HALPE_26, dict.fromkeys(numbers, _COLUMNS), frozenset(numbers))
