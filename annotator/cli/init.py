"""`annotator init`: a project from annotation files and their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Pair = tuple[Path, Path]


def init(
    project: Annotated[Path, typer.Argument(help="Folder of the project; made if need be.")],
    coco: Annotated[Pair | None, typer.Option(metavar="ANN DIR", help="COCO keypoints file and its pictures.")] = None,
    mpii: Annotated[Pair | None, typer.Option(metavar="ANN DIR", help="MPII list or .mat and its pictures.")] = None,
    halpe: Annotated[Pair | None, typer.Option(metavar="ANN DIR", help="Halpe-FullBody file and its pictures.")] = None,
    lsp: Annotated[Pair | None, typer.Option(metavar="MAT DIR", help="LSP or LSP extended and its pictures.")] = None,
    yolo: Annotated[Pair | None, typer.Option(metavar="ANN DIR", help="YOLO-pose labels and their pictures.")] = None,
    list_: Annotated[Path | None, typer.Option("--list", help="Only the pictures that this file names.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a record was set aside.")] = False,
) -> None:
    """Make a project from annotation files and their pictures; the files stay where they are and are never changed."""
    from annotator import sources
    from annotator.errors import UsageError, expected

    given = {"coco": coco, "mpii": mpii, "halpe": halpe, "lsp": lsp, "yolo": yolo}
    wanted = [
        sources.source_settings(pair[0], pair[1], name, only=list_) for name, pair in given.items() if pair is not None
    ]
    if not wanted:
        raise UsageError(expected("at least one of --coco, --mpii, --halpe, --lsp, --yolo", "none", "init"))
    datasets = sources.init(project, wanted)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for dataset in datasets:
        console.print(f"{dataset.format}: {len(dataset.people):,} people in {len(dataset.images):,} images")
    aside = sum(len(dataset.problems) for dataset in datasets)
    where = f"{project / 'problems.jsonl'}" if aside else "nothing"
    console.print(f"made {project}, set aside {aside}" + (f" ({where})" if aside else ""))
    if strict and aside:
        raise typer.Exit(1)
