"""The figures of `docs/results.md`: students and fused teachers on the test splits, everything hidden.

    python -m workflows.results --data DATA --out work_dirs/results [--students default teachers] [--sets coco mpii lsp]

Runs the commands that a user would run, `annotator propose --hide all` and `annotator evaluate --json`, and prints one
Markdown table a test set, with 95 % intervals by image and the commands. OKS of COCO people with at least 8 keypoints,
and an area above 64^2, MPII people with all 16 keypoints, LSP's official test half; boxes as given by the datasets
(MPII: from centre and scale; LSP: around the keypoints). n counts people for OKS, AP and AR, keypoints for the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annotator.evaluation import tables
from annotator.files import write_text

LSP_TEST = range(1001, 2001)
# What each test set is measured by: name in the output of `evaluate --json` -> title.
SETS: dict[str, dict[str, Any]] = {
    "coco": {"annotations": "coco/person_keypoints_test.json", "images": "coco/images", "format": "coco",
             "filter": ["--min-keypoints", "8", "--min-area", "4096"]},
    "mpii": {"annotations": "mpii/mpii_test.json", "images": "mpii/images", "format": "mpii",
             "filter": ["--min-keypoints", "16"]},
    "lsp": {"annotations": "lsp/joints.mat", "images": "lsp/images", "format": "lsp", "filter": []},
}  # fmt: skip


def lsp_test(out: Path) -> Path:
    """Write the names of LSP's official test half, as `--list` takes them, and say where."""
    path = out / "lsp_test.txt"
    write_text(path, "".join(f"im{i:04d}.jpg\n" for i in LSP_TEST))
    return path


def annotator(*arguments: str) -> str:
    """Run the command line, as a user would; its standard output."""
    command = [sys.executable, "-m", "annotator", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def propose(student: str, name: str, data: Path, out: Path) -> tuple[Path, list[str]]:
    """Propose with everything hidden; the project's folder, and the command."""
    one = SETS[name]
    folder = out / f"{name}-{Path(student).stem}"
    source = ["--annotations", str(data / one["annotations"]), "--images", str(data / one["images"])]
    listed = ["--list", str(lsp_test(out))] if name == "lsp" else []
    command = ["propose", *source, "--out", str(folder), "--student", student, "--hide", "all", *listed]
    annotator(*command)
    return folder, command


def made(folder: Path) -> dict[str, Any]:
    """What a project's round says of itself: the student, and its networks with their hashes."""
    return tomllib.loads((folder / "rounds" / "001" / "round.toml").read_text())


def measure(student: str, name: str, data: Path, out: Path) -> dict[str, Any]:
    """Propose with everything hidden, evaluate, and keep both commands with the figures."""
    one = SETS[name]
    folder, proposing = propose(student, name, data, out)
    listed = ["--list", str(lsp_test(out))] if name == "lsp" else []
    against = ["--against", str(data / one["annotations"]), "--images", str(data / one["images"])]
    evaluate = ["evaluate", str(folder), *against, "--format", one["format"], *listed, *one["filter"]]
    result = json.loads(annotator(*evaluate, "--json"))
    kept = {"set": name, "propose": proposing, "evaluate": evaluate, "round": made(folder), "result": result}
    (folder / "results.json").write_text(json.dumps(kept, indent=1))
    return kept


# Figures of each test set, as `evaluate --json` names them, with their titles.
SHOWN = {
    "coco": ("mean_oks", "ap", "ap50", "ap75", "ar"),
    "mpii": ("pckh_0.5", "pckh_0.1"),
    "lsp": ("pck_0.2",),
}


def cell(figure: dict[str, Any], name: str) -> str:
    """A figure with its interval."""
    if figure["low"] is None:
        return tables.cell(name, figure["value"])
    low, high = tables.cell(name, figure["low"]), tables.cell(name, figure["high"])
    return f"{tables.cell(name, figure['value'])} ({low} to {high})"


def rests_on(figure: dict[str, Any], metric: str) -> str:
    """What a figure rests on: people where each has one, as in OKS and AP, else keypoints."""
    each = metric.startswith("pck") or metric == "similarity"
    return f"{figure['keypoints' if each else 'people']:,}"


def weights(networks: Iterable[tuple[str, str]]) -> str:
    """The line below a table that says whose figures these are.

    >>> weights([("mine", "91b954e1ca33eabf"), ("mine", "91b954e1ca33eabf"), ("yours", "73e84412396b35ce")])
    'Weights (sha256): mine 91b954e1ca33, yours 73e84412396b.'
    """
    named = dict.fromkeys(f"{name} {digest[:12]}" for name, digest in networks)
    return f"Weights (sha256): {', '.join(named)}."


def networks(*rounds: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and hashes of what proposed in some rounds."""
    return [(net["name"], net["sha256"]) for one in rounds for net in one["networks"]]


def summary(name: str, kept: list[dict[str, Any]], **places: Path) -> str:
    """One test set as Markdown: figures, then keypoints, a column a student.

    Args:
        name: the test set's.
        kept: what `measure` returned of each student.
        places: folders that the commands show by another name, as `DATA=Path("/mine")`.
    """
    students = [one["round"]["student"] for one in kept]
    first = kept[0]["result"]["summary"][SHOWN[name][0]]
    lines = [f"### {name}: {first['people']} people, {first['keypoints']} keypoints, {first['images']} images", ""]
    lines += [f"| | n | {' | '.join(students)} |", f"|---|---|{'---|' * len(students)}"]
    for metric in SHOWN[name]:
        figures = [one["result"]["summary"][metric] for one in kept]
        lines.append(row(tables.TITLES[metric], metric, figures))
    metric = {"coco": "similarity", "mpii": "pckh_0.5", "lsp": "pck_0.2"}[name]
    for keypoint, measured in kept[0]["result"]["per_keypoint"].items():
        if measured.get(metric, {}).get("value") is not None:
            figures = [one["result"]["per_keypoint"][keypoint][metric] for one in kept]
            lines.append(row(f"{keypoint}, {tables.TITLES[metric]}", metric, figures))
    commands = [["annotator", *one[key]] for one in kept for key in ("propose", "evaluate")]
    lines += ["", "```", *(" ".join(shown(word, places) for word in command) for command in commands), "```", ""]
    return "\n".join([*lines, weights(networks(*(one["round"] for one in kept))), ""])


def row(title: str, metric: str, figures: list[dict[str, Any]]) -> str:
    """A figure of all students, on the same people."""
    cells = " | ".join(cell(one, metric) for one in figures)
    return f"| {title} | {rests_on(figures[0], metric)} | {cells} |"


def shown(argument: str, places: dict[str, Path]) -> str:
    """An argument as the table's commands show it: what lies in one of the places begins with that place's name.

    Under `.` no path begins with its place, and it stays as it is: true where it was run.

    >>> places = {"DATA": Path("/coco"), "OUT": Path("coco")}
    >>> [shown(one, places) for one in ("/coco/images", "coco/mine", "coco", "coco-mine/a.toml")]
    ['DATA/images', 'OUT/mine', 'coco', 'coco-mine/a.toml']
    """
    for name, place in places.items():
        if argument.startswith(f"{place}/"):
            return name + argument.removeprefix(str(place))
    return argument


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--students", nargs="+", default=["default", "teachers"])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    given = parser.parse_args()
    for name in given.sets:
        kept = [measure(student, name, given.data, given.out) for student in given.students]
        print(summary(name, kept, DATA=given.data, OUT=given.out), flush=True)


if __name__ == "__main__":
    main()
