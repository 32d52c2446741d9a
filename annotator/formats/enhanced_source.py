"""One dataset's part of `annotations.json`: its image and annotation records, patched with labels and proposals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.decisions import DECIDED
from annotator.errors import ImageError
from annotator.formats import FORMATS
from annotator.formats.dataset import Dataset
from annotator.formats.records import Record, as_written
from annotator.images import size_of
from annotator.people import AREA_PER_BOX, ORIGIN, ORIGINS, BoolArray
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21, FloatArray, IntArray, Skeleton

PERSON_CATEGORY = 1
DECIMALS = 4  # of proposed coordinates and measures
MEASURES = ("score", "radius90", "p_present")
_K = len(UNION_21)


class Numbers:
    """Ids of images, annotations and categories over all sources, none given twice."""

    def __init__(self) -> None:
        self.taken: dict[str, set[Any]] = {"categories": {PERSON_CATEGORY}}

    def give(self, kind: str, wanted: list[Any]) -> list[Any]:
        """The wanted ids, with new ones in place of those that are taken and of None."""
        taken = self.taken.setdefault(kind, set())
        following = max((number for number in [*wanted, *taken] if type(number) is int), default=0) + 1
        out = []
        for number in wanted:
            if number is None or number in taken:
                number, following = following, following + 1
            taken.add(number)
            out.append(number)
        return out


class Source:
    """One dataset, joined with its proposals, ready to be written record by record."""

    def __init__(
        self,
        dataset: Dataset,
        proposals: Proposals,
        row_of: dict[str, int],
        words: frozenset[int],
        numbers: Numbers,
        *,
        several: bool,
    ) -> None:
        self.dataset, self.several = dataset, several
        table = dataset.people
        self.shift = -table.pixel_origin.astype(np.float64) if several else np.zeros(len(table))
        self._categories(numbers)
        self._images(numbers)
        self._order(numbers)
        self._records()
        rows = np.array([row_of.get(name, -1) for name in table.person_id], dtype=np.int64)
        self._points(proposals, rows, words)
        self.measures = {
            name: _rounded(_columns(getattr(proposals, name), proposals.skeleton, rows, np.nan)) for name in MEASURES
        }

    def _categories(self, numbers: Numbers) -> None:
        """The one category of people, and those without keypoints."""
        categories = self.dataset.rest.get("document", {}).get("categories", [])
        named = {c["id"] for c in categories if self.dataset.format != "coco" or c.get("keypoints")}
        others = [c for c in categories if c["id"] not in named]
        own = next((c["id"] for c in categories if c["id"] in named), PERSON_CATEGORY)
        self.category = PERSON_CATEGORY if self.several else own
        wanted = [c["id"] for c in others]
        given = numbers.give("categories", wanted) if self.several else wanted
        self.category_of = {**dict(zip(wanted, given, strict=True)), **dict.fromkeys(named, self.category)}
        self.people_categories = named
        self.other_categories = [_renumbered(c, number) for c, number in zip(others, given, strict=True)]

    def _images(self, numbers: Numbers) -> None:
        texts = self.dataset.images.record
        self.image_records = [json.loads(text) if text else {} for text in texts]
        self.image_ids = numbers.give("images", [r.get("id", i + 1) for i, r in enumerate(self.image_records)])
        self.image_of = dict(zip(self.dataset.images.image_id, self.image_ids, strict=True))
        self.raw_image_of = {
            json.dumps(record["id"]): number
            for record, number in zip(self.image_records, self.image_ids, strict=True)
            if record
        }

    def _order(self, numbers: Numbers) -> None:
        """Annotations in the source's order: a person's row, or a record that passes through."""
        after: dict[str | None, list[Record]] = {}
        for entry in self.dataset.rest.get("annotations", []):
            after.setdefault(entry["after"], []).append(entry["record"])
        self.order: list[int | Record] = list(after.pop(None, []))
        for row, name in enumerate(self.dataset.people.person_id):
            self.order += [row, *after.pop(name, [])]
        self.order += [record for records in after.values() for record in records]
        self.own_ids = "document" in self.dataset.rest
        table = self.dataset.people
        tails = [str(name).rpartition(":")[2] for name in table.person_id]
        # Somebody without a record among people who have one was found by a reviewer.
        found = [not text and any(table.record) for text in table.record]
        known = [tail for tail, new in zip(tails, found, strict=True) if not new]
        by_index = all(tail.isdecimal() for tail in known) and len(set(known)) == len(known)
        wanted: list[Any] = []
        for entry in self.order:
            if isinstance(entry, dict):
                wanted.append(entry.get("id", 0))
            elif found[entry]:
                wanted.append(None)
            elif self.own_ids:
                wanted.append(json.loads(table.record[entry])["id"])
            else:
                wanted.append(int(tails[entry]) + 1 if by_index else entry + 1)
        self.ids = numbers.give("annotations", wanted)

    def _records(self) -> None:
        """How the source's own numbers are found, and which of its keypoints the union lacks."""
        table, entry = self.dataset.people, FORMATS[self.dataset.format]
        self.triples, own = None, table.skeleton
        if entry.triples is not None:
            own, self.triples = entry.triples(self.dataset)
        self.place = own.columns_of(UNION_21).tolist()
        self.extras = [
            (own.keypoints[t], t, column)
            for t, column in enumerate(table.skeleton.columns_of(own).tolist())
            if t not in self.place
        ]

    def _points(self, proposals: Proposals, rows: IntArray, words: frozenset[int]) -> None:
        """Columns of the union: where, v, origin, and whether it is a label."""
        table, allowed = self.dataset.people, list(words)
        xy = _columns(table.xy, table.skeleton, np.arange(len(table)), np.nan)
        v = _columns(table.v, table.skeleton, np.arange(len(table)), 0)
        origin = _columns(table.origin, table.skeleton, np.arange(len(table)), ORIGIN["none"])
        guess = _columns(proposals.xy, proposals.skeleton, rows, np.nan).round(DECIMALS)
        guess_origin = _columns(proposals.origin, proposals.skeleton, rows, ORIGIN["none"])
        written = np.isin(origin, allowed)
        placed = (origin == ORIGIN["none"]) & np.isfinite(guess).all(axis=2) & np.isin(guess_origin, allowed)
        self.label: BoolArray = (v > 0) & written
        xy = np.where(placed[..., None], guess, np.where(self.label[..., None], xy, 0))
        self.xy = xy + np.where((placed | self.label)[..., None], self.shift[:, None, None], 0)
        self.v = np.where(placed, 2, np.where(self.label, v, 0))
        self.origin = np.where(placed, guess_origin, np.where(written, origin, ORIGIN["none"]))
        # A decision leaves the label that it replaced, if there was one; and that label alone where it is not written.
        self.decided = np.isin(origin, [ORIGIN[word] for word in DECIDED])
        self.written: BoolArray = written

    def images(self) -> Iterator[Record]:
        """Records of `images`, with sizes where the source does not say them."""
        table = self.dataset.images
        for i, (record, number) in enumerate(zip(self.image_records, self.image_ids, strict=True)):
            out = _renumbered(record, number)
            out["file_name"] = table.file_name[i]
            if "width" not in out or "height" not in out:
                size = (int(table.width[i]), int(table.height[i]))
                with suppress(ImageError):  # a picture that cannot be read is reported where its pixels are wanted
                    out["width"], out["height"] = size if min(size) > 0 else size_of(Path(table.path[i]))
            yield {**out, "source": self.name} if self.several else out

    def annotations(self) -> Iterator[Record]:
        """Records of `annotations`."""
        for entry, number in zip(self.order, self.ids, strict=True):
            yield self._passed(entry, number) if isinstance(entry, dict) else self._person(entry, number)

    @property
    def name(self) -> str:
        """What the people of this dataset say as their source."""
        table = self.dataset.people
        return str(table.source[0]) if len(table) else self.dataset.format

    def said(self) -> Record:
        """What the document says of this source."""
        table = self.dataset.people
        return {
            "source": self.name,
            "format": self.dataset.format,
            "file": self.dataset.path.name,
            "people": len(table),
            "pixel_origin": sorted({int(origin) for origin in table.pixel_origin}),
        }

    def _passed(self, record: Record, number: Any) -> Record:
        out = _renumbered(record, number)
        out["image_id"] = self.raw_image_of[json.dumps(record["image_id"])]
        out["category_id"] = self.category_of[record["category_id"]]
        if record["category_id"] in self.people_categories:
            out |= {"keypoints": [0] * (3 * _K), "num_keypoints": 0}
        return out

    def _person(self, row: int, number: Any) -> Record:
        table = self.dataset.people
        record: Record = json.loads(table.record[row]) if table.record[row] else {}
        block = record.get("annotator")
        block = block if isinstance(block, dict) else {}  # the source may be a file of ours
        raw = self.triples(record) if self.triples and record else None
        keypoints, words, labels, previous = self._keypoints(row, raw, block)
        out = _renumbered(record, number)
        out["image_id"] = self.image_of[table.image_id[row]]
        out["category_id"] = self.category
        out.setdefault("iscrowd", 0)
        out |= self._box(record, row)
        out["num_keypoints"] = labels
        out["keypoints"] = keypoints
        out["annotator"] = {
            "origin": words,
            **{name: _nullable(values[row]) for name, values in self.measures.items()},
            "source": table.source[row],
            "person_id": table.person_id[row],
            "pixel_origin": int(table.pixel_origin[row] + self.shift[row]),
            "bbox_given": bool(table.bbox_given[row]),
            "source_keypoints": {**(block.get("source_keypoints") or {}), **self._extra(raw, row)},
            **({"previous": previous} if previous else {}),
            **({"previous_bbox": box} if (box := block.get("previous_bbox") or self._old_box(record, row)) else {}),
        }
        return out

    def _keypoints(
        self, row: int, raw: list[list[Any]] | None, block: Record
    ) -> tuple[list[Any], list[str], int, Record]:
        """The 63 numbers, 21 origins, the number of labels, and labels that were decided upon as they were before."""
        shift, v, label = float(self.shift[row]), self.v[row].tolist(), self.label[row].tolist()
        words, previous, flat = [ORIGINS[code] for code in self.origin[row]], {}, []
        for k, (x, y) in enumerate(self.xy[row].tolist()):
            own = raw[self.place[k]] if raw and self.place[k] >= 0 else None
            point = as_written(own if label[k] and not shift else None, x, y, v[k])
            if self.decided[row, k] and (before := self._before(k, own, block)):
                before = _moved(before, shift)
                if not self.written[row, k]:
                    point, words[k], label[k] = before, "labelled", True
                elif before != point:
                    previous[UNION_21.keypoints[k]] = before
            flat += point
        return flat, words, sum(label), previous

    def _before(self, k: int, own: list[Any] | None, block: Record) -> list[Any] | None:
        """The label that the source had, or says that it had, of a keypoint."""
        if replaced := (block.get("previous") or {}).get(UNION_21.keypoints[k]):
            return list(replaced)
        if not own or not own[2]:
            return None
        words = block.get("origin")  # in a file of ours a point with v > 0 may be a guess
        return own if not isinstance(words, list) or words[self.place[k]] == "labelled" else None

    def _box(self, record: Record, row: int) -> Record:
        """Box and area, as written where the source has them."""
        x, y, width, height = self.dataset.people.bbox_xywh[row].tolist()
        box, area, shift = record.get("bbox"), record.get("area"), float(self.shift[row])
        same = box == [x, y, width, height] and not shift
        return {
            "bbox": box if same else [x + shift, y + shift, width, height],
            "area": AREA_PER_BOX * width * height if area is None else area,
        }

    def _old_box(self, record: Record, row: int) -> list[Any] | None:
        """The source's box as it wrote it, where a reviewer moved it."""
        box, shift = record.get("bbox"), float(self.shift[row])
        if not box or not self.dataset.people.bbox_given[row] or box == self.dataset.people.bbox_xywh[row].tolist():
            return None
        return [box[0] + shift, box[1] + shift, *box[2:]] if shift else list(box)

    def _extra(self, raw: list[list[Any]] | None, row: int) -> Record:
        """Keypoints of the source that the union lacks."""
        table, out = self.dataset.people, {}
        for name, t, column in self.extras:
            point = raw[t] if raw else None
            if column >= 0:
                x, y = table.xy[row, column].tolist()
                point = as_written(point, x, y, int(table.v[row, column]))
            if point and any(point):
                out[name] = _moved(point, float(self.shift[row]))
        return out


def _moved(point: list[Any], shift: float) -> list[Any]:
    """A point counted from another first pixel; with no shift, its numbers as they are written."""
    return [point[0] + shift, point[1] + shift, point[2]] if shift else point


def _renumbered(record: Record, number: Any) -> Record:
    """A record under an id; the one it had is kept where it is another."""
    if "id" in record and record["id"] != number:
        return {**record, "id": number, "source_id": record["id"]}
    return {**record, "id": number}


def _columns(values: NDArray[Any], skeleton: Skeleton, rows: IntArray, fill: float) -> NDArray[Any]:
    """(N, 21, ...) of a table's (M, K, ...): the union's columns of these rows, `fill` where there is none."""
    columns = skeleton.columns_of(UNION_21)
    if not len(values):
        return np.full((len(rows), _K, *values.shape[2:]), fill, dtype=values.dtype)
    out: NDArray[Any] = values[rows[:, None], columns[None]]
    out[rows < 0] = fill
    out[:, columns < 0] = fill
    return out


def _rounded(values: NDArray[Any]) -> FloatArray:
    return values.astype(np.float64).round(DECIMALS)


def _nullable(values: FloatArray) -> list[float | None]:
    """Numbers as JSON has them: null where there is none."""
    return [value if math.isfinite(value) else None for value in values.tolist()]
