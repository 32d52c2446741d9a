"""Pixels of a picture <-> Label Studio's percent of what the browser shows.

Three things stand between the two. Labels count pixels from 0 or 1 and name a pixel's middle, percent begin at the
picture's edge: half a pixel apart. Labels ignore the EXIF orientation, browsers follow it. And percent run from 0 to
100 whatever the size. A box's corners lie on edges in both worlds, so half a pixel is added to points alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.errors import ImageError, expected
from annotator.skeletons import FloatArray

PIXEL_MIDDLE = 0.5
EXIF_ORIENTATION = 274
# EXIF orientation -> (axes change places, then x is mirrored, then y is mirrored): how the stored picture is shown.
SHOWN = {
    1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True),
    5: (True, False, False), 6: (True, True, False), 7: (True, True, True), 8: (True, False, True),
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """How one picture lies in the browser.

    Attributes:
        width, height: pixels as stored.
        orientation: EXIF's word on how to show it, 1 (as stored) to 8.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as the browser shows it: Label Studio's original_width and original_height."""
        return (self.height, self.width) if SHOWN[self.orientation][0] else (self.width, self.height)

    def point_percent(self, xy: FloatArray, pixel_origin: int) -> FloatArray:
        """Percent (..., 2) of points given in pixels as the labels count them."""
        return self._shown((xy - pixel_origin + PIXEL_MIDDLE) / self._size * 100)

    def point_xy(self, percent: FloatArray, pixel_origin: int) -> FloatArray:
        """Inverse of `point_percent`."""
        return self._stored(percent) / 100 * self._size - PIXEL_MIDDLE + pixel_origin

    def box_percent(self, xywh: FloatArray, pixel_origin: int) -> FloatArray:
        """Percent (4,) xywh of a box given in pixels as the labels count them."""
        low = xywh[:2] - pixel_origin
        corners = self._shown(np.stack([low, low + xywh[2:]]) / self._size * 100)
        return np.concatenate([corners.min(axis=0), np.abs(corners[1] - corners[0])])

    def box_xywh(self, corners_percent: FloatArray, pixel_origin: int) -> FloatArray:
        """Pixels (4,) xywh of the upright box around some corners (C, 2) in percent."""
        corners = self._stored(corners_percent) / 100 * self._size + pixel_origin
        low = corners.min(axis=0)
        return np.concatenate([low, corners.max(axis=0) - low])

    def corners(self, xywh_percent: FloatArray, rotation: float) -> FloatArray:
        """Corners (4, 2) in percent of a rectangle that Label Studio turned about its first corner, clockwise."""
        x, y, width, height = xywh_percent
        size = np.array(self.shown_size, dtype=np.float64)
        away = np.array([[0, 0], [width, 0], [width, height], [0, height]]) * size  # turned in pixels, not in percent
        sine, cosine = np.sin(np.radians(rotation)), np.cos(np.radians(rotation))
        return np.asarray(np.array([x, y]) + (away @ np.array([[cosine, sine], [-sine, cosine]])) / size)

    @property
    def _size(self) -> FloatArray:
        return np.array([self.width, self.height], dtype=np.float64)

    def _shown(self, percent: FloatArray) -> FloatArray:
        swap, *mirrored = SHOWN[self.orientation]
        percent = percent[..., ::-1] if swap else percent
        return np.where(mirrored, 100 - percent, percent)

    def _stored(self, percent: FloatArray) -> FloatArray:
        swap, *mirrored = SHOWN[self.orientation]
        percent = np.where(mirrored, 100 - percent, percent)
        return percent[..., ::-1] if swap else percent


def frame_of(path: Path) -> Frame:
    """Size and orientation from a picture's header alone; raises ImageError where it is no picture."""
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(EXIF_ORIENTATION, 1)
            return Frame(*picture.size, orientation if orientation in SHOWN else 1)
    except Exception as error:  # decoders raise all kinds on broken data
        raise ImageError(expected("a picture", str(error).split("\n")[0] or type(error).__name__, str(path))) from error
