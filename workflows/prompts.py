"""What knowing a person's labels does for the keypoints that are missing.

    python -m workflows.prompts --data DATA --out work_dirs/prompts [--student default] [--split test]

Some keypoints of labelled people are hidden: the four of MPII that COCO lacks, MPII's limbs in two groups, the five
face keypoints of COCO that MPII lacks, and parts of these. Each group once alone, so that the student is given all
other labels, and once with everything else hidden too, so that it has the picture alone. Both are the user's commands;
figures per keypoint with 95 % intervals by image, and the gain, paired on the same images, in bold where its interval
keeps clear of 0. Pelvis and thorax follow from hips and shoulders by a rule where those are labelled, so they are exact
when given the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from annotator.evaluation import tables
from workflows.measuring import Resampled
from workflows.paired import ONLY, Key, compared, counted
from workflows.results import SETS, annotator, made, networks, weights
from workflows.teachers import cell, gained

LIMBS = {"elbows and knees": ("elbow", "knee"), "wrists and ankles": ("wrist", "ankle")}
# Keypoints that are hidden together, by dataset.
HIDDEN = {
    "mpii": {
        "what COCO lacks": ONLY["mpii"][0],
        **{name: tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))
           for name, parts in LIMBS.items()},
    },
    "coco": {
        "what MPII lacks": ONLY["coco"][0],
        "nose": ("nose",), "eyes": ("left_eye", "right_eye"), "ears": ("left_ear", "right_ear"),
    },
}  # fmt: skip
HEADER = "| hidden together | keypoint | n | given the other labels | from the picture alone | gain |\n|" + "---|" * 6
METRICS = {"mpii": ("pckh_0.5", "pckh_0.1"), "coco": ("similarity",)}


def measure(name: str, split: str, student: str, data: Path, out: Path, hide: tuple[str, ...]) -> dict[Key, Resampled]:
    """Per-keypoint figures of one run of `propose`, with their resamples."""
    one = SETS[name]
    labels, images = str(data / str(one["annotations"]).replace("test", split)), str(data / one["images"])
    source = ["--annotations", labels, "--images", images]
    annotator("propose", *source, "--out", str(out), "--student", student, "--hide", ",".join(hide))
    return counted(compared(out, name, data, out, split))


def rows(name: str, group: str, told: Mapping[Key, Resampled], alone: Mapping[Key, Resampled]) -> list[str]:
    """Markdown: a row a hidden keypoint and figure, given the other labels, from the picture alone, and the gain."""
    lines = []
    for keypoint in HIDDEN[name][group]:
        for metric in METRICS[name]:
            given, without = told[metric, keypoint], alone[metric, keypoint]
            cells = [cell(metric, *one.figure) for one in (given, without)]
            cells.append(gained(metric, *given.minus(without).figure))
            lines.append(f"| {group} | {keypoint}, {tables.TITLES[metric]} | {given.n} | {' | '.join(cells)} |")
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
        one = made(folder / "alone")
        print(f"### {name}/{given.split}: {one['student']}\n\n{HEADER}")
        for number, (group, hidden) in enumerate(groups.items()):
            told = measure(name, given.split, given.student, given.data, folder / f"told-{number}", hidden)
            print("\n".join(rows(name, group, told, alone)), flush=True)
        print(f"\n{weights(networks(one))}\n")


if __name__ == "__main__":
    main()
