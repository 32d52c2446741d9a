"""What knowing a person's labels does for the keypoints that are missing.

    python -m workflows.prompts --data DATA --out work_dirs/prompts [--student default] [--split test]

Some keypoints of labelled people are hidden: the four of MPII that COCO lacks, MPII's limbs in two groups, the five
face keypoints of COCO that MPII lacks, and parts of these. Each group once alone, so that the student is given all
other labels, and once with everything else hidden too, so that it has the picture alone. Both are the user's commands;
figures per keypoint with 95 % intervals by image. Pelvis and thorax follow from hips and shoulders by a rule where
those are labelled, so they are exact when given the rest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.evaluation import tables
from workflows.results import SETS, annotator

LIMBS = {"elbows and knees": ("elbow", "knee"), "wrists and ankles": ("wrist", "ankle")}
# Keypoints that are hidden together, by dataset.
HIDDEN = {
    "mpii": {
        "what COCO lacks": ("upper_neck", "head_top", "pelvis", "thorax"),
        **{name: tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))
           for name, parts in LIMBS.items()},
    },
    "coco": {
        "what MPII lacks": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        "nose": ("nose",), "eyes": ("left_eye", "right_eye"), "ears": ("left_ear", "right_ear"),
    },
}  # fmt: skip
HEADER = "| hidden together | keypoint | n | given the other labels | from the picture alone |\n|---|---|---|---|---|"
METRICS = {"mpii": ("pckh_0.5", "pckh_0.1"), "coco": ("similarity",)}


def measure(name: str, split: str, student: str, data: Path, out: Path, hide: tuple[str, ...]) -> dict[str, Any]:
    """Per-keypoint figures of one run of `propose` and `evaluate`."""
    one = SETS[name]
    labels, images = str(data / str(one["annotations"]).replace("test", split)), str(data / one["images"])
    source = ["--annotations", labels, "--images", images]
    annotator("propose", *source, "--out", str(out), "--student", student, "--hide", ",".join(hide))
    against = ["--against", labels, "--images", images, "--format", one["format"], *one["filter"]]
    result: dict[str, Any] = json.loads(annotator("evaluate", str(out), *against, "--json"))["per_keypoint"]
    return result


def rows(name: str, group: str, told: dict[str, Any], alone: dict[str, Any]) -> list[str]:
    """Markdown: a row a hidden keypoint and figure, given the other labels, and from the picture alone."""
    lines = []
    for keypoint in HIDDEN[name][group]:
        for metric in METRICS[name]:
            figures = [both[keypoint][metric] for both in (told, alone)]
            cells = [
                f"{tables.cell(metric, one['value'])} ({tables.cell(metric, one['low'])} to"
                f" {tables.cell(metric, one['high'])})"
                for one in figures
            ]
            lines.append(
                f"| {group} | {keypoint}, {tables.TITLES[metric]} | {figures[0]['people']} | {' | '.join(cells)} |"
            )
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--student", default="default")
    parser.add_argument("--split", default="test", choices=["choose", "test"])
    given = parser.parse_args()
    for name, groups in HIDDEN.items():
        folder = given.out / f"{name}-{given.split}-{Path(given.student).stem}"
        alone = measure(name, given.split, given.student, given.data, folder / "alone", ("all",))
        print(f"### {name}/{given.split}\n\n{HEADER}")
        for number, (group, hidden) in enumerate(groups.items()):
            told = measure(name, given.split, given.student, given.data, folder / f"told-{number}", hidden)
            print("\n".join(rows(name, group, told, alone)), flush=True)
        print()


if __name__ == "__main__":
    main()
