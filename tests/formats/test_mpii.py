from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator.formats import mpii
from annotator.formats.mpii import box_of_scale, scale_of_box
from annotator.people import ORIGIN
from tests.formats.made import pictures


def read(tmp_path: Path, *records: dict[str, Any]) -> Any:
    pictures(tmp_path, ["a.png"])
    (tmp_path / "a.json").write_text(json.dumps(records))
    return mpii.read(tmp_path / "a.json", tmp_path)


def record(**fields: Any) -> dict[str, Any]:
    vis = [1] * 15 + [0]
    joints = [[10.5 + k, 20] for k in range(15)] + [[-1, -1.0]]
    return {"joints": joints, "joints_vis": vis, "image": "a.png", "center": [100, 200.5], "scale": 2, **fields}


def test_labelled_without_x_visible_is_visible(tmp_path: Path) -> None:
    table = read(tmp_path, record(), record(x_visible=[0] * 8 + [1] * 7 + [-1])).people
    assert table.v.tolist() == [[2] * 15 + [0], [1] * 8 + [2] * 7 + [0]]
    assert np.isnan(table.xy[0, 15]).all()
    assert table.xy[0, 0].tolist() == [10.5, 20]  # as stored: pixels count from 1
    assert set(table.pixel_origin) == {1}
    assert list(table.person_id) == ["mpii:0", "mpii:1"]
    assert list(table.image_id) == ["mpii:a.png"] * 2


def test_box_is_200_scale_high_around_the_centre_and_marked(tmp_path: Path) -> None:
    table = read(tmp_path, record()).people
    # height 200 x 2 = 400, width .75 of it = 300; centre (100, 200.5)
    assert table.bbox_xywh.tolist() == [[-50, 0.5, 300, 400]]
    assert not table.bbox_given.any()


def test_scale_of_a_box_gives_a_box_that_holds_it() -> None:
    boxes = np.array([[10.0, 20, 75, 100], [10, 20, 300, 100]])
    center, scale = scale_of_box(boxes)
    assert center.tolist() == [[47.5, 70], [160, 70]]
    assert scale.tolist() == [0.5, 2]  # the wide one needs 300 / .75 = 400 px of height
    assert box_of_scale(center, scale).tolist() == [[10, 20, 75, 100], [10, -130, 300, 400]]


def test_record_without_joints_is_an_unlabelled_person(tmp_path: Path) -> None:
    dataset = read(tmp_path, {"image": "a.png", "center": [100, 200], "scale": 1})
    assert not dataset.people.labelled.any()
    mpii.write(tmp_path / "b.json", dataset)
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


def test_a_changed_label_leaves_the_numbers_of_the_others_alone(tmp_path: Path) -> None:
    dataset = read(tmp_path, record(extra={"a": 1.0}))
    xy, v = dataset.people.xy.copy(), dataset.people.v.copy()
    xy[0, 0], v[0, 0] = np.nan, 0
    xy[0, 1], v[0, 1] = (7, 8.25), 1
    changed = replace(dataset.people, xy=xy, v=v, origin=np.where(v > 0, ORIGIN["labelled"], 0))
    mpii.write(tmp_path / "b.json", replace(dataset, people=changed))
    wanted = record(extra={"a": 1.0})
    wanted["joints"][:2] = [[-1.0, -1.0], [7.0, 8.25]]
    wanted["joints_vis"][0] = 0
    wanted["x_visible"] = [-1, 0] + [1] * 13 + [-1]  # only here can "occluded" be said
    assert json.dumps(json.loads((tmp_path / "b.json").read_text())) == json.dumps([wanted])
