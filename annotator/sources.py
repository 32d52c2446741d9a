"""The sources of a project: annotation files with their pictures, read the same way each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from annotator import formats
from annotator.errors import FormatError, InputError, expected
from annotator.files import file_sha256, read_bytes
from annotator.formats.dataset import Dataset, Problem, write_problems
from annotator.store.project import Project
from annotator.store.settings import Settings, SourceSettings

PROBLEMS = "problems.jsonl"


def source_settings(
    annotations: Path,
    images: Path,
    format: str = "auto",  # noqa: A002
    *,
    name: str = "",
    only: Path | None = None,
) -> SourceSettings:
    """Settings of one source; the format is guessed where it is `auto`."""
    if not images.is_dir():
        raise InputError(expected("a folder of pictures", "no such folder", str(images)))
    found = formats.guess(annotations)[0] if format == "auto" else format
    return SourceSettings(
        name=name or found.removesuffix("_mat"),  # MPII is MPII in whichever file it comes
        format=found,
        annotations=str(annotations.resolve()),
        images=str(images.resolve()),
        sha256=file_sha256(annotations) if annotations.is_file() else "",
        only=str(only.resolve()) if only else "",
    )


def init(folder: Path, sources: Sequence[SourceSettings]) -> list[Dataset]:
    """Make a project of some sources, enter their people, and say in problems.jsonl what was set aside.

    A second run with the same sources changes nothing.

    Raises:
        InputError: the folder holds another project, or two sources have one name.
    """
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise InputError(expected("a name of its own for each source", ", ".join(names), str(folder)))
    datasets = read_sources(sources)
    with Project.create(folder, Settings(sources=tuple(sources))) as project:
        for dataset in datasets:
            project.put_people(dataset.people)
        if not (folder / PROBLEMS).exists():
            write_problems(folder / PROBLEMS, [problem for dataset in datasets for problem in dataset.problems])
    return datasets


def read_sources(sources: Sequence[SourceSettings]) -> list[Dataset]:
    """Read sources; a picture that a list names is missed only where none of them has it."""
    datasets = [read_source(source) for source in sources]
    there = {name for dataset in datasets for name in dataset.images.file_name}

    def missed(problem: Problem) -> bool:
        return problem.pointer != "list" or problem.record not in there

    return [replace(dataset, problems=tuple(filter(missed, dataset.problems))) for dataset in datasets]


def read_source(source: SourceSettings) -> Dataset:
    """Read a source; raises InputError where its file is not the one that entered the project."""
    path = Path(source.annotations)
    if source.sha256 and path.is_file() and file_sha256(path) != source.sha256:
        raise InputError(expected("the file that entered the project", "another content", str(path)))
    dataset = formats.read(path, Path(source.images), source.format, source=source.name)
    if source.only:
        dataset = formats.restrict(dataset, listed(Path(source.only)))
    return dataset


def listed(path: Path) -> list[str]:
    """The names in a file, one a line; raises FormatError where it is no text."""
    try:
        lines = read_bytes(path, "a list of pictures").decode().splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(expected("a list of pictures in UTF-8", error.reason, str(path))) from error
    return [line.strip() for line in lines if line.strip()]
