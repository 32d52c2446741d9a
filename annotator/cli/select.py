"""`annotator select`: whom the last round asks about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def select(
    budget: Annotated[float, typer.Option(min=0, help="How much may be spent, in --unit.")],
    project: Annotated[Path | None, typer.Argument(help="Project; else the current folder.")] = None,
    unit: Annotated[str, typer.Option(help="people, keypoints or minutes.")] = "people",
    strategy: Annotated[str, typer.Option(help="random, stratified or least_certain.")] = "least_certain",
    controls: Annotated[int, typer.Option(min=0, help="People of these shown without proposals.")] = 0,
    traps: Annotated[int, typer.Option(min=0, help="People of these with one proposal displaced on purpose.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all chance; the same seed gives the same people.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the people as JSON.")] = False,
) -> None:
    """Choose the people to ask reviewers about, ranked, and write rounds/NNN/selection.parquet.

    Run again with the same options it changes nothing. Controls and traps are drawn by chance and paid from the budget.
    """
    from annotator import queue
    from annotator.selection import Request

    made = queue.select(project or Path(), Request(budget, unit, strategy, controls, traps, seed))
    if as_json:
        print(json.dumps(made.summary(), indent=2))
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for line in made.lines():
        console.print(line)
