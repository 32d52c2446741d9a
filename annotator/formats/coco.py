"""COCO keypoints JSON, also with other lists of keypoints (AI Challenger, CrowdPose, our own union).

Known names are mapped to ours, by definition; unknown ones are kept as keypoints of their own. Crowd regions,
annotations of categories without keypoints and all other keys of the document pass through. This cannot be held: which
keypoints a person's dataset labels at all, whether a box was given, and pixels that count from 1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator.errors import FormatError, SkeletonError, expected
from annotator.formats import cocolike, cocowrite
from annotator.formats.cocolike import Layout, categories_in
from annotator.formats.dataset import Dataset
from annotator.formats.records import Record, Triples, are_numbers, shown
from annotator.skeletons import SKELETONS, Skeleton, make, resolve, union

NAME = "coco"
LOOKED_FOR = "a JSON object with images, annotations and categories that name their keypoints"
# Datasets in COCO's format that mean other points of the body by names of ours; told by their whole list of names.
_LIMBS = {f"{side}_{part}" for side in ("left", "right") for part in
          ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}  # fmt: skip
KNOWN_LISTS = {
    frozenset(_LIMBS | {"head_top", "neck"}): "aic",
    frozenset(_LIMBS | {"top_head", "neck"}): "crowdpose",
    frozenset(_LIMBS | {"head", "neck"}): "crowdpose",
}


def looks_like(path: Path) -> str:
    """Why this may be a COCO keypoints file, or nothing."""
    named = [names for category in categories_in(path) if (names := category.get("keypoints"))]
    return f"a JSON object whose categories name {len(named[0])} keypoints ({named[0][0]}, ...)" if named else ""


def read(path: Path, root: Path, source: str = NAME) -> Dataset:
    """Read a COCO keypoints file; `root` is the folder of its pictures.

    Raises:
        FormatError: the file cannot be used at all; faults of single records are in `Dataset.problems`.
    """
    return cocolike.read(path, root, source, NAME, layout_of)


def write(path: Path, dataset: Dataset) -> None:
    """Write a COCO keypoints file."""
    skeleton = dataset.people.skeleton
    cocowrite.write(path, dataset, NAME, layout_of, (skeleton, cocowrite.category(skeleton), np.arange(len(skeleton))))


def triples(dataset: Dataset) -> tuple[Skeleton, Triples]:
    """The skeleton of the file, and a function from a person's record to its x, y, v triples as written."""
    layout = layout_of(dataset.rest["document"]["categories"], "categories")
    return layout.skeleton, cocowrite.triples_of(layout)


restricted = cocowrite.restricted


def layout_of(categories: list[Any], where: str) -> Layout:
    """Which keypoint each triple is, from the document's categories."""
    skeletons: dict[Any, Skeleton] = {}
    ids = cocolike.category_ids(categories, where)
    for i, category in enumerate(categories):
        if names := category.get("keypoints"):
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise FormatError(expected("a list of names", shown(names), f"{where}[{i}].keypoints"))
            skeletons[category["id"]] = skeleton_of(category, f"{where}[{i}].keypoints")
    if not skeletons:
        raise FormatError(expected("a category with keypoints", "none", where))
    distinct = list(dict.fromkeys(skeletons.values()))
    whole = distinct[0] if len(distinct) == 1 else union(*distinct)
    columns = {key: whole.columns_of(skeleton) for key, skeleton in skeletons.items()}
    if any((places < 0).any() for places in columns.values()):
        raise FormatError(expected("one meaning for each keypoint name", "categories that disagree", where))
    return Layout(whole, columns, frozenset(ids))


def skeleton_of(category: Record, where: str) -> Skeleton:
    """Skeleton of a category: one of ours where the names are its names, else one of the category's own.

    Edges of the category that point outside its list are left out.
    """
    names, said = category["keypoints"], category.get("annotator")
    pairs = [pair for pair in category.get("skeleton") or [] if are_numbers(pair, 2)]
    drawn = [(names[a - 1], names[b - 1]) for a, b in pairs if {a, b} <= set(range(1, len(names) + 1))]
    try:
        if isinstance(said, dict) and isinstance(definitions := said.get("definitions"), list):
            made = make(str(said.get("skeleton")), names, drawn)
            return replace(made, keypoints=tuple(names), definitions=tuple(map(str, definitions)), edges=tuple(drawn))
        for skeleton in SKELETONS.values():
            if tuple(resolve(skeleton.name, name)[0] for name in names) == skeleton.keypoints:
                return skeleton
        plain = frozenset(resolve("", name)[0] for name in names)
        return make(KNOWN_LISTS.get(plain, "custom"), names, drawn)
    except SkeletonError as error:
        raise FormatError(expected("distinct keypoints", shown(names), where)) from error
