"""The COCO document, written: source records are patched, never rebuilt, so fields we do not know stay as they are.

People and images without a record (read from another format) get one built from the tables. A keypoint's numbers go
back as they were written (an int stays an int) unless the label has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator.files import write_json
from annotator.formats.cocofields import origins_of
from annotator.formats.cocolike import Layout, LayoutOf
from annotator.formats.dataset import Dataset
from annotator.formats.records import Record, Triples, as_written, at_origin
from annotator.images import Images
from annotator.people import AREA_PER_BOX, HUMAN_ORIGINS, BoolArray
from annotator.skeletons import SKELETONS, IntArray, Skeleton
from annotator.tables import StrArray


def write(
    path: Path, dataset: Dataset, name: str, layout_of: LayoutOf, fresh: tuple[Skeleton, Record, IntArray]
) -> None:
    """Write a document of the format `name`.

    `fresh` = (skeleton, category, columns) is what a dataset of another format, or over other keypoints than its file
    had, is written as: each triple of the category is the column of the skeleton, -1 for one that is never labelled.
    """
    own = dataset.format == name and "document" in dataset.rest
    layout = layout_of(dataset.rest["document"]["categories"], "categories") if own else None
    document = dict(dataset.rest["document"]) if own else {"images": None, "annotations": None, "categories": None}
    patcher = _Patcher(dataset, layout, *fresh)
    if layout is None or layout.skeleton != dataset.people.skeleton:
        kept = [c for c in document["categories"] or [] if layout is None or c["id"] not in layout.columns]
        document["categories"] = [*kept, fresh[1]]
    document["images"] = patcher.images()
    document["annotations"] = patcher.annotations()
    write_json(path, document)


def category(skeleton: Skeleton, number: int = 1) -> Record:
    """COCO category of a skeleton; edges are pairs of positions counted from 1.

    Definitions of keypoints go along where the names alone would not bring the same skeleton back.
    """
    record: Record = {"supercategory": "person", "id": number, "name": "person", "keypoints": list(skeleton.keypoints)}
    record["skeleton"] = (skeleton.edge_indices + 1).tolist()
    if skeleton not in SKELETONS.values():
        record["annotator"] = {"skeleton": skeleton.name, "definitions": list(skeleton.definitions)}
    return record


def numbers_of(ids: StrArray) -> list[int]:
    """File ids for our ids: the number after the colon, or counted from 1 where that is none or not unique."""
    tails = [str(name).rpartition(":")[2] for name in ids]
    if all(tail.isascii() and tail.isdigit() and (tail == "0" or tail[0] != "0") for tail in tails):
        numbers = [int(tail) for tail in tails]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(tails) + 1))


def restricted(dataset: Dataset, images: Images, kept: BoolArray) -> Record:
    """`rest` with only these images and people: what passes through stays with its image, after whom it stood."""
    numbers = {json.dumps(json.loads(text)["id"]) for text in images.record}
    anchor: str | None = None
    anchors: dict[str | None, str | None] = {None: None}
    for name, stays in zip(dataset.people.person_id, kept, strict=True):
        anchor = name if stays else anchor
        anchors[name] = anchor
    passed = [
        {"after": anchors[entry["after"]], "record": entry["record"]}
        for entry in dataset.rest["annotations"]
        if json.dumps(entry["record"]["image_id"]) in numbers
    ]
    return {**dataset.rest, "annotations": passed}


def triples_of(layout: Layout) -> Triples:
    """Function from an annotation to the triples of the skeleton's K keypoints, as written."""
    places = {key: [int(np.flatnonzero(columns == c)[0]) if c in columns else -1 for c in range(len(layout.skeleton))]
              for key, columns in layout.columns.items()}  # fmt: skip

    def triples(record: Record) -> list[list[Any]]:
        flat = record["keypoints"]
        return [flat[3 * t : 3 * t + 3] if t >= 0 else [0, 0, 0] for t in places[record["category_id"]]]

    return triples


class _Patcher:
    """Records of one dataset, patched with what its tables say now."""

    def __init__(
        self, dataset: Dataset, layout: Layout | None, skeleton: Skeleton, category: Record, columns: IntArray
    ) -> None:
        self.dataset, self.layout, self.category = dataset, layout, category
        table = dataset.people
        self.same = layout is not None and layout.skeleton == table.skeleton
        self.table = table if self.same else at_origin(table.align(skeleton), 0)
        self.columns = columns.tolist()
        self.triples = triples_of(layout) if layout else None
        # Column of the file's skeleton for each column of the table's.
        self.old = layout.skeleton.columns_of(self.table.skeleton).tolist() if layout else []
        records = [json.loads(text) if text else {} for text in dataset.images.record]
        numbers = numbers_of(dataset.images.image_id)
        self.image_records = records if layout else [{} for _ in records]
        self.image_number = {
            name: record.get("id", number)
            for name, record, number in zip(dataset.images.image_id, self.image_records, numbers, strict=True)
        }

    def images(self) -> list[Record]:
        """Entries of `images`."""
        table, out = self.dataset.images, []
        for i, record in enumerate(self.image_records):
            if not record:
                record["id"] = self.image_number[table.image_id[i]]
            if record.get("file_name") != table.file_name[i]:
                record["file_name"] = table.file_name[i]
            for side in ("width", "height"):
                value = int(getattr(table, side)[i])
                if value > 0 and record.get(side) != value:
                    record[side] = value
            out.append(record)
        return out

    def annotations(self) -> list[Record]:
        """Entries of `annotations`, what passed through at its place."""
        after: dict[str | None, list[Record]] = {}
        for entry in self.dataset.rest.get("annotations", []) if self.layout else []:
            after.setdefault(entry["after"], []).append(entry["record"])
        out, numbers = after.pop(None, []), self.numbers()
        for row, name in enumerate(self.table.person_id):
            text = self.table.record[row] if self.layout else ""
            out.append(self.patched(json.loads(text), row) if text else self.built(row, numbers[row]))
            out += after.pop(name, [])
        return out + [record for records in after.values() for record in records]

    def numbers(self) -> list[int]:
        """Ids for those who have no record: above all that are taken in the document the others are from."""
        texts = self.table.record.tolist() if self.layout else []
        if not any(texts):
            return numbers_of(self.table.person_id)
        passed = [entry["record"].get("id") for entry in self.dataset.rest.get("annotations", [])]
        taken = [*passed, *(json.loads(text)["id"] for text in texts if text)]
        following = max((number for number in taken if type(number) is int), default=0) + 1
        return [int(number) for number in following + np.cumsum([not text for text in texts]) - 1]

    def patched(self, record: Record, row: int) -> Record:
        """A source record with the table's label, box and area where they differ from its own."""
        assert self.layout is not None
        columns = self.layout.columns[record["category_id"]].tolist() if self.same else self.columns
        keypoints = self.flat(record, row, columns)
        before = record["keypoints"]
        if keypoints != before:
            record["keypoints"] = keypoints
            if "num_keypoints" in record:
                record["num_keypoints"] += _count(keypoints) - _count(before)
        if not self.same:
            record["category_id"] = self.category["id"]
        box = self.table.bbox_xywh[row].tolist()
        if self.table.bbox_given[row] and record.get("bbox") != box:
            record["bbox"] = box
        return record

    def built(self, row: int, number: int) -> Record:
        """A record of a person that has none in this format."""
        columns, table = self.columns, self.table
        keypoints = self.flat(None, row, columns)
        box = table.bbox_xywh[row].tolist()
        area = table.area[row]
        return {
            "id": number,
            "image_id": self.image_number[table.image_id[row]],
            "category_id": self.category["id"],
            "iscrowd": 0,
            "bbox": box,
            "area": float(area) if area > 0 else AREA_PER_BOX * box[2] * box[3],
            "num_keypoints": _count(keypoints),
            "keypoints": keypoints,
        }

    def flat(self, record: Record | None, row: int, columns: list[int]) -> list[Any]:
        """The numbers of `keypoints`."""
        raw = self.triples(record) if record and self.triples else None
        guesses = _guesses(record) if record and self.same else set()
        xy, v = self.table.xy[row].tolist(), self.table.v[row].tolist()
        out: list[Any] = []
        for t, c in enumerate(columns):
            if c < 0 or (t in guesses and not v[c]):
                out += record["keypoints"][3 * t : 3 * t + 3] if record and self.same else [0, 0, 0]
            else:
                old = self.old[c] if raw else -1
                out += as_written(raw[old] if raw and old >= 0 else None, xy[c][0], xy[c][1], v[c])
        return out


def _guesses(record: Record) -> set[int]:
    """Triples that a model placed, in a file of ours: no labels, but they stay where they are."""
    return {t for t, word in enumerate(origins_of(record) or []) if word not in HUMAN_ORIGINS}


def _count(keypoints: list[Any]) -> int:
    return sum(v > 0 for v in keypoints[2::3])
