"""Pictures as people have them: of every mode, turned, broken, too large, and not where they should be."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator.errors import AnnotatorError, FormatError, ImageError
from annotator.images import MAX_PIXELS, Images, decode, inside, read_pixels, size_of

COLOURS = np.array([[[250, 10, 20], [10, 250, 20]], [[10, 20, 250], [128, 128, 128]], [[0, 0, 0], [255, 255, 255]]])


def coded(picture: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def squares(size: int = 32) -> Image.Image:
    """COLOURS, each a square, so that JPEG keeps them: 64 wide, 96 high."""
    return Image.fromarray(COLOURS.astype(np.uint8)).resize((2 * size, 3 * size), Image.Resampling.NEAREST)


def middles(pixels: np.ndarray) -> np.ndarray:
    """The middle of each square, (3, 2, 3)."""
    assert pixels.shape == (96, 64, 3) and pixels.dtype == np.uint8
    return pixels[16::32, 16::32].astype(int)


def png(header: bytes, rows: bytes) -> bytes:
    """A PNG of a header (width, height, depth, colour, ...) and rows that are not compressed yet."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "off"),
    [
        (coded(squares(), "PNG"), 0),
        (coded(squares(), "JPEG", quality=95), 8),
        (coded(squares().convert("CMYK"), "JPEG", quality=95), 12),
        (coded(squares().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), 0),
        (coded(squares().convert("RGBA"), "PNG"), 0),
        (coded(squares(), "PNG", transparency=(250, 10, 20)), 0),
        (coded(squares().convert("P", palette=Image.Palette.ADAPTIVE), "PNG", transparency=b"\x80\x00"), 0),
        (coded(squares(), "WEBP", lossless=True), 0),
        (coded(squares(), "TIFF"), 0),
    ],
    ids=["png", "jpeg", "cmyk", "palette", "alpha", "colour key", "palette with alpha", "webp", "tiff"],
)
def test_colours_are_rgb_whatever_the_mode(data: bytes, off: int) -> None:
    assert np.abs(middles(decode(data, "a")) - COLOURS).max() <= off


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_is_repeated_over_the_channels(mode: str) -> None:
    pixels = middles(decode(coded(squares().convert(mode), "PNG"), "a"))
    wanted = np.asarray(squares().convert("1" if mode == "1" else "L")).astype(int)[16::32, 16::32]
    np.testing.assert_array_equal(pixels, np.repeat(wanted[..., None], 3, axis=2) * (255 if mode == "1" else 1))


@pytest.mark.parametrize(("value", "wanted"), [(0, 0), (257, 1), (300, 1), (32896, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_not_clipped(value: int, wanted: int) -> None:
    data = png(struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0), (b"\0" + struct.pack(">HH", value, value)) * 2)
    np.testing.assert_array_equal(decode(data, "a"), np.full((2, 2, 3), wanted))
    tiff = coded(Image.fromarray(np.full((2, 2), value, dtype=np.uint16)), "TIFF")
    np.testing.assert_array_equal(decode(tiff, "a"), np.full((2, 2, 3), wanted))


def test_16_bit_colours_keep_their_upper_byte() -> None:
    row = b"\0" + struct.pack(">HHHHHH", 65535, 32768, 0, 256, 2560, 25600)
    data = png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), row)
    np.testing.assert_array_equal(decode(data, "a"), [[[255, 128, 0], [1, 10, 100]]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_as_stored_whatever_the_orientation_tag_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.jpg").write_bytes(coded(squares(), "JPEG", quality=95, exif=exif))
    assert np.abs(middles(read_pixels(tmp_path / "a.jpg")) - COLOURS).max() <= 8
    assert size_of(tmp_path / "a.jpg") == (64, 96)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_picture_that_is_cut_short_is_refused(kind: str, share: float) -> None:
    data = coded(NOISE, kind)
    with pytest.raises(ImageError, match=r"^a\.jpg: expected a (whole )?picture, got ") as error:
        decode(data[: int(len(data) * share)], "a.jpg")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no picture that Pillow knows"),
        (b"some text, not a picture", "no picture that Pillow knows"),
        (b"%PDF-1.7\n", "no picture that Pillow knows"),
        (coded(squares(), "JPEG")[:20], ""),
    ],
    ids=["empty", "text", "pdf", "only a header"],
)
def test_what_is_no_picture_is_one_line(tmp_path: Path, data: bytes, found: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    for read in (read_pixels, size_of):
        with pytest.raises(ImageError) as error:
            read(tmp_path / "a.jpg")
        assert str(error.value).startswith(f"{tmp_path}/a.jpg: expected a picture, got {found}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [12_300, 20_000, 60_000], ids=["over ours", "over Pillow's", "over all"])
def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused_unread(tmp_path: Path, side: int) -> None:
    bomb = png(struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), b"")
    assert len(bomb) < 100 and side**2 > MAX_PIXELS
    with pytest.raises(ImageError, match=r"^a\.png: expected at most 150,000,000 pixels, got"):
        decode(bomb, "a.png")


def test_the_size_of_a_large_picture_is_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(struct.pack(">IIBBBBB", 12_000, 10_000, 1, 0, 0, 0, 0), b""))
    assert size_of(tmp_path / "a.png") == (12_000, 10_000)  # Pillow warns from 89 million pixels on


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]), st.integers(0, 2**32 - 1))
def test_broken_bytes_give_pixels_or_one_error_and_nothing_else(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(coded(squares(4), kind))
    for _ in range(rng.integers(1, 8)):
        data[rng.integers(len(data))] = rng.integers(256)
    try:
        pixels = decode(bytes(data), "a")
    except ImageError as error:
        assert str(error).startswith("a: expected ") and "\n" not in str(error)
    else:
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8


def test_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    data, before = coded(squares().convert("P"), "PNG", transparency=b"\x80\x00"), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: decode(data, "a"), range(400)))) == 400
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("a.jpg", True),
        ("sub/a.jpg", True),
        ("sub/../a.jpg", True),
        ("..a/..b.jpg", True),
        ("../a.jpg", False),
        ("sub/../../a.jpg", False),
        ("../root2/a.jpg", False),
        ("/etc/passwd", False),
    ],
)
def test_names_that_leave_the_root_are_refused(tmp_path: Path, name: str, stays: bool) -> None:
    root = tmp_path / "root"
    if stays:
        assert inside(root, name, "a.json: images[0]") == root / name
    else:
        with pytest.raises(ImageError, match=r"^a\.json: images\[0\]: expected a path inside .*, got '"):
            inside(root, name, "a.json: images[0]")


def test_a_link_under_the_root_may_point_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.png").write_bytes(coded(squares(), "PNG"))
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert read_pixels(inside(tmp_path / "root", "a.png", "")).shape == (96, 64, 3)


def test_a_folder_and_a_missing_file_are_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a picture \(a file\), got a directory"):
        read_pixels(tmp_path)
    with pytest.raises(FormatError, match="expected a picture, got no such file"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("what", ["a name too long for a file", "a link to itself", "a file that may not be read"])
def test_a_picture_that_cannot_be_opened_is_one_of_our_errors(tmp_path: Path, what: str) -> None:
    path = tmp_path / ("a" * 300 if "long" in what else "a.png")
    if "itself" in what:
        path.symlink_to(path)
    if "may not" in what:
        path.write_bytes(coded(squares(), "PNG"))
        path.chmod(0)
        if os.access(path, os.R_OK):  # nothing is denied to this user, but reading this fails
            path = Path("/proc/self/mem")
    with pytest.raises(AnnotatorError, match=r"expected a picture, got ") as error:
        read_pixels(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_rows_of_image_ids(tmp_path: Path) -> None:
    text = np.array(["a", "b"], dtype=object)
    images = Images(text, text, text, np.array([1, 2]), np.array([1, 2]), text)
    np.testing.assert_array_equal(images.rows_of(np.array(["b", "c", "a", "b"], dtype=object)), [1, -1, 0, 1])
