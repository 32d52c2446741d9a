"""Images: where the pictures are, and how their pixels are read.

Labels of COCO, MPII and LSP count the pixels as they are stored, whatever the EXIF orientation says; so pixels are
read as stored and the orientation tag is ignored everywhere.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotator.errors import ImageError, expected
from annotator.files import read_bytes
from annotator.skeletons import IntArray
from annotator.tables import StrArray, Table

# Larger than any camera's picture (a 100 megapixel frame passes), small enough to hold in memory several times. Pillow
# itself refuses 179 million.
MAX_PIXELS = 150_000_000
_AT_MOST = f"at most {MAX_PIXELS:,} pixels"
# The list of warning filters is one for all threads: two that change it at once could leave it changed.
_WARNINGS = threading.Lock()


@dataclass(frozen=True)
class Images(Table):
    """M pictures under one or several roots.

    Attributes:
        image_id: unique, e.g. `coco:139`.
        path: absolute or relative to the current folder.
        file_name: as the dataset names it, relative to its root.
        width, height: pixels, -1 where the dataset does not say.
        record: the source's own record as JSON, empty where the format has none.
    """

    image_id: StrArray
    path: StrArray
    file_name: StrArray
    width: IntArray
    height: IntArray
    record: StrArray

    SHAPES: ClassVar[dict[str, tuple[Any, tuple[Any, ...]]]] = {
        "image_id": (object, ()), "path": (object, ()), "file_name": (object, ()),
        "width": (np.int64, ()), "height": (np.int64, ()), "record": (object, ()),
    }  # fmt: skip

    def rows_of(self, image_id: StrArray) -> IntArray:
        """Row of each id, -1 where it is unknown."""
        row = {name: i for i, name in enumerate(self.image_id)}
        return np.array([row.get(name, -1) for name in image_id], dtype=np.int64)


def inside(root: Path, file_name: str, where: str) -> Path:
    """Path of a file that a dataset names; raises ImageError where the name leaves the root.

    Only the name is judged: a link that somebody put under the root may point to another disk.
    """
    path = root / file_name
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):  # noqa: PTH100 (no links followed)
        raise ImageError(expected(f"a path inside {root}", repr(file_name), where))
    return path


def size_of(path: Path) -> tuple[int, int]:
    """Width and height from the header alone, pixels as stored; raises ImageError where it is no picture."""
    with _opened(path, str(path)) as picture:
        return picture.size


def decode(data: bytes, where: str) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) of a picture's bytes; orientation tags are ignored, 16-bit grey is scaled to 8.

    Raises:
        ImageError: not a picture, cut short, or more than MAX_PIXELS.
    """
    with _opened(io.BytesIO(data), where) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ImageError(expected(_AT_MOST, f"{picture.width} x {picture.height}", where))
        try:
            if picture.mode.startswith(("I", "F")):
                return _grey16(np.asarray(picture))
            if "transparency" in picture.info:  # converting it at once would warn
                return np.asarray(picture.convert("RGBA").convert("RGB"))
            return np.asarray(picture.convert("RGB"))
        except Exception as error:  # decoders raise all kinds on broken data, struct.error and IndexError among them
            raise ImageError(expected("a whole picture", _reason(error), where)) from error


@contextmanager
def _opened(source: Path | io.BytesIO, where: str) -> Iterator[Image.Image]:
    """A picture whose header has been read, without Pillow's warnings about odd ones."""
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(source)
    except Image.DecompressionBombError as error:
        raise ImageError(expected(_AT_MOST, _reason(error), where)) from error
    except Exception as error:  # as above
        raise ImageError(expected("a picture", _reason(error), where)) from error
    with picture:
        yield picture


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) of a picture file, as stored."""
    return decode(read_bytes(path, "a picture"), str(path))


def _grey16(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit grey to 8 bits and repeat it over three channels; Pillow's own conversion would clip at 255."""
    grey = np.clip(values / 257.0, 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _reason(error: Exception) -> str:
    text = str(error).split("\n")[0] or type(error).__name__
    return "no picture that Pillow knows" if "cannot identify" in text else text
