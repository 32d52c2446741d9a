"""The curves of a run as a picture: losses, checks, learning rate and speed, against steps.

    python -m models.curves RUN

Training draws them after each check and at its end; RUN/metrics.jsonl is what they are drawn from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotator.errors import InputError, command_line, expected
from annotator.files import atomic_path
from models import record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
# What else a window's line says beside its losses.
NO_LOSS = ("epoch", "step", "steps", "lr", "images_per_s", "eta_s")


def draw(run: Path) -> Path:
    """Draw `curves.png` into a run's folder, whole or not at all; returns its path.

    Raises:
        InputError: there are no metrics.
    """
    from matplotlib.figure import Figure

    lines = record.rows(run / record.METRICS)
    if not lines:
        raise InputError(expected("the metrics of a run", "none", str(run / record.METRICS)))
    checks = record.checks(run / record.METRICS)
    windows = [line for line in lines if line not in checks]
    losses = dict.fromkeys(name for line in windows for name in line if name not in NO_LOSS)
    checked = dict.fromkeys(name for line in checks for name in line if name.startswith(record.CHECK))
    figure = Figure(figsize=(12, 8), dpi=100, layout="constrained")
    (loss, check), (rate, speed) = figure.subplots(2, 2, sharex=True)
    _lines(loss, "loss and its parts", windows, losses)
    _lines(check, "checks, by the moving average", checks, checked, marker="o")
    _lines(rate, "learning rate", windows, ["lr"])
    _lines(speed, "images a second since the start", windows, ["images_per_s"])
    values = [line[name] for line in windows for name in losses if name in line]
    drawn = [value for value in values if np.isfinite(value)] or [0.0]
    # From fresh weights the first windows are so high that all others would be one flat line.
    loss.set_ylim(top=min(max(drawn), 1.5 * float(np.quantile(drawn, 0.95))) * 1.05 or None)
    for axes in (loss, rate, speed):
        axes.set_ylim(bottom=0)
    for axes in (rate, speed):
        axes.set_xlabel("step")
    figure.suptitle(f"{run.resolve().name}: {lines[-1]['epoch']} epochs, {lines[-1]['step']:,} steps")
    with atomic_path(run / CURVES) as temporary:
        figure.savefig(temporary, format="png")
    return run / CURVES


def _lines(axes: Axes, title: str, rows: list[dict[str, Any]], names: Iterable[str], marker: str = ".") -> None:
    """One curve a name, with its last value in the legend."""
    for name in names:
        if at := [(row["step"], row[name]) for row in rows if name in row]:
            label = f"{name.removeprefix(record.CHECK)} {at[-1][1]:.3g}"
            # A run of many windows is a line; of few, dots that a line joins.
            dots, width = marker if len(at) < 50 else "", 2.5 if name == "loss" else 1.3
            axes.plot(*zip(*at, strict=True), marker=dots, label=label, linewidth=width)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    print(draw(parser.parse_args().run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
