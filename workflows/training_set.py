"""Write the training set of the union students, and the set that training is checked on.

    python -m workflows.training_set --data DATA --out work_dirs/sets

DATA holds coco/, mpii/, lsp/ and lspet/. The `train` splits of COCO (with 128 pictures of train2017) and MPII, LSP's
first half and LSP extended are trained on, `choose` of COCO and MPII is checked on. LSP extended's noisy labels count
half.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import Progress

from annotator import formats
from annotator.skeletons import UNION_21
from annotator.students import registry
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from annotator.training import Part, write_set

TEACHERS = ("tinypose", "tinypose_mpii16")
LSP_TRAIN = 1000  # images 1-1000 are the official training half
NOISY = 0.5


def part(name: str, annotations: Path, images: Path, kind: str, weight: float = 1.0) -> Part:
    """One dataset."""
    read = formats.read(annotations, images, kind, source=name)
    return Part(name, read.images, read.people, weight)


def training_parts(data: Path) -> list[Part]:
    """What the students are trained on."""
    coco, mpii = data / "coco", data / "mpii"
    lsp = part("lsp", data / "lsp" / "joints.mat", data / "lsp" / "images", "lsp")
    first_half = np.array([int(name.split(":")[1]) < LSP_TRAIN for name in lsp.people.person_id])
    return [
        part("coco", coco / "person_keypoints_train.json", coco / "images", "coco"),
        part("coco2017", coco / "person_keypoints_train2017_128.json", coco / "images", "coco"),
        part("mpii", mpii / "mpii_train.json", mpii / "images", "mpii"),
        Part("lsp", lsp.images, lsp.people.take(first_half)),
        part("lspet", data / "lspet" / "joints.mat", data / "lspet" / "images", "lsp", NOISY),
    ]


def check_parts(data: Path) -> list[Part]:
    """What training is checked on: `choose`, people with most of their keypoints labelled."""
    coco = part("coco", data / "coco" / "person_keypoints_choose.json", data / "coco" / "images", "coco")
    mpii = part("mpii", data / "mpii" / "mpii_choose.json", data / "mpii" / "images", "mpii")
    large = (coco.people.labelled.sum(axis=1) >= 8) & (coco.people.area > 64**2)
    whole = mpii.people.labelled.all(axis=1)
    return [Part("coco", coco.images, coco.people.take(large)), Part("mpii", mpii.images, mpii.people.take(whole))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    known = {entry.card.name: entry for entry in registry.known()}
    teachers = [OnnxModel(known[name].card, known[name].weights) for name in TEACHERS]
    cache = Cache(given.out / "readouts.sqlite")
    for name, parts in (("train", training_parts(given.data)), ("check", check_parts(given.data))):
        with Progress() as bar:
            step = partial(bar.advance, bar.add_task(name, total=sum(len(one.people) for one in parts)))
            n, left_out = write_set(given.out / name, parts, teachers, UNION_21, cache, step)
        aside = f", {left_out} left out (problems.jsonl)" if left_out else ""
        print(f"{given.out / name}: {n} people, {', '.join(f'{one.name} {len(one.people)}' for one in parts)}{aside}")


if __name__ == "__main__":
    main()
