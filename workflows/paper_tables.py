"""The paper's Tables 1 to 5 on the datasets that are here, each beside the paper's own numbers.

    python -m workflows.paper_tables --runs work_dirs/ablations --out work_dirs/tables --coco DATA/coco --mpii DATA/mpii

With --halpe DATA/samples/halpe Table 5 too. The same options take the official datasets (LAYOUTS of `measuring.py`).
Ours are the students of `workflows.ablations` at their smaller budget or, with --base paper_t paper_s, the paper's own
as `workflows/README.md` trains them; and the ones of --students beside them. All figures in percent; intervals are 95
%, by image. A student that was not trained says "not run".
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from workflows import paper
from workflows.measuring import (
    SHARED,
    Bench,
    Resampled,
    Student,
    arguments,
    bench,
    hashes,
    mean,
    named,
    of_grid,
    printed,
)  # fmt: skip

TITLES = {
    "pckh_0.5": "PCKh@.5", "pckh_0.1": "PCKh@.1", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "apm": "APm",
    "apl": "APl", "ar": "AR", "ar50": "AR50", "ar75": "AR75", "kpts": "kpts", "avg": "avg",
}  # fmt: skip
NOT_RUN = "not run"
SEEDS = (0, 1, 2)
BOTH = ("coco", "mpii")


class Trained(NamedTuple):
    """Students that differ in this alone: MPII's people, COCO's, both without teachers, both with teachers."""

    mpii: str
    coco: str
    no: str
    yes: str


# By the recipe that all four start from: those of `workflows.ablations`, and the paper's own.
BASES = {
    "evening": Trained("mpii_only", "coco_only", "labels_only", "unified"),
    "paper_t": Trained("paper_t_mpii", "paper_t_coco", "paper_t_labels", "paper_t"),
    "paper_s": Trained("paper_s_mpii", "paper_s_coco", "paper_s_labels", "paper_s"),
}
# Row of Table 1: which of them, what it says it was trained on, keypoints it knows, datasets where 12 count alone.
SINGLE: tuple[tuple[str, str, int, Sequence[str]], ...] = (
    ("mpii", "MPII", 16, ()),
    ("mpii", "MPII*", 16, ("coco",)),
    ("coco", "COCO", 17, ()),
    ("coco", "COCO*", 17, ("mpii",)),
    ("no", "unified, no teachers", 21, ()),
    ("no", "unified*, no teachers", 21, BOTH),
    ("yes", "unified", 21, ()),
    ("yes", "unified*", 21, BOTH),
)

# What sharing does: a figure, on whose people, of which keypoints, and whose own student it begins with.
PEOPLE_OF: tuple[tuple[str, str, Sequence[str], str], ...] = (
    ("ap", "coco", (), "coco"), ("pckh_0.5", "mpii", (), "mpii"),
    ("ap", "coco", SHARED, "mpii"), ("pckh_0.5", "mpii", SHARED, "coco"),
)  # fmt: skip


def percent(value: float) -> str:
    """A figure as tables show it.

    >>> percent(0.62034), percent(float("nan"))
    ('62.0', '-')
    """
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def cell(figure: Resampled) -> str:
    """A figure with its interval."""
    low, high = figure.interval()
    return percent(figure.value) if np.isnan(low) else f"{percent(figure.value)} ({percent(low)} to {percent(high)})"


def signed(value: float) -> str:
    """A difference in points.

    >>> signed(0.0134), signed(-0.2)
    ('+1.3', '-20.0')
    """
    return "-" if np.isnan(value) else f"{100 * value:+.1f}"


def gained(difference: Resampled) -> str:
    """A difference in points with its interval."""
    return f"{signed(difference.value)} ({spanned(difference.interval())})"


def spanned(bounds: tuple[float, float]) -> str:
    """An interval of a difference.

    >>> spanned((-0.012, 0.02)), spanned((float("nan"), float("nan")))
    ('-1.2 to +2.0', '-')
    """
    return "-" if np.isnan(bounds).any() else " to ".join(map(signed, bounds))


def head(*titles: str) -> list[str]:
    """First two lines of a Markdown table."""
    return [f"| {' | '.join(titles)} |", "|---|" + "---|" * (len(titles) - 1)]


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def both(here: Bench, student: Student, shared: Sequence[str] = ()) -> dict[str, Resampled]:
    """Figures on MPII and COCO together, `avg` of PCKh@.5 and AP where both are there; empty if neither is.

    Args:
        here: the datasets.
        student: who is measured.
        shared: on which of the two only the shared keypoints count.
    """
    found: dict[str, Resampled] = {}
    for kind in BOTH:
        found |= here.figures(student, kind, SHARED if kind in shared else ()) or {}
    if {"ap", "pckh_0.5"} <= set(found):
        found["avg"] = mean([found["ap"], found["pckh_0.5"]])
    return found


def table_1(here: Bench, rows: Sequence[tuple[Student, str, int, Sequence[str]]]) -> Iterator[str]:
    """Single-dataset students and the unified one on both test sets."""
    yield from ("### Table 1: students of one dataset and of both", "")
    yield from head("student", "trained on", *(TITLES[name] for name in paper.TABLE_1_COLUMNS))
    for (name, trained), values in paper.TABLE_1.items():
        yield row(f"paper's {name}", trained, *(f"{value:g}" for value in values))
    for student, trained, known, shared in rows:
        found = both(here, student, shared)
        cells = [cell(found[name]) if name in found else "-" for name in paper.TABLE_1_COLUMNS]
        cells[paper.TABLE_1_COLUMNS.index("kpts")] = str(known)
        yield row(student.name, trained, *(cells if student.here else [NOT_RUN]))
    yield from (
        "",
        "`*`: on the dataset that was not trained on (`unified*`: on both) only the 12 shared keypoints count.",
    )
    yield from ("Without it, keypoints that a student was never taught count as they come.", "")


def shared_out(here: Bench, runs: Path, trained: Trained) -> Iterator[str]:
    """What the other datasets' people do for a student, and what teachers do then, paired by image, of seed 0."""
    students = {name: of_grid(runs, f"{folder}-0") for name, folder in trained._asdict().items()}
    if not all(student.here for student in students.values()):
        return
    yield from head(
        "figure", "the student of", "alone", "of both, no teachers", "its gain", "with teachers", "its gain"
    )
    for name, kind, shared, own in PEOPLE_OF:
        found = {who: here.figures(student, kind, shared) for who, student in students.items()}
        one, no, yes = (of[name] if (of := found[who]) else None for who in (own, "no", "yes"))
        if one and no and yes:
            cells = (cell(one), cell(no), gained(no.minus(one)), cell(yes), gained(yes.minus(no)))
            yield row(f"{kind.upper()}{'*' * bool(shared)} {TITLES[name]}", own.upper(), *cells)
    yield from ("", "The first gain is over the student alone, the second over the one before it.", "")


@dataclass(frozen=True)
class Difference:
    """One figure without and with distillation over seeds (S,), and the mean of their differences, paired by seed."""

    no: list[float]
    yes: list[float]
    by_image: Resampled

    def by_seed(self) -> tuple[float, float]:
        """95 % of the difference over trainings: Student's t of the paired differences; NaN with fewer than two."""
        each = np.subtract(self.yes, self.no)
        if len(each) < 2:
            return np.nan, np.nan
        reach = stats.t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
        return float(each.mean() - reach), float(each.mean() + reach)

    def verdict(self) -> str:
        """Beyond noise only where neither other pictures nor other seeds could turn it."""
        bounds = (*self.by_image.interval(), *self.by_seed())
        if np.isnan(bounds).any():
            return "one seed" if len(self.no) == 1 else "-"
        clear = all(bound > 0 for bound in bounds) or all(bound < 0 for bound in bounds)
        return "beyond noise" if clear else "within noise"


def difference(no: Sequence[Resampled], yes: Sequence[Resampled]) -> Difference:
    """Of the same figure of as many students without and with, in the order of their seeds."""
    apart = mean([b.minus(a) for a, b in zip(no, yes, strict=True)])
    return Difference([one.value for one in no], [one.value for one in yes], apart)


def over_seeds(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds.

    >>> over_seeds([0.60, 0.62, 0.61]), over_seeds([0.6])
    ('61.0 ± 1.0', '60.0')
    """
    spread = f" ± {percent(float(np.std(values, ddof=1)))}" if len(values) > 1 else ""
    return percent(float(np.mean(values))) + spread


def ablation(title: str, published: paper.NoYes, pairs: Sequence[tuple[dict[str, Resampled], ...]]) -> Iterator[str]:
    """Distillation no and yes, figure by figure.

    Args:
        title: of the table.
        published: the paper's numbers, which also say which figures there are.
        pairs: figures without and with distillation of each seed that was run.
    """
    columns = ("no", "yes", "difference (by image)", "by seed", f"n = {len(pairs)} seeds")
    yield from (f"### {title}", "", *head("figure", "paper's t", "paper's s", *columns))
    for name, theirs in published.items():
        papers = [f"{no:.2f} / {yes:.2f} ({yes - no:+.2f})" for no, yes in theirs.values()]
        known = [pair for pair in pairs if all(name in one for one in pair)]
        cells = ["-" if pairs else NOT_RUN]
        if known:
            one = difference([no[name] for no, _ in known], [yes[name] for _, yes in known])
            apart = (gained(one.by_image), spanned(one.by_seed()))
            cells = [over_seeds(one.no), over_seeds(one.yes), *apart, one.verdict() + beside_paper(one, theirs)]
        yield row(TITLES.get(name, name), *papers, *cells)
    yield ""


def beside_paper(one: Difference, theirs: dict[str, tuple[float, float]]) -> str:
    """Whether a difference beyond noise has the sign of both of the paper's students, or of neither."""
    ours, signs = np.sign(one.by_image.value), {np.sign(yes - no) for no, yes in theirs.values()}
    if one.verdict() != "beyond noise" or {ours} < signs:
        return ""
    return ", as the paper's" if ours in signs else ", against the paper's"


def pairs_of(here: Bench, runs: Path, trained: Trained) -> list[tuple[dict[str, Resampled], ...]]:
    """Figures without and with distillation, of each seed of which both were trained."""
    pairs = [tuple(of_grid(runs, f"{name}-{seed}") for name in (trained.no, trained.yes)) for seed in SEEDS]
    return [tuple(both(here, one) for one in pair) for pair in pairs if all(one.here for one in pair)]


def table_5(here: Bench, students: Sequence[Student]) -> Iterator[str]:
    """Halpe's protocol: 20 of its 26 points and the thorax midway between the shoulders, given boxes."""
    yield from ("### Table 5: Halpe's labels, 21 keypoints", "")
    yield from head("student", *(TITLES[name] for name in paper.TABLE_5_COLUMNS))
    for name, values in paper.TABLE_5.items():
        yield row(f"paper's {name}", *(f"{value:.2f}" for value in values))
    for student in students:
        found = here.figures(student, "halpe") or {}
        cells = [cell(found[name]) if name in found else "-" for name in paper.TABLE_5_COLUMNS]
        yield row(student.name, *(cells if student.here else [NOT_RUN]))
    yield from ("", "Halpe's clicked head and neck stand in for head top and upper neck.", "")


def report(given: argparse.Namespace) -> Iterator[str]:
    """All tables, line by line."""
    here = bench(given)
    others = [named(text) for text in given.students]
    bases = {base: BASES[base] for base in given.base}
    yield from (f"{here.about()} Labels hidden, boxes given; PCKh's head size is .75 of upper neck to head top.", "")
    rows = [
        (of_grid(given.runs, f"{getattr(trained, which)}-0"), on, known, shared)
        for trained in bases.values()
        for which, on, known, shared in SINGLE
    ]
    yield from table_1(here, [*rows, *((other, "unified", 21, ()) for other in others)])
    for trained in bases.values():
        yield from shared_out(here, given.runs, trained)
    for base, trained in bases.items():
        pairs, of = pairs_of(here, given.runs, trained), f", {base}" if len(bases) > 1 else ""
        yield from ablation(f"Table 2: distillation no / yes{of}", paper.TABLE_2, pairs)
        yield from ablation(f"Table 3: COCO, distillation no / yes{of}", paper.TABLE_3, pairs)
        yield from ablation(f"Table 4: MPII by part, distillation no / yes{of}", paper.TABLE_4, pairs)
    yield from ("Beyond noise: the intervals by image and by seed (Student's t) both keep clear of 0.", "")
    yield from table_5(here, [*(of_grid(given.runs, f"{trained.yes}-0") for trained in bases.values()), *others])
    shown = [of_grid(given.runs, f"{one}-{seed}") for trained in bases.values() for one in trained for seed in SEEDS]
    yield from hashes([*shown, *others])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.add_argument("--base", nargs="+", choices=BASES, default=["evening"], help="recipes that ours start from")
    return printed(report(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
