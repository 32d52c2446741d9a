"""What each part of the method is worth, and what limits a student: the grid of `workflows.ablations`, measured.

    python -m workflows.ablation_tables --runs work_dirs/ablations --out work_dirs/tables --coco DATA/coco \\
        --mpii DATA/mpii --lsp DATA/lsp [--curves RUN ...]

Prints what each teacher alone brings, what the map does, what a student that never saw Leeds Sports Pose knows there,
and learning curves: people x 1/4, x 1/2, x 1 at equal steps, steps (checks on `choose` while training, of the grid's
runs and any RUN), and the students of --students beside each other. All figures in percent but OKS; intervals are 95
%, by image.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models import record
from workflows.measuring import Bench, Resampled, Student, arguments, bench, hashes, named, of_grid, printed
from workflows.paper_tables import NOT_RUN, both, cell, gained, head, row

TEACHERS = {"none": "labels_only-0", "COCO's": "coco_teacher-0", "MPII's": "mpii_teacher-0", "both": "unified-0",
            "both, and they look": "watched-0"}  # fmt: skip
ANSWERS = {"RTMPose's head alone": "head_alone-0", "head and map": "unified-0"}
WITH_AND_WITHOUT_LSP = ("unified-0", "no_lsp-0")
PEOPLE = {"x 1/4": "quarter-0", "x 1/2": "half-0", "x 1": "unified-0"}
# What each test set is measured by here, and how the tables call it.
FIGURES = {
    "pckh_0.5": "MPII PCKh@.5", "ap": "COCO AP", "avg": "avg", "upper_neck": "MPII neck", "head_top": "MPII head top",
}  # fmt: skip
WHOLE = {"pckh_0.5": "MPII PCKh@.5", "ap": "COCO AP", "avg": "avg", "limbs": "LSP limbs PCK@.2"}
ON_LSP = {"pck_0.2": "limbs", "upper_neck": "neck", "head_top": "head top"}
NOTE_ON_LSP = "LSP's clicked neck and crown stand in for upper neck and head top; no student saw these labels."
CHECKS = ("check/coco/oks", "check/mpii/oks", "check/mpii/pckh")


def cells(
    student: Student, found: dict[str, Resampled], names: dict[str, str], over: dict[str, Resampled] | None = None
) -> list[str]:
    """A student's figures, with what they gain over another's where that is asked; or that it was not trained."""
    if not student.here:
        return [NOT_RUN]
    gains = {
        name: f"; {gained(found[name].minus(over[name]))}"
        for name in names
        if over and {name} <= set(found) & set(over)
    }
    return [cell(found[name]) + gains.get(name, "") if name in found else "-" for name in names]


def gains(here: Bench, runs: Path, what: str, folders: dict[str, str]) -> Iterator[str]:
    """Students that differ in one thing, and what each brings over the first."""
    yield from (f"### {what.capitalize()}, seed 0", "", *head(what, *FIGURES.values()))
    first: dict[str, Resampled] | None = None
    for title, folder in folders.items():
        student = of_grid(runs, folder)
        found = both(here, student)
        yield row(title, *cells(student, found, FIGURES, first))
        first = found if first is None else first
    yield from ("", "After the semicolon: the gain over the first row, paired by image.", "")


def left_out(here: Bench, runs: Path, others: Sequence[Student]) -> Iterator[str]:
    """PCK@.2 on LSP's test half with LSP and LSPET among the training data and without."""
    yield from ("### LSP's test half, PCK@.2 of the torso, %", "", *head("student", *ON_LSP.values()))
    for student in [*(of_grid(runs, folder) for folder in WITH_AND_WITHOUT_LSP), *others]:
        yield row(student.name, *cells(student, here.figures(student, "lsp") or {}, ON_LSP))
    yield from ("", NOTE_ON_LSP, "")


def with_limbs(here: Bench, student: Student) -> dict[str, Resampled]:
    """Figures on MPII and COCO, and LSP's limbs as `limbs`."""
    lsp = here.figures(student, "lsp")
    return both(here, student) | ({"limbs": lsp["pck_0.2"]} if lsp else {})


def people(here: Bench, runs: Path) -> Iterator[str]:
    """The same steps on ever more people."""
    yield from ("### Learning curve: people, at equal steps", "", *head("data", "people", "steps", *WHOLE.values()))
    for title, folder in PEOPLE.items():
        student = of_grid(runs, folder)
        seen = size(runs / folder) if student.here else ()
        yield row(title, *seen, *cells(student, with_limbs(here, student), WHOLE))
    yield ""


def size(run: Path) -> tuple[str, str]:
    """How many people a finished run saw, and how many steps it took."""
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    many, recipe = sum(manifest["people"].values()), manifest["recipe"]
    return f"{many:,}", f"{recipe['epochs'] * (many // recipe['batch']):,}"


def steps(runs: Sequence[Path]) -> Iterator[str]:
    """Checks while training: the moving average of the weights on `choose`, after each epoch that has one."""
    yield from ("### Learning curve: steps, on `choose`", "")
    yield from head("run", "step", "COCO OKS", "MPII OKS", "MPII PCKh@.5, %")
    for run in runs:
        for line in record.rows(run / record.METRICS):
            if set(CHECKS) <= set(line):
                *oks, pckh = (line[name] for name in CHECKS)
                yield row(run.name, f"{line['step']:,}", *(f"{value:.3f}" for value in oks), f"{100 * pckh:.1f}")
    yield from ("", "The average of the weights, one look, no mirror image; pelvis and thorax count here alone.", "")


def sizes(here: Bench, students: Sequence[Student]) -> Iterator[str]:
    """Students beside each other, as t and s."""
    yield from ("### Learning curve: students", "", *head("student", *WHOLE.values()))
    for student in students:
        yield row(student.name, *cells(student, with_limbs(here, student), WHOLE))
    yield ""


def report(given: argparse.Namespace) -> Iterator[str]:
    """All tables, line by line."""
    here = bench(given)
    others = [named(text) for text in given.students]
    yield from (f"{here.about()} Labels hidden, boxes given.", "")
    yield from gains(here, given.runs, "teacher", TEACHERS)
    yield from gains(here, given.runs, "answer", ANSWERS)
    yield from left_out(here, given.runs, others)
    yield from people(here, given.runs)
    yield from sizes(here, others)
    grid = dict.fromkeys([*TEACHERS.values(), *ANSWERS.values(), *WITH_AND_WITHOUT_LSP, *PEOPLE.values()])
    yield from hashes([*(of_grid(given.runs, folder) for folder in grid), *others])
    yield from steps([*(given.runs / folder for folder in PEOPLE.values()), *given.curves])


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.add_argument("--curves", nargs="*", type=Path, default=[], metavar="RUN", help="more runs' checks")
    return printed(report(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
