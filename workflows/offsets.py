"""How far one dataset's keypoints lie from another's, as networks see them, and a network's own constant biases.

    python -m workflows.offsets --data DATA --out work_dirs/offsets [--only TABLE ...] [--set SET] [--student default]

Shared names need not mean the same place. Networks look at people of two datasets, everything hidden (`looks.py`):
differences in torso lengths, up the body (hips to shoulders) and to the person's left; medians, 95 % intervals by
image, in bold where these keep clear of 0. An offset is agreed on where all networks find it so, on the same side.
`bias` is each network against its own dataset's labels in pixels of its crop, the unit of its card's constants;
`applied` is what moving hips by the offset buys on `choose`; `taught`, where a training set SET (of
`workflows.training_set`) is named, is where it teaches the hips to be, and where the student puts them on `choose`.
Necks and head tops: `workflows.lsp_head`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from annotator.errors import InputError, command_line, expected
from annotator.skeletons import UNION_21, FloatArray
from annotator.students import crop
from annotator.students.ensemble import fuse
from annotator.students.onnx import OnnxModel
from workflows.looks import TORSO, Looking, agreed, between, cell, frame, median, moved
from workflows.results import weights
from workflows.teachers import cell as figure
from workflows.teachers import gained
from workflows.words import MEAN, Bench, compare, teachers, words

HIPS = UNION_21.indices(TORSO[1])
TABLES = ("bias", "conventions", "applied", "taught")
# Who is asked about a pair of datasets, and on which people of the second: a network that was trained on `train` is
# biased there towards its labels, and looks at `choose`.
WITNESSES = {"tinypose": "mpii", "tinypose_mpii16": "mpii/choose"}
PAIRS = (("coco", "mpii"), ("lsp", "mpii"), ("lspet", "mpii"))
OWN = {"tinypose": "coco", "tinypose_mpii16": "mpii/choose"}


def conventions(ask: Looking, pair: tuple[str, str]) -> tuple[list[str], FloatArray]:
    """One pair of datasets as Markdown, and the offsets (21, 2) that all networks agree on."""
    found = {name: between(ask.look(name, pair[0]), ask.look(name, on)) for name, on in WITNESSES.items()}
    heads = " | ".join(f"{name}: n | up the body | to the left" for name in found)
    lines = [f"### {pair[0]}'s labels minus {pair[1]}'s, torso lengths", "", f"| keypoint | {heads} | agreed |"]
    lines.append(f"|---|{'---|---|---|' * len(found)}---|")
    by = np.zeros((len(UNION_21), 2))
    for k, name in enumerate(UNION_21.keypoints):
        each = [one[k] for one in found.values()]
        if any(up.n for up, _ in each):
            by[k] = [agreed([one[axis] for one in each]) for axis in range(2)]
            cells = [f"{up.n or ''} | {cell(up)} | {cell(left)}" for up, left in each]
            said = ", ".join(f"{value:.3f} {way}" for value, way in zip(by[k], ("up", "left"), strict=True) if value)
            lines.append(f"| {name} | {' | '.join(cells)} | {said} |")
    return [*lines, ""], by


def bias(ask: Looking, name: str) -> list[str]:
    """A network's word minus its own dataset's labels, pixels of its crop, right and down."""
    one, net = ask.look(name, OWN[name]), ask.network(name)
    box = one.part.people.bbox_xywh
    zoom = crop.affines(box, net.card.input.size_hw, net.card.crop.factor)[:, 0, 0]
    away = (one.said - one.labels) * zoom[:, None, None]
    lines = [f"### {name} on {OWN[name]}: word minus label, crop pixels", "", "| keypoint | n | right | down |"]
    lines.append("|---|---|---|---|")
    for k, keypoint in enumerate(UNION_21.keypoints):
        across, down = (median(away[:, k, axis], one.image) for axis in range(2))
        if down.n:
            lines.append(f"| {keypoint} | {down.n:,} | {cell(across, '.2f')} | {cell(down, '.2f')} |")
    return [*lines, ""]


def applied(ask: Looking, by: FloatArray) -> list[str]:
    """Hips on `choose`, as the other dataset's network says them and as both fused, moved to the people's convention.

    Args:
        ask: whom to ask.
        by: (21, 2) COCO's labels minus MPII's.
    """
    only_hips = np.zeros_like(by)
    only_hips[HIPS] = by[HIPS]
    lines = [
        "### Hips moved to the people's own convention",
        "",
        "| on | who | as it is | bought |",
        "|---|---|---|---|",
    ]
    known, coco, mpii = teachers(), "tinypose", "tinypose_mpii16"
    for name, other, own, by in (("mpii", coco, mpii, -only_hips), ("coco", mpii, coco, only_hips)):
        part = ask.parts[f"{name}/choose"]
        said = {n: words(OnnxModel(known[n].card, known[n].weights), part, ask.cache) for n in (other, own)}
        turned = said[other].copy()
        turned[..., :2] = moved(said[other][..., :2], by)
        trust, scale = np.ones((2, MEAN)), part.people.scale_px()
        both = [fuse(np.stack([one, said[own]]), trust, scale)[0] for one in (said[other], turned)]
        for metric in ("similarity",) if name == "coco" else ("pckh_0.5", "pckh_0.1"):
            bench = Bench(part, metric)
            lines.append(hips_row(bench, other, said[other], turned))
            lines.append(hips_row(bench, f"{other} and {own}", *both))
    return [*lines, ""]


def hips_row(bench: Bench, who: str, old: FloatArray, new: FloatArray) -> str:
    """A row of Markdown: both hips, as they are and moved."""
    hips = []
    for said in (old, new):
        hips.append(np.full_like(said[..., :2], np.nan))
        hips[-1][:, HIPS] = said[:, HIPS, :2]
    found = compare(bench, *hips)
    cells = figure(bench.metric, *found.figure(0)), gained(bench.metric, *found.gain(1, 0))
    return f"| {bench.part.name}, {bench.metric} | {who} | {' | '.join(cells)} |"


def taught(folder: Path) -> list[str]:
    """Where a training set's teachers put the hips, up the body from the label."""
    from models import dataset  # needs torch

    info = dataset.read_info(folder)
    arrays = dataset.read_arrays(folder, info)
    names = [one["name"] for one in info["teachers"]]
    lines = ["### Hips of a training set, torso lengths above the label", "", f"| people | n | {' | '.join(names)} |"]
    lines.append(f"|---|---|{'---|' * len(names)}")
    for d, part in enumerate(info["datasets"]):
        rows = np.flatnonzero(arrays["dataset"] == d)
        labels = arrays["xy"][rows].astype(np.float64)
        axes, length = frame(labels)
        away = arrays["teacher_xy"][rows, :, :, 0][:, :, HIPS] - labels[:, None, HIPS]
        up = np.einsum("nx,ntkx->ntk", axes[:, 0], away).mean(axis=2) / length[:, None]
        found = [median(up[:, j], np.arange(len(rows))) for j in range(len(names))]
        lines.append(f"| {part} | {int(np.isfinite(length).sum()):,} | {' | '.join(map(cell, found))} |")
    return [*lines, ""]


def learnt(ask: Looking, student: str) -> list[str]:
    """Where a student puts the hips of `choose`, up the body from the label."""
    net = ask.network(student)
    lines = [
        f"### Hips as {net.card.name} places them",
        "",
        "| on | n | torso lengths above the label |",
        "|---|---|---|",
    ]
    for part in ("coco/choose", "mpii/choose"):
        one = ask.look(student, part, sure=0)
        found = median(one.offsets()[:, HIPS, 0].mean(axis=1), one.image)
        lines.append(f"| {part} | {found.n} | {cell(found)} |")
    return [*lines, "", weights([(net.card.name, net.digest)]), ""]


def report(given: argparse.Namespace) -> Iterator[list[str]]:
    """The tables that are asked for, each as soon as it is there.

    Raises:
        InputError: `taught` without a training set.
    """
    only = given.only or (TABLES if given.set else TABLES[:-1])
    if "taught" in only and given.set is None:
        raise InputError(expected("a training set for `taught`", "none", "--set"))
    ask = Looking.at(given.data, given.out)
    if "bias" in only:
        yield from (bias(ask, name) for name in OWN)
    if {"conventions", "applied"} & set(only):
        found = {pair: conventions(ask, pair) for pair in (PAIRS if "conventions" in only else PAIRS[:1])}
        if "conventions" in only:
            yield from (lines for lines, _ in found.values())
        if "applied" in only:
            yield applied(ask, found[PAIRS[0]][1])
    if "taught" in only:
        yield taught(given.set)
        yield learnt(ask, given.student)


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=TABLES, metavar="TABLE")
    parser.add_argument("--set", type=Path, help="training set, for `taught`")
    parser.add_argument("--student", default="default")
    for lines in report(parser.parse_args()):
        print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
