"""The teachers, measured per keypoint on `choose`, and what each correction of them buys.

    python -m workflows.teachers --data DATA --out work_dirs/teachers [--only NAME ...] [--settings NAME ...]

Everything hidden, boxes as given; 147 COCO people with at least 8 keypoints and an area above 64^2 (OKS), 143 MPII
people with all 16 (PCKh@.5 and @.1). First each teacher per keypoint, and who is trusted on it; then each setting of a
card against another one (a changed card in OUT/cards), and the ways to fuse the teachers; then what a floor on the
score leaves. Differences are paired, with 95 % intervals by image; in bold where these keep clear of 0.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from annotator.errors import command_line
from annotator.evaluation import tables
from annotator.skeletons import UNION_21, FloatArray
from annotator.students import card as cards
from annotator.students.ensemble import fuse
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout
from annotator.students.registry import Known
from workflows.highest_cell import HighestCell
from workflows.training_set import check_parts
from workflows.words import MEAN, Bench, Compared, clear, compare, teachers, words

METRICS = ("similarity", "pckh_0.5", "pckh_0.1")
# Other settings of each card that are measured beside its own: crop factors relative to it.
FACTORS, SHIFTS, KERNELS = (0.9, 1.1, 1.2), (0.0, 0.5, 0.75, 1.0), (3, 7, 11)
FLOORS = (0.2, 0.3, 0.4)
Words = dict[str, FloatArray]  # by dataset


def benches(data: Path) -> list[Bench]:
    """`choose`, a bench a figure."""
    coco, mpii = check_parts(data)
    return [Bench(coco, METRICS[0]), Bench(mpii, METRICS[1]), Bench(mpii, METRICS[2])]


class Asking:
    """Asks networks about all people of `choose`.

    Args:
        ground: the benches.
        out: folder of the changed cards and the cache.
    """

    def __init__(self, ground: list[Bench], out: Path) -> None:
        self.parts, self.out = {bench.part.name: bench.part for bench in ground}, out

    def about_all(self, network: OnnxModel) -> Words:
        """A network's packed words by dataset."""
        return {name: words(network, part, self.out / "readouts.sqlite") for name, part in self.parts.items()}

    def changed(self, entry: Known, **changes: Any) -> Words:
        """Words of a teacher whose card is changed, `crop={"factor": 1.4}`; the changed card stays in OUT/cards."""
        values = merged(tomllib.loads(entry.card_path.read_text()), changes)
        said = "-".join(f"{k}_{v}" for k, v in flat(changes))
        path = self.out / "cards" / f"{entry.card.name}-{said}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(values))
        return self.about_all(OnnxModel(cards.load(path), entry.weights))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A card's values with some changed; fields of its parts singly, a table that is given empty as a whole.

    >>> merged({"crop": {"factor": 1.2}, "bias": {"hip": 1}}, {"crop": {"factor": 1.5}, "bias": {}})
    {'crop': {'factor': 1.5}, 'bias': {}}
    """
    parts = {k: values.get(k, {}) | v if isinstance(v, dict) and v else v for k, v in changes.items()}
    return values | parts


def flat(changes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Changed fields by name, those of parts singly.

    >>> list(flat({"flip_test": False, "crop": {"factor": 1.4}}))
    [('flip_test', False), ('factor', 1.4)]
    """
    for name, value in changes.items():
        if isinstance(value, dict) and value:
            yield from flat(value)
        else:
            yield name, value or "none" if isinstance(value, dict) else value


def fused(said: Sequence[Words], ground: list[Bench], trust: Sequence[FloatArray]) -> Words:
    """Several words brought together as `--student teachers` does."""
    weights = np.stack(trust)
    scale = {bench.part.name: bench.part.people.scale_px() for bench in ground}
    return {name: fuse(np.stack([one[name] for one in said]), weights, scale[name])[0] for name in scale}


def wide(entry: Known, times: float) -> float:
    """A crop factor relative to the card's."""
    return round(entry.card.crop.factor * times, 3)


def per_keypoint(bench: Bench, said: dict[str, Words]) -> str:
    """Markdown: a row a keypoint, a column a teacher, and who is trusted."""
    names = list(said)
    found = compare(bench, *(one[bench.part.name] for one in said.values()))
    title = f"### {bench.part.name}/choose, {tables.TITLES[bench.metric]}"
    lines = [title, "", f"| keypoint | n | {' | '.join(names)} | trusted |", f"|---|---|{'---|' * len(names)}---|"]
    for k, keypoint in enumerate((*UNION_21.keypoints, "mean over those that all know")):
        those = [i for i in range(len(names)) if found.n[i, k]]
        if those:
            cells = [cell(bench.metric, *found.figure(i, k)) if i in those else "" for i in range(len(names))]
            best = " ".join(names[i] for i in trusted(found, those, k))
            lines.append(f"| {keypoint} | {found.n[those[0], k]} | {' | '.join(cells)} | {best} |")
    return "\n".join([*lines, ""])


def trusted(found: Compared, those: list[int], k: int) -> list[int]:
    """Of some teachers the best on a keypoint, and all that are not clearly worse; the best first."""
    ranked = sorted(those, key=lambda i: -found.value[i, k])
    return ranked[:1] + [i for i in ranked[1:] if not found.gain(ranked[0], i, k)[1] > 0]


def cell(metric: str, value: float, low: float, high: float) -> str:
    """A figure with its interval.

    >>> cell("pckh_0.5", 0.9, 0.85, 0.95)
    '90.0 (85.0 to 95.0)'
    """
    shown = [tables.cell(metric, one) for one in (value, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def gained(metric: str, value: float, low: float, high: float) -> str:
    """A difference with its interval, in bold where that keeps clear of 0.

    >>> gained("similarity", 0.0123, 0.004, 0.02), gained("pckh_0.1", -0.01, -0.03, 0.01)
    ('**+0.012** (+0.004 to +0.020)', '-1.0 (-3.0 to +1.0)')
    """
    shown = [("" if one < 0 else "+") + tables.cell(metric, one) for one in (value, low, high)]
    first = f"**{shown[0]}**" if clear(low, high) else shown[0]
    return f"{first} ({shown[1]} to {shown[2]})"


def bought(ground: list[Bench], title: str, new: Words, old: Words) -> str:
    """A table's row: what `new` has beyond `old` on every bench."""
    cells = []
    for bench in ground:
        found = compare(bench, new[bench.part.name], old[bench.part.name])
        cells.append(f"{tables.cell(bench.metric, float(found.value[1, MEAN]))} | "
                     f"{gained(bench.metric, *found.gain(0, 1))}")  # fmt: skip
    return f"| {title} | {' | '.join(cells)} |"


def header(ground: list[Bench], first: str) -> list[str]:
    """Two columns a bench: the figure without, and what was bought."""
    names = [f"{tables.TITLES[bench.metric]} without | bought" for bench in ground]
    return [f"| {first} | {' | '.join(names)} |", f"|---|{'---|---|' * len(ground)}"]


def settings(ask: Asking, ground: list[Bench], entry: Known, own: Words) -> Iterator[str]:
    """Rows: what each setting of a card buys, and what another value of it would."""
    card, name = entry.card, entry.card.name
    mirrored = ask.changed(entry, flip_test=not card.flip_test)
    plain, both = (mirrored, own) if card.flip_test else (own, mirrored)
    yield bought(ground, f"{name}: mirror image", both, plain)
    out = card.output
    assert isinstance(out, cards.Heatmap)
    for shift in SHIFTS if card.flip_test else ():
        other = ask.changed(entry, output={"flip_shift": shift}) if shift != out.flip_shift else own
        if shift == 0:
            yield bought(ground, f"{name}: mirror image moved by {out.flip_shift:g} cells, not 0", own, other)
        elif shift != out.flip_shift:
            yield bought(ground, f"{name}: moved by {shift:g} instead", other, own)
    coarse = ask.about_all(HighestCell(card, entry.weights))
    yield bought(ground, f"{name}: DARK, blur of {out.dark_kernel} cells", own, coarse)
    for kernel in KERNELS:
        if kernel != out.dark_kernel:
            other = ask.changed(entry, output={"dark_kernel": kernel})
            yield bought(ground, f"{name}: DARK, blur of {kernel} cells instead", other, own)
    for times in FACTORS:
        factor = wide(entry, times)
        other = ask.changed(entry, crop={"factor": factor})
        yield bought(ground, f"{name}: crop of {factor:g} boxes instead of {card.crop.factor:g}", other, own)
        two = fused([own, other], ground, [np.ones(len(UNION_21))] * 2)
        yield bought(ground, f"{name}: {card.crop.factor:g} and {factor:g} together", two, own)


def trusts(known: dict[str, Known]) -> list[FloatArray]:
    """(21,) trust of each teacher's card."""
    return [np.array(entry.card.trust_over(UNION_21)) for entry in known.values()]


def fusions(ground: list[Bench], known: dict[str, Known], said: dict[str, Words]) -> Iterator[str]:
    """Rows: what fusing buys, and each of its parts."""
    all_said, trust = list(said.values()), trusts(known)
    ones = [np.ones(len(UNION_21))] * len(said)
    every = fused(all_said, ground, trust)
    for name, alone in said.items():
        yield bought(ground, f"all fused, beside {name} alone", every, alone)
    for left_out in said if len(said) > 1 else ():
        rest = {name: one for name, one in said.items() if name != left_out}
        fewer = fused([*rest.values()], ground, trusts({name: known[name] for name in rest}))
        yield bought(ground, f"{left_out} among them", every, fewer)
    yield bought(ground, "trust of the cards, not equal", every, fused(all_said, ground, ones))
    sure = [{name: scored(pack) for name, pack in one.items()} for one in all_said]
    yield bought(ground, "weighed by score", every, fused(sure, ground, trust))
    for floor in FLOORS:
        gated = {name: above(np.stack([one[name] for one in all_said]), floor) for name in every}
        kept = [{name: packs[i] for name, packs in gated.items()} for i in range(len(said))]
        yield bought(ground, f"words below {floor:g} silent where another is above", fused(kept, ground, trust), every)
    yield choosing(ground, all_said, every)


def biases(ask: Asking, ground: list[Bench], known: dict[str, Known], said: dict[str, Words]) -> Iterator[str]:
    """Rows: what taking away each teacher's constant biases buys, for itself and among the fused."""
    trust = trusts(known)
    every = fused(list(said.values()), ground, trust)
    for name, entry in known.items():
        if entry.card.keypoint_offset_px:
            raw = ask.changed(entry, keypoint_offset_px={})
            yield bought(ground, f"{name}'s, alone", said[name], raw)
            yield bought(ground, f"{name}'s, all fused", every, fused([*(said | {name: raw}).values()], ground, trust))


def choosing(ground: list[Bench], said: list[Words], every: Words) -> str:
    """The row of the better teacher alone on each keypoint, chosen on one half of the images for the other half."""
    cells = []
    for bench in ground:
        packs = np.stack([one[bench.part.name] for one in said])
        picked = np.full_like(packs[0], np.nan)
        for here, there in (bench.halves(), bench.halves()[::-1]):
            value = compare(bench.take(there), *packs[:, there]).value[:, :MEAN]
            best = np.where(np.isnan(value), -1, value).argmax(axis=0)
            picked[here] = np.take_along_axis(packs[:, here], best[None, None, :, None], axis=0)[0]
        name = bench.part.name
        cells.append(bought([bench], "", {name: picked}, {name: every[name]}).strip("| "))
    return f"| each keypoint's better teacher alone, not fused | {' | '.join(cells)} |"


def scored(pack: FloatArray) -> FloatArray:
    """The same words, all of them sure."""
    out = pack.copy()
    out[..., 2] = np.where(np.isfinite(pack[..., 2]), 1, np.nan)
    return out


def above(packs: FloatArray, floor: float) -> FloatArray:
    """Words (C, N, 21, 10) without those that are less sure than `floor` where another one is not."""
    score = np.nan_to_num(packs[..., 2])
    silent = (score < floor) & (score >= floor).any(axis=0)
    return np.where(silent[..., None], np.nan, packs)


def floors(bench: Bench, said: dict[str, Words]) -> Iterator[str]:
    """Rows: of a teacher's words on labelled keypoints the share below a score, and how good these and the rest are."""
    known = np.ones(MEAN, dtype=bool)
    for name, one in said.items():
        word = Readout.unpack(one[bench.part.name])
        up, down = (x[:, :MEAN] for x in bench.counts(word.xy, known))
        for floor in FLOORS:
            below = (down > 0) & (word.score < floor)
            over = (down > 0) & ~below
            shares = [
                f"{up[part].sum() / max(down[part].sum(), 1):.3f}" if part.any() else "-" for part in (below, over)
            ]
            yield f"| {name} | {floor:g} | {100 * below.sum() / down.sum():.1f} % | {' | '.join(shares)} |"


def report(data: Path, out: Path, only: list[str], tried: list[str]) -> Iterator[str]:
    """All tables, each as soon as it is there."""
    ground = benches(data)
    ask = Asking(ground, out)
    known = {name: entry for name, entry in teachers().items() if not only or name in only}
    said = {name: ask.about_all(OnnxModel(entry.card, entry.weights)) for name, entry in known.items()}
    for bench in ground:
        yield per_keypoint(bench, said)
    yield "\n".join(["### Fused", "", *header(ground, "what"), *fusions(ground, known, said), ""])
    rows = biases(ask, ground, known, said)
    yield "\n".join(["### Constant biases taken away", "", *header(ground, "whose"), *rows, ""])
    for bench in ground[:2]:
        lines = ["| teacher | score below | share | below it | the rest |", "|---|---|---|---|---|"]
        yield "\n".join([f"### Scores, {bench.part.name}, {bench.metric}", "", *lines, *floors(bench, said), ""])
    yield "\n".join(["### Settings of the cards", "", *header(ground, "setting")])
    measured = {name: entry for name, entry in known.items() if name in tried or not tried}
    for name, entry in measured.items():
        yield from settings(ask, ground, entry, said[name])
    every = fused([*said.values()], ground, trusts(known))
    for times in FACTORS:
        second = [ask.changed(entry, crop={"factor": wide(entry, times)}) for entry in measured.values()]
        more = fused([*said.values(), *second], ground, trusts(known) + trusts(measured))
        yield bought(ground, f"all fused: with {times:g} times the crop of {', '.join(measured)}", more, every)


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these teachers alone")
    parser.add_argument("--settings", nargs="+", default=[], metavar="NAME", help="whose settings are tried; else all")
    given = parser.parse_args()
    for part in report(given.data, given.out, given.only, given.settings):
        print(part, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
