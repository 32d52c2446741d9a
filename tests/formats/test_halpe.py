from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import TableError
from annotator.formats import halpe
from annotator.skeletons import HALPE_26, LSP_14, union
from tests.formats.made import pictures

FACE = [7.5, 8, 0.0, 9, 10, 0.25] * 55  # 110 triples whose third number is a score, not v


def read(tmp_path: Path, keypoints: list[float]) -> halpe.Dataset:
    pictures(tmp_path, ["a.png"])
    person = {"id": 4, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 2, 3, 4], "keypoints": keypoints}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person", "keypoints": [], "skeleton": []}],
        "annotations": [{**person, "num_keypoints": 17}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    return halpe.read(tmp_path / "a.json", tmp_path)


def test_first_26_are_halpe_26_and_110_pass_through(tmp_path: Path) -> None:
    dataset = read(tmp_path, [5, 6, 1] * 26 + FACE)
    assert dataset.people.skeleton == HALPE_26
    assert dataset.people.v.tolist() == [[1] * 26]
    halpe.write(tmp_path / "b.json", dataset)
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


def test_numbers_missing_from_the_110_are_missed(tmp_path: Path) -> None:
    problem = read(tmp_path, [5, 6, 1] * 26 + FACE[:-3]).problems[0]
    assert str(problem).endswith("annotations[0].keypoints: expected 408 numbers (136 keypoints x 3), got 405")


def test_num_keypoints_follows_a_change_of_labels(tmp_path: Path) -> None:
    """Halpe counts 17 of the 26, so the count is changed, not made anew."""
    dataset = read(tmp_path, [5, 6, 1] * 26 + FACE)
    halpe.write(tmp_path / "b.json", replace(dataset, people=dataset.people.hide(["nose", "left_heel"])))
    written = json.loads((tmp_path / "b.json").read_text())["annotations"][0]
    assert written["num_keypoints"] == 15
    assert written["keypoints"][:6] == [0, 0, 0, 5, 6, 1]
    assert written["keypoints"][78:] == FACE


def test_labels_that_halpe_cannot_hold_are_refused(tmp_path: Path) -> None:
    dataset = read(tmp_path, [5, 6, 1] * 26 + FACE)
    wide = dataset.people.align(union(HALPE_26, LSP_14))
    xy, v = wide.xy.copy(), wide.v.copy()
    xy[0, -1], v[0, -1] = 1, 2
    with pytest.raises(TableError, match="expected a skeleton with crown, got halpe26"):
        halpe.write(tmp_path / "b.json", replace(dataset, people=replace(wide, xy=xy, v=v, origin=np.minimum(v, 1))))
