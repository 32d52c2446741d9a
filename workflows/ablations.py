"""Students that differ in one thing and are trained alike: the grid behind the paper's tables and learning curves.

    python -m workflows.ablations --set SET --check CHECKSET --out work_dirs/ablations [--only NAME ...] [--steps N]

SET and CHECKSET are what `workflows.training_set` writes. Every student is an EfficientNet-Lite0 that knows ImageNet,
at 128 x 96, and takes as many steps of 32 people as two epochs of everybody have, to the nearest whole epoch of the
people it may see. A finished one is not trained again, a killed one goes on. Each is exported to OUT/NAME-SEED/student;
`workflows.paper_tables` and `workflows.ablation_tables` measure them. The last row, whose teachers look, needs their
weights (ANNOTATOR_TEACHERS).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress

from annotator.errors import AnnotatorError, InputError, command_line, expected
from annotator.students.interpreter import run_models
from annotator.training import run
from models import dataset
from models.recipe import load_recipe
from models.train import WEIGHTS, change

# The stated smaller budget: the first stage of `evening`, with a shorter warm-up.
BUDGET: dict[str, Any] = {"size_hw": (128, 96), "split": 4.0, "ema": 0.003, "lr": 1e-3, "warm_up_steps": 60}
EPOCHS_OF_EVERYBODY = 2
# Teachers that look as in `longer`, though at a quarter of each batch: on a processor they cost most of a step.
WATCHED: dict[str, Any] = {"watch": ("tinypose", "tinypose_mpii16"), "watch_share": 0.25, "dense": 0.2}


@dataclass(frozen=True)
class Row:
    """One student of the grid: a recipe of `models/recipes`, what is changed of it beside the budget, and a seed."""

    name: str
    seed: int
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where it lies in the grid's folder; also the student's name."""
        return f"{self.name}-{self.seed}"


def alone(name: str, seed: int = 0) -> Row:
    """A student whose recipe says it all."""
    return Row(name, seed, "evening" if name == "unified" else name)


# In the order in which they are worth having, should time end.
GRID = (
    alone("unified"), alone("labels_only"), alone("coco_only"), alone("mpii_only"), alone("unified", 1),
    alone("labels_only", 1), alone("unified", 2), alone("labels_only", 2), alone("coco_teacher"), alone("mpii_teacher"),
    alone("no_lsp"), Row("head_alone", 0, "evening", {"locate": 0.0}), Row("quarter", 0, "evening", {"subset": 4}),
    Row("half", 0, "evening", {"subset": 2}), Row("watched", 0, "evening", WATCHED),
)  # fmt: skip


def people_of(row: Row, data: Path, changes: dict[str, Any]) -> int:
    """How many people of the training set a student sees."""
    recipe = load_recipe(row.recipe, row.changes | changes)
    info = dataset.read_info(data)
    of = dataset.read_arrays(data, info)["dataset"]
    return len(dataset.chosen(of, info["datasets"], recipe["subset"], recipe["datasets"]))


def epochs_for(steps: int, people: int, batch: int) -> int:
    """The whole epochs, at least one, that come nearest to a number of steps.

    >>> epochs_for(718, people=11503, batch=32), epochs_for(718, people=1509, batch=32)
    (2, 15)

    Raises:
        InputError: fewer people than a batch.
    """
    if people < batch:
        raise InputError(expected(f"at least a batch of {batch} people", people, "ablations"))
    return max(1, round(steps / (people // batch)))


def changes_of(row: Row, data: Path, changes: dict[str, Any], steps: int | None) -> dict[str, Any]:
    """All that is set on top of a student's recipe, its number of epochs included.

    Args:
        row: which student.
        data: the training set.
        changes: made to every student, on top of the budget and the row's own.
        steps: how many to take; None for those of EPOCHS_OF_EVERYBODY epochs of the whole set.
    """
    batch = load_recipe(row.recipe, changes)["batch"]
    if steps is None:
        steps = EPOCHS_OF_EVERYBODY * (sum(dataset.read_info(data)["people"]) // batch)
    epochs = epochs_for(steps, people_of(row, data, changes), batch)
    return BUDGET | {"epochs": epochs} | row.changes | changes | {"seed": row.seed}


def train(row: Row, data: Path, check: Path, out: Path, changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train one student in `out`, as a process of its own; yields its progress lines."""
    pairs = [f"{name}={value!r}" for name, value in changes.items()]
    places = ("--data", str(data.resolve()), "--check", str(check.resolve()), "--out", str(out.resolve()))
    yield from run(["--recipe", row.recipe, *places, "--set", *pairs])


def export(out: Path, name: str) -> Path:
    """Export a trained student for `annotator propose --student`, if that was not done before; returns its card.

    Raises:
        AnnotatorError: the export failed; the message ends with its last line.
    """
    folder = out.resolve() / "student"
    card, weights = folder / f"{name}.toml", out / WEIGHTS
    if card.is_file() and card.stat().st_mtime_ns > weights.stat().st_mtime_ns:
        return card
    done = run_models("export", ["--run", str(out.resolve()), "--out", str(folder), "--name", name])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise AnnotatorError(expected("a student to be exported", last, str(out)))
    return card


def chosen_rows(only: list[str]) -> list[Row]:
    """Rows by name (all its seeds) or by name and seed; all of them where nothing is named.

    Raises:
        InputError: no such row.
    """
    known = {row.name for row in GRID} | {row.folder for row in GRID}
    if unknown := sorted(set(only) - known):
        raise InputError(expected(f"among {', '.join(sorted(known))}", ", ".join(unknown), "--only"))
    return [row for row in GRID if not only or {row.name, row.folder} & set(only)]


def grid(given: argparse.Namespace) -> None:
    """Train and export what is asked for, one student after the other."""
    changes = dict(change(pair) for pair in given.change)
    rows = chosen_rows(given.only)
    with Progress() as bar:
        whole = bar.add_task("grid", total=len(rows))
        for row in rows:
            out = given.out / row.folder
            task = bar.add_task(row.folder, total=None)
            for line in train(row, given.set, given.check, out, changes_of(row, given.set, changes, given.steps)):
                if "step" in line:
                    bar.update(task, completed=line["step"], total=line["steps"])
                    bar.update(task, description=f"{row.folder} loss {line['loss']:.3f}")
            card = export(out, row.folder)
            bar.remove_task(task)
            bar.advance(whole)
            bar.console.print(str(card), highlight=False, soft_wrap=True)


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="training set")
    parser.add_argument("--check", type=Path, required=True, help="set to measure on while training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="rows, as unified or unified-0")
    parser.add_argument("--steps", type=int, help="steps of each student, to the nearest epoch")
    parser.add_argument("--change", nargs="*", default=[], metavar="NAME=VALUE", help="change all recipes")
    grid(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
