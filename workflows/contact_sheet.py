"""Contact sheets for counting by eye: people drawn with their added points and a measure around each.

A cell is one person: the whole person with labels and added points; the head enlarged, with the same marks; and the
head alone, as it was photographed. Blue discs are labels, yellow diamonds were proposed, purple squares follow by a
rule; the circle around an added point has a radius of half a head size. Cells carry the person's number on the sheet.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import binomtest

from annotator.errors import FormatError, expected
from annotator.files import atomic_path, read_bytes
from annotator.people import ORIGINS, People
from annotator.proposals import Proposals, drawable
from annotator.report import drawing
from annotator.report.drawing import Canvas
from annotator.report.overlay import LOOKS, Mark, Pixels, View, cut, draw, marks_of, view_of_person
from annotator.skeletons import Skeleton
from workflows.consistency import FACE, NECK_AND_TOP

PERSON, HEAD = (420, 620), 310  # pixels of the finished sheet: width and height of a person; side of a head
TITLE, GAP = 26, 6
CELL = (PERSON[0] + HEAD + 2 * GAP, TITLE + PERSON[1] + GAP)
COLUMNS, ROWS = 2, 2  # larger pages are shrunk by most viewers
HALF = 0.5
# In head sizes: half the side of a head's view, and the margin around its points.
NEAREST, FURTHEST, MARGIN = 1.1, 3.0, 0.4
HEADINGS = ("number", "person_id", "keypoint", "origin", "off")
# Off by more than HALF a head? `outside`: the true place is not in the picture.
VERDICTS = ("no", "yes", "unsure", "outside")
SHORT = {"left": "L", "right": "R", "upper_neck": "neck", "head_top": "top"}


def marks_with_measure(one: People, proposals: Proposals, head_px: float) -> list[Mark]:
    """Labels and added points of one person; half a head size is the radius around the added ones."""
    return [
        mark._replace(radius=HALF * head_px if mark.look in LOOKS[2:] else float("nan"), circle="")
        for mark in marks_of(one, proposals)
    ]


def head_view(marks: Sequence[Mark], head_px: float, side: int = HEAD) -> View:
    """A square around what is known or added of the head, between NEAREST and FURTHEST head sizes to each side."""
    points = np.array([mark.xy for mark in marks if mark.name in (*FACE, *NECK_AND_TOP)]).reshape(-1, 2) + 0.5
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = float(np.clip(np.abs(points - centre).max() + MARGIN * head_px, NEAREST * head_px, FURTHEST * head_px))
    return View(float(centre[0]) - reach, float(centre[1]) - reach, side, side, side / (2 * reach))


def fitted(view: View, width: int, height: int) -> View:
    """The same view, at most this large."""
    shrink = min(width / view.width, height / view.height)
    wide, high = (max(round(side * shrink), 1) for side in (view.width, view.height))
    return View(view.x, view.y, wide, high, view.scale * shrink)


def cell(pixels: Pixels, one: People, proposals: Proposals, head_px: float, title: str) -> Image.Image:
    """One person of a sheet, CELL in size.

    Args:
        pixels: (H, W, 3) RGB of the photograph.
        one: the person, a table of one row.
        proposals: of that person; what has no place is not drawn.
        head_px: head size.
        title: printed above.
    """
    marks = marks_with_measure(one, proposals, head_px)
    skeletons = [one.skeleton, proposals.skeleton]
    whole = fitted(view_of_person(one, marks, pixels.shape[1], pixels.shape[0], PERSON[1]), *PERSON)
    head = head_view(marks, head_px)
    out = Image.new("RGB", CELL, drawing.PAPER)
    ImageDraw.Draw(out).text((GAP, TITLE / 2), title, font=drawing.font(18), fill=drawing.INK, anchor="lm")
    out.paste(_drawn(pixels, whole, marks, skeletons), (0, TITLE))
    out.paste(_drawn(pixels, head, marks, [], names=(*FACE, *NECK_AND_TOP)), (PERSON[0] + GAP, TITLE))
    out.paste(cut(pixels, head), (PERSON[0] + GAP, TITLE + PERSON[1] - HEAD))
    return out


def _drawn(
    pixels: Pixels, view: View, marks: Sequence[Mark], skeletons: Sequence[Skeleton], names: Sequence[str] = ()
) -> Image.Image:
    """A view with its marks; names beside the added ones among `names`."""
    canvas = Canvas(cut(pixels, view))
    draw(canvas, view, marks, skeletons)
    for mark in marks:
        if mark.name in names and mark.look in LOOKS[2:] and view.holds(mark.xy):
            canvas.name(view.place(mark.xy), _short(mark.name))
    return canvas.finish()


def _short(name: str) -> str:
    """A name that leaves room for a face.

    >>> _short("left_eye"), _short("nose"), _short("head_top")
    ('L eye', 'nose', 'top')
    """
    side, _, part = name.partition("_")
    return SHORT.get(name) or (f"{SHORT[side]} {part}" if side in SHORT else name)


def pages(cells: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """Sheets of COLUMNS x ROWS cells, read as a text is; the last one keeps its empty places."""
    step = COLUMNS * ROWS
    for start in range(0, len(cells), step):
        page = Image.new("RGB", (COLUMNS * CELL[0], ROWS * CELL[1]), drawing.PAPER)
        for i, one in enumerate(cells[start : start + step]):
            page.paste(one, ((i % COLUMNS) * CELL[0], (i // COLUMNS) * CELL[1]))
        yield page


def write_pages(folder: Path, cells: Sequence[Image.Image]) -> list[Path]:
    """sheet_01.png and so on."""
    paths = []
    for number, page in enumerate(pages(cells), start=1):
        paths.append(folder / f"sheet_{number:02d}.png")
        with atomic_path(paths[-1]) as temporary:
            page.save(temporary, format="PNG")
    return paths


def lines(number: int, proposal: Proposals) -> list[list[str]]:
    """Rows of the list for one person (a table of one row): number, person, keypoint, origin, and an empty verdict."""
    names, origin = proposal.skeleton.keypoints, proposal.origin[0]
    asked = np.flatnonzero(drawable(proposal)[0])
    return [[str(number), str(proposal.person_id[0]), names[k], ORIGINS[origin[k]], ""] for k in asked]


def write_list(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """The list to count on, one added point a line."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADINGS, *rows])


def counted(path: Path) -> str:
    """Markdown: of each keypoint how many were judged off, with Wilson's 95 % interval over those that could be judged.

    Raises:
        FormatError: a verdict that is none of VERDICTS.
    """
    found: dict[str, Counter[str]] = {}
    rows = csv.DictReader(read_bytes(path, "a filled list").decode().splitlines())
    for line, row in enumerate(rows, start=2):
        if row["off"] not in VERDICTS:
            raise FormatError(expected(f"one of {', '.join(VERDICTS)}", repr(row["off"]), f"{path}: line {line}"))
        data = row["person_id"].partition(":")[0]
        by_rule = ", by a rule" if row["origin"] == "derived" else ""
        found.setdefault(f"{data.upper()}, {row['keypoint']}{by_rule}", Counter())[row["off"]] += 1
    out = ["| added | judged | off by more than half a head | 95 % | cannot tell | not in the picture |"]
    out.append("|---|---|---|---|---|---|")
    for name, words in found.items():
        off, judged = words["yes"], words["yes"] + words["no"]
        low, high = binomtest(off, judged).proportion_ci(method="wilson") if judged else (0.0, 1.0)
        share = f"{off} ({100 * off / judged:.0f} %)" if judged else "-"
        limits = f"{100 * low:.0f} to {100 * high:.0f} %"
        out.append(f"| {name} | {judged} | {share} | {limits} | {words['unsure']} | {words['outside']} |")
    return "\n".join([*out, ""])
