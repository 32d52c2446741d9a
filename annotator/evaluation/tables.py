"""The figures as tables for people to read; takes what `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table

TITLES = {
    "mean_oks": "mean OKS", "similarity": "similarity",
    "ap": "AP", "ap50": "AP .50", "ap75": "AP .75", "apm": "AP medium", "apl": "AP large",
    "ar": "AR", "ar50": "AR .50", "ar75": "AR .75", "arm": "AR medium", "arl": "AR large",
    "pckh_0.5": "PCKh@.5, %", "pckh_0.1": "PCKh@.1, %", "pck_0.2": "PCK@.2 torso, %",
}  # fmt: skip


def tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Summary with intervals, each keypoint, MPII's parts, and a last line that counts people and records."""
    yield _summary(result["summary"])
    yield _per_keypoint(result["per_keypoint"])
    parts = result["parts"]
    if parts:
        table = _table("PCKh@.5 by body part, %", *parts)
        table.add_row(*(cell("pckh_0.5", figure["value"]) for figure in parts.values()))
        yield table
        yield f"PCKh: {result['conventions']['pckh']}."
    placeholders = [name for name, sigma in result["oks_sigmas"].items() if sigma["origin"] != "coco"]
    if placeholders:
        yield f"OKS: nobody measured the sigma of {', '.join(placeholders)}; .026 is MMPose's placeholder."
    yield _last_line(result)


def cell(name: str, value: float | None) -> str:
    """A figure as its field prints it: PCK in percent, OKS and AP as a fraction.

    >>> cell("pckh_0.5", 0.884), cell("ap", 0.7471), cell("ap", None)
    ('88.4', '0.747', '-')
    """
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if name.startswith("pck") else f"{value:.3f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def _summary(summary: dict[str, Any]) -> Table:
    table = _table("Against the truth", "", "value", "95 % interval by image", "keypoints", "people", "images")
    for name, figure in summary.items():
        if figure["value"] is not None:
            low, high = cell(name, figure["low"]), cell(name, figure["high"])
            interval = "-" if low == "-" else f"{low} to {high}"
            counts = [f"{figure[key]:,}" for key in ("keypoints", "people", "images")]
            table.add_row(TITLES[name], cell(name, figure["value"]), interval, *counts)
    return table


def _per_keypoint(rows: dict[str, Any]) -> Table:
    metrics = [name for name in TITLES if any(name in row and row[name]["keypoints"] for row in rows.values())]
    table = _table("By keypoint", "keypoint", "n", *(TITLES[name] for name in metrics))
    for keypoint, row in rows.items():
        count = max(row[name]["keypoints"] for name in metrics)
        table.add_row(keypoint, f"{count:,}", *(cell(name, row[name]["value"]) for name in metrics))
    return table


def _last_line(result: dict[str, Any]) -> str:
    people = result["people"]
    parts = [f"{people['truth']:,} people in the truth", f"{people['with_prediction']:,} with a prediction"]
    others = {
        "without_prediction": "without one",
        "left_out_by_filters": "left out by the filters",
        "predictions_of_nobody": "predictions of nobody in it",
    }
    for key, words in others.items():
        parts += [f"{people[key]:,} {words}"] if people[key] else []
    return f"{', '.join(parts)}; set aside {result['set_aside']:,} records."
