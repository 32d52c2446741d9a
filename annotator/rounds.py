"""The loop as functions. `propose` is the first: sources in, a round with proposals and enhanced annotations out.

People are worked on in fixed shards and every prediction is kept in the project's cache as soon as its shard is done;
all files of the round are functions of sources, settings and cache. So a killed run, started again, ends in the same
bytes as an undisturbed one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tomli_w

from annotator import derived, sources
from annotator.errors import InputError, expected
from annotator.files import atomic_path, read_bytes, write_text
from annotator.formats import enhanced
from annotator.formats.dataset import Dataset, Problem, write_problems
from annotator.images import Images
from annotator.people import ORIGIN, BoolArray, People
from annotator.proposals import KIND, Proposals, to_write
from annotator.skeletons import SKELETONS, UNION_21, FloatArray, IntArray, Skeleton
from annotator.store import tasks
from annotator.store.project import Project
from annotator.students import cluster, registry
from annotator.students.base import PoseModel
from annotator.students.cache import Cache
from annotator.students.onnx import default_workers

SHARD = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class How:
    """How proposals are made.

    Attributes:
        student: `default`, `teachers`, a known name, or a card's path.
        hide: keypoints to treat as unlabelled; `all` for every one.
        workers: threads, all cores where it is None; the result does not depend on it.
        accept_risk: highest share of released proposals that may be off by more than half a head.
        ray: `auto` or the address of a Ray cluster that does the shards.
    """

    student: str = registry.DEFAULT
    hide: tuple[str, ...] = ()
    workers: int | None = None
    accept_risk: float | None = None
    ray: str | None = None


@dataclass(frozen=True)
class Proposed:
    """What `propose` made.

    Attributes:
        images, people: of all sources, people over the union skeleton as labelled (nothing hidden).
        proposals: one row a person whose picture could be read, points as in annotations.json.
        problems: records set aside.
        folder: the round's folder.
        annotations: the enhanced annotation file.
    """

    images: Images
    people: People
    proposals: Proposals
    problems: tuple[Problem, ...]
    folder: Path
    annotations: Path

    def summary(self) -> dict[str, Any]:
        """Numbers for `--json`."""
        placed = np.isfinite(self.proposals.xy).all(axis=2)
        columns = (self.proposals.kind == KIND["hidden"]).any(axis=0)
        hidden = int(self.people.labelled[:, columns].sum())
        rule = self.proposals.origin == ORIGIN["derived"]
        return {
            "student": self.proposals.student,
            "people": len(self.people),
            "images": len(self.images),
            "labelled": int(self.people.labelled.sum()) - hidden,
            "hidden": hidden,
            "proposed": int((placed & ~rule).sum()),
            "derived": int((placed & rule).sum()),
            "calibrated": "none",
            "annotations": str(self.annotations),
            "set_aside": len(self.problems),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        s = self.summary()
        hidden = f"{s['labelled']:,} labelled keypoints kept as they are"
        if s["hidden"]:
            hidden += f", {s['hidden']:,} hidden and replaced by proposals"
        beside = self.annotations.with_name(sources.PROBLEMS)
        return [
            f"{s['people']:,} people in {s['images']:,} images, {hidden}",
            f"{s['proposed']:,} keypoints proposed by {s['student']}, {s['derived']:,} derived by a rule;"
            " their spread is raw (calibrated: none)",
            f"wrote {s['annotations']} and {self.folder / 'proposals.parquet'}",
            f"set aside {s['set_aside']}" + (f" ({beside})" if s["set_aside"] else ""),
        ]


def propose(
    annotations: Path,
    images: Path,
    out: Path,
    how: How = How(),
    *,
    format: str = "auto",  # noqa: A002
    only: Path | None = None,
    progress: Progress | None = None,
) -> Proposed:
    """Make `out` a project of one source, and propose (see `propose_project`)."""
    _asked(how, UNION_21, out)  # a request that cannot be met leaves no project behind
    sources.init(out, [sources.source_settings(annotations, images, format, only=only)])
    return propose_project(out, how, progress=progress)


def propose_project(folder: Path, how: How = How(), *, progress: Progress | None = None) -> Proposed:
    """Propose the keypoints that a project's people lack, and write the first round.

    Args:
        folder: a project.
        how: student, hidden keypoints, workers.
        progress: called with people done and people in all.

    Raises:
        InputError: an unknown keypoint or student, nobody to propose for, a release without calibration, or a round
            that went out to reviewers with another student or other hidden keypoints.
        MissingError: the student's weights are not on this machine.
    """
    with Project.open(folder) as project:
        skeleton = SKELETONS[project.settings.skeleton]
        model, hidden = _asked(how, skeleton, folder)
        _check_open(project, model, hidden)
        datasets = sources.read_sources(project.settings.sources)
        for dataset in datasets:
            project.put_people(dataset.people)  # refuses people whose record is not the one that entered
        images = Images.concat([dataset.images for dataset in datasets])
        people = People.concat([dataset.people.project(skeleton) for dataset in datasets])
        if not len(people):
            raise InputError(
                expected("people with a usable box", _nobody(datasets), ", ".join(str(d.path) for d in datasets))
            )
        proposals, unreadable = predict(model, images, people.hide(hidden), project.cache, how, progress)
        proposals = with_rules(mark_hidden(proposals, people, hidden), people.hide(hidden))
        problems = _problems(datasets, people, unreadable)
        target = project.round_folder(1)
        _write_round(target, proposals, problems, model, hidden)
        made = folder / "annotations.json"
        written = to_write(proposals)
        enhanced.write(made, [_visible(dataset, hidden) for dataset in datasets], written)
        write_problems(folder / sources.PROBLEMS, problems)
    return Proposed(images, people, written, problems, target, made)


def repropose(model: PoseModel, images: Images, people: People, given: FloatArray, kept: Cache) -> Proposals:
    """Proposals for people as if exactly the points `given` were known: correct one, and the others follow.

    Networks without prompts look at the picture alone; then only the rules (pelvis, thorax) follow.

    Args:
        model: over `people.skeleton`.
        images: their pictures.
        people: whose boxes are looked at; their own labels are not.
        given: (N, K, 2) known points in the pixels of the people's source, NaN elsewhere.
        kept: predictions made before; new ones are added.
    """
    known: BoolArray = np.asarray(np.isfinite(given).all(axis=2))
    told = replace(
        people,
        xy=np.where(known[..., None], given, np.nan),
        v=np.where(known, 2, 0).astype(np.uint8),
        origin=np.where(known, np.where(people.labelled, people.origin, ORIGIN["corrected"]), ORIGIN["none"]),
    )
    proposals, _ = model.predict(images, told, kept)
    return with_rules(proposals, told)


def _asked(how: How, skeleton: Skeleton, folder: Path) -> tuple[PoseModel, list[str]]:
    """The student and the hidden keypoints that were asked for; raises where there are none such."""
    if how.accept_risk is not None:
        what = "calibrated: none"
        raise InputError(expected("proposals calibrated on their own dataset (calibrated: own)", what, "--accept-risk"))
    hidden = list(skeleton.keypoints) if how.hide == ("all",) else list(how.hide)
    skeleton.indices(hidden)
    return registry.resolve(how.student, skeleton, folder), hidden


def predict(
    model: PoseModel,
    images: Images,
    people: People,
    cache: Path | None,
    how: How = How(),
    progress: Progress | None = None,
) -> tuple[Proposals, dict[str, str]]:
    """A model's word on people over its own skeleton, and why some pictures cannot be read, by image id.

    The result depends neither on the number of workers nor on where they are.
    """
    shards = _shards(people)
    results = (
        cluster.predict_shards(model, images, people, shards, cache, how.ray)
        if how.ray
        else _predict_here(model, images, people, shards, cache, how.workers or default_workers())
    )
    parts: list[Proposals] = []
    unreadable: dict[str, str] = {}
    done = 0
    with closing(results):  # whatever stops the loop stops the shards that wait
        for rows, (part, bad) in zip(shards, results, strict=True):
            parts.append(part)
            unreadable |= bad
            done += len(rows)
            if progress:
                progress(done, len(people))
    proposals = Proposals.concat(parts)
    order = {person_id: row for row, person_id in enumerate(people.person_id)}
    rank = np.array([order[person_id] for person_id in proposals.person_id], dtype=np.int64)
    return proposals.take(np.argsort(rank, kind="stable")), unreadable


def _predict_here(
    model: PoseModel, images: Images, people: People, shards: list[IntArray], cache: Path | None, workers: int
) -> Generator[tuple[Proposals, dict[str, str]], None, None]:
    """The shards' results in order, each done by one thread from pictures to proposals."""
    with closing(Cache(cache)) as kept, ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(lambda rows: model.predict(images, people.take(rows), kept), shards)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _shards(people: People) -> list[IntArray]:
    """Rows of people, those of a picture together, about SHARD a piece; depends on the people alone."""
    first: dict[str, int] = {}
    place = np.array([first.setdefault(image_id, len(first)) for image_id in people.image_id], dtype=np.int64)
    rows = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[rows], prepend=-1))
    cuts, last = [], 0
    for start in starts:
        if start - last >= SHARD:
            cuts.append(start)
            last = start
    return np.split(rows, cuts) if len(rows) else []


def mark_hidden(proposals: Proposals, people: People, hidden: Sequence[str]) -> Proposals:
    """Kind `hidden` for the named keypoints; that is how every accuracy figure is made."""
    kind = proposals.kind.copy()
    kind[:, people.skeleton.indices(hidden)] = KIND["hidden"]
    return replace(proposals, kind=kind)


def with_rules(proposals: Proposals, people: People) -> Proposals:
    """Pelvis and thorax by rule, with origin `derived`, where both their parents are labelled and they are not."""
    row = {person_id: i for i, person_id in enumerate(people.person_id)}
    people = people.take(np.array([row[name] for name in proposals.person_id], dtype=np.int64))
    point = derived.midpoints(people.xy, people.skeleton)
    rule = np.isfinite(point).all(axis=2) & (proposals.kind != KIND["labelled"])
    nothing: dict[str, Any] = {
        name: np.where(rule, np.nan, getattr(proposals, name))
        for name in ("spread_px", "entropy", "peaks", "disagreement_px")
    }
    return replace(
        proposals,
        xy=np.where(rule[..., None], point, proposals.xy),
        score=np.where(rule, 1, proposals.score),
        origin=np.where(rule, ORIGIN["derived"], proposals.origin),
        **nothing,
    )


def _nobody(datasets: Sequence[Dataset]) -> str:
    """Why there is nobody: the first record set aside, and as what the file was read."""
    aside = [problem for dataset in datasets for problem in dataset.problems]
    read_as = ", ".join(dataset.format for dataset in datasets)
    return f"none, read as {read_as}" + (f"; {len(aside)} set aside, the first: {aside[0]}" if aside else "")


def _visible(dataset: Dataset, hidden: Sequence[str]) -> Dataset:
    """The dataset with the hidden keypoints unlabelled."""
    names = [name for name in hidden if name in dataset.people.skeleton.keypoints]
    return replace(dataset, people=dataset.people.hide(names)) if names else dataset


def _problems(datasets: Sequence[Dataset], people: People, unreadable: dict[str, str]) -> tuple[Problem, ...]:
    found = [problem for dataset in datasets for problem in dataset.problems]
    for image_id in sorted(unreadable):
        rows = np.flatnonzero(people.image_id == image_id)
        path, _, what = unreadable[image_id].partition(": expected ")
        wanted, _, got = what.partition(", got ")
        names = [str(person_id) for person_id in people.person_id[rows]]
        found.append(Problem(path, image_id, wanted, f"{got}; {len(rows)} people without proposals", names))
    return tuple(found)


def _check_open(project: Project, model: PoseModel, hidden: Sequence[str]) -> None:
    """Raise InputError where reviewers already look at the round that another request would replace."""
    if not tasks.sent(project, 1):
        return
    file = project.round_folder(1) / "round.toml"
    made, wanted = tomllib.loads(read_bytes(file, "a round's settings").decode()), _identity(model, hidden)
    if apart := [name for name in wanted if made.get(name) != wanted[name]]:
        what = f"the {apart[0]} of the round that went out to reviewers, {made.get(apart[0])}"
        raise InputError(expected(what, wanted[apart[0]], str(file)))


def _identity(model: PoseModel, hidden: Sequence[str]) -> dict[str, Any]:
    """What tells one round's proposals from another's."""
    return {
        "student": model.name,
        "networks": [{"name": net.card.name, "sha256": net.digest} for net in model.networks],
        "hidden": list(hidden),
    }


def _write_round(
    folder: Path, proposals: Proposals, problems: Sequence[Problem], model: PoseModel, hidden: Sequence[str]
) -> None:
    with atomic_path(folder / "proposals.parquet") as temporary:
        pq.write_table(proposals.rows(), temporary, compression="zstd")
    settings = {
        "number": 1,
        **_identity(model, hidden),
        "people": len(proposals),
        "set_aside": len(problems),
        "calibrated": "none",
    }
    write_text(folder / "round.toml", tomli_w.dumps(settings))
