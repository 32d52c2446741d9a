"""Students on one split of a dataset, person by person: figures by kind of person and by type of error, with intervals.

Every label is hidden and everybody with a label counts; `workflows.failures` prints the tables.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from annotator import formats
from annotator.evaluation import tables
from annotator.evaluation.comparison import Comparison, compare
from annotator.evaluation.figures import PCK
from annotator.evaluation.predictions import read_predictions
from annotator.formats.dataset import Dataset
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.metrics.oks import oks
from annotator.metrics.pck import in_mpii_mean, pck_hits
from annotator.people import BoolArray
from annotator.skeletons import FloatArray, Skeleton
from workflows.error_types import TYPES, error_types
from workflows.hard_cases import cases, sizes, told_by
from workflows.results import SETS, annotator, lsp_test

ROUNDS, SEED = 1000, 0
FEWEST = 10  # people, below which a figure says nothing
METRIC = {"coco": "mean_oks", "mpii": "pckh_0.5", "lsp": "pck_0.2"}
TYPED = ("coco", "mpii")  # LSP has no area that keypoint similarity could be measured by
GROUPS = {
    "face": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    **{f"{part}s": (f"left_{part}", f"right_{part}")
       for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
    "neck and head top": ("upper_neck", "head_top"),
}  # fmt: skip


@dataclass(frozen=True)
class Share:
    """A figure in [0, 1] with its 95 % interval by image, and what it was counted on."""

    value: float
    low: float
    high: float
    n: int

    def cell(self, metric: str) -> str:
        """As the tables show it; PCK and shares in percent."""
        if np.isnan(self.value):
            return "-"
        value, low, high = (tables.cell(metric, number) for number in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


@dataclass(frozen=True)
class Measured:
    """A student on one test split: who it is, its weights, and its proposals beside the labels of everybody."""

    student: str
    weights: tuple[str, ...]
    comparison: Comparison

    def shares(self, up: FloatArray, down: FloatArray, n: FloatArray) -> list[Share]:
        """C ratios of sums over people, (N, C) each; `n` is what each is counted on, (C,)."""
        found = self.comparison
        total = down.sum(axis=0)
        value = np.where(total > 0, up.sum(axis=0) / np.where(total > 0, total, 1), np.nan)
        low, high = interval(bootstrap_ratios(up, down, found.image, found.n_images, ROUNDS, SEED))
        columns = zip(value, low, high, n, strict=True)
        return [Share(float(value), float(low), float(high), int(n)) for value, low, high, n in columns]

    def by_case(self, metric: str, who: dict[str, BoolArray]) -> dict[str, Share]:
        """The figure for each kind of person, counted on people; NaN where fewer than FEWEST are."""
        up, down = per_person(self.comparison, metric)
        kinds = np.stack(list(who.values()), axis=1).astype(np.float64)
        n = ((down > 0)[:, None] * kinds).sum(axis=0)
        found = self.shares(up[:, None] * kinds, down[:, None] * kinds, n)
        return {
            name: one if one.n >= FEWEST else Share(np.nan, np.nan, np.nan, one.n)
            for name, one in zip(who, found, strict=True)
        }

    @cached_property
    def by_type(self) -> dict[str, dict[str, Share]]:
        """Of each group of GROUPS that has labels, the share of each type of TYPES, counted on keypoints."""
        c = self.comparison
        found = error_types(c.xy, np.where((c.v > 0)[..., None], c.truth_xy, np.nan), c.image, c.scale_px, c.skeleton)
        columns = {name: known(c.skeleton, names) for name, names in GROUPS.items()}
        columns = {name: of for name, of in columns.items() if of}
        pairs = [(found[:, of], kind) for of in columns.values() for kind in range(len(TYPES))]
        up = np.stack([(of == kind).sum(axis=1) for of, kind in pairs], axis=1).astype(np.float64)
        down = np.stack([(of >= 0).sum(axis=1) for of, _ in pairs], axis=1).astype(np.float64)
        each = iter(self.shares(up, down, down.sum(axis=0)))
        return {name: {kind: next(each) for kind in TYPES} for name in columns}


def beyond_edge(dataset: Dataset, one: Measured) -> Share:
    """How often a keypoint without a label is put inside the picture; MPII labels all that is in it, hidden or not."""
    people, c = dataset.people, one.comparison
    size = sizes(dataset)[dataset.images.rows_of(people.image_id)][:, None]
    place = c.xy - people.pixel_origin[:, None, None]
    asked = (c.v == 0) & np.isfinite(place).all(axis=2)
    inside = asked & ((place >= 0) & (place < size)).all(axis=2)
    up, down = (these.sum(axis=1, keepdims=True).astype(np.float64) for these in (inside, asked))
    return one.shares(up, down, down.sum(axis=0))[0]


def known(skeleton: Skeleton, names: Sequence[str]) -> list[int]:
    """Columns of those keypoints that a skeleton has."""
    return [skeleton.index(name) for name in names if name in skeleton.keypoints]


def per_person(comparison: Comparison, metric: str) -> tuple[FloatArray, FloatArray]:
    """Numerator and denominator of mean OKS or a PCK, (N,) each; who cannot be measured has 0 in both."""
    points, labelled = (comparison.xy, comparison.truth_xy), comparison.v > 0
    if metric == "mean_oks":
        each = oks(*points, comparison.v, comparison.scale_px, comparison.skeleton.oks_sigmas)
        return np.nan_to_num(each), np.isfinite(each).astype(np.float64)
    yardstick, threshold = PCK[metric]
    hits, counted = pck_hits(*points, labelled, getattr(comparison, yardstick), threshold)
    mean = in_mpii_mean(comparison.skeleton)
    return hits[:, mean].sum(axis=1).astype(np.float64), counted[:, mean].sum(axis=1).astype(np.float64)


@dataclass(frozen=True)
class Split:
    """One split of a dataset: its name (`coco/test`), the people with a label, and how `propose` is told of it."""

    name: str
    dataset: Dataset
    source: tuple[str, ...]
    metric: str

    @classmethod
    def read(cls, name: str, split: str, data: Path, out: Path) -> Split:
        """Of a dataset of SETS; LSP has no other split than its test half."""
        labels, images = data / str(SETS[name]["annotations"]).replace("test", split), data / SETS[name]["images"]
        dataset = formats.read(labels, images, SETS[name]["format"])
        source = ["--annotations", str(labels), "--images", str(images)]
        if name == "lsp":
            listed = lsp_test(out)
            dataset, source = formats.restrict(dataset, listed.read_text().split()), [*source, "--list", str(listed)]
        with_label = np.flatnonzero(dataset.people.labelled.any(axis=1))
        dataset = replace(dataset, people=dataset.people.take(with_label))
        return cls(f"{name}/{split}", dataset, tuple(source), METRIC[name])

    @cached_property
    def who(self) -> dict[str, BoolArray]:
        """Which of the people are of which kind; kinds that nobody is of are left out."""
        return {case: these for case, these in cases(self.dataset).items() if these.any()}

    @property
    def typed(self) -> bool:
        """Whether types of error are told."""
        return self.name.split("/")[0] in TYPED

    @cached_property
    def told(self) -> dict[str, str]:
        """How each kind is told."""
        return told_by(self.dataset.people)

    def measure(self, student: str, out: Path) -> Measured:
        """The user's own command; what `workflows.results` proposed before is not predicted again."""
        folder = out / f"{self.name.removesuffix('/test').replace('/', '-')}-{Path(student).stem}"
        annotator("propose", *self.source, "--out", str(folder), "--student", student, "--hide", "all")
        made = tomllib.loads((folder / "rounds" / "001" / "round.toml").read_text())
        weights = tuple(f"{net['name']} {net['sha256'][:12]}" for net in made["networks"])
        found = compare(read_predictions(folder, self.dataset.people.skeleton), self.dataset)
        return Measured(made["student"], weights, found)
