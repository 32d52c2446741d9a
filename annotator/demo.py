"""The demo: three people on photographs that come inside installed packages, labelled by hand in `demo_people.json`.

Their COCO keypoints are in that file, copied beside the photographs as an ordinary annotation file; what COCO lacks
is proposed by the same function as for anybody's data.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotator import formats, rounds
from annotator.errors import InputError, MissingError, expected
from annotator.files import atomic_path
from annotator.images import Images, read_pixels
from annotator.people import ORIGINS, People
from annotator.proposals import Proposals, drawable
from annotator.report import drawing
from annotator.report.overlay import CIRCLES, Mark, Pictures, legend, panel, radius_of, write_pictures

LABELS = Path(__file__).with_name("demo_people.json")
PANEL_HEIGHT = 400  # of the README's picture: three panels are as wide as a page
GAP = 6


@dataclass(frozen=True)
class Demo:
    """What the demo made: the labelled people, the proposals for them, and overlays of the least certain."""

    images: Images
    people: People
    proposals: Proposals
    pictures: Pictures


def run(out: Path, *, student: str = "default", pictures: int = 3, progress: Callable[..., Any] | None = None) -> Demo:
    """Copy photographs and labels to `out`, propose what is missing, draw the `pictures` least certain people.

    Raises:
        MissingError: a package that has photographs is not installed.
        StorageError: `out` cannot be written.
    """
    labels = unpack(out)
    result = rounds.propose(labels, out / "images", out, rounds.How(student), progress=progress)
    dataset = formats.read(labels, out / "images", "coco")
    drawn = write_pictures(out / "pictures", dataset.images, dataset.people, result.proposals, pictures)
    return Demo(dataset.images, dataset.people, result.proposals, drawn)


def unpack(out: Path) -> Path:
    """Write `out/labels.json` (COCO) and the photographs it names to `out/images`; returns the former.

    Raises:
        InputError: a file of one of these names is there and is not the demo's: nothing is overwritten.
    """
    text = LABELS.read_text(encoding="utf-8")
    sources = {image["file_name"]: packaged(image["package_file"]) for image in json.loads(text)["images"]}
    content = {out / "images" / name: source.read_bytes() for name, source in sources.items()}
    content[out / "labels.json"] = text.encode()
    for path, wanted in content.items():
        if path.exists() and not (path.is_file() and path.read_bytes() == wanted):
            raise InputError(expected("an empty folder, or an earlier demo's", f"another {path.name}", str(out)))
    for path, wanted in content.items():
        with atomic_path(path) as temporary:
            temporary.write_bytes(wanted)
    return out / "labels.json"


def packaged(package_file: str) -> Path:
    """Path of a file inside an installed package, `package:path`; the package itself is not imported.

    Raises:
        MissingError: the package, or the file in it, is not there.
    """
    package, _, name = package_file.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(f"The demo needs photographs of the package {package}: pip install 'annotator[demo]'")
    path = Path(spec.submodule_search_locations[0], name)
    if not path.is_file():
        raise MissingError(expected(f"{name} in the package {package}", "no such file", str(path)))
    return path


def summary(demo: Demo) -> list[dict[str, Any]]:
    """One entry a person: its photograph, its number of labels, its proposals in pixels; None where nobody knows."""
    asked = drawable(demo.proposals)
    row_of = {name: row for row, name in enumerate(demo.proposals.person_id)}
    file_of = dict(zip(demo.images.image_id, demo.images.file_name, strict=True))
    out = []
    for i, person_id in enumerate(demo.people.person_id):
        row = row_of[person_id]
        points = [_point(demo.proposals, row, k) for k in np.flatnonzero(asked[row])]
        labelled = int(demo.people.labelled[i].sum())
        photograph = file_of[demo.people.image_id[i]]
        out.append({"person_id": person_id, "photograph": photograph, "labelled": labelled, "proposed": points})
    return out


def _point(proposals: Proposals, row: int, k: int) -> dict[str, Any]:
    radius, circle = radius_of(proposals, row, k)
    return {
        "keypoint": proposals.skeleton.keypoints[k],
        "x": round(float(proposals.xy[row, k, 0]), 2),
        "y": round(float(proposals.xy[row, k, 1]), 2),
        "origin": ORIGINS[proposals.origin[row, k]],
        "radius_px": round(radius, 2) if np.isfinite(radius) else None,
        "radius_is": CIRCLES.get(circle),
    }


def readme_picture(path: Path, demo: Demo) -> None:
    """Write the README's picture: all people side by side over one legend, in 256 colours to be small."""
    panels, marks = [], []
    for i in range(len(demo.people)):
        pixels = read_pixels(Path(demo.images.path[demo.images.rows_of(demo.people.image_id[[i]])[0]]))
        shown, own, _ = panel(pixels, demo.people, demo.proposals, person=i, size=PANEL_HEIGHT)
        panels.append(shown)
        marks += own
    side_by_side(path, panels, marks, f"{len(panels)} people", f"proposed by {demo.proposals.student}")


def side_by_side(path: Path, panels: Sequence[Image.Image], marks: Sequence[Mark], title: str, aside: str) -> None:
    """Write panels of one height side by side over one legend of their marks, in 256 colours."""
    width = sum(shown.width for shown in panels) + GAP * (len(panels) - 1)
    row = Image.new("RGB", (width, panels[0].height), drawing.PAPER)
    x = 0
    for shown in panels:
        row.paste(shown, (x, 0))
        x += shown.width + GAP
    strip = drawing.strip(width, title, aside, legend(marks), [])
    with atomic_path(path) as temporary:
        _few_colours(drawing.below(row, strip)).save(temporary, format="PNG", optimize=True)


def _few_colours(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours, those of the marks among them exactly: they are what tells a label from a guess."""
    kept = [colour[:3] for colour in drawing.MARK_COLOURS]
    others = picture.quantize(256 - len(kept), method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in kept for value in colour] + others)
    codes = np.array(picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    for code, colour in enumerate(kept):
        codes[(np.asarray(picture) == colour).all(axis=2)] = code
    out = Image.frombytes("P", picture.size, codes.tobytes())
    out.putpalette(palette.getpalette() or [])
    return out
