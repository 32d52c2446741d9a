"""The COCO document (`images`, `annotations`, `categories`), read for COCO itself and for its relatives.

A person is an annotation; its keypoints are x, y, v triples, (0, 0, 0) where unlabelled. Which keypoint a triple is
depends on the annotation's category, so one file may mix several lists of keypoints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annotator.errors import FormatError, expected
from annotator.files import read_bytes
from annotator.formats.cocofields import (
    bbox_given_of,
    origins_of,
    pixel_origin_of,
    segment_area,
    wrong_box,
    wrong_triples,
    wrong_words,
)
from annotator.formats.dataset import Dataset
from annotator.formats.records import (
    Aside,
    Record,
    check_found,
    counted,
    is_number,
    kind_of,
    load_json,
    not_finite,
    picture,
    shown,
)
from annotator.images import Images
from annotator.people import HUMAN_ORIGINS, ORIGIN, People, box_of_keypoints, people
from annotator.skeletons import IntArray, Skeleton

MAX_SIDE = 2**31


class Layout(NamedTuple):
    """Which keypoint a triple is: a skeleton, and by category id the column of each triple (-1: passed through)."""

    skeleton: Skeleton
    columns: dict[Any, IntArray]
    every_category: frozenset[Any]


LayoutOf = Callable[[list[Any], str], Layout]


class Image(NamedTuple):
    """An image record that can be used."""

    path: str
    file_name: str
    width: int
    height: int
    text: str


class Missing(NamedTuple):
    """An image record whose picture is not there, and the annotations that go with it."""

    pointer: str
    wanted: str
    found: str
    record: Record
    people: list[Any]


def load_document(path: Path) -> Record:
    """The parsed document; raises FormatError where one of its three lists is missing or a number is not finite."""
    document = load_json(path)
    if not isinstance(document, dict):
        raise FormatError(expected("an object with images, annotations and categories", kind_of(document), str(path)))
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise FormatError(expected("a list", kind_of(document.get(key)), f"{path}: {key}"))
    for key, value in document.items():
        if key not in ("images", "annotations"):
            for pointer, number in not_finite(value, key):
                raise FormatError(expected("a finite number", shown(number), f"{path}: {pointer}"))
    return document


def categories_in(path: Path) -> list[Record]:
    """The categories of what may be a COCO document, found without parsing all of a large file; empty if it is none."""
    if path.suffix.lower() != ".json":
        return []
    text = read_bytes(path, "a JSON file").decode("utf-8", "replace")
    if not text.lstrip("\ufeff \t\r\n").startswith("{") or not ('"annotations"' in text and '"images"' in text):
        return []
    for found in re.finditer(r'"categories"\s*:\s*', text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, found.end())
        except ValueError:
            continue
        if isinstance(value, list):
            return [entry for entry in value if isinstance(entry, dict)]
    return []


def category_ids(categories: list[Any], where: str) -> list[Any]:
    """Ids of the document's categories; raises FormatError where one has none, or one that is used twice."""
    ids: list[Any] = []
    for i, category in enumerate(categories):
        if not isinstance(category, dict) or type(category.get("id")) not in (int, str) or category["id"] in ids:
            raise FormatError(expected("an object with an id of its own", shown(category), f"{where}[{i}]"))
        ids.append(category["id"])
    return ids


def read(path: Path, root: Path, source: str, name: str, layout_of: LayoutOf) -> Dataset:
    """Read a document of the format `name`; `layout_of(categories, where)` says which keypoint a triple is."""
    document = load_document(path)
    reader = _Reader(path, root, source, layout_of(document["categories"], f"{path}: categories"))
    for i, record in enumerate(document["images"]):
        reader.image(record, f"images[{i}]")
    for i, record in enumerate(document["annotations"]):
        reader.annotation(record, f"annotations[{i}]")
    reader.report_missing()
    check_found(root, len(reader.images), [missing.record["file_name"] for missing in reader.missing.values()])
    kept = {key: None if key in ("images", "annotations") else value for key, value in document.items()}
    rest = {"document": kept, "annotations": reader.passed}
    return Dataset(name, path, reader.image_table(), reader.people_table(), tuple(reader.aside.problems), rest)


class _Reader:
    """One document being read: what is good so far, what is set aside."""

    def __init__(self, path: Path, root: Path, source: str, layout: Layout) -> None:
        self.root, self.source, self.layout = root, source, layout
        self.aside = Aside(path)
        self.images: dict[str, Image] = {}
        self.missing: dict[str, Missing] = {}
        self.passed: list[Record] = []
        self.persons: dict[str, tuple[Record, str]] = {}
        self.last: str | None = None

    def name(self, number: Any) -> str | None:
        """Our id for the file's id, None where it is none."""
        return f"{self.source}:{number}" if type(number) in (int, str) and number != "" else None

    def image(self, record: Any, pointer: str) -> None:
        """Take one entry of `images`."""
        if not isinstance(record, dict):
            return self.aside.put(pointer, "an object", kind_of(record), record)
        text = self.aside.text(record, pointer)
        if text is None:
            return None
        name = self.name(record.get("id"))
        if name is None:
            return self.aside.put(f"{pointer}.id", "an id", shown(record.get("id")), record)
        if name in self.images or name in self.missing:
            return self.aside.put(f"{pointer}.id", "an id used once", shown(record["id"]), record)
        size = []
        for side in ("width", "height"):
            value = record.get(side, -1)
            if type(value) is not int or value == 0 or not -1 <= value < MAX_SIDE:
                return self.aside.put(f"{pointer}.{side}", "a number of pixels", shown(value), record)
            size.append(value)
        path, wrong = picture(self.root, record.get("file_name"), pointer)
        if wrong:
            self.missing[name] = Missing(f"{pointer}.file_name", *wrong, record, [])
        else:
            self.images[name] = Image(path, record["file_name"], size[0], size[1], text)
        return None

    def annotation(self, record: Any, pointer: str) -> None:
        """Take one entry of `annotations`: a person, something to pass through, or a problem."""
        if not isinstance(record, dict):
            return self.aside.put(pointer, "an object", kind_of(record), record)
        image = self.name(record.get("image_id"))
        if image in self.missing:
            self.missing[image].people.append(record)
            return None
        text = self.aside.text(record, pointer)
        if text is None:
            return None
        if image is None or image not in self.images:
            return self.aside.put(f"{pointer}.image_id", "the id of an image", shown(record.get("image_id")), record)
        category = record.get("category_id")
        if not isinstance(category, int | str) or category not in self.layout.every_category:
            return self.aside.put(f"{pointer}.category_id", "the id of a category", shown(category), record)
        if record.get("iscrowd") == 1 or category not in self.layout.columns:
            self.passed.append({"after": self.last, "record": record})
            return None
        wrong = self.wrong(record, self.images[image], self.layout.columns[category])
        if wrong:
            return self.aside.put(f"{pointer}.{wrong[0]}", wrong[1], wrong[2], record)
        self.last = self.name(record["id"])
        assert self.last is not None
        self.persons[self.last] = (record, text)
        return None

    def wrong(self, record: Record, image: Image, columns: IntArray) -> tuple[str, str, str] | None:
        """What keeps an annotation from being a person, as (pointer, expected, found)."""
        name = self.name(record.get("id"))
        if name is None:
            return "id", "an id", shown(record.get("id"))
        if name in self.persons:
            return "id", "an id used once", shown(record["id"])
        fault = wrong_triples(record.get("keypoints"), columns) or wrong_words(record, len(columns))
        fault = fault or wrong_box(record.get("bbox"), (image.width, image.height))
        if fault:
            return fault
        if record.get("bbox") is None and not np.any(np.array(record["keypoints"][2::3])[columns >= 0]):
            return "bbox", "4 numbers (x, y, width, height) where no keypoint is labelled", "nothing"
        area = record.get("area")
        if area is not None and (not is_number(area) or area < 0):
            return "area", "a number of square pixels", shown(area)
        return None

    def report_missing(self) -> None:
        """One problem for each picture that is not there, with everybody who is in it."""
        for pointer, wanted, found, record, people_there in self.missing.values():
            aside = f"{found}; {counted(len(people_there), 'person', 'people')} set aside with it"
            self.aside.put(pointer, wanted, aside, {"image": record, "annotations": people_there})

    def image_table(self) -> Images:
        """Images in the document's order."""
        rows = list(self.images.values())
        return Images(
            image_id=np.array(list(self.images), dtype=object),
            path=np.array([row.path for row in rows], dtype=object),
            file_name=np.array([row.file_name for row in rows], dtype=object),
            width=np.array([row.width for row in rows], dtype=np.int64),
            height=np.array([row.height for row in rows], dtype=np.int64),
            record=np.array([row.text for row in rows], dtype=object),
        )

    def people_table(self) -> People:
        """People in the document's order."""
        skeleton, records = self.layout.skeleton, [record for record, _ in self.persons.values()]
        n, k = len(records), len(skeleton)
        xy, v, in_schema = np.full((n, k, 2), np.nan), np.zeros((n, k)), np.zeros((n, k), dtype=bool)
        origin = np.full((n, k), ORIGIN["labelled"], dtype=np.uint8)
        category = np.array([record["category_id"] for record in records], dtype=object)
        for known, columns in self.layout.columns.items():
            rows, triples = np.flatnonzero(category == known), columns >= 0
            flat = np.array([records[row]["keypoints"] for row in rows], dtype=np.float64)
            values = flat.reshape(len(rows), len(columns), 3)[:, triples]
            place = np.ix_(rows, columns[triples])
            xy[place], v[place], in_schema[place] = values[..., :2], values[..., 2], True
            for row in rows:
                if words := origins_of(records[row]):
                    origin[row, columns[triples]] = [ORIGIN[words[t]] for t in np.flatnonzero(triples)]
        v[~np.isin(origin, [ORIGIN[word] for word in HUMAN_ORIGINS])] = 0
        there = [record.get("bbox") is not None for record in records]
        boxes = box_of_keypoints(np.where((v > 0)[..., None], xy, np.nan))
        if any(there):
            boxes[np.array(there)] = [record["bbox"] for record, found in zip(records, there, strict=True) if found]
        table = people(
            skeleton,
            person_id=list(self.persons),
            image_id=[self.name(record["image_id"]) for record in records],
            source=self.source,
            xy=xy,
            v=v,
            in_schema=in_schema,
            bbox_xywh=boxes,
            bbox_given=np.array([bbox_given_of(record) for record in records], dtype=bool),
            area=[segment_area(record) for record in records],
            record=[text for _, text in self.persons.values()],
        )
        pixel_origin = np.array([pixel_origin_of(record) for record in records], dtype=np.uint8)
        decided = np.isin(origin, [ORIGIN["rejected"], ORIGIN["absent"]]) | table.labelled
        return replace(table, origin=np.where(decided, origin, table.origin), pixel_origin=pixel_origin)
