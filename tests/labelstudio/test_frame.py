"""Pixels and percent: there and back, half a pixel between points and edges, whatever the EXIF orientation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from annotator.errors import ImageError
from annotator.labelstudio.frame import EXIF_ORIENTATION, SHOWN, Frame, frame_of

frames = st.builds(Frame, st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from(sorted(SHOWN)))
coordinates = st.floats(-30_000, 30_000)


@given(frames, coordinates, coordinates, st.sampled_from([0, 1]))
def test_a_point_comes_back_within_its_floats_precision(frame: Frame, x: float, y: float, origin: int) -> None:
    # Four operations there and four back, each off by half an ulp at most, of values up to the point or the side.
    bound = 8 * np.finfo(float).eps * (max(frame.width, frame.height, abs(x), abs(y)) + 100)
    back = frame.point_xy(frame.point_percent(np.array([x, y]), origin), origin)
    assert np.abs(back - [x, y]).max() <= bound < 2e-10


@given(
    frames, st.tuples(*[st.floats(0, 20_000)] * 2), st.tuples(*[st.floats(0.5, 20_000)] * 2), st.sampled_from([0, 1])
)
def test_a_box_comes_back_within_its_floats_precision(
    frame: Frame, corner: tuple[float, float], size: tuple[float, float], origin: int
) -> None:
    box = np.array([*corner, *size])
    percent = frame.box_percent(box, origin)
    assert (percent[2:] > 0).all()
    back = frame.box_xywh(frame.corners(percent, 0), origin)
    assert np.abs(back - box).max() <= 32 * np.finfo(float).eps * 40_000


@pytest.mark.parametrize(
    ("frame", "origin", "xy", "percent"),
    [
        # The middle of the first pixel of 100 is half a percent from the edge; MPII calls that pixel 1.
        (Frame(100, 50), 0, (0, 0), (0.5, 1)),
        (Frame(100, 50), 1, (1, 1), (0.5, 1)),
        (Frame(100, 50), 0, (99, 49), (99.5, 99)),
        # Orientation 6: the stored picture is shown turned to the right; its first pixel is shown at the top right.
        (Frame(100, 50, 6), 0, (0, 0), (99, 0.5)),
        # 8: turned to the left, the first pixel at the bottom left. 3: upside down. 2: mirrored.
        (Frame(100, 50, 8), 0, (0, 0), (1, 99.5)),
        (Frame(100, 50, 3), 0, (0, 0), (99.5, 99)),
        (Frame(100, 50, 2), 0, (0, 0), (99.5, 1)),
    ],
    ids=["from 0", "from 1", "last pixel", "right", "left", "upside down", "mirrored"],
)
def test_a_pixels_middle_lies_where_the_browser_shows_it(
    frame: Frame, origin: int, xy: tuple[float, float], percent: tuple[float, float]
) -> None:
    assert frame.point_percent(np.array(xy, dtype=float), origin) == pytest.approx(percent, abs=1e-12)


def test_a_box_over_the_whole_picture_is_all_of_it() -> None:
    # COCO's box begins at the picture's edge, 0; MPII's first pixel is called 1, and so is its edge.
    assert Frame(640, 480).box_percent(np.array([0, 0, 640, 480.0]), 0).tolist() == [0, 0, 100, 100]
    assert Frame(640, 480).box_percent(np.array([1, 1, 640, 480.0]), 1).tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize("orientation", sorted(SHOWN))
def test_orientations_are_those_of_pillow(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[1, 7] = 255  # x 7, y 1
    path = tmp_path / "made.png"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    frame = frame_of(path)
    with Image.open(path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    y, x = np.argwhere(upright.any(axis=2))[0]
    assert frame == Frame(10, 6, orientation) and frame.shown_size == upright.shape[1::-1]
    percent = frame.point_percent(np.array([7.0, 1.0]), 0)
    assert percent / 100 * frame.shown_size - 0.5 == pytest.approx([x, y])


def test_a_turned_rectangle_has_its_corners_where_the_page_draws_them() -> None:
    # 20 x 10 px on a picture of 100 x 200, first corner at (50, 100) px, a quarter turn clockwise: left and down.
    corners = Frame(100, 200).corners(np.array([50, 50, 20, 5.0]), 90)
    assert corners * [1, 2] == pytest.approx(np.array([[50, 100], [50, 120], [40, 120], [40, 100]]))


def test_a_file_that_is_no_picture_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.jpg: expected a picture, got cannot identify"):
        frame_of(tmp_path / "a.jpg")
