from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator import formats
from annotator.errors import FormatError, InputError
from annotator.formats import yolo, yolo_data
from annotator.people import ORIGIN
from annotator.skeletons import COCO_17, MPII_16
from tests.formats.made import pictures

# Ultralytics' coco-pose.yaml, shortened: comments, a nested list, a block of code
ULTRALYTICS = """\
# COCO pose
path: coco-pose # root
train: train2017.txt
kpt_shape: [2, 3] # number of keypoints, number of dims
flip_idx: [0, 1]
names:
  0: person
kpt_names:
  0:
    - nose
    - Tail
download: |
  from pathlib import Path
  kpt_shape = 1
"""


def dataset_at(tmp_path: Path, yaml: str, lines: str) -> Path:
    pictures(tmp_path / "images/train", ["a.png", "b.png"])
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text(lines)
    (tmp_path / "labels/train/b.txt").write_text("")
    (tmp_path / "data.yaml").write_text(yaml)
    return tmp_path


def test_fractions_become_pixels_and_come_back_as_written(tmp_path: Path) -> None:
    lines = "3 0.50 .5 .25 .5  0.1 0.2 2 0 0 0\n0 1e-1 0.25 0.125 0.5 1 1.00000 1 0.3333333333333333333 0 1\n"
    folder = dataset_at(tmp_path, ULTRALYTICS, lines)
    dataset = formats.read(folder / "data.yaml", folder / "images/train")
    table = dataset.people
    assert table.skeleton.keypoints == ("nose", "tail")
    assert table.bbox_xywh[0].tolist() == [240, 120, 160, 240]  # (.5 - .125) x 640, (.5 - .25) x 480
    assert table.xy[0, 0].tolist() == [64, 96]
    assert table.v.tolist() == [[2, 0], [1, 1]]
    assert list(table.person_id) == ["yolo:a:0", "yolo:a:1"]
    assert list(dataset.images.file_name) == ["a.png", "b.png"]  # an empty file is a picture without people
    formats.write(tmp_path / "out", dataset, "yolo")
    assert (tmp_path / "out/labels/a.txt").read_text() == lines
    assert (tmp_path / "out/labels/b.txt").read_text() == ""
    assert (tmp_path / "out/data.yaml").read_text() == ULTRALYTICS


def test_a_changed_label_changes_its_own_numbers(tmp_path: Path) -> None:
    folder = dataset_at(tmp_path, ULTRALYTICS, "0 0.50 .5 .25 .5 0.10 0.2 2 0 0 0\n")
    dataset = formats.read(folder / "data.yaml", folder / "images/train")
    xy, v = dataset.people.xy.copy(), dataset.people.v.copy()
    xy[0, 1], v[0, 1] = (160, 120), 1
    origin = np.minimum(v, ORIGIN["labelled"])
    formats.write(tmp_path / "out", replace(dataset, people=replace(dataset.people, xy=xy, v=v, origin=origin)), "yolo")
    assert (tmp_path / "out/labels/a.txt").read_text() == "0 0.50 .5 .25 .5 0.10 0.2 2 0.25 0.25 1\n"


def test_lines_without_v_take_the_corner_for_unlabelled(tmp_path: Path) -> None:
    folder = dataset_at(tmp_path, "kpt_shape: [2, 2]\n", "0 .5 .5 .25 .5 .1 .2 0 0\n")
    dataset = formats.read(folder / "labels", folder / "images")
    assert dataset.people.v.tolist() == [[2, 0]]
    assert dataset.people.skeleton.keypoints == ("keypoint_0", "keypoint_1")
    formats.write(tmp_path / "out", dataset, "yolo")
    assert (tmp_path / "out/labels/train/a.txt").read_text() == "0 .5 .5 .25 .5 .1 .2 0 0\n"
    occluded = replace(dataset, people=replace(dataset.people, v=np.minimum(dataset.people.v, 1)))
    with pytest.raises(InputError, match="expected no occluded keypoints, since the files have no v, got some"):
        formats.write(tmp_path / "out", occluded, "yolo")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("kpt_shape: [17\n", r"data\.yaml: line 2 column 1: expected YAML"),
        ("kpt_shape: 17\n", r"data\.yaml: expected kpt_shape: \[number of keypoints, 2 or 3\], got 17"),
        ("names: [person]\n", r"data\.yaml: expected kpt_shape: .*, got nothing"),
        ("kpt_shape: [2, 3]\nkpt_names: {0: [nose]}\n", r'kpt_names: expected 2 names, got \["nose"\]'),
        ("kpt_shape: [1, 3]\nkpt_names: {0: [nose], 1: [tail]}\n", "kpt_names: expected one list of keypoints for all"),
    ],
)
def test_broken_data_yaml_says_where(tmp_path: Path, yaml: str, message: str) -> None:
    folder = dataset_at(tmp_path, yaml, "")
    with pytest.raises(FormatError, match=message):
        formats.read(folder / "data.yaml", folder / "images", "yolo")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kpt_shape: [17, 3]", COCO_17.keypoints),
        (f"kpt_shape: [16, 3]\nflip_idx: {MPII_16.flip.tolist()}", MPII_16.keypoints),
        ("kpt_shape: [4, 3]", tuple(f"keypoint_{k}" for k in range(4))),
        (f"kpt_shape: [17, 3]\nflip_idx: {list(range(17))}", tuple(f"keypoint_{k}" for k in range(17))),
    ],
    ids=["17 are COCO's", "16 are MPII's", "4 are nobody's", "17 that flip otherwise are nobody's"],
)
def test_keypoints_without_names_are_known_by_number_and_mirror(text: str, names: tuple[str, ...]) -> None:
    assert yolo_data.parse(text, Path("x"))[0].keypoints == names


def test_picture_that_cannot_be_opened_sets_its_people_aside(tmp_path: Path) -> None:
    folder = dataset_at(tmp_path, ULTRALYTICS, "0 .5 .5 .25 .5 .1 .2 2 0 0 0\n")
    (folder / "images/train/a.png").write_bytes(b"no picture")
    dataset = formats.read(folder / "labels", folder / "images")
    assert len(dataset.people) == 0
    assert dataset.problems[0].pointer == "picture"
    assert dataset.problems[0].record == ["0 .5 .5 .25 .5 .1 .2 2 0 0 0"]


def test_picture_of_another_size_than_640_is_measured(tmp_path: Path) -> None:
    folder = dataset_at(tmp_path, ULTRALYTICS, "0 .5 .5 .5 .5 .1 .2 2 0 0 0\n")
    Image.new("L", (10, 1000)).save(folder / "images/train/a.png")
    assert formats.read(folder / "labels", folder / "images").people.xy[0, 0].tolist() == [1, 200]


# The line holds the centre, not the start: below 1e-9 px a start drowns in half a width, even in 28 digits.
STARTS = st.floats(-1e4, 1e4).filter(lambda x: x == 0 or abs(x) > 1e-9)


@given(STARTS, st.floats(1e-3, 1e4), st.integers(1, 20_000), st.integers(1, 20_000))
def test_every_pixel_has_a_fraction_that_is_it_again(start: float, extent: float, width: int, height: int) -> None:
    box = [start, -start, extent, extent / 3]
    line = " ".join(
        ["0", *yolo._box_tokens(box, (width, height)), yolo._token(start, width), yolo._token(extent, height), "2"]
    )
    assert yolo.numbers_of(line, (width, height), 3) == (box, [[start, extent, 2]])
