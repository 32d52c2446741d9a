"""The fields of a COCO annotation: what they must hold, and what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from annotator.formats.records import Record, are_numbers, is_number, shown
from annotator.people import AREA_PER_BOX, ORIGIN
from annotator.skeletons import IntArray

# Converters without segments write the box's area, often rounded, and ours the usual part of it. An area this close to
# either, in a record without a segmentation, is no segment's.
BOX_AREA_TOLERANCE = {1.0: 1e-3, AREA_PER_BOX: 1e-9}


def origins_of(record: Record) -> list[str] | None:
    """Origin of each triple where the file is one of ours (`enhanced`): what a model placed is no label."""
    block = record.get("annotator")
    words = block.get("origin") if isinstance(block, dict) else None
    return words if isinstance(words, list) else None


def pixel_origin_of(record: Record) -> int:
    """Coordinate of the first pixel: COCO's 0, unless a file of ours says that it kept its source's."""
    block = record.get("annotator")
    return int(isinstance(block, dict) and block.get("pixel_origin") == 1)


def bbox_given_of(record: Record) -> bool:
    """Whether the box came with the dataset: there is one, and no file of ours says that it was made by a rule."""
    block = record.get("annotator")
    return record.get("bbox") is not None and not (isinstance(block, dict) and block.get("bbox_given") is False)


def wrong_words(record: Record, triples: int) -> tuple[str, str, str] | None:
    """What is wrong with the origins in a file of ours, as (pointer, expected, found)."""
    words = origins_of(record)
    if words is None:
        return None
    if len(words) != triples:
        return "annotator.origin", f"{triples} words", str(len(words))
    unknown = [word for word in words if not isinstance(word, str) or word not in ORIGIN]
    return ("annotator.origin", f"words among {', '.join(ORIGIN)}", shown(unknown[0])) if unknown else None


def wrong_triples(values: Any, columns: IntArray) -> tuple[str, str, str] | None:
    """What is wrong with a person's keypoints, as (pointer, expected, found); v is checked where a triple is ours."""
    triples = len(columns)
    count = 3 * triples
    if not isinstance(values, list) or len(values) != count:
        found = str(len(values)) if isinstance(values, list) else shown(values)
        return "keypoints", f"{count} numbers ({triples} keypoints x 3)", found
    for i, value in enumerate(values):
        if not is_number(value):
            return f"keypoints[{i}]", "a number", shown(value)
        if i % 3 == 2 and value not in (0, 1, 2) and columns[i // 3] >= 0:
            return f"keypoints[{i}]", "v of 0, 1 or 2", shown(value)
    return None


def wrong_box(box: Any, picture_wh: tuple[int, int]) -> tuple[str, str, str] | None:
    """What is wrong with a box, as (pointer, expected, found); no box at all is fine."""
    if box is None:
        return None
    if not are_numbers(box, 4):
        return "bbox", "4 numbers (x, y, width, height)", shown(box)
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return "bbox", "a positive width and height", shown(box)
    known = min(picture_wh) > 0
    if x + width <= 0 or y + height <= 0 or (known and (x >= picture_wh[0] or y >= picture_wh[1])):
        size = f" of {picture_wh[0]} x {picture_wh[1]}" if known else ""
        return "bbox", f"a box that meets the picture{size}", shown(box)
    return None


def segment_area(record: Record) -> float:
    """Area of the segment in square pixels, NaN where there is none or where it was made from the box."""
    area, box = record.get("area"), record.get("bbox")
    if not area:
        return np.nan
    if box is not None and not record.get("segmentation"):
        box_area = box[2] * box[3]
        if any(abs(area - part * box_area) <= near * box_area for part, near in BOX_AREA_TOLERANCE.items()):
            return np.nan
    return float(area)
