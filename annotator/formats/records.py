"""What the readers share: parsing JSON, setting records aside, looking for pictures, numbers that go back untouched."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from annotator.errors import FormatError, ImageError, expected
from annotator.files import read_bytes
from annotator.formats.dataset import Problem
from annotator.images import Images, inside
from annotator.people import People

Record = dict[str, Any]
Triples = Callable[[Record], list[list[Any]]]  # x, y, v of each keypoint, as the record wrote them
NUMBERS = (int, float)  # compared with type(), since True is an int to isinstance()
TOO_LARGE = 1e300  # JSON's integers have no bound, numpy's numbers do
_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def load_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FormatError: a directory, no such file, not JSON (with line and column), or text that UTF-8 cannot hold.
    """
    data = read_bytes(path, "a JSON file")
    try:
        document = json.loads(data)
        if _HALF_SURROGATE.search(data):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except json.JSONDecodeError as error:
        where = f"{path}: line {error.lineno} column {error.colno}"
        raise FormatError(expected("JSON", error.msg.lower(), where)) from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise FormatError(expected("JSON in UTF-8", error.reason, str(path))) from error
    except (RecursionError, ValueError) as error:
        raise FormatError(expected("JSON", str(error).split("\n")[0], str(path))) from error


def shown(value: Any) -> str:
    """A value as an error shows it: short, on one line, `nothing` where there is none."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    """JSON's word for a value."""
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return words.get(type(value), "a number")


class Aside:
    """Records set aside while one file is read, in the order they were met."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.problems: list[Problem] = []

    def put(self, pointer: str, wanted: str, found: str, record: Any) -> None:
        """Set a record aside; NaN and infinity in it become words, since JSON has no numbers for them."""
        self.problems.append(Problem(self.file, pointer, wanted, found, speakable(record)))

    def text(self, record: Any, pointer: str) -> str | None:
        """The record as JSON, or None and a problem where it holds NaN or infinity."""
        try:
            return json.dumps(record, ensure_ascii=False, allow_nan=False)
        except ValueError:
            where, value = next(not_finite(record, pointer))
            self.put(where, "a finite number", shown(value), record)
            return None


def not_finite(value: Any, pointer: str) -> Iterator[tuple[str, float]]:
    """Pointers of all NaN and infinite numbers in a JSON value."""
    if isinstance(value, float) and not math.isfinite(value):
        yield pointer, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from not_finite(entry, f"{pointer}.{key}")
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from not_finite(entry, f"{pointer}[{i}]")


def speakable(value: Any) -> Any:
    """The same JSON value with NaN and infinity as words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: speakable(entry) for key, entry in value.items()}
    return [speakable(entry) for entry in value] if isinstance(value, list) else value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number that a table can hold."""
    return type(value) in NUMBERS and abs(value) < TOO_LARGE


def are_numbers(value: Any, count: int) -> bool:
    """Whether a JSON value is a list of `count` numbers."""
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


def picture(root: Path, file_name: Any, pointer: str) -> tuple[str, tuple[str, str] | None]:
    """Path of a picture under `root`, and what is wrong with it as (expected, found), or None."""
    if not isinstance(file_name, str) or not file_name or "\0" in file_name:
        return "", ("a file name", shown(file_name))
    try:
        path = str(inside(root, file_name, pointer))
    except ImageError:
        return "", (f"a path inside {root}", shown(file_name))
    try:
        return path, None if Path(path).is_file() else (f"a picture at {path}", "no such file")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        return path, ("a picture under its root", str(error.strerror))


class Pictures:
    """Pictures that people name by their file, for formats that have no list of images."""

    def __init__(self, root: Path, aside: Aside) -> None:
        self.root, self.aside = root, aside
        self.paths: dict[str, str] = {}
        self.missing: dict[str, tuple[str, str, str, list[Any]]] = {}

    def there(self, file_name: Any, pointer: str, record: Any) -> bool:
        """Whether the picture a person names is there; if not, the person is set aside with it."""
        if not isinstance(file_name, str) or (file_name not in self.paths and file_name not in self.missing):
            path, wrong = picture(self.root, file_name, pointer)
            if wrong is None:
                self.paths[file_name] = path
            elif isinstance(file_name, str):
                self.missing[file_name] = (pointer, *wrong, [])
            else:
                self.aside.put(pointer, *wrong, record)
                return False
        if file_name in self.missing:
            self.missing[file_name][3].append(record)
        return file_name in self.paths

    def report_missing(self) -> None:
        """One problem for each picture that is not there, with everybody who is in it."""
        for pointer, wanted, found, records in self.missing.values():
            self.aside.put(
                pointer, wanted, f"{found}; {counted(len(records), 'person', 'people')} set aside with it", records
            )
        check_found(self.root, len(self.paths), list(self.missing))

    def table(self, source: str) -> Images:
        """Images in the order of their first mention; the file name is the id."""
        return Images(
            image_id=np.array([f"{source}:{name}" for name in self.paths], dtype=object),
            path=np.array(list(self.paths.values()), dtype=object),
            file_name=np.array(list(self.paths), dtype=object),
            width=np.full(len(self.paths), -1),
            height=np.full(len(self.paths), -1),
            record=np.full(len(self.paths), "", dtype=object),
        )


def at_origin(table: People, pixel_origin: int) -> People:
    """The same people with pixels counted from another origin: what writing into another convention takes."""
    shift = pixel_origin - table.pixel_origin.astype(np.float64)
    if not shift.any():
        return table
    box = table.bbox_xywh + np.stack([shift, shift, 0 * shift, 0 * shift], axis=1)
    origin = np.full(len(table), pixel_origin, dtype=np.uint8)
    return replace(table, xy=table.xy + shift[:, None, None], bbox_xywh=box, pixel_origin=origin)


def check_found(root: Path, found: int, missing: list[str]) -> None:
    """Raise FormatError where not one picture is there: then the folder is wrong, not the records."""
    if missing and not found:
        others = f" and {counted(len(missing) - 1, 'more picture')}" if missing[1:] else ""
        found_there = "a folder without them" if root.is_dir() else "no such folder"
        raise FormatError(expected(f"the folder of {missing[0]}{others}", found_there, str(root)))


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 picture`, `1,200 pictures`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def as_written(raw: Sequence[Any] | None, x: float, y: float, v: int) -> list[Any]:
    """One x, y, v triple: as the record wrote it where that still is the label, else the table's numbers."""
    if raw is not None and raw[2] == v and (v == 0 or (raw[0] == x and raw[1] == y)):
        return list(raw)
    return [x, y, v] if v else [0, 0, 0]
