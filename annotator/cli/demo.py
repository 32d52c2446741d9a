"""`annotator demo`: propose the missing keypoints of three people on photographs that come inside packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from annotator.demo import run, summary


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo"),
    pictures: Annotated[int, typer.Option(min=0, help="Draw this many people, the least certain first.")] = 3,
    student: Annotated[str, typer.Option(help="Network that proposes.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Try it on a few photographs that come inside packages.

    OUT gets the photographs, their hand-made COCO labels, and all that `annotator propose` writes for them.
    """
    done = run(out, student=student, pictures=pictures)
    people = summary(done)
    if as_json:
        print(json.dumps(people, indent=2))
        return
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(_table(people))
    points = [point for person in people for point in person["proposed"]]
    derived = sum(point["origin"] == "derived" for point in points)
    labelled = sum(person["labelled"] for person in people)
    proposed = f"{len(points) - derived} proposed, {derived} derived by a rule"
    console.print(f"{len(people)} people: {labelled} keypoints labelled by hand, {proposed}")
    for words in sorted({point["radius_is"] for point in points} - {None}):
        console.print(f"radius: {words}")
    if done.pictures.paths:
        console.print(f"pictures, the least certain person first: {done.pictures.paths[0].parent}")
    for reason in done.pictures.skipped:
        console.print(f"not drawn: {reason}")


def _table(people: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("person", "labelled", "proposed", "x", "y", "radius"):
        table.add_column(title, justify="left" if title in ("person", "proposed", "radius") else "right", no_wrap=True)
    for person in people:
        first = [f"{Path(person['photograph']).stem} ({person['person_id']})", str(person["labelled"])]
        for point in person["proposed"]:
            table.add_row(*first, point["keypoint"], f"{point['x']:.0f}", f"{point['y']:.0f}", _radius(point))
            first = ["", ""]
        if not person["proposed"]:
            table.add_row(*first, "nothing")
    return table


def _radius(point: dict[str, Any]) -> str:
    if point["origin"] == "derived":
        return "by a rule"
    return "" if point["radius_px"] is None else f"{point['radius_px']:.0f} px"
