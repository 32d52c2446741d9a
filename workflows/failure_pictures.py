"""Known failures shown on photographs that come inside packages, and the pictures of `docs/failures.md`.

    python -m workflows.failure_pictures --out work_dirs/failures --pictures docs/images [--student default]

The demo's people, turned, cut, made small or put side by side, their labels with them; every label is hidden from the
student, and drawn beside what it proposed. Prints a Markdown table: what became of the labelled keypoints, and how many
of the others were put inside the picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from annotator import demo, formats, rounds
from annotator.errors import InputError, command_line, expected
from annotator.files import write_json
from annotator.metrics.oks import oks
from annotator.people import People
from annotator.proposals import Proposals
from annotator.report.drawing import Canvas
from annotator.report.overlay import LOOKS, Mark, Pixels, cut, draw, marks_of, view_of_person
from annotator.skeletons import COCO_17, FloatArray
from workflows.error_types import TYPES, error_types

HEIGHT = 360  # of a panel: three of them are about as wide as a page


@dataclass(frozen=True)
class Scene:
    """A photograph with one labelled person.

    Attributes:
        pixels: (H, W, 3) RGB.
        keypoints: (17, 3) COCO's x, y, v; zeros where there is no label.
        bbox_xywh: (4,) pixels.
        area: of the person's segment in square pixels.
    """

    pixels: Pixels
    keypoints: FloatArray
    bbox_xywh: FloatArray
    area: float


def photograph(name: str) -> Scene:
    """One of the demo's people by the name of the photograph's file."""
    document = json.loads(demo.LABELS.read_text(encoding="utf-8"))
    (image,) = (one for one in document["images"] if one["file_name"].startswith(name))
    (person,) = (one for one in document["annotations"] if one["image_id"] == image["id"])
    with Image.open(demo.packaged(image["package_file"])) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    keypoints = np.array(person["keypoints"], dtype=np.float64).reshape(-1, 3)
    return Scene(pixels, keypoints, np.array(person["bbox"], dtype=np.float64), person["area"])


def quarter_turns(scene: Scene, times: int) -> Scene:
    """Turned to the left by 90 degrees, several times."""
    for _ in range(times):
        width = scene.pixels.shape[1]
        x, y, v = scene.keypoints.T
        left, top, wide, high = scene.bbox_xywh
        keypoints = np.where(v[:, None] > 0, np.stack([y, width - 1 - x, v], axis=1), 0)
        box = np.array([top, width - left - wide, high, wide])
        scene = replace(scene, pixels=np.rot90(scene.pixels).copy(), keypoints=keypoints, bbox_xywh=box)
    return scene


def cut_off(scene: Scene, y: int) -> Scene:
    """Without all that lies below row `y`; what is cut off has no label. The area stays, as a measure of size."""
    keypoints = np.where(scene.keypoints[:, 1:2] < y, scene.keypoints, 0)
    left, top, wide, high = scene.bbox_xywh
    return replace(scene, pixels=scene.pixels[:y], keypoints=keypoints,
                   bbox_xywh=np.array([left, top, wide, min(high, y - top)]))  # fmt: skip


def shrunk(scene: Scene, height: int) -> Scene:
    """The whole photograph made so small that the person's box is `height` pixels high."""
    factor = height / scene.bbox_xywh[3]
    size = [max(round(side * factor), 1) for side in scene.pixels.shape[1::-1]]
    pixels = np.asarray(Image.fromarray(scene.pixels).resize((size[0], size[1]), Image.Resampling.LANCZOS))
    x, y, v = scene.keypoints.T
    keypoints = np.stack([(x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5, v], axis=1)
    keypoints = np.where(v[:, None] > 0, keypoints, 0)
    return Scene(pixels, keypoints, scene.bbox_xywh * factor, scene.area * factor**2)


def beside(scene: Scene, other: Scene) -> Scene:
    """Another photograph to the right; the first one's labels, in a box that holds both people."""
    height, width = min(scene.pixels.shape[0], other.pixels.shape[0]), scene.pixels.shape[1]
    pixels = np.concatenate([scene.pixels[:height], other.pixels[:height]], axis=1)
    boxes = np.stack([scene.bbox_xywh, other.bbox_xywh + np.array([width, 0, 0, 0])])
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return replace(scene, pixels=pixels, bbox_xywh=np.concatenate([low, high - low]))


class Shown(NamedTuple):
    """A scene of a picture: what it is in a few words, how it is made, and the keypoints that are named in it."""

    words: str
    make: Callable[[], Scene]
    names: tuple[str, ...]


def _both(*parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))


ARMS, HEAD, LEGS = _both("elbow", "wrist"), ("nose", "head_top", *_both("shoulder")), _both("knee", "ankle")
# A picture each: name of the file -> its scenes, side by side.
PICTURES = {
    "upside-down": (
        Shown("as photographed", lambda: photograph("astronaut"), HEAD),
        Shown("turned upside down", lambda: quarter_turns(photograph("astronaut"), 2), HEAD),
    ),
    "lying": (
        Shown("as photographed", lambda: photograph("grace_hopper"), HEAD),
        Shown("turned by 90 degrees", lambda: quarter_turns(photograph("grace_hopper"), 1), HEAD),
    ),
    "beyond-the-edge": (
        Shown("a portrait", lambda: photograph("grace_hopper"), LEGS),
        Shown("cut below the shoulders", lambda: cut_off(photograph("astronaut"), 330), LEGS),
    ),
    "two-people": (
        Shown("alone in the box", lambda: photograph("astronaut"), (*HEAD, *_both("hip"))),
        Shown(
            "two people in the box",
            lambda: beside(photograph("astronaut"), photograph("camera")),
            (*HEAD, *_both("hip")),
        ),
    ),
    "arms": (
        Shown("a dark coat", lambda: photograph("camera"), ARMS),
        Shown("40 pixels high", lambda: shrunk(photograph("camera"), 40), ARMS),
        Shown("24 pixels high", lambda: shrunk(photograph("camera"), 24), ARMS),
    ),
}


def write_scenes(scenes: Sequence[Scene], out: Path) -> Path:
    """Write COCO's file and the pictures, one person each, to `out`; returns the former.

    Raises:
        InputError: `out` is a file or holds something already, which stays as it is.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(expected("a new or empty folder", "a file, or a folder that holds something", str(out)))
    (out / "images").mkdir(parents=True)
    images, people = [], []
    for i, scene in enumerate(scenes, start=1):
        Image.fromarray(scene.pixels).save(out / "images" / f"{i:02d}.png")
        height, width = scene.pixels.shape[:2]
        images.append({"id": i, "file_name": f"{i:02d}.png", "width": width, "height": height})
        person = {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": float(scene.area)}
        people.append(person | {"bbox": scene.bbox_xywh.tolist(), "keypoints": scene.keypoints.ravel().tolist()})
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": []}
    write_json(out / "labels.json", {"images": images, "annotations": people, "categories": [category]})
    return out / "labels.json"


def panel(pixels: Pixels, one: People, proposals: Proposals, names: Sequence[str]) -> tuple[Image.Image, list[Mark]]:
    """A person with labels and proposals and what they are called where `names` has it."""
    marks = marks_of(one, proposals)
    view = view_of_person(one, marks, pixels.shape[1], pixels.shape[0], HEIGHT)
    canvas = Canvas(cut(pixels, view))
    draw(canvas, view, marks, [one.skeleton, proposals.skeleton])
    for mark in marks:
        if mark.name in names and mark.look == LOOKS[2] and view.holds(mark.xy):
            canvas.name(view.place(mark.xy), mark.name)
    return canvas.finish(), marks


def row(picture: str, words: str, scene: Scene, one: People, proposal: Proposals) -> str:
    """A line of the table: what became of one person's keypoints (tables of one row)."""
    xy = proposal.xy[:, proposal.skeleton.columns_of(one.skeleton)]
    similarity = oks(xy, one.xy, one.v, one.scale_px(), one.skeleton.oks_sigmas)[0]
    kinds = error_types(xy, one.xy, np.zeros(1, dtype=np.int64), one.scale_px(), one.skeleton)
    counts = " | ".join(str((kinds == kind).sum()) for kind in range(len(TYPES)) if TYPES[kind] != "swap")
    size = np.array(scene.pixels.shape[1::-1])
    inside = (~one.labelled & ((xy >= 0) & (xy < size)).all(axis=2)).sum()
    return f"| {picture} | {words} | {similarity:.2f} | {counts} | {inside} of {(~one.labelled).sum()} |"


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for photographs and proposals")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the pictures, failures-NAME.png")
    parser.add_argument("--student", default="default")
    given = parser.parse_args(arguments)
    show(given.out, given.pictures, given.student)
    return 0


def show(out: Path, pictures: Path, student: str) -> None:
    """Write scenes and proposals to `out` and a picture for each of PICTURES to `pictures`; print the table."""
    shown = [(name, one, one.make()) for name, scenes in PICTURES.items() for one in scenes]
    labels = write_scenes([scene for _, _, scene in shown], out)
    done = rounds.propose(labels, labels.parent / "images", out, rounds.How(student, ("all",)))
    people = formats.read(labels, labels.parent / "images", "coco").people
    place = {name: i for i, name in enumerate(done.proposals.person_id)}
    print("| picture | person | OKS | good | jitter | inversion | miss | others, inside the picture |")
    print("|---|---|---|---|---|---|---|---|")
    panels: dict[str, list[tuple[Image.Image, list[Mark]]]] = {}
    for i, (picture, one, scene) in enumerate(shown):
        person, proposal = people.take([i]), done.proposals.take([place[people.person_id[i]]])
        print(row(picture, one.words, scene, person, proposal))
        panels.setdefault(picture, []).append(panel(scene.pixels, person, proposal, one.names))
    for picture, drawn in panels.items():
        title = "; ".join(one.words for one in PICTURES[picture])
        marks = [mark for _, own in drawn for mark in own]
        path = pictures / f"failures-{picture}.png"
        demo.side_by_side(path, [image for image, _ in drawn], marks, title, f"by {done.proposals.student}")


if __name__ == "__main__":
    sys.exit(main())
