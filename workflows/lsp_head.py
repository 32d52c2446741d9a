"""LSP's clicked neck and crown beside MPII's constructed upper_neck and head_top: how far apart, and what for.

    python -m workflows.lsp_head --data DATA --out work_dirs/offsets [--only TABLE ...] [--students default teachers]

`tilt`: LSP's labels minus MPII's as two networks see them (`looks.py`), along the network's own head line (upper_neck
to head_top, whose length is 1) and to the person's left; all people, and thirds by the angle between labelled head line
and torso. PCKh's head size is .75 of that length. `targets`: does LSP's label, moved by OFFSET, tell more than the
teacher's word alone? A network that never saw LSP is the judge. `transfer`: neck and head top of students, single
teachers and the fused `teachers` on LSP's test half, as they are and moved by OFFSET; a student that had no such label
has to place them from other datasets alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from annotator import formats
from annotator.derived import HEAD_SIZE_PER_AXIS
from annotator.errors import command_line
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.metrics.pck import torso_size
from annotator.people import BoolArray
from annotator.skeletons import UNION_21, FloatArray
from annotator.students import registry
from annotator.students.ensemble import fuse
from annotator.training import Part
from workflows import teachers
from workflows.looks import Look, Looking, Median, cell, frame, median
from workflows.measuring import STAND_IN, as_union
from workflows.results import weights
from workflows.words import ROUNDS, words

CLICKED = {ours: theirs for theirs, ours in STAND_IN["lsp"].items()}  # our keypoint -> what LSP clicked
# Who looks: the twin was trained on LSP's first half, its labels moved by an earlier estimate, so it is no witness of
# its own; EfficientPose II saw MPII alone.
WITNESSES = ("efficientpose2", "tinypose_mpii16")
JUDGE, TEACHER = WITNESSES
# LSP's label minus MPII's along the head line, in lengths of it: the judge's word in the table `tilt`, all people.
OFFSET = {"upper_neck": 0.062, "head_top": -0.174}
ENDS = UNION_21.indices(OFFSET)  # the head line goes from the first to the second
EVERY = 5  # every fifth person of LSP's first half is enough
FIRST_HALF = 1000


def head_frame(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors along the head line and to the person's left, (N, 2, 2), and its lengths (N,).

    Args:
        points: (N, 21, 2); left and right are told by the shoulders.
    """
    ends = points[:, ENDS]
    line = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(line, axis=1)
    length = np.where(length > 0, length, np.nan)
    along = line / length[:, None]
    left, right = (points[:, UNION_21.index(f"{side}_shoulder")] for side in ("left", "right"))
    across = np.stack([along[:, 1], -along[:, 0]], axis=1)
    across *= np.sign((across * (left - right)).sum(axis=1))[:, None]
    return np.stack([along, across], axis=1), length


def tilt(labels: FloatArray) -> FloatArray:
    """(N,) angle between head line and torso line in degrees, 0 for an upright head."""
    head, torso = head_frame(labels)[0][:, 0], frame(labels)[0][:, 0]
    return np.asarray(np.degrees(np.arccos(np.clip((head * torso).sum(axis=1), -1, 1))))


def away(one: Look) -> FloatArray:
    """Label minus word of both ends, (N, 2, 2): along the network's head line and to the left, in lengths of it."""
    axes, length = head_frame(one.said)
    return np.asarray(np.einsum("nij,nkj->nki", axes, (one.labels - one.said)[:, ENDS]) / length[:, None, None])


def shifted(points: FloatArray, by: dict[str, float]) -> FloatArray:
    """Points (N, 21, 2) with both ends moved along their own head line, in lengths of it; no line, no move."""
    axes, length = head_frame(points)
    out = points.copy()
    for name, part in by.items():
        out[:, UNION_21.index(name)] += np.nan_to_num(part * length[:, None] * axes[:, 0])
    return out


def thin(part: Part) -> Part:
    """Every fifth person."""
    return Part(part.name, part.images, part.people.take(np.arange(0, len(part.people), EVERY)), part.label_weight)


def apart(pair: Sequence[Look], end: int, chosen: Sequence[BoolArray]) -> list[Median]:
    """Labels of the first look's people minus those of the second's, along the head and across, for those `chosen`."""
    here, there = (np.where(rows[:, None], away(one)[:, end], np.nan) for one, rows in zip(pair, chosen, strict=True))
    return [median(here[:, axis], pair[0].image) - median(there[:, axis], pair[1].image, seed=1) for axis in range(2)]


def by_tilt(ask: Looking) -> list[str]:
    """The table `tilt`."""
    heads = " | ".join(f"{name}: n | along the head | to the left" for name in WITNESSES)
    lines = ["### LSP's labels minus MPII's, head lengths", "", f"| LSP against MPII, tilt | {heads} |"]
    lines.append(f"|---|{'---|---|---|' * len(WITNESSES)}")
    looks = {n: [ask.look(n, part, constants=True) for part in ("lsp/fifth", "mpii/choose")] for n in WITNESSES}
    angles = [tilt(one.labels) for one in looks[JUDGE]]
    low, high = np.nanpercentile(angles[0], [100 / 3, 200 / 3])
    ranges = {"all": (-1, 181), f"below {low:.0f} degrees": (-1, low), "between": (low, high),
              f"above {high:.0f} degrees": (high, 181)}  # fmt: skip
    for end, name in enumerate(OFFSET):
        for title, (least, most) in ranges.items():
            chosen: list[BoolArray] = [(angle >= least) & (angle < most) for angle in angles]
            found = [apart(pair, end, chosen) for pair in looks.values()]
            cells = [f"{along.n} | {cell(along)} | {cell(left)}" for along, left in found]
            lines.append(f"| {CLICKED[name]}, {name}: {title} | {' | '.join(cells)} |")
    return [*lines, ""]


def targets(ask: Looking) -> list[str]:
    """The table `targets`: how far the judge is from the teacher's word, from the moved label, from their mean."""
    judge, teacher = (ask.look(name, "lsp/fifth", constants=True) for name in (JUDGE, TEACHER))
    own = ask.look(JUDGE, "mpii/choose", constants=True)
    bias = np.nanmedian(away(own), axis=0)
    axes, length = head_frame(judge.said)
    wanted = judge.said[:, ENDS] + np.einsum("nij,ki->nkj", axes, bias) * length[:, None, None]
    axes, length = head_frame(teacher.said)
    back = np.array(list(OFFSET.values()))[None, :, None] * axes[:, None, 0]
    label = teacher.labels[:, ENDS] - back * length[:, None, None]
    word = teacher.said[:, ENDS]
    lines = [
        "### From the judge, head sizes",
        "",
        "| keypoint | n | teacher's word | moved label | their mean | the mean's gain |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for end, name in enumerate(OFFSET):
        far = np.stack(
            [np.linalg.norm(one[:, end] - wanted[:, end], axis=1) for one in (word, label, (word + label) / 2)]
        )
        far = np.minimum(far.T / (HEAD_SIZE_PER_AXIS * length[:, None]), 1)  # one head off is as wrong as two
        known = np.isfinite(far).all(axis=1)
        image = np.unique(teacher.image[known], return_inverse=True)[1]
        drawn = bootstrap_ratios(far[known], np.ones_like(far[known]), image, int(image.max()) + 1, ROUNDS, seed=0)
        mean = far[known].mean(axis=0)
        gain = teachers.gained("similarity", float(mean[0] - mean[2]), *interval(drawn[:, 0] - drawn[:, 2]).tolist())
        lines.append(f"| {name} | {known.sum()} | {' | '.join(f'{one:.3f}' for one in mean)} | {gain} |")
    return [*lines, ""]


def seen_by(ask: Looking, student: str, part: str) -> tuple[str, Look, list[tuple[str, str]]]:
    """What is proposed of everybody, by whom, and the networks' names and hashes; several networks are fused."""
    model, here = registry.resolve(student, UNION_21), ask.parts[part]
    packs = np.stack([words(net, here, ask.cache) for net in model.networks])
    trust = np.array([net.card.trust_over(UNION_21) for net in model.networks])
    said = fuse(packs, trust, here.people.scale_px())[0] if len(packs) > 1 else packs[0]
    labels = as_union(here.people, STAND_IN["lsp"]).xy
    return model.name, Look(said[..., :2], labels, here), [(net.card.name, net.digest) for net in model.networks]


def transfer(ask: Looking, students: Sequence[str]) -> list[str]:
    """The table `transfer`: PCK of the torso on LSP's test half."""
    lines = ["### Neck and head top on LSP's test half, PCK of the torso, %", ""]
    lines += ["| keypoint | who | n | @.2 as it is | moved | gain | @.1 as it is | moved | gain |", f"|{'---|' * 9}"]
    looks = [seen_by(ask, student, "lsp/test") for student in students]
    for name in OFFSET:
        lines += [f"| {name} | {who} | {' | '.join(near(one, name))} |" for who, one, _ in looks]
    return [*lines, "", weights(pair for *_, pairs in looks for pair in pairs), ""]


def near(one: Look, name: str) -> Iterator[str]:
    """Cells of a row: n, then at .2 and .1 of the torso the share as it is, moved, and the gain."""
    k, reference = UNION_21.index(name), torso_size(one.labels, UNION_21)
    n = np.isfinite(one.labels[:, k]).all(axis=1) & (np.nan_to_num(reference) > 0)
    yield f"{int(n.sum()):,}"
    for threshold in (0.2, 0.1):
        errors = [np.linalg.norm(xy[:, k] - one.labels[:, k], axis=1) for xy in (one.said, shifted(one.said, OFFSET))]
        hits = np.stack([n & (error <= threshold * reference) for error in errors], axis=1).astype(np.float64)
        counted = np.stack([n, n], axis=1).astype(np.float64)
        drawn = bootstrap_ratios(hits, counted, one.image, int(one.image.max()) + 1, ROUNDS, seed=0)
        share, bounds = hits.sum(axis=0) / n.sum(), interval(drawn)
        yield from (teachers.cell("pck_0.2", share[i], *bounds[:, i]) for i in range(2))
        yield teachers.gained("pck_0.2", share[1] - share[0], *interval(drawn[:, 1] - drawn[:, 0]).tolist())


def report(given: argparse.Namespace) -> Iterator[list[str]]:
    """The tables that are asked for, each as soon as it is there."""
    ask = Looking.at(given.data, given.out)
    ask.parts["lsp/fifth"] = thin(ask.parts["lsp"])
    if "tilt" in given.only:
        yield by_tilt(ask)
    if "targets" in given.only:
        yield targets(ask)
    if "transfer" in given.only:
        lsp = given.data / "lsp"
        whole = formats.read(lsp / "joints.mat", lsp / "images", "lsp", source="lsp")
        ask.parts["lsp/test"] = Part("lsp", whole.images, whole.people.take(slice(FIRST_HALF, None)))
        yield transfer(ask, given.students)


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    tables = ("tilt", "targets", "transfer")
    parser.add_argument("--only", nargs="+", choices=tables, default=tables, metavar="TABLE")
    parser.add_argument("--students", nargs="+", default=["default"], help="for `transfer`; teachers too")
    for lines in report(parser.parse_args()):
        print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
