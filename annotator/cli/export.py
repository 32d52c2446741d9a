"""`annotator export`: the people as they stand, in a format of the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export(
    out: Annotated[Path, typer.Option(help="File to write (a folder for yolo); replaced if it is there.")],
    project: Annotated[Path | None, typer.Argument(help="Project; else the current folder.")] = None,
    format_: Annotated[str, typer.Option("--format", help="coco, mpii, halpe, lsp or yolo.")] = "coco",
    points: Annotated[
        str,
        typer.Option(
            help="Down to which origin points are written: labelled, human, released or proposed; each includes those"
            " before it. Else proposed for coco and human for formats that cannot say what is a guess."
        ),
    ] = "",
    source: Annotated[str, typer.Option(help="Only this source of the project, by its name.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a record was set aside.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write the people as they stand: labels, what reviewers decided, and proposals where the format can tell them.

    A source that nobody touched is written exactly as it came. Several sources in one file count pixels from 0.
    """
    from annotator import export as exporting

    made = exporting.export(project or Path(), out, format_, points, source)
    if as_json:
        print(json.dumps(made.summary(), indent=2))
    else:
        console = Console(markup=False, highlight=False, soft_wrap=True)
        for line in made.lines():
            console.print(line)
    if strict and made.set_aside:
        raise typer.Exit(1)
