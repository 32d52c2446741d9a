"""YOLO-pose (Ultralytics): a folder of text files, one a picture, one line a person, and a data.yaml that says how.

A line is `class cx cy w h` and K times `x y v` (or `x y`), all as fractions of the picture's width and height, so the
pictures' sizes are read from their headers. data.yaml names the keypoints (`kpt_shape`, `kpt_names`, `flip_idx`); where
it does not, 17 are taken for COCO's and so on, unless flip_idx contradicts. Fractions are turned into pixels with
exact decimal arithmetic and back into the shortest decimals that give the same pixels: no number moves in either
direction. This cannot be held: areas, ids but by order, whether a box was given, and without v what is occluded.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from annotator.errors import ImageError, InputError, expected
from annotator.files import read_bytes, write_text
from annotator.formats import yolo_data
from annotator.formats.dataset import Dataset, Problem
from annotator.formats.records import Aside, Record, Triples, at_origin, check_found, counted
from annotator.formats.yolo_data import Data
from annotator.images import Images, size_of
from annotator.people import People, people
from annotator.skeletons import Skeleton

NAME = "yolo"
LOOKED_FOR = "a folder of .txt files with numbers, or a data.yaml with kpt_shape"
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_HALF = Decimal("0.5")
Line = tuple[list[float], list[list[float]]]  # box in pixels; x, y, v of each keypoint


def looks_like(path: Path) -> str:
    """Why this may be YOLO-pose, or nothing."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return "a .yaml file that says kpt_shape" if yolo_data.says_keypoints(path) else ""
    if path.is_dir() and yolo_data.beside(path):
        return "a folder with a .yaml file that says kpt_shape"
    if path.is_dir() and any(map(yolo_data.starts_with_numbers, islice(path.rglob("*.txt"), 20))):
        return "a folder of .txt files that start with numbers"
    return ""


def read(path: Path, root: Path, source: str = NAME) -> Dataset:
    """Read a folder of labels, or the one that a data.yaml belongs to; `root` is the folder of its pictures.

    Raises:
        FormatError: the folder cannot be used at all; faults of single lines are in `Dataset.problems`.
    """
    data = yolo_data.find(path, root)
    reader = _Reader(path, root, source, data)
    for file in sorted(data.labels.rglob("*.txt")):
        reader.file(file)
    check_found(root, len(reader.images), reader.missing)
    rest = {"yaml": data.text, "dimensions": data.dimensions, "skeleton": data.skeleton}
    return Dataset(NAME, path, reader.image_table(), reader.people_table(), tuple(reader.aside), rest)


def write(path: Path, dataset: Dataset) -> None:
    """Write a folder with `labels/` and data.yaml; lines that came from one go back as they were unless labels changed.

    Raises:
        InputError: without v, an occluded keypoint cannot be told.
    """
    own = dataset.format == NAME and "yaml" in dataset.rest
    dimensions = dataset.rest["dimensions"] if own else 3
    table, images = at_origin(dataset.people, 0), dataset.images
    if dimensions == 2 and (table.v == 1).any():
        raise InputError(expected("no occluded keypoints, since the files have no v", "some", str(path)))
    lines: dict[str, list[str]] = defaultdict(list)
    sizes = {}
    for i, name in enumerate(images.image_id):
        known = images.width[i] > 0 and images.height[i] > 0
        sizes[name] = (int(images.width[i]), int(images.height[i])) if known else size_of(Path(images.path[i]))
    for row, image in enumerate(table.image_id):
        record = json.loads(table.record[row])["line"] if own and table.record[row] else ""
        lines[image].append(_line(record, table, row, sizes[image], dimensions))
    for name, file_name in zip(images.image_id, images.file_name, strict=True):
        text = "".join(f"{line}\n" for line in lines[name])
        write_text(path / "labels" / Path(file_name).with_suffix(".txt"), text)
    text = dataset.rest["yaml"] if own else ""
    same = text and yolo_data.parse(text, path)[0] == table.skeleton
    write_text(path / "data.yaml", text if same else yolo_data.text_of(table.skeleton, dimensions))


def triples(dataset: Dataset) -> tuple[Skeleton, Triples]:
    """The skeleton of the files, and a function from a person's record to its x, y, v triples in pixels."""
    table, dimensions = dataset.images, dataset.rest["dimensions"]
    stems = [str(Path(name).with_suffix("")) for name in table.file_name]
    sizes = dict(zip(stems, zip(table.width.tolist(), table.height.tolist(), strict=True), strict=True))

    def triples_of(record: Record) -> list[list[Any]]:
        _, points = numbers_of(record["line"], sizes[record["file"].removesuffix(".txt")], dimensions)
        return [[x, y, int(v)] for x, y, v in points]

    return dataset.rest["skeleton"], triples_of


def numbers_of(line: str, size: tuple[int, int], dimensions: int) -> Line:
    """Box xywh and x, y, v triples in pixels; raises ValueError or ArithmeticError where the text is not numbers."""
    values = [Decimal(token) for token in line.split()[1:]]
    width, height = size
    cx, cy, w, h = values[:4]
    box = [float((cx - w * _HALF) * width), float((cy - h * _HALF) * height), float(w * width), float(h * height)]
    points = []
    for i in range(4, len(values), dimensions):
        x, y = values[i] * width, values[i + 1] * height
        v = float(values[i + 2]) if dimensions == 3 else 2.0 * bool(x or y)
        points.append([float(x), float(y), v])
    return box, points


class _Reader:
    """One folder being read."""

    def __init__(self, path: Path, root: Path, source: str, data: Data) -> None:
        self.path, self.root, self.source, self.data = path, root, source, data
        self.pictures = {
            str(file.relative_to(root).with_suffix("")): file
            for file in sorted(root.rglob("*"))
            if file.suffix.lower() in SUFFIXES
        }
        self.aside: list[Problem] = []
        self.missing: list[str] = []
        self.images: dict[str, tuple[Path, tuple[int, int]]] = {}
        self.persons: dict[str, tuple[str, str, Line]] = {}

    def file(self, file: Path) -> None:
        """Take the people of one text file."""
        aside = Aside(file)
        stem = str(file.relative_to(self.data.labels).with_suffix(""))
        text = read_bytes(file, "a text file").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines()]
        picture = self.pictures.get(stem)
        if picture is None:
            self.missing.append(f"{stem}.jpg")
            found = f"no such file; {counted(sum(map(bool, lines)), 'line')} set aside with it"
            aside.put("picture", f"a picture {self.root / stem} (.jpg, .png, ...)", found, lines)
        else:
            try:
                self.images[stem] = (picture, size_of(picture))
            except ImageError as error:
                aside.put("picture", f"a picture {picture}", str(error), lines)
                picture = None
        for i, line in enumerate(lines if picture else []):
            if not line:
                continue
            fault = self.line(line, stem, i)
            if fault:
                aside.put(f"line {i + 1}", *fault, line)
        self.aside += aside.problems

    def line(self, line: str, stem: str, number: int) -> tuple[str, str] | None:
        """Take one person, or say what is wrong with it as (expected, found)."""
        size, keypoints, dimensions = self.images[stem][1], len(self.data.skeleton), self.data.dimensions
        count, tokens = 5 + keypoints * dimensions, line.split()
        if len(tokens) != count:
            return f"{count} numbers (class, box, {keypoints} keypoints x {dimensions})", str(len(tokens))
        try:
            parsed = numbers_of(line, size, dimensions)
        except (ValueError, ArithmeticError):
            return "numbers", line[:60]
        box, points = parsed
        if not np.isfinite(box).all() or not np.isfinite(points).all():
            return "finite numbers", line[:60]
        x, y, w, h = box
        if w <= 0 or h <= 0:
            return "a box with positive width and height", " ".join(tokens[1:5])
        if x + w <= 0 or y + h <= 0 or x >= size[0] or y >= size[1]:
            return "a box that meets the picture", " ".join(tokens[1:5])
        if any(v not in (0, 1, 2) for _, _, v in points):
            return "v of 0, 1 or 2", str(next(v for _, _, v in points if v not in (0, 1, 2)))
        self.persons[f"{self.source}:{stem}:{number}"] = (stem, line, parsed)
        return None

    def image_table(self) -> Images:
        """Pictures that have a text file, even an empty one."""
        rows = [(str(path), str(path.relative_to(self.root)), *size) for path, size in self.images.values()]
        columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]
        return Images(
            image_id=np.array([f"{self.source}:{stem}" for stem in self.images], dtype=object),
            path=np.array(columns[0], dtype=object),
            file_name=np.array(columns[1], dtype=object),
            width=np.array(columns[2], dtype=np.int64),
            height=np.array(columns[3], dtype=np.int64),
            record=np.full(len(rows), "", dtype=object),
        )

    def people_table(self) -> People:
        """People in the order of files and lines."""
        rows = list(self.persons.values())
        k = len(self.data.skeleton)
        points = np.array([parsed[1] for _, _, parsed in rows], dtype=np.float64).reshape(-1, k, 3)
        return people(
            self.data.skeleton,
            person_id=list(self.persons),
            image_id=[f"{self.source}:{stem}" for stem, _, _ in rows],
            source=self.source,
            xy=points[..., :2],
            v=points[..., 2],
            bbox_xywh=np.array([parsed[0] for _, _, parsed in rows], dtype=np.float64).reshape(-1, 4),
            record=[json.dumps({"file": f"{stem}.txt", "line": line}) for stem, line, _ in rows],
        )


def _line(record: str, table: People, row: int, size: tuple[int, int], dimensions: int) -> str:
    """Text of one person: the record's own tokens where they still say what the table does."""
    tokens = record.split() or ["0"]
    box, points = numbers_of(record, size, dimensions) if record else ([], [])
    wanted = table.bbox_xywh[row].tolist()
    out = [tokens[0], *(tokens[1:5] if box == wanted else _box_tokens(wanted, size))]
    for k, ((x, y), v) in enumerate(zip(table.xy[row].tolist(), table.v[row].tolist(), strict=True)):
        place = 5 + k * dimensions
        if k < len(points) and points[k][2] == v and (v == 0 or points[k][:2] == [x, y]):
            out += tokens[place : place + dimensions]
        else:
            pair = [_token(x, size[0]), _token(y, size[1])] if v else ["0", "0"]
            out += [*pair, str(v)][:dimensions]
    return record if out == tokens else " ".join(out)


def _box_tokens(box: list[float], size: tuple[int, int]) -> list[str]:
    """Tokens cx, cy, w, h that `numbers_of` reads as this xywh box."""
    centres, extents = [], []
    for start, extent, side in zip(box[:2], box[2:], size, strict=True):
        token = _token(extent, side)
        half = Decimal(token) * _HALF
        exact = Decimal(start) / side + half
        short = Decimal(repr(float(exact)))
        centres.append(str(short if float((short - half) * side) == start else exact))
        extents.append(token)
    return [*centres, *extents]


def _token(value: float, side: int) -> str:
    """Shortest decimal that times `side` is `value` again, to the last bit."""
    short = repr(value / side)
    return short if float(Decimal(short) * side) == value else str(Decimal(value) / side)
