"""`annotator propose`: the keypoints that people lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def propose(
    project: Annotated[Path | None, typer.Argument(help="Project; the current folder where no file is given.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Annotation file, instead of a project.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of its pictures.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; becomes a project.")] = None,
    format_: Annotated[str, typer.Option("--format", help="auto, coco, mpii, halpe, lsp or yolo.")] = "auto",
    list_: Annotated[Path | None, typer.Option("--list", help="Only the pictures that this file names.")] = None,
    student: Annotated[str, typer.Option(help="Name, path of a card, or `teachers`.")] = "default",
    hide: Annotated[str, typer.Option(help="Keypoints to treat as unlabelled, comma between; `all` for all.")] = "",
    pictures: Annotated[int, typer.Option(min=0, help="Draw this many people, the least certain first.")] = 0,
    accept_risk: Annotated[float | None, typer.Option(help="Release calibrated proposals under this risk.")] = None,
    ray: Annotated[str | None, typer.Option(help="`auto`, or the address of a Ray cluster.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; the result does not depend on it.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a record was set aside.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Propose the keypoints that people lack, and write the enhanced annotations.

    OUT gets annotations.json, problems.jsonl and rounds/001/proposals.parquet. Run again after a kill, it goes on.
    """
    from annotator import rounds
    from annotator.cli._progress import bar
    from annotator.errors import UsageError, expected
    from annotator.report.overlay import write_pictures

    one_file = (annotations, images, out)
    if any(one_file) and not all(one_file):
        raise UsageError(expected("--annotations, --images and --out together", "only some of them", "propose"))
    if any(one_file) and project:
        raise UsageError(expected("a project or --annotations", "both", "propose"))
    if not annotations and (list_ or format_ != "auto"):
        raise UsageError(expected("--list and --format with --annotations", "a project, which has its own", "propose"))
    names = [name.strip() for name in hide.split(",") if name.strip()]
    with bar("proposing", "people") as progress:
        how = rounds.How(student, tuple(names), workers, accept_risk, ray)
        if annotations and images and out:
            made = rounds.propose(annotations, images, out, how, format=format_, only=list_, progress=progress)
        else:
            made = rounds.propose_project(project or Path(), how, progress=progress)
    folder = made.annotations.parent
    drawn = (
        write_pictures(folder / "pictures", made.images, made.people, made.proposals, pictures) if pictures else None
    )
    summary = made.summary() | ({"pictures": str(folder / "pictures")} if drawn else {})
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        console = Console(markup=False, highlight=False, soft_wrap=True)
        for line in made.lines():
            console.print(line)
        if drawn:
            console.print(f"drew {len(drawn.paths)} people, the least certain first ({folder / 'pictures'})")
            for reason in drawn.skipped:
                console.print(f"not drawn: {reason}")
    if strict and made.problems:
        raise typer.Exit(1)
