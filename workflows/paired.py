"""Students beside others on the same people: each difference of two figures has a 95 % interval of its own.

    python -m workflows.paired --data DATA --out work_dirs/results [--students default union21-t] [--beside teachers]
    python -m workflows.paired --data DATA --out work_dirs/results [--students default union21-t] --single

People, figures and proposals are those of `workflows.results`; what is proposed there is not proposed anew. `--beside`
names another student, or the fused teachers: each figure minus theirs, each keypoint's, and how many come within .03 of
them, or 3 points. `--single` is about the keypoints that only one dataset labels: the face of COCO's people, and neck,
head top, pelvis and thorax of MPII's. A teacher of the other dataset says nothing there, so each stands beside the
better one of the single teachers that know it. Images are drawn for both sides at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from annotator import formats
from annotator.evaluation import tables
from annotator.evaluation.comparison import Comparison, compare
from annotator.evaluation.figures import PCK
from annotator.evaluation.predictions import read_predictions
from annotator.metrics.bootstrap import bootstrap_ratios
from annotator.metrics.oks import keypoint_similarity, oks
from annotator.metrics.pck import in_mpii_mean, pck_hits
from annotator.skeletons import UNION_21, FloatArray
from workflows.measuring import ROUNDS, Resampled, average_precision, printed
from workflows.results import SETS, SHOWN, lsp_test, made, networks, propose, weights
from workflows.teachers import cell, gained
from workflows.words import teachers

SEED = 0
NEAR = 0.03
# What only this dataset labels, and how it is measured.
ONLY = {
    "coco": (("nose", "left_eye", "right_eye", "left_ear", "right_ear"), ("similarity",)),
    "mpii": (("upper_neck", "head_top", "pelvis", "thorax"), ("pckh_0.5", "pckh_0.1")),
}
TOGETHER = "together"
EACH = {"coco": "similarity", "mpii": "pckh_0.5", "lsp": "pck_0.2"}  # of a keypoint
Key = tuple[str, str]  # a figure's name, and whose: a keypoint, TOGETHER, or "" for the figure of all


def compared(folder: Path, name: str, data: Path, out: Path, split: str = "test") -> Comparison:
    """A project's proposals beside the labels of a test set, as `annotator evaluate` compares them."""
    one = SETS[name]
    dataset = formats.read(data / one["annotations"].replace("test", split), data / one["images"], one["format"])
    if name == "lsp":
        dataset = formats.restrict(dataset, lsp_test(out).read_text().split())
    flags = [flag.removeprefix("--").replace("-", "_") for flag in one["filter"][::2]]
    limits = dict(zip(flags, map(int, one["filter"][1::2]), strict=True))
    return compare(read_predictions(folder, dataset.people.skeleton), dataset, **limits)


def counts(comparison: Comparison) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Each figure of keypoints, person by person: its name, what it counts, and of how many, both (N, K)."""
    points, labelled = (comparison.xy, comparison.truth_xy), comparison.v > 0
    near = keypoint_similarity(*points, comparison.scale_px, comparison.skeleton.oks_sigmas)
    seen = labelled & comparison.matched[:, None]
    yield "similarity", np.nan_to_num(near) * seen, seen.astype(np.float64)
    for metric, (yardstick, threshold) in PCK.items():
        hits, counted = pck_hits(*points, labelled, getattr(comparison, yardstick), threshold)
        yield metric, hits.astype(np.float64), counted.astype(np.float64)


def counted(comparison: Comparison, together: Sequence[str] = ()) -> dict[Key, Resampled]:
    """All figures but AP with their resamples: of each keypoint, of all, and of some keypoints TOGETHER.

    Two comparisons of the same people, whatever was proposed of them, share their drawn images.
    """
    skeleton = comparison.skeleton
    names, some = skeleton.keypoints, np.isin(skeleton.keypoints, list(together))
    keys: list[Key] = []
    ups, downs = [], []
    for metric, up, down in counts(comparison):
        every = in_mpii_mean(skeleton) if metric.startswith("pckh") else np.ones(len(names), dtype=bool)
        columns = np.column_stack([np.eye(len(names)), some, every])
        ups, downs = [*ups, up @ columns], [*downs, down @ columns]
        keys += [(metric, name) for name in (*names, TOGETHER, "")]
    people = ((comparison.v > 0) & comparison.matched[:, None]).any(axis=1)
    each = oks(comparison.xy, comparison.truth_xy, comparison.v, comparison.scale_px, np.array(skeleton.oks_sigmas))
    up = np.column_stack([*ups, np.nan_to_num(each) * people])
    down = np.column_stack([*downs, people])
    samples = bootstrap_ratios(up, down, comparison.image, comparison.n_images, ROUNDS, SEED)
    total = down.sum(axis=0)
    return {
        key: Resampled(float(up[:, k].sum() / total[k]), samples[:, k], int(total[k]))
        for k, key in enumerate([*keys, ("mean_oks", "")])
        if total[k]
    }


def precision(comparison: Comparison) -> dict[Key, Resampled]:
    """COCOeval's figures with their resamples."""
    people = int((comparison.v > 0).any(axis=1).sum())
    return {(name, ""): replace(one, n=people) for name, one in average_precision(comparison, SEED).items()}


@dataclass(frozen=True)
class Bench:
    """Where data lie and proposals are kept."""

    data: Path
    out: Path

    def figures(self, student: str, name: str) -> tuple[str, dict[Key, Resampled], list[tuple[str, str]]]:
        """A student's name, its figures on a test set, and its networks with their hashes."""
        folder, _ = propose(student, name, self.data, self.out)
        comparison, one = compared(folder, name, self.data, self.out), made(folder)
        found = counted(comparison, ONLY[name][0] if name in ONLY else ())
        return one["student"], found | (precision(comparison) if name == "coco" else {}), networks(one)


def beside(bench: Bench, students: Sequence[str], other: str) -> Iterator[str]:
    """Markdown: each figure of the students minus the other's, then each keypoint's, and how many are near."""
    rows, said, apart, near = [], [], {}, []
    for name in SETS:
        title, theirs, those = bench.figures(other, name)
        ours = [bench.figures(student, name) for student in students]
        said += [pair for _, _, pairs in ours for pair in pairs] + those
        for metric in SHOWN[name]:
            key = (metric, "")
            cells = [cell(metric, *theirs[key].figure)]
            cells += [gained(metric, *figures[key].minus(theirs[key]).figure) for _, figures, _ in ours]
            rows.append(f"| {name}, {tables.TITLES[metric]} | {theirs[key].n:,} | {' | '.join(cells)} |")
        for student, figures, _ in ours:
            apart[f"{name}, {student}"] = found = differences(EACH[name], figures, theirs)
            # As it is printed.
            close = sum(round(one.value, 3) >= -NEAR for one in found.values())
            near.append(f"{name}, {student} {close} of {len(found)}")
    heads = " | ".join(f"{student} minus {title}" for student, _, _ in ours)
    yield f"| figure | n | {title} | {heads} |"
    yield f"|---|---|---|{'---|' * len(ours)}"
    yield from [*rows, "", *by_keypoint(apart), ""]
    yield f"No more than {NEAR} or {100 * NEAR:g} points below, by value: {'; '.join(near)}."
    yield from ("", weights(said), "")


def differences(metric: str, ours: Mapping[Key, Resampled], theirs: Mapping[Key, Resampled]) -> dict[str, Resampled]:
    """By how much each keypoint's figure differs."""
    names = [name for of, name in ours if of == metric and name not in ("", TOGETHER)]
    return {name: ours[metric, name].minus(theirs[metric, name]) for name in names}


def by_keypoint(apart: Mapping[str, Mapping[str, Resampled]]) -> Iterator[str]:
    """Markdown: a row a keypoint, a column a test set and student; similarity, or points of its PCK."""
    names = dict.fromkeys(name for found in apart.values() for name in found)
    metrics = {title: EACH[title.split(",")[0]] for title in apart}
    yield f"| keypoint | {' | '.join(f'{title}, {tables.TITLES[metrics[title]]}' for title in apart)} |"
    yield f"|---|{'---|' * len(apart)}"
    for name in sorted(names, key=UNION_21.index):
        cells = [gained(metrics[title], *of[name].figure) if name in of else "-" for title, of in apart.items()]
        yield f"| {name} | {' | '.join(cells)} |"


def single(bench: Bench, students: Sequence[str]) -> Iterator[str]:
    """Markdown: the keypoints that one dataset alone labels, beside the better single teacher that knows them."""
    for name, (keypoints, metrics) in ONLY.items():
        knowing = [one for one, known in teachers().items() if set(keypoints) <= set(known.card.keypoints)]
        theirs = [bench.figures(one, name) for one in knowing]
        ours = [bench.figures(student, name) for student in students]
        heads = " | ".join(f"{student} | its gain" for student, _, _ in ours)
        yield f"### {name}/test, beside the better of {' and '.join(knowing)}"
        yield from ("", f"| keypoint | n | better teacher | its figure | {heads} |")
        yield f"|---|---|---|---|{'---|---|' * len(ours)}"
        for metric in metrics:
            for key in ((metric, keypoint) for keypoint in (*keypoints, TOGETHER)):
                who, figures, _ = max(theirs, key=lambda one: one[1][key].value)
                cells = [who, cell(metric, *figures[key].figure)]
                for _, found, _ in ours:
                    cells += [cell(metric, *found[key].figure), gained(metric, *found[key].minus(figures[key]).figure)]
                title = f"{key[1]}, {tables.TITLES[metric]}"
                yield f"| {title} | {figures[key].n:,} | {' | '.join(cells)} |"
        yield from ("", weights(pair for _, _, pairs in (*ours, *theirs) for pair in pairs), "")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--students", nargs="+", default=["default", "union21-t"])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--beside", default="teachers", help="a student, or teachers")
    what.add_argument("--single", action="store_true", help="beside the better single teacher")
    given = parser.parse_args()
    bench = Bench(given.data, given.out)
    lines = single(bench, given.students) if given.single else beside(bench, given.students, given.beside)
    return printed(lines)


if __name__ == "__main__":
    sys.exit(main())
