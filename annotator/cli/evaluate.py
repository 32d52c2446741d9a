"""`annotator evaluate`: how near predictions are to the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from annotator.formats.dataset import Dataset

# A pipe has no width of its own; the widest table needs this much.
WIDTH = 100


def evaluate(
    pred: Annotated[Path, typer.Argument(help="annotations.json, proposals.parquet, COCO results list, or project.")],
    against: Annotated[Path, typer.Option(help="Annotation file with the true labels.")],
    format_: Annotated[str, typer.Option("--format", help="Format of the truth; auto guesses.")] = "auto",
    images: Annotated[
        Path | None, typer.Option(help="Folder of the truth's pictures; else `images` beside it, else its own.")
    ] = None,
    list_: Annotated[
        Path | None, typer.Option("--list", help="Only the pictures whose file names this file lists, one a line.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals' resampling.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples for the intervals; 0 for none.")] = 1000,
    min_keypoints: Annotated[int, typer.Option(min=0, help="Leave out people with fewer labels.")] = 0,
    min_area: Annotated[float, typer.Option(min=0, help="Leave out people whose area is not above this, px^2.")] = 0,
    keypoints: Annotated[str, typer.Option(help="Compare only these keypoints of the truth, comma between.")] = "",
    also_labelled: Annotated[
        bool,
        typer.Option(
            "--also-labelled", help="Count Parquet rows of kind `labelled`: if the student was not shown them."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a record of the truth was set aside.")
    ] = False,
) -> None:
    """Measure keypoints against the truth: mean OKS, OKS AP and AR, PCKh@.5 and @.1, PCK@.2 torso, per keypoint.

    Only labels that came with the dataset or were placed blind count. Intervals are 95 %, resampled by image.
    """
    from annotator.evaluation.comparison import compare
    from annotator.evaluation.figures import CONVENTIONS, figures
    from annotator.evaluation.predictions import read_predictions
    from annotator.evaluation.tables import tables

    truth = _truth(against, images, format_, list_)
    predictions = read_predictions(pred, truth.people.skeleton, also_labelled=also_labelled)
    names = [name.strip() for name in keypoints.split(",") if name.strip()]
    comparison = compare(predictions, truth, min_keypoints=min_keypoints, min_area=min_area, keypoints=names)
    result = {
        "predictions": str(pred),
        "truth": str(against),
        "format": truth.format,
        "settings": {
            "min_keypoints": min_keypoints, "min_area": min_area, "keypoints": names, "also_labelled": also_labelled,
            "bootstrap": bootstrap, "seed": seed,
        },
        "conventions": CONVENTIONS,
        "set_aside": len(truth.problems),
        **comparison.as_json(),
        **figures(comparison, rounds=bootstrap, seed=seed).as_json(),
    }  # fmt: skip
    if json_:
        typer.echo(json.dumps(result, indent=1))
    else:
        _show(tables(result))
    if strict and truth.problems:
        raise typer.Exit(1)


def _truth(against: Path, images: Path | None, format_: str, list_: Path | None) -> Dataset:
    """The true labels, of all pictures or of those that a file lists."""
    from annotator import formats, sources

    beside = against.parent / "images"
    truth = formats.read(against, images or (beside if beside.is_dir() else against.parent), format_)
    return formats.restrict(truth, sources.listed(list_)) if list_ else truth


def _show(renderables: Iterable[RenderableType]) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    for renderable in renderables:
        console.print(renderable, soft_wrap=isinstance(renderable, str))
