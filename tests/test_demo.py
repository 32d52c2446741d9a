from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator import demo, formats
from annotator.cli import main
from annotator.errors import InputError, MissingError
from annotator.images import size_of
from annotator.people import ORIGIN
from annotator.skeletons import UNION_21
from tests import readme

DOCUMENT = json.loads(demo.LABELS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, demo.Demo]:
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, demo.run(out, pictures=2)


def test_demo_labels_are_read_without_a_problem(tmp_path):
    dataset = formats.read(demo.unpack(tmp_path), tmp_path / "images", "coco")
    assert dataset.problems == ()
    assert dataset.people.labelled.sum(axis=1).tolist() == [9, 12, 7]
    assert dataset.people.bbox_given.all()


@pytest.mark.parametrize("record", DOCUMENT["annotations"], ids=lambda record: f"person {record['id']}")
def test_demo_labels_lie_in_their_boxes_and_count_right(record):
    points = np.array(record["keypoints"]).reshape(17, 3)
    x, y, width, height = record["bbox"]
    seen = points[points[:, 2] > 0]
    assert len(seen) == record["num_keypoints"]
    assert (points[points[:, 2] == 0] == 0).all()
    assert ((seen[:, :2] >= [x, y]) & (seen[:, :2] < [x + width, y + height])).all()
    outline = np.array(record["segmentation"][0]).reshape(-1, 2)
    assert [*outline.min(axis=0), *np.ptp(outline, axis=0)] == record["bbox"]
    # The shoelace formula gives an outline's area.
    a, b = outline, np.roll(outline, -1, axis=0)
    assert abs((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / 2 == record["area"]


def test_demo_photographs_are_the_packages_own(tmp_path):
    demo.unpack(tmp_path)
    for image in DOCUMENT["images"]:
        copied, source = tmp_path / "images" / image["file_name"], demo.packaged(image["package_file"])
        assert copied.read_bytes() == source.read_bytes()
        assert size_of(copied) == (image["width"], image["height"])


@pytest.mark.parametrize("name", ["labels.json", "images/astronaut.png"])
def test_the_demo_overwrites_nothing_of_anybody_else(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        InputError, match=f"expected an empty folder, or an earlier demo's, got another {Path(name).name}"
    ):
        demo.unpack(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("package_file", "words"),
    [
        ("no_such_package:data/x.png", r"pip install 'annotator\[demo\]'"),
        ("skimage:data/no_such_file.png", "expected data/no_such_file.png in the package skimage, got no such file"),
    ],
    ids=["package", "file"],
)
def test_a_missing_photograph_is_one_line_that_says_how_to_mend_it(package_file, words):
    with pytest.raises(MissingError, match=words):
        demo.packaged(package_file)


def test_demo_proposes_what_coco_lacks_and_keeps_every_label(done):
    out, made = done
    written = json.loads((out / "annotations.json").read_text(encoding="utf-8"))["annotations"]
    for before, after in zip(DOCUMENT["annotations"], written, strict=True):
        old, new = np.array(before["keypoints"]).reshape(17, 3), np.array(after["keypoints"]).reshape(21, 3)
        assert (new[:17][old[:, 2] > 0] == old[old[:, 2] > 0]).all()
    lacking = UNION_21.indices(["pelvis", "thorax", "upper_neck", "head_top"])
    assert np.isfinite(made.proposals.xy[:, lacking]).all()


def test_neck_and_head_top_of_the_demo_lie_on_the_head_side_of_the_shoulders(done):
    _, made = done
    table = made.people.align(UNION_21)
    shoulders = table.xy[:, UNION_21.indices(["left_shoulder", "right_shoulder"])].mean(axis=1)
    nose, neck, top = (UNION_21.index(name) for name in ("nose", "upper_neck", "head_top"))
    xy = made.proposals.xy
    assert (xy[:, top, 1] < table.xy[:, nose, 1]).all()
    assert (xy[:, top, 1] < xy[:, neck, 1]).all()
    assert (xy[:, neck, 1] < shoulders[:, 1]).all()


def test_demo_draws_as_many_pictures_as_asked(done):
    out, made = done
    assert len(made.pictures.paths) == 2
    assert sorted((out / "pictures").iterdir()) == made.pictures.paths


def test_demo_json_has_every_person_and_proposal(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--pictures", "0", "--json"]) == 0
    people = json.loads(capsys.readouterr().out)
    assert [person["labelled"] for person in people] == [9, 12, 7]
    for person in people:
        assert {"upper_neck", "head_top"} <= {point["keypoint"] for point in person["proposed"]}
        for point in person["proposed"]:
            assert point["origin"] in ORIGIN
            assert (point["radius_px"] is None) == (point["origin"] == "derived")


def test_readme_shows_what_the_demo_prints(tmp_path):
    """Word for word; numbers may differ by one, since processors round differently."""
    fresh, old = readme.block(tmp_path), readme.shown()
    number = re.compile(r"(?<=\s)\s*\d+(?=\s)")
    assert number.sub(" #", fresh) == number.sub(" #", old)
    numbers = [np.array(number.findall(text), dtype=int) for text in (fresh, old)]
    assert np.abs(numbers[0] - numbers[1]).max() <= 1


def test_readme_picture_is_what_the_demo_draws(done, tmp_path):
    demo.readme_picture(tmp_path / "fresh.png", done[1])
    pictures = [Image.open(path).convert("RGB") for path in (tmp_path / "fresh.png", readme.PICTURE)]
    fresh, old = (np.asarray(picture.reduce(4), dtype=int) for picture in pictures)
    assert fresh.shape == old.shape
    # In blocks of 4 x 4: all marks moved by one pixel change 69 of them by more than 40 grey levels, by four 415.
    assert (np.abs(fresh - old).max(axis=2) > 40).sum() < 150


def test_readme_picture_is_small_enough_for_git():
    assert readme.PICTURE.stat().st_size < 400_000
