"""Students on the datasets' own protocols, resamples by image kept, so that a difference of two has an interval too.

A dataset is a folder in its official layout, or one of this project's test splits (LAYOUTS). All labels are hidden and
boxes are given; unlike in `workflows.results`, everybody counts who has a label, as COCO's and MPII's own figures have
it. `annotator propose` and `annotator evaluate` (--keypoints for a part of them) print the same figures.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from annotator import derived, formats
from annotator.errors import InputError, command_line, expected
from annotator.evaluation.comparison import Comparison, compare
from annotator.evaluation.figures import PCK, oks_matches
from annotator.evaluation.predictions import read_predictions
from annotator.formats.dataset import Dataset
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.metrics.coco_ap import AP_NAMES
from annotator.metrics.pck import in_mpii_mean, part_shares, pck_hits
from annotator.people import ORIGIN, People
from annotator.skeletons import COCO_17, MPII_16, UNION_21, FloatArray, IntArray
from annotator.students import registry
from workflows.results import annotator, lsp_test, weights

ROUNDS = 1000
# Annotations and pictures of each dataset, in the order in which they are looked for: official layouts, then ours.
LAYOUTS = {
    "coco": (
        ("annotations/person_keypoints_val2017.json", "val2017"),
        ("annotations/person_keypoints_val2017.json", "images/val2017"),
        ("person_keypoints_test.json", "images"),
    ),
    "mpii": (("annot/valid.json", "images"), ("annotations/mpii_val.json", "images"), ("mpii_test.json", "images")),
    "halpe": (
        ("annotations/halpe_val_v1.json", "val2017"),
        ("annotations/halpe_val_v1.json", "images/val2017"),
        ("test_halpe.json", "."),
    ),
    "lsp": (("joints.mat", "images"),),
}
SHARED = tuple(name for name in COCO_17.keypoints if name in MPII_16.keypoints)
# Keypoints that another dataset clicked where MPII constructs them: compared all the same, and said so.
STAND_IN = {
    "halpe": {"head": "head_top", "neck": "upper_neck"},
    "lsp": {"crown": "head_top", "neck": "upper_neck"},
}


@dataclass(frozen=True)
class Resampled:
    """A figure in [0, 1], or a difference of two, its (rounds,) resamples by image, and how many n it rests on."""

    value: float
    samples: FloatArray
    n: int = 0

    def minus(self, other: Resampled) -> Resampled:
        """Paired where both were measured on the same people: then they share the drawn images."""
        return Resampled(self.value - other.value, self.samples - other.samples, self.n)

    @property
    def figure(self) -> tuple[float, float, float]:
        """Value and 95 % interval."""
        return self.value, *self.interval()

    def interval(self) -> tuple[float, float]:
        """95 %, by image."""
        low, high = interval(self.samples)
        return float(low), float(high)


def mean(figures: Sequence[Resampled]) -> Resampled:
    """The plain mean of several."""
    return Resampled(float(np.mean([one.value for one in figures])), np.mean([one.samples for one in figures], axis=0))


@dataclass(frozen=True)
class Student:
    """A student with a name for the tables: `card` is what `annotator propose --student` takes."""

    name: str
    card: str

    @property
    def here(self) -> bool:
        """Whether it can be asked; a card that is a path may not have been trained yet."""
        return not self.card.endswith(".toml") or Path(self.card).is_file()


def of_grid(runs: Path, folder: str) -> Student:
    """A student of `workflows.ablations`, as `unified-0`."""
    return Student(folder, str(runs / folder / "student" / f"{folder}.toml"))


def named(text: str) -> Student:
    """A student as `--students` names it: a known name, or a card's path.

    >>> named("runs/mine/student/mine.toml").name, named("union21-s").card
    ('mine', 'union21-s')
    """
    return Student(Path(text).name.removesuffix(".toml"), text)


def hashes(students: Sequence[Student]) -> list[str]:
    """The lines below tables that say whose figures these are; none where nobody is here."""
    models = [registry.resolve(student.card, UNION_21) for student in students if student.here]
    return [weights((net.card.name, net.digest) for model in models for net in model.networks), ""] * bool(models)


@command_line
def printed(lines: Iterator[str]) -> int:
    """Print a report as it comes; an error is one line, and exit code 1."""
    try:
        for line in lines:
            print(line, flush=True)
    except subprocess.CalledProcessError as error:
        return error.returncode  # `annotator` has said why
    return 0


def place(kind: str, folder: Path) -> tuple[Path, Path]:
    """Annotations and pictures of a dataset's folder; raises InputError naming what was looked for."""
    for labels, images in LAYOUTS[kind]:
        if (folder / labels).is_file() and (folder / images).is_dir():
            return folder / labels, folder / images
    wanted = "; ".join(f"{labels} and {images}/" for labels, images in LAYOUTS[kind])
    raise InputError(expected(f"one of: {wanted}", "none", f"--{kind} {folder}"))


def as_union(people: People, stand_in: dict[str, str], *, thorax: bool = False) -> People:
    """People over the union skeleton, some of their own keypoints standing in for ours.

    Args:
        people: over any skeleton.
        stand_in: their keypoint -> ours, whatever the definitions say.
        thorax: whether labels of both shoulders make one of the thorax, midway.
    """
    union = people.project(UNION_21)
    xy, v, origin = union.xy.copy(), union.v.copy(), union.origin.copy()
    for theirs, ours in stand_in.items():
        here, there = UNION_21.index(ours), people.skeleton.index(theirs)
        xy[:, here], v[:, here], origin[:, here] = people.xy[:, there], people.v[:, there], people.origin[:, there]
    if thorax:
        k = UNION_21.index("thorax")
        xy[:, k] = derived.midpoints(xy, UNION_21)[:, k]
        known = np.isfinite(xy[:, k]).all(axis=1)
        v[:, k], origin[:, k] = np.where(known, 2, 0), np.where(known, ORIGIN["labelled"], ORIGIN["none"])
    return replace(union, xy=xy, v=v, origin=origin)


def image_of(people: People) -> IntArray:
    """(N,) the image of each person, counted from 0: what resampling by image draws."""
    return np.asarray(np.unique(people.image_id.astype(str), return_inverse=True)[1])


def average_precision(comparison: Comparison, seed: int) -> dict[str, Resampled]:
    """COCOeval's ten figures."""
    matches = oks_matches(comparison)
    samples = matches.bootstrap(ROUNDS, seed)
    return {name: Resampled(matches.stats[name], samples[:, i]) for i, name in enumerate(AP_NAMES)}


def shares(comparison: Comparison, metric: str, seed: int) -> dict[str, Resampled]:
    """A PCK: of all keypoints together under the metric's name, of each keypoint, and of MPII's parts.

    MPII's mean leaves out pelvis and thorax; PCK@.2 counts the 12 limbs alone, as LSP's figures of students do.
    """
    yardstick, threshold = PCK[metric]
    skeleton, points = comparison.skeleton, (comparison.xy, comparison.truth_xy, comparison.v > 0)
    hits, counted = pck_hits(*points, getattr(comparison, yardstick), threshold)
    limbs = np.isin(skeleton.keypoints, SHARED)
    together = in_mpii_mean(skeleton) if yardstick == "head_px" else limbs
    up, down = (np.column_stack([of, of[:, together].sum(axis=1)]).astype(np.float64) for of in (hits, counted))
    samples = bootstrap_ratios(up, down, comparison.image, comparison.n_images, ROUNDS, seed)
    total = down.sum(axis=0)
    value = np.where(total > 0, up.sum(axis=0) / np.where(total > 0, total, 1), np.nan)
    names = (*skeleton.keypoints, metric)
    out = {name: Resampled(float(value[k]), samples[:, k]) for k, name in enumerate(names)}
    parts = part_shares(samples[:, :-1], skeleton)
    return out | {part: Resampled(float(of), parts[part]) for part, of in part_shares(value[:-1], skeleton).items()}


def figures(kind: str, comparison: Comparison) -> dict[str, Resampled]:
    """What a dataset is measured by."""
    seed = list(LAYOUTS).index(kind)  # other draws for another dataset: an average of two is of independent samples
    if kind in ("coco", "halpe"):
        return average_precision(comparison, seed)
    if kind == "lsp":
        return shares(comparison, "pck_0.2", seed)
    return shares(comparison, "pckh_0.5", seed) | {"pckh_0.1": shares(comparison, "pckh_0.1", seed)["pckh_0.1"]}


@dataclass
class Bench:
    """Datasets on which students are measured.

    Attributes:
        folders: by kind, a key of LAYOUTS.
        out: where proposals are kept.
        known: (card, kind, keypoints) -> what was measured before.
    """

    folders: dict[str, Path]
    out: Path
    known: dict[tuple[str, str, tuple[str, ...]], dict[str, Resampled]] = field(default_factory=dict)
    _truth: dict[str, Dataset] = field(default_factory=dict)

    def truth(self, kind: str) -> Dataset:
        """The labels, over the union skeleton where some stand in for ours."""
        if kind not in self._truth:
            dataset = formats.read(*place(kind, self.folders[kind]), kind)
            if kind == "lsp":
                dataset = formats.restrict(dataset, lsp_test(self.out).read_text().split())
            if kind in STAND_IN:
                people = as_union(dataset.people, STAND_IN[kind], thorax=kind == "halpe")
                dataset = replace(dataset, people=people)
            self._truth[kind] = dataset
        return self._truth[kind]

    def figures(self, student: Student, kind: str, keypoints: tuple[str, ...] = ()) -> dict[str, Resampled] | None:
        """Figures by name, over all keypoints or some; None where there is no such dataset or student."""
        if kind not in self.folders or not student.here:
            return None
        key = (student.card, kind, keypoints)
        if key not in self.known:
            truth = self.truth(kind)
            predictions = read_predictions(self._propose(student, kind), truth.people.skeleton)
            self.known[key] = figures(kind, compare(predictions, truth, keypoints=keypoints))
        return self.known[key]

    def about(self) -> str:
        """How many people with a label, in how many pictures, each dataset has."""
        lines = []
        for kind in self.folders:
            people = self.truth(kind).people
            some = people.labelled.any(axis=1)
            images = len(np.unique(people.image_id[some].astype(str)))
            lines.append(f"{kind}: {some.sum():,} people in {images:,} pictures")
        return "; ".join(lines) + "."

    def _propose(self, student: Student, kind: str) -> Path:
        """The user's own command; what is there already is not predicted again."""
        labels, images = place(kind, self.folders[kind])
        folder = self.out / f"{kind}-{student.name}"
        listed = ["--list", str(lsp_test(self.out))] if kind == "lsp" else []
        annotator("propose", "--annotations", str(labels), "--images", str(images), "--format", kind,
                  "--out", str(folder), "--student", student.card, "--hide", "all", *listed)  # fmt: skip
        return folder


def arguments(parser: argparse.ArgumentParser) -> None:
    """What all tables take."""
    parser.add_argument("--runs", type=Path, required=True, help="folder of workflows.ablations")
    parser.add_argument("--out", type=Path, required=True, help="where proposals are kept")
    for kind in LAYOUTS:
        parser.add_argument(f"--{kind}", type=Path, metavar="DIR", help=f"{kind.upper()}'s folder")
    parser.add_argument("--students", nargs="*", default=["union21-t", "union21-s"], help="unified students beside")


def bench(given: argparse.Namespace) -> Bench:
    """Of a command line; raises InputError where a folder holds no dataset of its kind."""
    folders = {kind: getattr(given, kind) for kind in LAYOUTS if getattr(given, kind)}
    for kind, folder in folders.items():
        place(kind, folder)
    return Bench(folders, given.out)
