"""What a reader gives and a writer takes: pictures, people, what was set aside, and what passes through untouched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from annotator.files import write_text
from annotator.images import Images
from annotator.people import People


@dataclass(frozen=True)
class Problem:
    """A record that was set aside, with the whole record, so that nothing is lost.

    Attributes:
        file: the file it stands in.
        pointer: where in the file, e.g. `annotations[12].keypoints`.
        expected, found: what should stand there, and what does.
        record: the record itself, as read.
    """

    file: str
    pointer: str
    expected: str
    found: str
    record: Any = None

    def __str__(self) -> str:
        return f"{self.file}: {self.pointer}: expected {self.expected}, got {self.found}"


@dataclass(frozen=True)
class Dataset:
    """One annotation file with its pictures.

    Attributes:
        format: name in FORMATS.
        path: the annotation file.
        images, people: the tables; people keep the source's order.
        problems: records set aside.
        rest: everything of the document that is neither an image nor a person, passed through by writers.
    """

    format: str
    path: Path
    images: Images
    people: People
    problems: tuple[Problem, ...] = ()
    rest: dict[str, Any] = field(default_factory=dict)


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write `problems.jsonl`, one line a record; an empty file says that nothing was set aside."""
    lines = [json.dumps(asdict(problem), ensure_ascii=False, default=str) for problem in problems]
    write_text(path, "".join(line + "\n" for line in lines))
