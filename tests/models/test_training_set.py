"""Writing a training set: labels, teachers' words, origins, pictures that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from annotator import training
from annotator.errors import FormatError, StorageError, TableError
from annotator.people import ORIGIN, ORIGINS
from annotator.skeletons import COCO_17, LSP_14, UNION_21
from annotator.students import crop
from annotator.students.cache import Cache
from annotator.training import Part, write_set
from tests.models.made import CHANNEL, centroid, dot_teacher, dotted, two_datasets

DRAWN = [UNION_21.index(name) for name in CHANNEL]
NOSE, LEFT_WRIST, RIGHT_WRIST = DRAWN


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays.npz") as file:
        return {name: file[name] for name in file.files}


def stored_crops(folder: Path, offset: np.ndarray) -> list[np.ndarray]:
    """RGB pixels of every stored crop."""
    data = np.fromfile(folder / "crops.bin", dtype=np.uint8)
    return [cv2.imdecode(data[a:b], cv2.IMREAD_COLOR_RGB) for a, b in pairwise(offset)]


def test_labels_are_pixel_indices_whatever_the_source_counts_from(tmp_path):
    parts = two_datasets(tmp_path, n=2)
    assert write_set(tmp_path / "set", parts, [], UNION_21, Cache(None)) == (4, 0)
    found = arrays(tmp_path / "set")
    coco, mpii = (part.people.project(UNION_21) for part in parts)
    assert found["xy"][:2] == pytest.approx(coco.xy, abs=1e-4, nan_ok=True)
    assert found["xy"][2:] == pytest.approx(mpii.xy - 1, abs=1e-4, nan_ok=True)
    assert found["dataset"].tolist() == [0, 0, 1, 1]
    # COCO does not label the 4 of the trunk's axis, MPII not the 5 of the face.
    assert (found["v"] > 0).sum(axis=1).tolist() == [17, 17, 16, 16]
    assert not np.isfinite(found["xy"][found["v"] == 0]).any()


def test_a_stored_crop_shows_the_dot_where_the_label_lands(tmp_path):
    write_set(tmp_path / "set", two_datasets(tmp_path, n=3), [], UNION_21, Cache(None))
    found = arrays(tmp_path / "set")
    landed = crop.apply(found["affine"].astype(np.float64), found["xy"].astype(np.float64))
    for row, pixels in enumerate(stored_crops(tmp_path / "set", found["offset"])):
        assert pixels.shape == (320, 240, 3)
        for k in (k for k in (NOSE, RIGHT_WRIST) if found["v"][row, k]):
            assert centroid(pixels[..., CHANNEL[UNION_21.keypoints[k]]]) == pytest.approx(landed[row, k], abs=0.5)


def test_a_box_fills_its_share_of_the_stored_crop(tmp_path):
    write_set(tmp_path / "set", two_datasets(tmp_path, n=1), [], UNION_21, Cache(None))
    # 60 x 80 pixels are as upright as 240 x 320, and 1.25 x 1.5 of them fill the crop: 320 / (80 x 1.875) = 2.1333.
    # The middle (80, 60) goes to the middle (120, 160): 120 - 80 x 2.1333 = -50.667, 160 - 60 x 2.1333 = 32.
    wanted = [[2.13333, 0, -50.66667], [0, 2.13333, 32.0]]
    assert arrays(tmp_path / "set")["affine"] == pytest.approx(np.array([wanted, wanted]), abs=1e-4)


def test_a_wider_stored_crop_is_larger_and_shows_the_box_as_large(tmp_path):
    part = Part("dots", *dotted(tmp_path / "dots", 1))
    write_set(tmp_path / "set", [part], [], UNION_21, Cache(None), context=2.7)
    info = json.loads((tmp_path / "set" / "set.json").read_text())
    assert (info["size_hw"], info["context"]) == ([576, 432], 2.7)
    found = arrays(tmp_path / "set")
    # As many pixels to a box as above; its middle (80, 60) goes to the middle (216, 288).
    assert found["affine"][0] == pytest.approx(np.array([[2.13333, 0, 45.33333], [0, 2.13333, 160.0]]), abs=1e-4)
    (pixels,) = stored_crops(tmp_path / "set", found["offset"])
    assert pixels.shape == (576, 432, 3) and pixels[:, 200:230].any() and not pixels[:100].any()


def test_keypoints_that_the_union_lacks_are_left_out(tmp_path):
    part = Part("lsp", *dotted(tmp_path / "lsp", 2, LSP_14, pixel_origin=1))
    write_set(tmp_path / "set", [part], [], UNION_21, Cache(None))
    found = arrays(tmp_path / "set")
    there = {UNION_21.keypoints[k] for k in np.flatnonzero(found["v"][0])}
    # LSP's neck and head top are clicked, the union's are built from a head rectangle: other keypoints.
    assert there == set(LSP_14.keypoints) & set(UNION_21.keypoints) and len(there) == 12


def test_only_labels_and_what_a_reviewer_placed_train(tmp_path):
    images, table = dotted(tmp_path / "dots", 1)
    words = [word for word in ORIGINS if word != "none"]
    origin = table.origin.copy()
    origin[0, : len(words)] = [ORIGIN[word] for word in words]
    write_set(tmp_path / "set", [Part("dots", images, replace(table, origin=origin))], [], UNION_21, Cache(None))
    found = arrays(tmp_path / "set")
    trains = [words[k] for k in range(len(words)) if found["v"][0, k]]
    assert trains == ["labelled", "accepted", "corrected", "control"]
    assert np.array_equal(np.isfinite(found["xy"][0]).all(axis=1), found["v"][0] > 0)


def test_a_teachers_mixture_lies_in_the_picture(tmp_path):
    parts = two_datasets(tmp_path, n=2)
    write_set(tmp_path / "set", parts, [dot_teacher(tmp_path)], UNION_21, Cache(None))
    found = arrays(tmp_path / "set")
    xy, share, score = (found[f"teacher_{name}"][:, 0] for name in ("xy", "share", "score"))
    assert xy.shape == (4, 21, 2, 2) and share.shape == (4, 21, 2)
    assert np.abs(xy[:, LEFT_WRIST, 0] - found["xy"][:, LEFT_WRIST]).max() < 1
    # The ghost is 30 pixels lower and half as bright: a third of both heights.
    assert np.abs(xy[:, LEFT_WRIST, 1] - found["xy"][:, LEFT_WRIST] - [0, 30]).max() < 2
    assert share[:, LEFT_WRIST] == pytest.approx(np.array([[2 / 3, 1 / 3]] * 4), abs=0.04)
    assert (score[:, RIGHT_WRIST] > 0.7).all() and (share[:, RIGHT_WRIST] == [1, 0]).all()
    unknown = np.setdiff1d(np.arange(21), DRAWN)
    assert not score[:, unknown].any() and not share[:, unknown].any() and np.isnan(xy[:, unknown]).all()


def test_the_width_of_a_word_is_half_of_how_far_the_mirror_image_was_away(tmp_path):
    part = Part("dots", *dotted(tmp_path / "dots", 2))
    write_set(tmp_path / "set", [part], [dot_teacher(tmp_path, flip_test=True)], UNION_21, Cache(None))
    # The teacher's card moves the mirror image's map by a cell of 2 crop pixels; 72 of them show 1.25 x 60 picture
    # pixels, so that is 2 x 75 / 72 = 2.083 pixels, and half of it 1.04.
    assert arrays(tmp_path / "set")["teacher_sigma"][:, 0, NOSE] == pytest.approx(1.04, abs=0.15)


def test_teachers_run_once_whatever_is_written_again(tmp_path):
    part, kept = Part("dots", *dotted(tmp_path / "dots", 2)), Cache(None)
    teacher = dot_teacher(tmp_path)
    write_set(tmp_path / "one", [part], [teacher], UNION_21, kept)
    teacher.path.unlink()
    assert write_set(tmp_path / "two", [part], [teacher], UNION_21, kept) == (2, 0)
    assert (tmp_path / "two" / "crops.bin").read_bytes() == (tmp_path / "one" / "crops.bin").read_bytes()


def test_people_in_a_picture_that_cannot_be_read_are_left_out_counted_and_named(tmp_path):
    parts, done = two_datasets(tmp_path, n=3), []
    Path(parts[0].images.path[1]).write_bytes(b"no picture")
    Path(parts[1].images.path[0]).unlink()
    teachers = [dot_teacher(tmp_path)]
    assert write_set(tmp_path / "set", parts, teachers, UNION_21, Cache(None), done.append) == (4, 2)
    assert sum(done) == 6
    found, info = arrays(tmp_path / "set"), json.loads((tmp_path / "set" / "set.json").read_text())
    assert info["people"] == [2, 2] and found["dataset"].tolist() == [0, 0, 1, 1]
    assert np.abs(found["teacher_xy"][:, 0, RIGHT_WRIST, 0] - found["xy"][:, RIGHT_WRIST]).max() < 1
    lines = [json.loads(line) for line in (tmp_path / "set" / "problems.jsonl").read_text().splitlines()]
    assert [(line["pointer"], line["record"]) for line in lines] == [("coco:1", ["coco:1"]), ("mpii:0", ["mpii:0"])]
    assert lines[0]["found"] == "no picture that Pillow knows; 1 people left out"
    assert lines[1]["found"] == "no such file; 1 people left out"


@pytest.mark.parametrize("people", [0, 2], ids=["nobody-given", "no-picture-readable"])
def test_a_set_of_nobody_is_refused_and_leaves_nothing(tmp_path, people):
    images, table = dotted(tmp_path / "dots", 2)
    for path in images.path:
        Path(path).write_bytes(b"no picture")
    part = Part("dots", images, table.take(slice(0, people)))
    with pytest.raises(TableError, match="expected people to train on, got none"):
        write_set(tmp_path / "set", [part], [], UNION_21, Cache(None))
    assert not list((tmp_path / "set").iterdir())


def test_a_set_whose_replacement_failed_half_way_is_not_taken_for_whole(tmp_path, monkeypatch):
    part = Part("dots", *dotted(tmp_path / "dots", 2, COCO_17))
    write_set(tmp_path / "set", [part], [], UNION_21, Cache(None))

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.np, "savez_compressed", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        write_set(tmp_path / "set", [part], [], UNION_21, Cache(None))
    dataset = pytest.importorskip("models.dataset", reason="needs the train extra", exc_type=ImportError)
    with pytest.raises(FormatError, match=r"set\.json: expected .*written last.*got no such file"):
        dataset.PeopleSet(str(tmp_path / "set"))
