"""How far one dataset's keypoints lie from another's, as a network sees it, and what that costs where truth exists.

    python -m workflows.offsets --data DATA --out work_dirs/offsets [--student default]

Shared names do not mean the same place: COCO's hips, MPII's, LSP's; LSP's neck and crown against MPII's upper_neck and
head_top. A teacher of one dataset looks at people of another's `train` part (everything hidden); prediction minus
label, along the body's axis (hips to shoulders, up is positive) and across it (to the person's left), in torso
lengths, is the offset: median over people, 95 % interval by image. What the interval keeps from 0 is significant.

Then the student on LSP's test half, whose neck and crown it never had a label of: PCK@.2 of its upper_neck and head_top
against them, as they are, and moved by the offset that was estimated on LSP's first half.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator import formats
from annotator.metrics.bootstrap import bootstrap_ratios, image_weights, interval
from annotator.metrics.pck import torso_size
from annotator.people import People
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21, FloatArray, IntArray
from workflows.results import annotator

ROUNDS = 2000
TORSO = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
LSP_AS_UNION = {"neck": "upper_neck", "crown": "head_top"}
FIRST_HALF = 1000
# What looks at whom: network, annotation file, pictures, format; LSP's first 1,000 pictures.
LOOKS = {
    "COCO's teacher on MPII": ("tinypose", "mpii/mpii_train.json", "mpii/images", "mpii"),
    "MPII's teacher on COCO": ("tinypose_mpii16", "coco/person_keypoints_train.json", "coco/images", "coco"),
    "MPII's teacher on LSP": ("tinypose_mpii16", "lsp/joints.mat", "lsp/images", "lsp"),
    "COCO's teacher on LSP": ("tinypose", "lsp/joints.mat", "lsp/images", "lsp"),
}


@dataclass(frozen=True)
class Look:
    """Predictions (N, K, 2) over the union beside labels (N, K, 2), NaN where there is none, of the same people."""

    predicted: FloatArray
    labels: FloatArray
    people: People

    def take(self, rows: IntArray) -> Look:
        """Some of the people."""
        return Look(self.predicted[rows], self.labels[rows], self.people.take(rows))

    def images(self) -> IntArray:
        """(N,) the image of each person, counted from 0."""
        return np.unique(self.people.image_id.astype(str), return_inverse=True)[1]


def look(student: str, annotations: Path, images: Path, kind: str, out: Path) -> Look:
    """Propose with everything hidden, as a user would, and read it back beside the labels."""
    annotator("propose", "--annotations", str(annotations), "--images", str(images), "--format", kind,
              "--out", str(out), "--student", student, "--hide", "all")  # fmt: skip
    people = formats.read(annotations, images, kind).people
    made = Proposals.read_rows(out / "rounds" / "001" / "proposals.parquet", UNION_21)
    row_of = {name: row for row, name in enumerate(people.person_id)}
    people = people.take(np.array([row_of[name] for name in made.person_id]))
    labels = people.project(UNION_21).xy
    for theirs, ours in LSP_AS_UNION.items():
        if theirs in people.skeleton.keypoints:
            labels[:, UNION_21.index(ours)] = people.xy[:, people.skeleton.index(theirs)]
    return Look(made.xy, labels, people)


def frame(labels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors up the body and to its left, (N, 2, 2), and torso lengths (N,), NaN without shoulders and hips."""
    top, bottom = (labels[:, UNION_21.indices(pair)].mean(axis=1) for pair in TORSO)
    length = np.linalg.norm(top - bottom, axis=1)
    up = (top - bottom) / length[:, None]
    side = labels[:, UNION_21.index("left_shoulder")] - labels[:, UNION_21.index("right_shoulder")]
    across = np.stack([up[:, 1], -up[:, 0]], axis=1)
    across *= np.sign((across * side).sum(axis=1))[:, None]
    return np.stack([up, across], axis=1), length


def offsets(one: Look) -> FloatArray:
    """Prediction minus label in torso lengths, (N, K, 2): up the body, and to its left."""
    axes, length = frame(one.labels)
    return np.einsum("nij,nkj->nki", axes, one.predicted - one.labels) / length[:, None, None]


def median_with_interval(values: FloatArray, image: IntArray) -> tuple[float, float, float]:
    """Median of values (N,), NaN left out, and its 95 % interval by image."""
    known = np.isfinite(values)
    values, image = values[known], np.unique(image[known], return_inverse=True)[1]
    order = np.argsort(values)
    ranked, medians = values[order], []
    for weights in image_weights(int(image.max()) + 1, ROUNDS, seed=0):
        total = np.cumsum(weights[:, image[order]], axis=1)
        medians.append(ranked[(total >= total[:, -1:] / 2).argmax(axis=1)])
    low, high = interval(np.concatenate(medians))
    return float(np.median(values)), float(low), float(high)


def table(title: str, one: Look) -> list[str]:
    """Every keypoint that both know, as Markdown; significant ones in bold."""
    off, image = offsets(one), one.images()
    lines = [f"### {title}", "", "| keypoint | n | up the body | to the left |", "|---|---|---|---|"]
    for k, name in enumerate(UNION_21.keypoints):
        n = int(np.isfinite(off[:, k, 0]).sum())
        if n:
            cells = [cell(*median_with_interval(off[:, k, axis], image)) for axis in range(2)]
            lines.append(f"| {name} | {n:,} | {' | '.join(cells)} |")
    return [*lines, ""]


def cell(median: float, low: float, high: float) -> str:
    """A median with its interval, in bold where that keeps clear of 0.

    >>> cell(-0.1, -0.12, -0.08), cell(0.0, -0.01, 0.01)
    ('**-.100** (-.120 to -.080)', '.000 (-.010 to .010)')
    """
    text = [f"{value:.3f}".replace("0.", ".", 1) for value in (median, low, high)]
    return f"**{text[0]}** ({text[1]} to {text[2]})" if low * high > 0 else f"{text[0]} ({text[1]} to {text[2]})"


def transfer(one: Look) -> list[str]:
    """PCK@.2 of upper_neck and head_top on LSP's test half, as they are and moved by the first half's offset."""
    number = np.array([int(name.split(":")[1]) for name in one.people.person_id])
    learn, test = one.take(np.flatnonzero(number < FIRST_HALF)), one.take(np.flatnonzero(number >= FIRST_HALF))
    move = np.nanmedian(offsets(learn), axis=0)
    axes, length = frame(test.labels)
    back = np.einsum("nij,ki->nkj", axes, move) * length[:, None, None]
    reference = torso_size(test.labels, UNION_21)
    lines = ["### The student's neck and head top on LSP's test half", "",
             "| keypoint | n | PCK@.2 as it is, % | moved by the offset, % |", "|---|---|---|---|"]  # fmt: skip
    for name in LSP_AS_UNION.values():
        k = UNION_21.index(name)
        cells = []
        for predicted in (test.predicted, test.predicted - back):
            error = np.linalg.norm(predicted[:, k] - test.labels[:, k], axis=1)
            counted = np.isfinite(error) & (reference > 0)
            hit = (counted & (error <= 0.2 * reference)).astype(np.float64)[:, None]
            n = counted.astype(np.float64)[:, None]
            images = test.images()
            low, high = interval(bootstrap_ratios(hit, n, images, int(images.max()) + 1, ROUNDS, seed=0))[:, 0]
            cells.append(f"{100 * hit.sum() / n.sum():.1f} ({100 * low:.1f} to {100 * high:.1f})")
        lines.append(f"| {name} | {int(n.sum()):,} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--student", default="default")
    given = parser.parse_args()
    for title, (network, labels, images, kind) in LOOKS.items():
        out = given.out / f"{kind}-{network}"
        one = look(network, given.data / labels, given.data / images, kind, out)
        if kind == "lsp":
            number = np.array([int(name.split(":")[1]) for name in one.people.person_id])
            one = one.take(np.flatnonzero(number < FIRST_HALF))
        print("\n".join(table(title, one)), flush=True)
    lsp = (given.data / "lsp" / "joints.mat", given.data / "lsp" / "images", "lsp")
    one = look(given.student, *lsp, given.out / f"lsp-{Path(given.student).stem}")
    print("\n".join(transfer(one)), flush=True)


if __name__ == "__main__":
    main()
