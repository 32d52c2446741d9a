"""Faults of input: what file content leads to which message, and that the rest goes on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from annotator import formats
from annotator.errors import FormatError, StorageError, UsageError
from annotator.formats import mpii_mat
from annotator.formats.dataset import write_problems
from annotator.skeletons import COCO_17
from tests.formats.made import pictures

NAN, INF = float("nan"), float("inf")
LABELS = [100, 120, 2] * 17


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files are named as a user in their folder would name them."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "images", ["a.png", "b.png", "im00001.jpg"])
    return Path("images")


def coco() -> dict[str, Any]:
    """Two pictures of 640 x 480, three people."""
    person = {"category_id": 1, "iscrowd": 0, "bbox": [50, 60, 100, 200], "keypoints": LABELS, "num_keypoints": 17}
    return {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": 640, "height": 480} for i, name in ((1, "a"), (2, "b"))
        ],
        "annotations": [{"id": 10 + i, "image_id": 1 + i // 2, **copy.deepcopy(person)} for i in range(3)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": []}],
    }


def mpii() -> list[dict[str, Any]]:
    joints = [[100.5, 120.25]] * 16
    return [
        {"image": f"{name}.png", "joints": joints, "joints_vis": [1] * 16, "center": [100.0, 120.0], "scale": 1.5}
        for name in "aab"
    ]


def person(i: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["annotations"][i].update(fields)


def picture(i: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["images"][i].update(fields)


def with_keypoint(place: int, value: Any) -> list[Any]:
    return [*LABELS[:place], value, *LABELS[place + 1 :]]


COCO_CASES: dict[str, tuple[Callable[[dict[str, Any]], None], str, int]] = {
    "too few numbers": (
        person(1, keypoints=LABELS[:48]),
        "annotations[1].keypoints: expected 51 numbers (17 keypoints x 3), got 48", 2),
    "no keypoints": (
        person(1, keypoints=None),
        "annotations[1].keypoints: expected 51 numbers (17 keypoints x 3), got nothing", 2),
    "text for a number": (
        person(0, keypoints=with_keypoint(4, "12")), 'annotations[0].keypoints[4]: expected a number, got "12"', 2),
    "true for a number": (
        person(0, keypoints=with_keypoint(4, True)), "annotations[0].keypoints[4]: expected a number, got true", 2),
    "number beyond all numbers": (
        person(0, keypoints=with_keypoint(4, 10**400)),
        f"annotations[0].keypoints[4]: expected a number, got 1{'0' * 56}...", 2),
    "wider than wide": (
        picture(1, width=2**40), f"images[1].width: expected a number of pixels, got {2**40}", 2),
    "name too long": (
        picture(1, file_name="n" * 300),
        "images[1].file_name: expected a picture under its root, got File name too long; 1 person set aside with it",
        2),
    "NaN coordinate": (
        person(0, keypoints=with_keypoint(3, NAN)),
        "annotations[0].keypoints[3]: expected a finite number, got NaN", 2),
    "infinite box": (
        person(2, bbox=[0, 0, INF, 5]), "annotations[2].bbox[2]: expected a finite number, got Infinity", 2),
    "v of 3": (
        person(0, keypoints=with_keypoint(5, 3)), "annotations[0].keypoints[5]: expected v of 0, 1 or 2, got 3", 2),
    "box of 3 numbers": (
        person(0, bbox=[1, 2, 3]),
        "annotations[0].bbox: expected 4 numbers (x, y, width, height), got [1, 2, 3]", 2),
    "negative box": (
        person(0, bbox=[1, 2, -3, 4]),
        "annotations[0].bbox: expected a positive width and height, got [1, 2, -3, 4]", 2),
    "zero box": (
        person(0, bbox=[1, 2, 3, 0]), "annotations[0].bbox: expected a positive width and height, got [1, 2, 3, 0]", 2),
    "box outside": (
        person(0, bbox=[640, 2, 30, 40]),
        "annotations[0].bbox: expected a box that meets the picture of 640 x 480, got [640, 2, 30, 40]", 2),
    "no box and no label": (
        person(0, bbox=None, keypoints=[0] * 51),
        "annotations[0].bbox: expected 4 numbers (x, y, width, height) where no keypoint is labelled, got nothing", 2),
    "negative area": (
        person(0, area=-1), "annotations[0].area: expected a number of square pixels, got -1", 2),
    "duplicate id": (person(1, id=10), "annotations[1].id: expected an id used once, got 10", 2),
    "no id": (person(1, id=None), "annotations[1].id: expected an id, got nothing", 2),
    "unknown image": (person(1, image_id=9), "annotations[1].image_id: expected the id of an image, got 9", 2),
    "unknown category": (
        person(1, category_id=9), "annotations[1].category_id: expected the id of a category, got 9", 2),
    "not an object": (
        lambda d: d["annotations"].insert(1, 7), "annotations[1]: expected an object, got a number", 3),
    "duplicate image": (picture(1, id=1), "images[1].id: expected an id used once, got 1", 2),
    "negative width": (picture(1, width=-5), "images[1].width: expected a number of pixels, got -5", 2),
    "picture not there": (
        picture(0, file_name="c.png"),
        "images[0].file_name: expected a picture at images/c.png, got no such file; 2 people set aside with it", 1),
    "picture is a folder": (
        picture(1, file_name="."),
        "images[1].file_name: expected a picture at images, got no such file; 1 person set aside with it", 2),
    "picture outside the root": (
        picture(1, file_name="../b.png"),
        'images[1].file_name: expected a path inside images, got "../b.png"; 1 person set aside with it', 2),
    "absolute picture": (
        picture(1, file_name="/etc/hosts"),
        'images[1].file_name: expected a path inside images, got "/etc/hosts"; 1 person set aside with it', 2),
    "picture without a name": (
        picture(1, file_name=None),
        "images[1].file_name: expected a file name, got nothing; 1 person set aside with it", 2),
    "origin of nobody's": (
        person(0, annotator={"origin": ["guessed"] * 17}),
        "annotations[0].annotator.origin: expected words among none, labelled, derived, proposed, released, accepted, "
        'corrected, control, rejected, absent, got "guessed"', 2),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message", "left"), COCO_CASES.values(), ids=COCO_CASES)
def test_bad_coco_record_is_set_aside_whole_and_the_rest_is_read(
    root: Path, spoil: Callable[[dict[str, Any]], None], message: str, left: int
) -> None:
    document = coco()
    spoil(document)
    Path("train.json").write_text(json.dumps(document))
    dataset = formats.read(Path("train.json"), root, "coco")
    assert len(dataset.people) == left
    problem = next(p for p in map(str, dataset.problems) if message in p)
    assert problem == f"train.json: {message}"
    assert dataset.problems[0].record is not None
    write_problems(Path("problems.jsonl"), dataset.problems)
    line = json.loads(Path("problems.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail)
    assert set(line) == {"file", "pointer", "expected", "found", "record"}


def test_record_in_problems_is_the_record_of_the_file(root: Path) -> None:
    document = coco()
    document["annotations"][1]["keypoints"] = LABELS[:48]
    Path("train.json").write_text(json.dumps(document))
    problem = formats.read(Path("train.json"), root).problems[0]
    assert problem.record == document["annotations"][1]


MPII_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "15 joints": ({"joints": [[1.0, 2.0]] * 15}, "[1].joints: expected 16 pairs (x, y), got 15"),
    "three numbers": (
        {"joints": [[1.0, 2.0, 3.0]] * 16}, "[1].joints[0]: expected 2 numbers (x, y), got [1.0, 2.0, 3.0]"),
    "17 flags": ({"joints_vis": [1] * 17}, "[1].joints_vis: expected 16 numbers, got 17"),
    "flag of 2": ({"joints_vis": [2] * 16}, "[1].joints_vis[0]: expected one of 0, 1, got 2"),
    "no scale": ({"scale": None}, "[1].scale: expected a positive number (height / 200 px), got nothing"),
    "scale of 0": ({"scale": 0}, "[1].scale: expected a positive number (height / 200 px), got 0"),
    "NaN centre": ({"center": [NAN, 1.0]}, "[1].center[0]: expected a finite number, got NaN"),
    "picture not there": (
        {"image": "c.png"},
        "[1].image: expected a picture at images/c.png, got no such file; 1 person set aside with it"),
    "picture outside": (
        {"image": "../a.png"},
        '[1].image: expected a path inside images, got "../a.png"; 1 person set aside with it'),
    "no picture": ({"image": 7}, "[1].image: expected a file name, got 7"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), MPII_CASES.values(), ids=MPII_CASES)
def test_bad_mpii_record_is_set_aside_whole_and_the_rest_is_read(
    root: Path, fields: dict[str, Any], message: str
) -> None:
    document = mpii()
    document[1] |= fields
    Path("mpii.json").write_text(json.dumps(document))
    dataset = formats.read(Path("mpii.json"), root, "mpii")
    assert list(dataset.people.person_id) == ["mpii:0", "mpii:2"]
    assert [str(problem) for problem in dataset.problems] == [f"mpii.json: {message}"]


COORDINATES = "0 .5 .5 .2 .2" + " .5 .5 2" * 17
YOLO_CASES = {
    "too few": ("0 .5 .5 .2 .2 .5 .5 2", "expected 56 numbers (class, box, 17 keypoints x 3), got 8"),
    "a word": (
        COORDINATES.replace("0 .5", "0 half", 1),
        f"expected numbers, got {('0 half .5 .2 .2' + ' .5 .5 2' * 17)[:60]}",
    ),
    "NaN": (
        COORDINATES.replace("0 .5", "0 nan", 1),
        f"expected finite numbers, got {('0 nan .5 .2 .2' + ' .5 .5 2' * 17)[:60]}",
    ),
    "negative box": (
        COORDINATES.replace(".2", "-.2", 1),
        "expected a box with positive width and height, got .5 .5 -.2 .2",
    ),
    "box outside": (COORDINATES.replace("0 .5", "0 3", 1), "expected a box that meets the picture, got 3 .5 .2 .2"),
    "v of 3": (COORDINATES[:-1] + "3", "expected v of 0, 1 or 2, got 3.0"),
}


@pytest.mark.parametrize(("line", "message"), YOLO_CASES.values(), ids=YOLO_CASES)
def test_bad_yolo_line_is_set_aside_whole_and_the_rest_is_read(root: Path, line: str, message: str) -> None:
    Path("labels").mkdir()
    Path("labels/data.yaml").write_text("kpt_shape: [17, 3]\n")
    Path("labels/a.txt").write_text(f"{COORDINATES}\n{line}\n{COORDINATES}\n")
    dataset = formats.read(Path("labels"), root, "yolo")
    assert list(dataset.people.person_id) == ["yolo:a:0", "yolo:a:2"]
    assert [str(problem) for problem in dataset.problems] == [f"labels/a.txt: line 2: {message}"]
    assert dataset.problems[0].record == line


def lsp(flag: float, x: float = 5.0) -> dict[str, Any]:
    joints = np.full((14, 3, 2), flag, dtype=float)
    joints[:, :2] = x
    return {"joints": joints}


LSP_CASES = {
    "flag of 2": (lsp(2), "joints[0][0]: expected a flag of 0 or 1, got 2.0"),
    "nothing labelled": (lsp(0), "joints[0]: expected a labelled keypoint, since there is no box, got none"),
    "infinite": (lsp(1, INF), "joints[0][0]: expected a finite x and y, got [Infinity, Infinity]"),
}


@pytest.mark.parametrize(("content", "message"), LSP_CASES.values(), ids=LSP_CASES)
def test_bad_lsp_person_is_set_aside_and_missing_pictures_are_one_problem(
    root: Path, content: dict[str, Any], message: str
) -> None:
    scipy.io.savemat("joints.mat", content)
    dataset = formats.read(Path("joints.mat"), root)
    assert [str(problem) for problem in dataset.problems] == [
        f"joints.mat: {message}",
        "joints.mat: joints: expected the pictures of 2 people, got 1 picture not there; their people are set aside",
    ]


FILE_CASES: dict[str, tuple[str, bytes, str]] = {
    "broken JSON": (
        "x.json", b'{"images": [\n  1,,\n]}', "x.json: line 2 column 5: expected JSON, got expecting value"),
    "empty": ("x.json", b"", "x.json: line 1 column 1: expected JSON, got expecting value"),
    "not UTF-8": ("x.json", b'{"images": "\xff\xfe"}', "x.json: expected JSON in UTF-8, got invalid start byte"),
    "half a character": ("x.json", b'{"a": "\\ud800"}', "x.json: expected JSON in UTF-8, got surrogates not allowed"),
    "deep": ("x.json", b"[" * 100_000, "x.json: expected JSON, got maximum recursion depth exceeded"),
    "a number": ("x.json", b"7", "x.json: expected an object with images, annotations and categories, got a number"),
    "a list": ("x.json", b"[]", "x.json: expected an object with images, annotations and categories, got a list"),
    "no annotations": ("x.json", b'{"images": []}', "x.json: annotations: expected a list, got nothing"),
    "categories are text": (
        "x.json", b'{"images": [], "annotations": [], "categories": "all"}',
        "x.json: categories: expected a list, got text"),
    "nothing has keypoints": (
        "x.json", b'{"images": [], "annotations": [], "categories": [{"id": 1}]}',
        "x.json: categories: expected a category with keypoints, got none"),
    "category without id": (
        "x.json", b'{"images": [], "annotations": [], "categories": [{"keypoints": ["nose"]}]}',
        'x.json: categories[0]: expected an object with an id of its own, got {"keypoints": ["nose"]}'),
    "one keypoint twice": (
        "x.json", b'{"images": [], "annotations": [], "categories": [{"id": 1, "keypoints": ["root", "pelvis"]}]}',
        'x.json: categories[0].keypoints: expected distinct keypoints, got ["root", "pelvis"]'),
    "NaN in info": (
        "x.json", b'{"info": {"a": NaN}, "images": [], "annotations": [], "categories": []}',
        "x.json: info.a: expected a finite number, got NaN"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), FILE_CASES.values(), ids=FILE_CASES)
def test_file_that_cannot_be_used_says_where_and_why(root: Path, name: str, text: bytes, message: str) -> None:
    Path(name).write_bytes(text)
    with pytest.raises(FormatError) as caught:
        formats.read(Path(name), root, "coco")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("name", "format_", "message"),
    [
        ("images", "coco", "images: expected a JSON file (a file), got a directory"),
        ("images", "lsp", "images: expected a .mat file (a file), got a directory"),
        ("nothing.json", "mpii", "nothing.json: expected a JSON file, got no such file"),
        ("nothing.json", "auto", "nothing.json: expected an annotation file, got no such file"),
        ("images/a.png", "lsp", "images/a.png: expected a MATLAB 5 file, got "),
        ("images/a.png", "mpii", "images/a.png: expected JSON in UTF-8, got invalid start byte"),
    ],
)
def test_wrong_kind_of_path_is_one_line(root: Path, name: str, format_: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        formats.read(Path(name), root, format_)
    assert str(caught.value).startswith(message)


def test_mat_files_of_something_else_name_their_variables(root: Path) -> None:
    scipy.io.savemat("x.mat", {"poses": np.zeros(3), "joints": np.zeros((3, 13, 5))})
    with pytest.raises(
        FormatError, match=r"x\.mat: expected joints of \(3, 14, N\) or \(14, 3, N\) numbers, got \(3, 13, 5\)"
    ):
        formats.read(Path("x.mat"), root, "lsp")
    with pytest.raises(FormatError, match=r"x\.mat: expected a variable RELEASE, got poses, joints"):
        mpii_mat.read(Path("x.mat"), root)


@pytest.mark.parametrize("name", ["coco", "mpii"])
def test_wrong_folder_of_pictures_is_said_once_and_not_for_each_picture(name: str) -> None:
    Path("x.json").write_text(json.dumps({"coco": coco(), "mpii": mpii()}[name]))
    with pytest.raises(FormatError) as caught:
        formats.read(Path("x.json"), Path("elsewhere"), name)
    assert str(caught.value) == "elsewhere: expected the folder of a.png and 1 more picture, got no such folder"


def test_unknown_format_is_a_matter_of_usage(root: Path) -> None:
    with pytest.raises(UsageError, match=r"format: expected a format, one of coco, mpii, .*, got 'voc'"):
        formats.read(Path("x.json"), root, "voc")


def test_place_that_cannot_be_written_leaves_nothing_behind(root: Path) -> None:
    Path("x.json").write_text(json.dumps(coco()))
    dataset = formats.read(Path("x.json"), root)
    Path("file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/out\.json: expected a place to write"):
        formats.write(Path("file/out.json"), dataset, "coco")
    assert sorted(path.name for path in Path().iterdir()) == ["file", "images", "x.json"]
