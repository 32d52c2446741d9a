"""Overlay pictures: one person's labels and proposals on the photograph, told apart at a glance.

A solid blue disc is a label, a hollow yellow diamond is a guess, a small purple square follows from labels by a rule.
Bones are solid between labels and dashed where an end is none; a circle shows how far a guess may be off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from annotator.errors import AnnotatorError, ImageError, expected
from annotator.files import atomic_path
from annotator.images import Images, read_pixels
from annotator.people import HUMAN_ORIGINS, ORIGIN, ORIGINS, People
from annotator.proposals import CALIBRATED, Proposals, drawable, uncertainty
from annotator.report import drawing
from annotator.report.drawing import BLUE, LIGHT, PURPLE, YELLOW, Canvas, Entry, Point
from annotator.skeletons import FloatArray, Skeleton

Pixels = NDArray[np.uint8]

SOFTWARE = "annotator"
SIZE = 800  # height of a picture of a person; at most WIDEST times as wide, at least NARROWEST where there is room
WIDEST, NARROWEST = 1.6, 0.6
SMALLEST_VIEW = 24  # picture pixels: a box of one pixel is shown with something around it
MARGIN = 0.08  # of the person's longer side, around the box and all points
REACH = 0.75  # of the longer side of box and labels: what is proposed further away does not widen the view
OUTSIDE = (70, 70, 70)
LOOKS = ("labelled", "labelled, hidden from view", "proposed", "derived by a rule")
CIRCLES = {
    "own": "90 % radius",
    "transferred": "90 % radius, calibrated on another dataset",
    "none": "90 % radius, uncalibrated",
    "spread": "raw spread, uncalibrated",
}


class Mark(NamedTuple):
    """A point to draw: place in picture pixels counted from 0, how it looks, and its circle (radius NaN: none)."""

    name: str
    definition: str
    xy: tuple[float, float]
    look: str
    radius: float = float("nan")
    circle: str = ""


@dataclass(frozen=True)
class View:
    """The part of a picture that is shown: its corner in picture pixels, its finished size, and the scale."""

    x: float
    y: float
    width: int
    height: int
    scale: float

    def place(self, xy: tuple[float, float]) -> Point:
        """Where a point lands; a coordinate means the middle of that pixel."""
        return (xy[0] + 0.5 - self.x) * self.scale, (xy[1] + 0.5 - self.y) * self.scale

    def holds(self, xy: tuple[float, float]) -> bool:
        """Whether a point lands inside."""
        x, y = self.place(xy)
        return 0 <= x < self.width and 0 <= y < self.height


def overlay(
    pixels: Pixels, people: People, proposals: Proposals, *, person: int | None = None, size: int = SIZE
) -> Image.Image:
    """Picture of the labels and proposals of one person, or of all people of a photograph, with a legend below.

    Args:
        pixels: (H, W, 3) RGB of the photograph.
        people: rows of that photograph; proposals are joined to them by person_id.
        proposals: what is not asked for (`kind` labelled) or has no place is not drawn.
        person: row of `people` to cut the photograph to; without it all of it is shown.
        size: height in pixels, legend not counted.
    """
    shown, marks, beyond = panel(pixels, people, proposals, person=person, size=size)
    rows = len(people) if person is None else 1
    title = str(people.person_id[person or 0]) if rows == 1 else f"{rows} people"
    notes = [f"outside this view: {', '.join(beyond)}"] if beyond else []
    width = max(shown.width, round(NARROWEST * size))
    return drawing.below(shown, drawing.strip(width, title, f"proposed by {proposals.student}", legend(marks), notes))


def panel(
    pixels: Pixels, people: People, proposals: Proposals, *, person: int | None = None, size: int = SIZE
) -> tuple[Image.Image, list[Mark], list[str]]:
    """An overlay without its legend, its marks, and the names of those that lie outside the view."""
    rows = range(len(people)) if person is None else [person]
    each = [marks_of(people.take([row]), proposals) for row in rows]
    marks = [mark for own in each for mark in own]
    if person is None:
        view = view_of_picture(pixels.shape[1], pixels.shape[0], size)
    else:
        view = view_of_person(people.take([person]), marks, pixels.shape[1], pixels.shape[0], size)
    canvas = Canvas(cut(pixels, view))
    for own in each:
        draw(canvas, view, own, [people.skeleton, proposals.skeleton])
    for mark in marks:
        if mark.look in LOOKS[2:] and view.holds(mark.xy):
            canvas.name(view.place(mark.xy), mark.name)
    return canvas.finish(), marks, [mark.name for mark in marks if not view.holds(mark.xy)]


def marks_of(one: People, proposals: Proposals) -> list[Mark]:
    """Labels of one person (a table of one row), then the proposals for what it lacks."""
    shift = float(one.pixel_origin[0])
    place = one.xy[0] - shift
    marks = [
        Mark(one.skeleton.keypoints[k], one.skeleton.definitions[k], _pair(place[k]), _look(one, k))
        for k in np.flatnonzero(one.labelled[0])
    ]
    for row in np.flatnonzero(proposals.person_id == one.person_id[0]):
        for k in np.flatnonzero(drawable(proposals.take([row]))[0]):
            look = LOOKS[3] if proposals.origin[row, k] == ORIGIN["derived"] else LOOKS[2]
            name, definition = proposals.skeleton.keypoints[k], proposals.skeleton.definitions[k]
            place = proposals.xy[row, k] - shift
            marks.append(Mark(name, definition, _pair(place), look, *radius_of(proposals, row, k)))
    return marks


def radius_of(proposals: Proposals, row: int, k: int) -> tuple[float, str]:
    """How far a proposal may be off, in pixels, and which of CIRCLES that is; NaN and "" where nobody knows."""
    if proposals.origin[row, k] == ORIGIN["derived"]:
        return float("nan"), ""
    for radius, circle in (
        (float(proposals.radius90[row, k]), CALIBRATED[proposals.calibrated[row, k]]),
        (float(proposals.spread_px[row, k]), "spread"),
    ):
        if np.isfinite(radius):
            return radius, circle
    return float("nan"), ""


def _look(one: People, k: int) -> str:
    word = ORIGINS[one.origin[0, k]]
    if word in HUMAN_ORIGINS:
        return LOOKS[0] if one.v[0, k] == 2 else LOOKS[1]
    return LOOKS[3] if word == "derived" else LOOKS[2]


def _pair(xy: FloatArray) -> tuple[float, float]:
    return float(xy[0]), float(xy[1])


def view_of_picture(width: int, height: int, size: int = SIZE) -> View:
    """All of a picture, as high as `size`, or less where it would be too wide."""
    scale = min(size / height, WIDEST * size / width)
    return View(0, 0, max(round(width * scale), 1), max(round(height * scale), 1), scale)


def view_of_person(one: People, marks: Sequence[Mark], width: int, height: int, size: int = SIZE) -> View:
    """A person's box and points with a margin; goes past the picture's edge only where a point does."""
    edge = np.array([width, height], dtype=float)
    corner = one.bbox_xywh[0, :2] - float(one.pixel_origin[0])
    box = np.clip([corner, corner + one.bbox_xywh[0, 2:]], [[0, 0], [1, 1]], [edge - 1, edge])
    points = np.array([mark.xy for mark in marks]).reshape(-1, 2) + 0.5
    label = np.array([mark.look in LOOKS[:2] for mark in marks], dtype=bool)
    inside = ((points > 0) & (points < edge)).all(axis=1)
    sure = np.vstack([box, points[label & inside]])
    reach = REACH * np.ptp(sure, axis=0).max()
    near = ((points >= sure.min(axis=0) - reach) & (points <= sure.max(axis=0) + reach)).all(axis=1)
    shown = np.vstack([sure, points[near]])
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = MARGIN * (high - low).max() + 1
    low = np.where(low >= 0, np.maximum(low - margin, 0), low - margin)
    high = np.where(high <= edge, np.minimum(high + margin, edge), high + margin)
    low, high = _grown(low, high, edge)
    side = high - low
    scale = float(min(size / side[1], WIDEST * size / side[0]))
    return View(float(low[0]), float(low[1]), max(round(side[0] * scale), 1), max(round(side[1] * scale), 1), scale)


def _grown(low: FloatArray, high: FloatArray, edge: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A window neither tiny nor too narrow nor too wide, on whole pixels; it grows inside the picture only."""
    side = np.maximum(high - low, SMALLEST_VIEW)
    side = np.maximum(side, [NARROWEST * side[1], side[0] / WIDEST])
    side = np.maximum(np.minimum(side, edge), high - low)
    start = np.clip((low + high - side) / 2, np.minimum(low, 0), np.maximum(high, edge) - side)
    return np.floor(start), np.ceil(start + side)


def cut(pixels: Pixels, view: View) -> Image.Image:
    """The part of a picture that a view shows, at its finished size; grey where there is no picture."""
    right, bottom = view.x + view.width / view.scale, view.y + view.height / view.scale
    x0, x1 = (int(np.clip(x, 0, pixels.shape[1])) for x in (round(view.x), round(right)))
    y0, y1 = (int(np.clip(y, 0, pixels.shape[0])) for y in (round(view.y), round(bottom)))
    out = Image.new("RGB", (view.width, view.height), OUTSIDE)
    if x0 >= x1 or y0 >= y1:
        return out
    corners = [round((v - start) * view.scale) for v, start in ((x0, view.x), (y0, view.y), (x1, view.x), (y1, view.y))]
    part = Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    wanted = (max(corners[2] - corners[0], 1), max(corners[3] - corners[1], 1))
    smooth = Image.Resampling.BICUBIC if view.scale > 1 else Image.Resampling.LANCZOS
    out.paste(part.resize(wanted, smooth, reducing_gap=3.0), (corners[0], corners[1]))
    return out


def draw(canvas: Canvas, view: View, marks: Sequence[Mark], skeletons: Iterable[Skeleton]) -> None:
    """Circles, bones, then points of one person; what is outside the view is left out."""
    marks = [mark for mark in marks if view.holds(mark.xy)]
    for mark in marks:
        if np.isfinite(mark.radius):
            canvas.circle(view.place(mark.xy), mark.radius * view.scale, YELLOW, dashed=mark.circle == "spread")
    at = {(mark.name, mark.definition): mark for mark in reversed(marks)}  # a label before a guess at the same point
    meaning = [dict(zip(s.keypoints, s.definitions, strict=True)) for s in skeletons]
    bones = {((a, m[a]), (b, m[b])) for s, m in zip(skeletons, meaning, strict=True) for a, b in s.edges}
    for a, b in sorted(bones):
        if a in at and b in at:
            firm = {at[a].look, at[b].look} <= set(LOOKS[:2])
            canvas.edge(view.place(at[a].xy), view.place(at[b].xy), BLUE if firm else LIGHT, dashed=not firm)
    for look in (LOOKS[3], *LOOKS[:3]):
        for mark in marks:
            if mark.look == look:
                GLYPHS[look](canvas, view.place(mark.xy))


GLYPHS = {
    LOOKS[0]: lambda canvas, at: canvas.disc(at, BLUE),
    LOOKS[1]: lambda canvas, at: canvas.disc(at, BLUE, dotted=True),
    LOOKS[2]: lambda canvas, at: canvas.diamond(at, YELLOW),
    LOOKS[3]: lambda canvas, at: canvas.square(at, PURPLE),
}


def legend(marks: Sequence[Mark]) -> list[Entry]:
    """What the marks of a picture mean, with how many there are of each; nothing that is not in it."""
    entries = [
        Entry(f"{look} ({count})", GLYPHS[look])
        for look in LOOKS
        if (count := sum(mark.look == look for mark in marks))
    ]
    for circle, words in CIRCLES.items():
        if any(mark.circle == circle for mark in marks):
            entries.append(Entry(words, _sample_circle(dashed=circle == "spread")))
    return entries


def _sample_circle(*, dashed: bool) -> Any:
    return lambda canvas, at: canvas.circle(at, 8, YELLOW, dashed=dashed)


class Pictures(NamedTuple):
    """What `write_pictures` wrote, and why it left pictures out."""

    paths: list[Path]
    skipped: list[str]


def write_pictures(folder: Path, images: Images, people: People, proposals: Proposals, n: int) -> Pictures:
    """Overlays of the `n` least certain people, `0001_<person_id>.png` being the least certain of all.

    Ties are broken by person_id; people of whom nothing is proposed have no picture. A photograph that cannot be read
    is left out, its number too. Earlier pictures of that form in the folder are removed.

    Raises:
        StorageError: the folder cannot be written.
    """
    asked = np.flatnonzero(drawable(proposals).any(axis=1))
    unsure = np.nan_to_num(uncertainty(proposals)[asked], nan=-1.0)
    order = asked[np.lexsort((proposals.person_id[asked].astype(str), -unsure))][:n]
    row_of = {name: row for row, name in enumerate(people.person_id)}
    paths, skipped = [], []
    for number, chosen in enumerate(order, start=1):
        person_id = str(proposals.person_id[chosen])
        try:
            one = people.take([row_of[person_id]])
            pixels = _pixels_of(images, one)
        except AnnotatorError as error:
            skipped.append(f"{person_id}: {error}")
            continue
        path = folder / f"{number:04d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', person_id)[:80]}.png"
        with atomic_path(path) as temporary:
            picture = overlay(pixels, one, proposals.take([chosen]), person=0)
            picture.save(temporary, format="PNG", compress_level=6, pnginfo=_signature())
        paths.append(path)
    if folder.is_dir():
        for old in sorted(folder.iterdir()):
            if re.fullmatch(r"\d{4,}_.*\.png", old.name) and old not in paths and _ours(old):
                old.unlink()
    return Pictures(paths, skipped)


def _signature() -> PngInfo:
    """What tells a picture drawn here from anybody else's: only such are ever removed."""
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    return info


def _ours(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except OSError:
        return False


def _pixels_of(images: Images, one: People) -> Pixels:
    row = images.rows_of(one.image_id)[0]
    if row < 0:
        raise ImageError(expected(f"an image {one.image_id[0]}", "none", str(one.person_id[0])))
    return read_pixels(Path(images.path[row]))
