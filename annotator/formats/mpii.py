"""MPII as HRNet and MMPose keep it: a JSON list of people with `image`, `joints`, `joints_vis`, `center`, `scale`.

Pixels count from 1. `joints_vis` says labelled (1) or not (0, coordinates then -1), not visible or hidden; that is
only known where `x_visible` (1 visible, 0 occluded, -1 unlabelled) stands beside it, and else read as visible. A
person's id is its index in the list, an image's is its file name, and the box is `box_of_scale`; HRNet's test list has
no joints: its people are unlabelled. The format holds no picture without people, no size of a picture, no area, no
box but by its rule, and of ids only the order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator.errors import FormatError, expected
from annotator.files import read_bytes, write_json
from annotator.formats.dataset import Dataset
from annotator.formats.records import (
    Aside,
    Pictures,
    Record,
    Triples,
    are_numbers,
    at_origin,
    is_number,
    kind_of,
    load_json,
    shown,
)
from annotator.people import People, people
from annotator.skeletons import MPII_16, FloatArray, Skeleton

NAME = "mpii"
LOOKED_FOR = "a JSON list of people with image, center and scale"
PIXEL_ORIGIN = 1
SCALE_PX = 200  # `scale` is the person's height in units of 200 pixels
WIDTH_PER_HEIGHT = 0.75
_JOINTS = len(MPII_16)


def box_of_scale(center: FloatArray, scale: FloatArray) -> FloatArray:
    """The stated rule for MPII's boxes, (N, 4) xywh: 200 x scale high, .75 of that wide, around `center`.

    Measured on the 1,033 people of the train split whose scale is MPII's own: the box holds 96.6 % of their labelled
    keypoints and its 1.25 times larger crop (3:4) 99.8 %, all of them for 98.8 % of the people; its overlap with the
    keypoints' extent plus 10 % is .61 (median IoU). A square holds 96.9 % at an overlap of .47, and the 15 x scale
    pixels downwards that HRNet's loader adds leave .75 % of the keypoints outside, so neither is used.
    """
    height = SCALE_PX * scale
    size = np.stack([WIDTH_PER_HEIGHT * height, height], axis=1)
    return np.concatenate([center - size / 2, size], axis=1)


def scale_of_box(bbox_xywh: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre (N, 2) and scale (N,) whose `box_of_scale` holds a box, the other way round."""
    x, y, width, height = bbox_xywh.T
    center = np.stack([x + width / 2, y + height / 2], axis=1)
    return center, np.maximum(height, width / WIDTH_PER_HEIGHT) / SCALE_PX


def looks_like(path: Path) -> str:
    """Why this may be an MPII list, or nothing."""
    if path.suffix.lower() != ".json":
        return ""
    text = read_bytes(path, "a JSON file").decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("["):
        return ""
    try:
        first, _ = json.JSONDecoder().raw_decode(text, len(text) - len(text[1:].lstrip()))
    except ValueError:
        return ""
    there = isinstance(first, dict) and {"image", "center", "scale"} <= set(first)
    return "a JSON list of people with image, center and scale" if there else ""


def read(path: Path, root: Path, source: str = NAME) -> Dataset:
    """Read an MPII list; `root` is the folder of its pictures.

    Raises:
        FormatError: the file cannot be used at all; faults of single records are in `Dataset.problems`.
    """
    document = load_json(path)
    if not isinstance(document, list):
        raise FormatError(expected("a list of people", kind_of(document), str(path)))
    aside = Aside(path)
    pictures = Pictures(root, aside)
    persons: dict[int, tuple[Record, str]] = {}
    for i, record in enumerate(document):
        pointer = f"[{i}]"
        if not isinstance(record, dict):
            aside.put(pointer, "an object", kind_of(record), record)
        elif (text := aside.text(record, pointer)) and pictures.there(record.get("image"), f"{pointer}.image", record):
            if fault := wrong_person(record):
                aside.put(f"{pointer}.{fault[0]}", fault[1], fault[2], record)
            else:
                persons[i] = (record, text)
    pictures.report_missing()
    return Dataset(NAME, path, pictures.table(source), _people(persons, source), tuple(aside.problems))


def write(path: Path, dataset: Dataset) -> None:
    """Write an MPII list; records that came from one are patched, others are built."""
    table = at_origin(dataset.people, PIXEL_ORIGIN).align(MPII_16)
    names = dict(zip(dataset.images.image_id, dataset.images.file_name, strict=True))
    center, scale = scale_of_box(table.bbox_xywh)
    out = []
    for row, text in enumerate(table.record):
        if dataset.format == NAME and text:
            record = json.loads(text)
            if table.bbox_given[row]:  # the list gives none: a reviewer moved it
                record |= {"center": center[row].tolist(), "scale": float(scale[row])}
        else:
            record = {"image": names[table.image_id[row]], "joints": None, "joints_vis": None}
            record |= {"center": center[row].tolist(), "scale": float(scale[row])}
        out.append(_patched(record, table.xy[row].tolist(), table.v[row].tolist()))
    write_json(path, out)


def triples(_: Dataset) -> tuple[Skeleton, Triples]:
    """MPII-16, and a function from a person's record to its x, y, v triples as written."""
    return MPII_16, record_triples


def record_triples(record: Record) -> list[list[Any]]:
    """A record's keypoints as x, y, v triples with its own numbers."""
    flags = record.get("joints_vis")
    if flags is None:
        return [[-1, -1, 0]] * _JOINTS
    visible = record["x_visible"] if record.get("x_visible") is not None else flags
    v = [0 if not flag else 2 if seen > 0 else 1 for flag, seen in zip(flags, visible, strict=True)]
    return [[*pair, value] for pair, value in zip(record["joints"], v, strict=True)]


def wrong_person(record: Record) -> tuple[str, str, str] | None:
    """What keeps a record from being a person, as (pointer, expected, found)."""
    if record.get("joints") is not None or record.get("joints_vis") is not None:
        fault = _wrong_joints(record.get("joints")) or _wrong_words(record, "joints_vis", (0, 1))
        if fault is None and record.get("x_visible") is not None:
            fault = _wrong_words(record, "x_visible", (-1, 0, 1))
        if fault:
            return fault
    if not are_numbers(record.get("center"), 2):
        return "center", "2 numbers (x, y)", shown(record.get("center"))
    scale = record.get("scale")
    if not is_number(scale) or scale <= 0:
        return "scale", "a positive number (height / 200 px)", shown(scale)
    return None


def _wrong_joints(joints: Any) -> tuple[str, str, str] | None:
    if not isinstance(joints, list) or len(joints) != _JOINTS:
        found = str(len(joints)) if isinstance(joints, list) else shown(joints)
        return "joints", f"{_JOINTS} pairs (x, y)", found
    for k, pair in enumerate(joints):
        if not are_numbers(pair, 2):
            return f"joints[{k}]", "2 numbers (x, y)", shown(pair)
    return None


def _wrong_words(record: Record, key: str, known: tuple[int, ...]) -> tuple[str, str, str] | None:
    words = record.get(key)
    if not isinstance(words, list) or len(words) != _JOINTS:
        return key, f"{_JOINTS} numbers", str(len(words)) if isinstance(words, list) else shown(words)
    for k, word in enumerate(words):
        if not is_number(word) or word not in known:
            return f"{key}[{k}]", f"one of {', '.join(map(str, known))}", shown(word)
    return None


def _people(persons: dict[int, tuple[Record, str]], source: str) -> People:
    records = [record for record, _ in persons.values()]
    points = np.array([record_triples(record) for record in records], dtype=np.float64).reshape(-1, _JOINTS, 3)
    center = np.array([record["center"] for record in records], dtype=np.float64).reshape(-1, 2)
    scale = np.array([record["scale"] for record in records], dtype=np.float64)
    return people(
        MPII_16,
        person_id=[f"{source}:{i}" for i in persons],
        image_id=[f"{source}:{record['image']}" for record in records],
        source=source,
        xy=points[..., :2],
        v=points[..., 2],
        bbox_xywh=box_of_scale(center, scale),
        bbox_given=False,
        pixel_origin=PIXEL_ORIGIN,
        record=[text for _, text in persons.values()],
    )


def _patched(record: Record, xy: list[list[float]], v: list[int]) -> Record:
    """A record with the table's labels where they differ from its own."""
    before = record_triples(record)
    changed = [k for k in range(_JOINTS) if before[k][2] != v[k] or (v[k] and before[k][:2] != xy[k])]
    if not changed and (record.get("joints") is not None or "joints" not in record):
        return record
    joints = [list(point[:2]) for point in before]
    for k in changed:
        joints[k] = xy[k] if v[k] else [-1.0, -1.0]
    record |= {"joints": joints, "joints_vis": [int(value > 0) for value in v]}
    if "x_visible" in record or 1 in v:
        record["x_visible"] = [value - 1 for value in v]
    return record
