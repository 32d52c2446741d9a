"""`annotator students`: the networks that can propose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="List and add the networks that can propose.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_(
    project: Annotated[Path, typer.Argument(help="Project whose own students are listed, too.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List students and teachers, and whether their weights are on this machine."""
    from annotator.store import settings
    from annotator.students import registry

    rows = [
        {
            "name": entry.card.name,
            "role": entry.card.role,
            "keypoints": len(entry.card.keypoints),
            "default": entry.card.default,
            "weights": str(entry.weights) if entry.here else "",
            "recipe": entry.card.recipe,
            "terms": entry.card.terms,
            "figures": entry.card.figures,
            "failures": entry.card.failures,
        }
        for entry in registry.known(project if (project / settings.NAME).is_file() else None)
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "role", "keypoints", "weights", "recipe"):
        table.add_column(title)
    for row in rows:
        name = f"{row['name']} (default)" if row["default"] else str(row["name"])
        here = "here" if row["weights"] else "not here"
        table.add_row(name, str(row["role"]), str(row["keypoints"]), here, str(row["recipe"]))
    Console(markup=False, highlight=False).print(table)


@app.command("add")
def add(
    what: Annotated[str, typer.Argument(help="Card, ONNX file with a card beside it, or known name; MMPose config.")],
    checkpoint: Annotated[Path | None, typer.Argument(help="With --mmpose: the weights.")] = None,
    mmpose: Annotated[bool, typer.Option("--mmpose", help="WHAT is an MMPose config; exports it once.")] = False,
) -> None:
    """Add a network: a card with its weights, an MMPose model, or a known teacher that is downloaded."""
    from annotator.cli._progress import bar
    from annotator.errors import UsageError, expected
    from annotator.skeletons import UNION_21
    from annotator.students import adding, registry

    if mmpose != (checkpoint is not None):
        raise UsageError(expected("a checkpoint exactly with --mmpose", "otherwise", "students add"))
    with bar("downloading", "bytes") as progress:
        card = adding.add_mmpose(what, checkpoint) if checkpoint else adding.add(what, progress)
    print(f"{card.name}: {len(card.keypoints)} keypoints, ready for --student {card.name}")
    if others := registry.left_out(card, UNION_21):
        taken = len(card.keypoints) - len(others)
        print(f"{taken} of them are {UNION_21.name}'s; never proposed: {', '.join(others)}")
