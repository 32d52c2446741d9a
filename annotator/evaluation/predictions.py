"""Files of predictions: `proposals.parquet`, the `annotations.json` of `annotator propose`, COCO results lists.

What counts as a prediction differs. A point that `annotations.json` carries as a label is the source's own, and a
Parquet row of kind `labelled` may come from a student that was shown the label: neither is asked of the model here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from annotator.errors import FormatError, expected
from annotator.files import read_bytes
from annotator.formats.coco import skeleton_of
from annotator.formats.records import NUMBERS, kind_of, load_json, shown
from annotator.people import BoolArray
from annotator.skeletons import SKELETONS, FloatArray, Skeleton, make
from annotator.tables import StrArray, Table

# Origins in annotations.json that are the model's word.
MODEL_ORIGINS = ("proposed", "released", "derived")
ROW_COLUMNS = ("person_id", "image_id", "keypoint", "x", "y", "score", "kind")


@dataclass(frozen=True)
class Predictions(Table):
    """What a model says about P people.

    Attributes:
        skeleton: names the K keypoints.
        person_id: whose the prediction is, empty where the file does not say.
        record_id: the record's own id, empty where it has none.
        image_id: as in the file; a dataset's name and a colon before it do not matter.
        xy: (P, K, 2) pixels, NaN where there is none.
        asked: (P, K) whether the model had to answer; asked and NaN is a miss.
        score: (P, K) of each keypoint.
        person_score: (P,) of the person, NaN where the file has only keypoint scores.
        pixel_origin: coordinate of the first pixel, NaN where it is the truth's own.
    """

    skeleton: Skeleton
    person_id: StrArray
    record_id: StrArray
    image_id: StrArray
    xy: FloatArray
    asked: BoolArray
    score: FloatArray
    person_score: FloatArray
    pixel_origin: FloatArray

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "person_id": (object, ()), "record_id": (object, ()), "image_id": (object, ()),
        "xy": (np.float64, ("K", 2)), "asked": (np.bool_, ("K",)), "score": (np.float64, ("K",)),
        "person_score": (np.float64, ()), "pixel_origin": (np.float64, ()),
    }  # fmt: skip


def read_predictions(path: Path, truth_skeleton: Skeleton, *, also_labelled: bool = False) -> Predictions:
    """Read any file of predictions, or the last round of a project folder.

    Args:
        path: proposals.parquet, annotations.json, a COCO results list, or a project.
        truth_skeleton: the keypoints of a results list, which names none, are these where their number agrees.
        also_labelled: take Parquet rows of kind `labelled` too; right only for a model that does not read labels.

    Raises:
        FormatError: none of these, with file and pointer.
    """
    if path.is_dir():
        rounds = sorted(path.glob("rounds/*/proposals.parquet"))
        path = rounds[-1] if rounds else path / "annotations.json"
    if path.suffix == ".parquet":
        return _rows(path, truth_skeleton, also_labelled)
    document = load_json(path)
    if isinstance(document, list):
        return _results(document, path, truth_skeleton)
    if isinstance(document, dict) and isinstance(document.get("annotations"), list):
        return _annotations(document, path)
    raise FormatError(expected("COCO keypoints, a results list or proposals.parquet", kind_of(document), str(path)))


def _named(names: list[str], truth_skeleton: Skeleton) -> Skeleton:
    known = (s for s in (truth_skeleton, *SKELETONS.values()) if s.keypoints == tuple(names))
    return next(known, None) or make("predictions", names)


def _rows(path: Path, truth_skeleton: Skeleton, also_labelled: bool) -> Predictions:
    """One row per (person, keypoint), in any order, to one row per person."""
    read_bytes(path, "proposals.parquet")
    try:
        if lacking := [name for name in ROW_COLUMNS if name not in pq.read_schema(path).names]:
            raise FormatError(expected(f"columns {', '.join(lacking)}", "a table without them", str(path)))
        table = pq.read_table(path, columns=list(ROW_COLUMNS))
        if empty := [name for name in ("person_id", "image_id", "keypoint", "kind") if table[name].null_count]:
            raise FormatError(expected("a value in every row", f"null in {', '.join(empty)}", str(path)))
        text = {name: table[name].cast(pa.string()).combine_chunks() for name in ("person_id", "image_id", "keypoint")}
        x, y, scores = (table[name].cast(pa.float64()).to_numpy() for name in ("x", "y", "score"))
    except pa.ArrowException as error:
        raise FormatError(expected("Parquet with one row per person and keypoint", error, str(path))) from error
    if not len(table):
        raise FormatError(expected("rows", 0, str(path)))
    persons, keypoints = (text[name].dictionary_encode() for name in ("person_id", "keypoint"))
    person, k = persons.indices.to_numpy(), keypoints.indices.to_numpy()
    n, skeleton = len(persons.dictionary), _named(keypoints.dictionary.to_pylist(), truth_skeleton)
    shape = (n, len(skeleton))
    if len(np.unique(person.astype(np.int64) * shape[1] + k)) != len(table):
        raise FormatError(expected("one row per person and keypoint", "several", str(path)))
    xy, score, asked = np.full((*shape, 2), np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    xy[person, k], score[person, k] = np.stack([x, y], axis=1), scores
    asked[person, k] = True if also_labelled else table["kind"].to_numpy() != "labelled"
    asked &= np.isfinite(xy).all(axis=2).any(axis=0)  # a keypoint that the model does not know at all
    image = np.empty(n, dtype=object)
    image[person] = text["image_id"].to_numpy(zero_copy_only=False)
    return Predictions(
        skeleton,
        person_id=np.array(persons.dictionary.to_pylist(), dtype=object),
        record_id=np.full(n, "", dtype=object),
        image_id=image,
        xy=xy,
        asked=asked,
        score=score,
        person_score=np.full(n, np.nan),
        pixel_origin=np.full(n, np.nan),
    )


def _triples(records: dict[str, Any], k: int) -> FloatArray:
    """Keypoints of COCO records, (P, K, 3), from the records by their place in the file."""
    for where, record in records.items():
        if not isinstance(record, dict) or type(record.get("image_id")) not in (int, str):
            raise FormatError(expected("an object with an image_id", shown(record), where))
        values = record.get("keypoints")
        if not isinstance(values, list) or len(values) != 3 * k:
            found = len(values) if isinstance(values, list) else shown(values)
            raise FormatError(expected(f"{3 * k} numbers ({k} keypoints x 3)", found, f"{where}.keypoints"))
        if wrong := next((value for value in values if type(value) not in NUMBERS or not isfinite(value)), None):
            raise FormatError(expected("finite numbers", shown(wrong), f"{where}.keypoints"))
    lists = [record["keypoints"] for record in records.values()]
    return np.array(lists, dtype=np.float64).reshape(len(lists), k, 3)


def _results(records: list[Any], path: Path, truth_skeleton: Skeleton) -> Predictions:
    """COCO's results list: image_id, category_id, keypoints, score; (0, 0) is a keypoint that was not found."""
    first = records[0].get("keypoints") if records and isinstance(records[0], dict) else None
    if not isinstance(first, list):
        raise FormatError(expected("a results list with keypoints", shown(records[:1]), str(path)))
    same = [s for s in (truth_skeleton, *SKELETONS.values()) if 3 * len(s) == len(first)]
    if not same:
        raise FormatError(expected(f"{3 * len(truth_skeleton)} numbers", len(first), f"{path}: [0].keypoints"))
    skeleton = same[0]
    triples = _triples({f"{path}: [{i}]": record for i, record in enumerate(records)}, len(skeleton))
    scores = [record.get("score") for record in records]
    for i, score in enumerate(scores):
        if type(score) not in NUMBERS or not isfinite(score):
            raise FormatError(expected("a number", shown(score), f"{path}: [{i}].score"))
    shape = triples.shape[:2]
    return Predictions(
        skeleton,
        person_id=np.full(len(records), "", dtype=object),
        record_id=np.full(len(records), "", dtype=object),
        image_id=np.array([str(record["image_id"]) for record in records], dtype=object),
        xy=np.where((triples[..., :2] == 0).all(axis=2, keepdims=True), np.nan, triples[..., :2]),
        asked=np.ones(shape, dtype=bool),
        score=np.broadcast_to(np.array(scores, dtype=np.float64)[:, None], shape).copy(),
        person_score=np.array(scores, dtype=np.float64),
        pixel_origin=np.full(len(records), np.nan),
    )


def _annotations(document: dict[str, Any], path: Path) -> Predictions:
    """COCO keypoints with `annotator` blocks; without them, every point with v > 0 is a prediction."""
    categories = [c for c in document.get("categories") or [] if isinstance(c, dict) and c.get("keypoints")]
    if len(categories) != 1:
        raise FormatError(expected("one category with keypoints", len(categories), f"{path}: categories"))
    skeleton, k = skeleton_of(categories[0], f"{path}: categories"), len(categories[0]["keypoints"])
    records = {
        f"{path}: annotations[{i}]": record
        for i, record in enumerate(document["annotations"])
        if not isinstance(record, dict) or _is_person(record, categories[0].get("id"))
    }
    triples = _triples(records, k)
    blocks = [record.get("annotator") or {} for record in records.values()]
    asked, score = triples[..., 2] > 0, np.ones(triples.shape[:2])
    for i, (where, block) in enumerate(zip(records, blocks, strict=True)):
        if block:
            asked[i] &= _per_keypoint(block, "origin", k, where, MODEL_ORIGINS)
            score[i] = _per_keypoint(block, "score", k, where)
    people = list(records.values())
    person_score = [record["score"] if type(record.get("score")) in NUMBERS else np.nan for record in people]
    return Predictions(
        skeleton,
        person_id=np.array([str(block.get("person_id") or "") for block in blocks], dtype=object),
        record_id=np.array([str(record.get("id", "")) for record in people], dtype=object),
        image_id=np.array([str(record["image_id"]) for record in people], dtype=object),
        xy=np.where(asked[..., None], triples[..., :2], np.nan),
        asked=asked,
        score=score,
        person_score=np.array(person_score, dtype=np.float64),
        pixel_origin=np.array([block.get("pixel_origin", np.nan) for block in blocks], dtype=np.float64),
    )


def _is_person(record: dict[str, Any], category: Any) -> bool:
    """Whether a record is one person: crowd regions and records of other categories pass through `propose`."""
    return record.get("category_id", category) == category and record.get("iscrowd") != 1


def _per_keypoint(block: Any, key: str, k: int, where: str, among: tuple[str, ...] = ()) -> Any:
    """A list of K of an `annotator` block: whether each is one of some words, or each as a number (null is NaN)."""
    values = block.get(key) if isinstance(block, dict) else None
    if not isinstance(values, list) or len(values) != k:
        found = len(values) if isinstance(values, list) else shown(values)
        raise FormatError(expected(f"{k} values", found, f"{where}.annotator.{key}"))
    if among:
        return [value in among for value in values]
    if wrong := next((value for value in values if value is not None and type(value) not in NUMBERS), None):
        raise FormatError(expected("numbers or null", shown(wrong), f"{where}.annotator.{key}"))
    return np.array(values, dtype=np.float64)
