"""A project's people as they stand, written in a format of the field, down to the origin that is asked for.

`coco` is `annotations.json` (formats.enhanced), which says of every point where it comes from. Where there is nothing
to say, since no point but the source's own labels would be written, it is the source's own file again. The other
formats have no place for an origin, so no guess is ever written to them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator import formats
from annotator.agreement import settle
from annotator.errors import InputError, UsageError, expected
from annotator.formats import enhanced
from annotator.formats.cocofields import origins_of
from annotator.formats.dataset import Dataset
from annotator.images import Images
from annotator.people import ORIGIN, ORIGINS, BoolArray, People
from annotator.proposals import Proposals, to_write
from annotator.reviewed import as_reviewed
from annotator.skeletons import HALPE_26, LSP_14, MPII_16, UNION_21, Skeleton
from annotator.snapshot import Snapshot, snapshot
from annotator.store.project import Project

COCO = "coco"
# Keypoints of the formats that fix them; any others can hold whatever there is.
SKELETON_OF = {"mpii": MPII_16, "halpe": HALPE_26, "lsp": LSP_14}
HUMAN_LEVELS = ("labelled", "human")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path, format, points: where, as what, down to which level.
        images, people: how many.
        origins: points written, by origin.
        sources: names of the sources in the file.
        same: whether it is the source's own file again, not a number changed.
        first_pixel: what the first pixel is called; None where it is as in the source.
        left_out: labels that the format has no keypoint for, by keypoint.
        open: points on which reviewers disagree, left as they were.
        set_aside: records of the sources that could not be used, and so are not in the file.
    """

    path: Path
    format: str
    points: str
    images: int
    people: int
    origins: dict[str, int]
    sources: tuple[str, ...]
    same: bool
    first_pixel: int | None
    left_out: dict[str, int]
    open: int
    set_aside: int

    def summary(self) -> dict[str, Any]:
        """Numbers for `--json`."""
        return {**self.__dict__, "path": str(self.path), "sources": list(self.sources)}

    def lines(self) -> list[str]:
        """The same for people."""
        what = ", ".join(f"{count:,} {word}" for word, count in self.origins.items()) or "none"
        lines = [
            f"{self.people:,} people in {self.images:,} images as {self.format}, --points {self.points}: {what}",
            f"wrote {self.path}" + (": the source as it came, nothing was decided or proposed" if self.same else ""),
        ]
        if self.first_pixel is not None:
            lines.append(f"pixels count from {self.first_pixel} in all of it, whatever a source does")
        if self.left_out:
            names = ", ".join(f"{name} {count:,}" for name, count in self.left_out.items())
            count = sum(self.left_out.values())
            lines.append(f"left out {count:,} labels that {self.format} has no keypoint for: {names}")
        if self.open:
            lines.append(f"reviewers disagree on {self.open:,} points; they are as they were")
        return [*lines, f"set aside {self.set_aside}"]


def export(folder: Path, out: Path, format: str = COCO, points: str = "", source: str = "") -> Exported:  # noqa: A002
    """Write a project's people.

    Args:
        folder: a project.
        out: the file to write, a folder for YOLO-pose; replaced where it is there.
        format: a name in FORMATS.
        points: the last of enhanced.LEVELS to be written; empty for `proposed` in coco and `human` in all others.
        source: name of the one source to write; empty for all, in one file.

    Raises:
        UsageError: an unknown format or level.
        InputError: no such source; a level the format cannot tell from labels; what it cannot hold; or `out` is a
            file that the project was made from.
        StorageError: the disk is full, or the place cannot be written.
    """
    points = points or ("proposed" if format == COCO else "human")
    _check(format, points)
    with Project.open(folder) as project:
        now, settings = snapshot(project), project.settings.sources
    names = [entry.name for entry in settings]
    if source and source not in names:
        raise InputError(expected(f"a source, one of {', '.join(names)}", repr(source), "--source"))
    if any(_would_change(out, format, Path(entry.annotations)) for entry in settings):
        raise InputError(expected("another place than a source's, which is never changed", str(out), "--out"))
    chosen = tuple(d for d, name in zip(now.datasets, names, strict=True) if source in ("", name))
    now = replace(now, datasets=chosen)
    write = _write_coco if format == COCO else _write_plain
    return write(now, out, format, points, tuple(name for name in names if source in ("", name)))


def _would_change(out: Path, format: str, annotations: Path) -> bool:  # noqa: A002
    """Whether writing to `out` writes to a source's own file, or into its folder."""
    targets = [out, out / "labels", out / "data.yaml"] if format == "yolo" else [out]
    file = annotations.resolve()
    return any(target.resolve() == file or file in target.resolve().parents for target in targets)


def _check(format: str, points: str) -> None:  # noqa: A002
    known = [name for name in formats.FORMATS if name not in formats.MATLAB_OF.values()]
    if format not in known:
        raise UsageError(expected(f"one of {', '.join(known)}", repr(format), "--format"))
    if points not in enhanced.LEVELS:
        raise UsageError(expected(f"one of {', '.join(enhanced.LEVELS)}", repr(points), "--points"))
    if format != COCO and points not in HUMAN_LEVELS:
        wanted = f"--points {' or '.join(HUMAN_LEVELS)} ({format} cannot say which points are guesses)"
        raise InputError(expected(wanted, points, f"--format {format}"))


def _write_coco(now: Snapshot, out: Path, format: str, points: str, sources: tuple[str, ...]) -> Exported:  # noqa: A002
    """annotations.json, or the one source's own file where nothing but its labels would be written."""
    current = _current(now, sources, points)
    proposals = _of(current, to_write(now.proposals))
    origins = _origins(current, proposals, points)
    only = current[0] if len(current) == 1 else None
    untouched = only is not None and only.people is now.datasets[0].people and only.format == format
    same = untouched and set(origins) <= {"labelled"} and not _ours(now.datasets[0].people)
    if same:
        formats.write(out, now.datasets[0], format)
    else:
        enhanced.write(out, current, proposals, points)
    return _said(now, out, format, points, sources, current, origins, same, 0 if len(current) > 1 else None, {})


def _write_plain(now: Snapshot, out: Path, format: str, points: str, sources: tuple[str, ...]) -> Exported:  # noqa: A002
    """A format without origins: the one source's own records patched, or new records for all people."""
    current = [_labels_alone(dataset, points) for dataset in _current(now, sources, points)]
    only, lost = current[0], Counter[str]()
    same = len(current) == 1 and only.people is now.datasets[0].people and _own(only, format, out)
    if len(current) > 1 or not _own(only, format, out):
        wanted = SKELETON_OF.get(format, only.people.skeleton if len(current) == 1 else UNION_21)
        only, lost = _merged(current, wanted)
    formats.write(out, only, format)
    first = int(format == "mpii") if not _own(only, format, out) else None
    return _said(now, out, format, points, sources, [only], _origins([only], None, points), same, first, dict(lost))


def _said(
    now: Snapshot, out: Path, format: str, points: str, sources: tuple[str, ...],  # noqa: A002
    written: Sequence[Dataset], origins: dict[str, int], same: bool, first_pixel: int | None, left_out: dict[str, int],
) -> Exported:  # fmt: skip
    people = People.concat([dataset.people.project(UNION_21) for dataset in now.datasets])
    disagreed = settle(people, now.said.decisions).open if points != "labelled" else ()
    return Exported(
        path=out,
        format=format,
        points=points,
        images=sum(len(dataset.images) for dataset in written),
        people=sum(len(dataset.people) for dataset in written),
        origins=origins,
        sources=sources,
        same=same,
        first_pixel=first_pixel,
        left_out=left_out,
        open=len(disagreed),
        set_aside=sum(len(dataset.problems) for dataset in now.datasets),
    )


def _current(now: Snapshot, sources: Sequence[str], points: str) -> list[Dataset]:
    """The datasets as reviewers left them; at `labelled` as they were read."""
    if points == "labelled":
        return list(now.datasets)
    return [
        replace(dataset, people=as_reviewed(dataset.people, name, dataset.images.image_id.tolist(), now.said))
        for dataset, name in zip(now.datasets, sources, strict=True)
    ]


def _of(datasets: Sequence[Dataset], proposals: Proposals) -> Proposals:
    """The proposals for these datasets' people."""
    names = {name for dataset in datasets for name in dataset.people.person_id}
    return proposals.take(np.array([name in names for name in proposals.person_id], dtype=bool))


def _origins(datasets: Sequence[Dataset], proposals: Proposals | None, points: str) -> dict[str, int]:
    """How many points of each origin are written, in the order of ORIGINS."""
    words = enhanced.words_of(points)
    count: Counter[int] = Counter()
    taken: dict[str, BoolArray] = {}
    for dataset in datasets:
        table = dataset.people
        count.update(table.origin[table.origin > 0].tolist())
        if proposals is not None:
            taken |= dict(zip(table.person_id, table.project(UNION_21).origin > 0, strict=True))
    if proposals is not None and len(proposals):
        free = ~np.array([taken[name] for name in proposals.person_id])
        placed = free & np.isfinite(proposals.xy).all(axis=2)
        count.update(proposals.origin[placed].tolist())
    return {word: count[code] for code, word in enumerate(ORIGINS) if word in words and count[code]}


def _ours(people: People) -> bool:
    """Whether the records are of a file of ours: what a model placed is in them, though not in the table."""
    return any('"origin"' in text and origins_of(json.loads(text)) for text in people.record)


def _labels_alone(dataset: Dataset, points: str) -> Dataset:
    """The dataset without points below the level; a label that a decision had replaced comes back.

    That takes a source which is itself a file of ours: any other has nothing but labels.
    """
    table = dataset.people
    out = (table.origin != ORIGIN["none"]) & ~np.isin(table.origin, [ORIGIN[w] for w in enhanced.words_of(points)])
    if not out.any():
        return dataset
    xy, v, origin = table.xy.copy(), table.v.copy(), table.origin.copy()
    xy[out], v[out], origin[out] = np.nan, 0, ORIGIN["none"]
    for row in np.flatnonzero(out.any(axis=1)):
        block = json.loads(table.record[row]).get("annotator") or {}
        for name, (x, y, seen) in (block.get("previous") or {}).items():
            k = table.skeleton.index(name)
            xy[row, k], v[row, k], origin[row, k] = (x, y), seen, ORIGIN["labelled"]
    return replace(dataset, people=replace(table, xy=xy, v=v, origin=origin))


def _own(dataset: Dataset, format: str, out: Path) -> bool:  # noqa: A002
    """Whether a dataset came in the format it is to be written in, and has no keypoints beyond it."""
    name = formats.MATLAB_OF.get(format, format) if out.suffix.lower() == ".mat" else format
    beyond = format in SKELETON_OF and (SKELETON_OF[format].columns_of(dataset.people.skeleton) < 0).any()
    return dataset.format == name and not beyond


def _merged(datasets: Sequence[Dataset], skeleton: Skeleton) -> tuple[Dataset, Counter[str]]:
    """All people over one skeleton as a dataset without records, and labels that it has no keypoint for."""
    lost: Counter[str] = Counter()
    for dataset in datasets:
        table = dataset.people
        beyond = np.flatnonzero(skeleton.columns_of(table.skeleton) < 0)
        lost.update({table.skeleton.keypoints[k]: int(n) for k in beyond if (n := table.labelled[:, k].sum())})
    images = Images.concat([dataset.images for dataset in datasets])
    if len(set(images.file_name)) != len(images):
        name, _ = Counter(images.file_name).most_common(1)[0]
        raise InputError(expected("a name of its own for each picture (or --source NAME)", f"{name} twice", "export"))
    people = People.concat([dataset.people.project(skeleton) for dataset in datasets])
    return Dataset("several", datasets[0].path, images, people), lost
