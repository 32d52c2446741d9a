"""Marks on a picture and the strip below it: smooth lines, glyphs that show on any background, type that stays apart.

All lengths are pixels of the finished picture, whatever the photograph's size. Every mark has a dark and a light
outline, so that it shows on a black coat and on a white wall; the colours are Okabe and Ito's (2008), told apart by
colour-blind people, and each meaning has a shape of its own besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Colour = tuple[int, int, int, int]

BLUE, YELLOW, PURPLE = (86, 180, 233, 255), (240, 228, 66, 255), (204, 121, 167, 255)
DARK, LIGHT, CASING = (16, 16, 16, 255), (255, 255, 255, 255), (0, 0, 0, 150)
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (96, 96, 96)
MARK_COLOURS = (BLUE, YELLOW, PURPLE, DARK, LIGHT)
SUPERSAMPLING = 3  # of marks; finer is not seen at these line widths
GLYPH = 6.0  # half the height of a mark
TEXT = 14
LINE_HEIGHT = 22
MARGIN = 10
FAR = 150  # square pixels that a name may cover before it moves away from its mark


@lru_cache
def font(size: int = TEXT) -> ImageFont.FreeTypeFont:
    """The typeface that comes inside Pillow, so that pictures look the same on every machine."""
    face = ImageFont.load_default(size=size)
    assert isinstance(face, ImageFont.FreeTypeFont)
    return face


def width_of(text: str, size: int = TEXT) -> float:
    """Width of a line of type."""
    return font(size).getlength(text)


class Canvas:
    """Marks on an RGB picture; `finish` returns the picture with all of them."""

    def __init__(self, picture: Image.Image):
        self.picture = picture.convert("RGB")
        self.size = self.picture.size
        self._layer = Image.new("RGBA", (self.size[0] * SUPERSAMPLING, self.size[1] * SUPERSAMPLING))
        self._draw = ImageDraw.Draw(self._layer)
        self._taken: list[Box] = []
        self._texts: list[tuple[Point, str, Colour]] = []

    def edge(self, a: Point, b: Point, colour: Colour, *, dashed: bool) -> None:
        """A bone of the skeleton: a thin line in a casing; a dashed one stops short of the marks at its ends."""
        self._taken += [(x - 2, y - 2, x + 2, y + 2) for (x, y), _ in _dashes(a, b)]
        if dashed:
            for piece in _dashes(*_shortened(a, b, GLYPH + 4)):
                self._line(piece, CASING, 3.0)
                self._line(piece, colour, 1.5)
        else:
            self._line((a, b), CASING, 4.0)
            self._line((a, b), colour, 2.0)

    def circle(self, centre: Point, radius: float, colour: Colour, *, dashed: bool) -> None:
        """A circle; nothing where all of it lies outside the picture."""
        if not 1 <= radius <= max(math.dist(centre, corner) for corner in self._corners()):
            return
        pieces = max(int(math.tau * radius / 9), 6) if dashed else 1
        step = 360 / pieces
        for line, width in ((CASING, 4.0), (colour, 2.0)):
            for i in range(pieces):
                self._arc(centre, radius, i * step, i * step + (step * 0.6 if dashed else 360), line, width)

    def disc(self, at: Point, colour: Colour, *, dotted: bool = False) -> None:
        """A filled disc with a dark rim; `dotted` has a dark middle."""
        for fill, radius in ((LIGHT, GLYPH + 1.2), (DARK, GLYPH), (colour, GLYPH - 1.8)):
            self._polygon([(at[0] + x * radius, at[1] + y * radius) for x, y in _CIRCLE], fill)
        if dotted:
            self._polygon([(at[0] + x * 1.9, at[1] + y * 1.9) for x, y in _CIRCLE], DARK)
        self._take(at)

    def square(self, at: Point, colour: Colour) -> None:
        """A small filled square with a dark rim."""
        for fill, half in ((LIGHT, GLYPH), (DARK, GLYPH - 1.2), (colour, GLYPH - 2.8)):
            self._polygon([(at[0] + x * half, at[1] + y * half) for x, y in _SQUARE], fill)
        self._take(at)

    def diamond(self, at: Point, colour: Colour) -> None:
        """A hollow diamond with a dot in the middle: the place itself stays in view."""
        for line, width in ((DARK, 5.0), (colour, 2.4)):
            corners = [(at[0] + x * (GLYPH + 2), at[1] + y * (GLYPH + 2)) for x, y in _DIAMOND]
            for pair in zip(corners, corners[1:] + corners[:1], strict=True):
                self._line(pair, line, width)
            for corner in corners:
                self._polygon([(corner[0] + x * width / 2, corner[1] + y * width / 2) for x, y in _CIRCLE], line)
        self._polygon([(at[0] + x * 1.3, at[1] + y * 1.3) for x, y in _CIRCLE], colour)
        self._take(at)

    def name(self, at: Point, text: str) -> None:
        """Small type beside a mark, where it covers least; call it when all marks are drawn."""
        width, height = width_of(text) + 4, TEXT + 4
        boxes = [box for reach in (GLYPH + 5, 3 * GLYPH + 14) for box in _around(at, reach, width, height)]
        costs = [
            sum(_shared(box, other) for other in self._taken) + 100 * self._cut(box) + (FAR if i >= 8 else 0)
            for i, box in enumerate(boxes)
        ]
        far = (best := costs.index(min(costs))) >= 8
        x = min(max(boxes[best][0], 0), max(self.size[0] - width, 0))
        y = min(max(boxes[best][1], 0), max(self.size[1] - height, 0))
        self._taken.append((x, y, x + width, y + height))
        self._texts.append(((x + 2, y + height / 2), text, LIGHT))
        if far:  # a thin line says whose name it is
            end = (min(max(at[0], x), x + width), min(max(at[1], y), y + height))
            start, _ = _shortened(at, end, GLYPH + 3)
            self._line((start, end), DARK, 3.0)
            self._line((start, end), LIGHT, 1.0)

    def finish(self) -> Image.Image:
        """The picture with its marks and names."""
        marks = self._layer.resize(self.size, Image.Resampling.BOX)
        picture = Image.alpha_composite(self.picture.convert("RGBA"), marks)
        draw = ImageDraw.Draw(picture)
        for at, text, colour in self._texts:
            draw.text(at, text, font=font(), fill=colour, anchor="lm", stroke_width=2, stroke_fill=DARK)
        return picture.convert("RGB")

    def _corners(self) -> list[Point]:
        return [(x, y) for x in (0.0, self.size[0]) for y in (0.0, self.size[1])]

    def _take(self, at: Point) -> None:
        reach = GLYPH + 2
        self._taken.append((at[0] - reach, at[1] - reach, at[0] + reach, at[1] + reach))

    def _cut(self, box: Box) -> float:
        inside = _shared(box, (0, 0, *self.size))
        return (box[2] - box[0]) * (box[3] - box[1]) - inside

    def _line(self, ends: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line([_fine(p) for p in ends], fill=colour, width=max(round(width * SUPERSAMPLING), 1))

    def _polygon(self, corners: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([_fine(p) for p in corners], fill=colour)

    def _arc(self, centre: Point, radius: float, start: float, end: float, colour: Colour, width: float) -> None:
        reach = radius + width / 2
        low, high = _fine((centre[0] - reach, centre[1] - reach)), _fine((centre[0] + reach, centre[1] + reach))
        self._draw.arc((*low, *high), start, end, fill=colour, width=round(width * SUPERSAMPLING))


@dataclass(frozen=True)
class Entry:
    """One meaning in the legend: its mark (drawn at a place of the strip) and its words."""

    words: str
    mark: Callable[[Canvas, Point], None]


def strip(width: int, title: str, aside: str, entries: Sequence[Entry], notes: Sequence[str]) -> Image.Image:
    """The strip below a picture: a title, something aside to its right, the legend, notes; wrapped to the width."""
    rows = _rows(entries, width)
    lines = [line for text in notes for line in wrap(text, width - 2 * MARGIN)]
    fits = width_of(title, TEXT + 1) + width_of(aside) + 3 * MARGIN <= width
    heads = [title] if fits or not aside else [title, aside]
    height = 2 * MARGIN + LINE_HEIGHT * (len(heads) + len(rows) + len(lines)) - 4
    canvas = Canvas(Image.new("RGB", (width, height), PAPER))
    y = float(MARGIN + LINE_HEIGHT / 2 - 2)
    texts = [((float(MARGIN), y), _clip(title, width - 2 * MARGIN, TEXT + 1), INK, TEXT + 1)]
    if aside and fits:
        texts.append(((width - MARGIN - width_of(aside), y), aside, GREY, TEXT))
    elif aside:
        y += LINE_HEIGHT
        texts.append(((float(MARGIN), y), _clip(aside, width - 2 * MARGIN, TEXT), GREY, TEXT))
    for row in rows:
        y += LINE_HEIGHT
        for x, entry in row:
            entry.mark(canvas, (x + 9, y))
            texts.append(((x + 24, y), entry.words, INK, TEXT))
    for line in lines:
        y += LINE_HEIGHT
        texts.append(((float(MARGIN), y), line, GREY, TEXT))
    picture = canvas.finish()
    draw = ImageDraw.Draw(picture)
    for at, text, colour, size in texts:
        draw.text(at, text, font=font(size), fill=colour, anchor="lm")
    return picture


def below(picture: Image.Image, legend: Image.Image) -> Image.Image:
    """A picture with its strip below; the narrower of the two is centred."""
    width = max(picture.width, legend.width)
    out = Image.new("RGB", (width, picture.height + legend.height), PAPER)
    out.paste(picture, ((width - picture.width) // 2, 0))
    out.paste(legend, ((width - legend.width) // 2, picture.height))
    return out


def wrap(text: str, width: float) -> list[str]:
    """Lines of at most a width, broken at spaces; a longer word is cut short."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_clip(word, width, TEXT))
    return [line for line in lines if line]


def _rows(entries: Sequence[Entry], width: int) -> list[list[tuple[float, Entry]]]:
    rows: list[list[tuple[float, Entry]]] = [[]]
    x = float(MARGIN)
    for entry in entries:
        needed = 24 + width_of(entry.words)
        if rows[-1] and x + needed > width - MARGIN:
            rows.append([])
            x = float(MARGIN)
        rows[-1].append((x, entry))
        x += needed + 18
    return [row for row in rows if row]


def _clip(text: str, width: float, size: int) -> str:
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "...", size) > width:
        text = text[:-1]
    return text + "..."


def _dashes(a: Point, b: Point) -> list[tuple[Point, Point]]:
    """Pieces of 6 with gaps of about 5, beginning and ending with a piece."""
    length = math.dist(a, b)
    count = max(round((length + 5) / 11), 1)
    period = (length + 5) / count

    def at(distance: float) -> Point:
        share = min(distance / length, 1.0) if length else 0.0
        return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share

    return [(at(i * period), at(i * period + period - 5)) for i in range(count)]


def _around(at: Point, reach: float, width: float, height: float) -> list[Box]:
    """Eight boxes of type around a mark: right, left, the corners, below, above."""
    sides = [(1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1)]
    corners = [
        (at[0] + dx * reach - width * (1 - dx) / 2, at[1] + dy * reach - height * (1 - dy) / 2) for dx, dy in sides
    ]
    return [(x, y, x + width, y + height) for x, y in corners]


def _shortened(a: Point, b: Point, by: float) -> tuple[Point, Point]:
    length = math.dist(a, b)
    share = by / length if length > 2 * by else 0.5
    step = ((b[0] - a[0]) * share, (b[1] - a[1]) * share)
    return (a[0] + step[0], a[1] + step[1]), (b[0] - step[0], b[1] - step[1])


def _shared(a: Box, b: Box) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _fine(point: Point) -> Point:
    return point[0] * SUPERSAMPLING, point[1] * SUPERSAMPLING


_CIRCLE = [(math.cos(math.tau * i / 48), math.sin(math.tau * i / 48)) for i in range(48)]
_SQUARE = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
_DIAMOND = [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)]
