"""Write the training set of the union students, and the set that training is checked on.

    python -m workflows.training_set --data DATA --out work_dirs/sets [--config MINE.toml]

A TOML file names datasets, teachers and their weights, and whose keypoints the student has; `training_set.toml` beside
this file is the default and says how to write another. Datasets' paths are relative to DATA. What cannot be read is
counted, and listed in `problems.jsonl` of each set. `models.train` takes the sets as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator
from rich.progress import Progress

from annotator import formats, sources, toml
from annotator.errors import FormatError, InputError, command_line, expected
from annotator.formats.dataset import Dataset
from annotator.skeletons import SKELETONS, Skeleton, union
from annotator.students import registry
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from annotator.training import CONTEXT, Part, write_set

DEFAULT = Path(__file__).with_suffix(".toml")


class Entry(BaseModel):
    """One dataset.

    Attributes:
        name: short, unique in its set; begins the ids of its people.
        format: a name of `formats.FORMATS`, or `auto`.
        annotations, images: relative to the data's folder.
        label_weight: how far its labels are trusted, 1 for a careful dataset.
        only: names or patterns of pictures, or a file that lists names; empty for all.
        min_keypoints: people with fewer labels are left out.
        min_area: people whose area is not above this many square pixels are left out; 0 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str = "auto"
    annotations: str
    images: str
    label_weight: Annotated[float, Field(gt=0)] = 1.0
    only: str | tuple[str, ...] = ()
    min_keypoints: Annotated[int, Field(ge=0)] = 0
    min_area: Annotated[float, Field(ge=0)] = 0

    def part(self, data: Path) -> Part:
        """Its people, with what its file holds that cannot be read."""
        read = formats.read(data / self.annotations, data / self.images, self.format, source=self.name)
        if self.only:
            read = formats.restrict(read, self._pictures(read, data))
        people = read.people
        kept = people.labelled.sum(axis=1) >= self.min_keypoints
        if self.min_area:
            kept &= np.where(people.area > 0, people.area, people.scale_px() ** 2) > self.min_area
        return Part(self.name, read.images, people.take(kept), self.label_weight, read.problems)

    def _pictures(self, read: Dataset, data: Path) -> list[str]:
        """Names of pictures; a pattern that fits none stays as it is, and is missed like a name."""
        if isinstance(self.only, str):
            return sources.listed(data / self.only)
        fitting = ([name for name in read.images.file_name if fnmatchcase(name, one)] or [one] for one in self.only)
        return [name for names in fitting for name in names]


class Settings(BaseModel):
    """A training set and the set it is checked on.

    Attributes:
        base: another such file, relative to this one; this one's datasets and teachers come to those of the other.
        name: what the union is called.
        skeletons: whose keypoints the student has; empty for those of all datasets.
        teachers: known teachers, and the weight of each one's loss (beta).
        context: how many times a stored crop is wider than 1.25 boxes; None for `annotator.training.CONTEXT`.
        size_hw: a stored crop's, in pixels; None for 320 x 240 at that context, and in proportion.
        train, check: datasets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = ""
    name: str = ""
    skeletons: tuple[str, ...] = ()
    teachers: dict[str, Annotated[float, Field(ge=0)]] = {}
    context: Annotated[float, Field(ge=1)] | None = None
    size_hw: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] | None = None
    train: tuple[Entry, ...] = ()
    check: tuple[Entry, ...] = ()

    @field_validator("skeletons")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if set(names) - set(SKELETONS):
            raise ValueError(f"some of {', '.join(SKELETONS)}")
        return names

    @field_validator("train", "check")
    @classmethod
    def _apart(cls, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        if len({one.name for one in entries}) < len(entries):
            raise ValueError("a name of its own for each dataset")
        return entries


def load(path: Path, above: tuple[Path, ...] = ()) -> Settings:
    """Read a file, and what it is based on.

    Raises:
        FormatError: no such file, not TOML, a field is missing, unknown or of the wrong kind, or a file that is based
            on itself.
    """
    settings = toml.read(path, "a training set's settings", Settings)
    if not settings.base:
        return settings
    below = path.parent / settings.base
    if below.resolve() in (path.resolve(), *above):
        raise FormatError(expected("a base that is not based on this file", settings.base, str(path)))
    base = load(below, (path.resolve(), *above))
    joined = {
        "name": settings.name or base.name,
        "skeletons": settings.skeletons or base.skeletons,
        "teachers": base.teachers | settings.teachers,
        "context": settings.context or base.context,
        "size_hw": settings.size_hw or base.size_hw,
        "train": base.train + settings.train,
        "check": base.check + settings.check,
    }
    return toml.checked(joined, path, Settings)


@dataclass(frozen=True)
class Plan:
    """Settings with what they name: people, networks, keypoints."""

    train: list[Part]
    check: list[Part]
    teachers: list[OnnxModel]
    beta: dict[str, float]
    skeleton: Skeleton
    context: float
    size_hw: tuple[int, int] | None


def plan(settings: Settings, data: Path) -> Plan:
    """Read the datasets and find the teachers.

    Raises:
        InputError: an unknown teacher; MissingError where its weights are not here; what reading a dataset raises.
    """
    known = {entry.card.name: entry for entry in registry.known()}
    if unknown := sorted(set(settings.teachers) - set(known)):
        raise InputError(expected(f"some of {', '.join(sorted(known))}", ", ".join(unknown), "teachers"))
    teachers = [OnnxModel(known[name].card, known[name].weights) for name in settings.teachers]
    train, check = ([entry.part(data) for entry in entries] for entries in (settings.train, settings.check))
    own = [SKELETONS[name] for name in settings.skeletons] or [part.people.skeleton for part in train + check]
    skeleton = union(*own, name=settings.name or None)
    context = settings.context or CONTEXT
    return Plan(train, check, teachers, settings.teachers, skeleton, context, settings.size_hw)


def training_parts(data: Path) -> list[Part]:
    """What the shipped students are trained on."""
    return [entry.part(data) for entry in load(DEFAULT).train]


def check_parts(data: Path) -> list[Part]:
    """What their training is checked on."""
    return [entry.part(data) for entry in load(DEFAULT).check]


def write(made: Plan, out: Path) -> None:
    """Write OUT/train and OUT/check, each whole or not at all, and say what is in them."""
    with closing(Cache(out / "readouts.sqlite")) as cache:
        for name, parts in (("train", made.train), ("check", made.check)):
            if not parts:
                continue
            with Progress() as bar:
                step = partial(bar.advance, bar.add_task(name, total=sum(len(one.people) for one in parts)))
                n, left_out = write_set(
                    out / name, parts, made.teachers, made.skeleton, cache, step, made.beta, made.context, made.size_hw
                )
            print(f"{out / name}: {said(n, left_out, parts)}, {len(made.skeleton)} keypoints")


def said(n: int, left_out: int, parts: Sequence[Part]) -> str:
    """How many people are in a set, and how many are not."""
    aside = sum(len(part.problems) for part in parts)
    lost = [f"{left_out} left out"] * bool(left_out) + [f"{aside} records set aside"] * bool(aside)
    shown = f" ({', '.join(lost)}: problems.jsonl)" if lost else ""
    return f"{n} people, {', '.join(f'{part.name} {len(part.people)}' for part in parts)}{shown}"


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=DEFAULT, help="settings; see training_set.toml")
    given = parser.parse_args(arguments)
    write(plan(load(given.config), given.data), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
