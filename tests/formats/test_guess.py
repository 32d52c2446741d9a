from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from annotator.errors import FormatError
from annotator.formats import guess

COCO = {"images": [], "annotations": [], "categories": [{"id": 1, "keypoints": ["nose", "tail"]}]}
LINE = "0 .5 .5 .2 .2 .1 .1 2\n"


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".mat"):
        scipy.io.savemat(path, content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.json", COCO, ("coco", "a JSON object whose categories name 2 keypoints (nose, ...)")),
        ("a.json", {**COCO, "categories": [{"id": 1, "keypoints": []}]},
         ("halpe", "a JSON object whose categories do not name their keypoints, as Halpe's")),
        ("a.json", [{"image": "a.jpg", "center": [1, 2], "scale": 1}],
         ("mpii", "a JSON list of people with image, center and scale")),
        ("a.mat", {"joints": np.zeros((3, 14, 2))}, ("lsp", "a .mat file with a variable joints")),
        ("a.mat", {"RELEASE": {"annolist": []}}, ("mpii_mat", "a .mat file with a variable RELEASE")),
        ("a.yaml", "kpt_shape: [17, 3]", ("yolo", "a .yaml file that says kpt_shape")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_format_is_guessed_and_says_why(tmp_path: Path, name: str, content: object, wanted: tuple[str, str]) -> None:
    assert guess(write(tmp_path, name, content)) == wanted


def test_folder_is_yolo_by_its_yaml_or_its_numbers(tmp_path: Path) -> None:
    write(tmp_path, "far/down/labels/a.txt", LINE)
    assert guess(tmp_path / "far/down/labels") == ("yolo", "a folder of .txt files that start with numbers")
    write(tmp_path, "far/data.yaml", "kpt_shape: [1, 3]")
    assert guess(tmp_path / "far/down/labels") == ("yolo", "a folder with a .yaml file that says kpt_shape")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", [{"image_id": 1, "keypoints": [], "score": 1}]),
        ("a.json", {"images": [], "annotations": []}),
        ("a.mat", {"poses": np.zeros(3)}),
        ("a.csv", "1,2"),
        ("a/README.txt", "Some words\n"),
    ],
)
def test_nothing_that_fits_names_what_was_looked_for(tmp_path: Path, name: str, content: object) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(FormatError) as caught:
        guess(path.parent if path.suffix == ".txt" else path)
    text = str(caught.value)
    assert text.endswith("got none of these")
    for format_ in ("coco: a JSON object", "mpii: a JSON list", "mpii_mat: a .mat", "halpe: ", "lsp: ", "yolo: "):
        assert format_ in text


def test_several_that_fit_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.mat", {"joints": np.zeros((3, 14, 2)), "RELEASE": 1})
    with pytest.raises(FormatError, match=r"got mpii_mat \(a \.mat file .*\) and lsp \(a \.mat file"):
        guess(path)


def test_broken_json_is_told_as_such(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{"images": [')
    with pytest.raises(FormatError, match="line 1 column 13: expected JSON, got expecting value"):
        guess(path)
