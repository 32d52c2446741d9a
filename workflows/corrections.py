"""How far one correction carries: what a reviewer who moves one point gets for the others.

    python -m workflows.corrections --data DATA [--student default] [--split test]

MPII people with all 16 keypoints. Each elbow, wrist, knee, ankle, shoulder or hip that the student proposes more than
half a head off is put where its label is, as a reviewer would, and the student is asked again (`rounds.repropose`, what
the labelling backend calls). Counted are the neighbours along the body that the reviewer has not touched: how many are
within half a head before and after, how many move by more than a tenth of a head, which become right and which wrong.
Once for a person of whom nothing is known, once for one whose shoulders, hips, neck and head top are labelled. 95 %
intervals by image.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator import derived, formats, rounds
from annotator.images import Images
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.people import BoolArray, People
from annotator.skeletons import UNION_21, FloatArray, IntArray
from annotator.students import registry
from annotator.students.base import PoseModel
from annotator.students.cache import Cache
from workflows.measuring import image_of
from workflows.results import weights

ROUNDS = 1000
RIGHT, MOVED = 0.5, 0.1  # head sizes
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
LIMBS = [f"{side}_{part}" for part in PARTS for side in ("left", "right")]
TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "upper_neck", "head_top")
SITUATIONS: dict[str, tuple[str, ...]] = {"nothing": (), "shoulders, hips, neck and head top": TRUNK}
CHAINS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))


def neighbours(name: str) -> list[str]:
    """Keypoints next to a limb's along the body.

    >>> neighbours("left_elbow"), neighbours("right_hip")
    (['left_shoulder', 'left_wrist'], ['right_knee', 'right_shoulder', 'left_hip'])
    """
    side, part = name.split("_")
    other = "right" if side == "left" else "left"
    along = [f"{side}_{(b if part == a else a)}" for a, b in CHAINS if part in (a, b)]
    return along + ([f"{other}_{part}"] if part in ("shoulder", "hip") else [])


@dataclass(frozen=True)
class Carried:
    """Neighbours (M,) of corrected points: errors before and after and how far they moved, in head sizes."""

    before: FloatArray
    after: FloatArray
    moved: FloatArray
    image: IntArray


def correct(model: PoseModel, images: Images, people: People, labelled: tuple[str, ...], kept: Cache) -> Carried:
    """Correct each limb's point that is more than half a head off, one at a time.

    Args:
        model: over `people.skeleton`.
        images: their pictures.
        people: with every keypoint that counts labelled.
        labelled: keypoints that are known from the start.
        kept: predictions made before.
    """
    head = derived.head_size(people.xy, people.skeleton)
    given = np.full_like(people.xy, np.nan)
    columns = people.skeleton.indices(labelled)
    given[:, columns] = people.xy[:, columns]
    first = rounds.repropose(model, images, people, given, kept).xy
    parts = []
    for name in LIMBS:
        if name in labelled:
            continue
        k = people.skeleton.index(name)
        rows = np.flatnonzero(np.linalg.norm(first[:, k] - people.xy[:, k], axis=1) > RIGHT * head)
        if not len(rows):
            continue
        told = given[rows].copy()
        told[:, k] = people.xy[rows, k]
        again = rounds.repropose(model, images, people.take(rows), told, kept).xy
        for u in people.skeleton.indices([one for one in neighbours(name) if one not in labelled]):
            truth = people.xy[rows, u]
            pairs = ((first[rows, u], truth), (again[:, u], truth), (first[rows, u], again[:, u]))
            parts.append(np.stack([*(np.linalg.norm(a - b, axis=1) / head[rows] for a, b in pairs), rows]))
    before, after, moved, row = np.concatenate(parts, axis=1)
    return Carried(before, after, moved, image_of(people)[row.astype(np.int64)])


def shares(carried: Carried) -> Iterator[tuple[str, BoolArray, BoolArray]]:
    """What is counted, of which neighbours."""
    wrong, right = carried.before > RIGHT, carried.after <= RIGHT
    everyone = np.ones(len(wrong), dtype=bool)
    yield "right before", ~wrong, everyone
    yield "right after", right, everyone
    yield "wrong ones that move by more than a tenth of a head", carried.moved > MOVED, wrong
    yield "wrong ones that come nearer by more than a tenth", carried.before - carried.after > MOVED, wrong
    yield "wrong ones that go farther by more than a tenth", carried.after - carried.before > MOVED, wrong
    yield "wrong ones that become right", right, wrong
    yield "right ones that become wrong", ~right, ~wrong


def table(found: dict[str, Carried]) -> str:
    """Markdown, a column a situation."""
    counts = " | ".join(f"{len(one.before):,}" for one in found.values())
    lines = [f"| labelled before | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    lines.append(f"| neighbours of corrected points | {counts} |")
    for counted in zip(*(list(shares(one)) for one in found.values()), strict=True):
        cells = []
        for one, (_, hit, among) in zip(found.values(), counted, strict=True):
            columns = [(part & among).astype(np.float64)[:, None] for part in (hit, among)]
            low, high = interval(bootstrap_ratios(*columns, one.image, int(one.image.max()) + 1, ROUNDS, seed=0))[:, 0]
            share = columns[0].sum() / columns[1].sum()
            cells.append(f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})")
        lines.append(f"| {counted[0][0]}, % | {' | '.join(cells)} |")
    for when in ("before", "after"):
        cells = [distance(getattr(one, when), one.image) for one in found.values()]
        lines.append(f"| mean distance {when}, heads, 3 at most | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def distance(errors: FloatArray, image: IntArray) -> str:
    """Mean of errors (M,) in head sizes, a far one counted as 3, with its interval."""
    far = np.minimum(errors, 3)[:, None]
    low, high = interval(bootstrap_ratios(far, np.ones_like(far), image, int(image.max()) + 1, ROUNDS, seed=0))[:, 0]
    return f"{far.mean():.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--student", default="default")
    parser.add_argument("--split", default="test", choices=["choose", "test"])
    given = parser.parse_args()
    read = formats.read(given.data / "mpii" / f"mpii_{given.split}.json", given.data / "mpii" / "images", "mpii")
    people = read.people.take(read.people.labelled.all(axis=1)).project(UNION_21)
    model = registry.resolve(given.student, UNION_21)
    kept = Cache(None)
    found = {name: correct(model, read.images, people, names, kept) for name, names in SITUATIONS.items()}
    print(f"### mpii/{given.split}: {len(people)} people, {model.name}\n\n{table(found)}")
    print(weights((net.card.name, net.digest) for net in model.networks))


if __name__ == "__main__":
    main()
