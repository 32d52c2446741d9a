"""MPII's official structure, built here as MATLAB writes it: structs with empty fields, points without visibility."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from annotator import formats
from annotator.derived import head_from_rectangle
from annotator.formats import mpii, mpii_mat
from annotator.formats.matlab import structs
from annotator.people import ORIGIN
from tests.formats.made import pictures


def point(k: int, **fields: Any) -> dict[str, Any]:
    return {"x": 100.0 + 10 * k, "y": 50.0 + k, "id": k, **fields}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three pictures: two people (one with a head rectangle), nobody, and a person of a test image."""
    points = structs([point(6, is_visible=1), point(7, is_visible=0), point(8), point(9, is_visible="1")])
    people = structs([
        {"x1": 90.0, "y1": 20.0, "x2": 130.0, "y2": 70.0, "annopoints": {"point": points}, "scale": 2.0,
         "objpos": {"x": 300.0, "y": 210.0}},
        {"annopoints": {"point": structs([point(0)])}},
    ])  # fmt: skip
    waiting = structs([{"scale": 1.5, "objpos": {"x": 50.0, "y": 60.0}}])
    annolist = structs([
        {"image": {"name": "a.png"}, "annorect": people, "frame_sec": 12.0, "vididx": 3.0},
        {"image": {"name": "b.png"}, "annorect": np.zeros((0, 0))},
        {"image": {"name": "c.png"}, "annorect": waiting},
    ])  # fmt: skip
    act = structs([{"act_name": "curling", "act_id": 1.0}, {"act_name": "yoga", "act_id": 2.0}, {"act_id": -1.0}])
    content = {"annolist": annolist, "img_train": [[1.0, 1.0, 0.0]], "act": act, "version": "12"}
    scipy.io.savemat(tmp_path / "a.mat", {"RELEASE": content})
    pictures(tmp_path, ["a.png", "b.png", "c.png"])
    return tmp_path / "a.mat"


def test_official_file_is_read_as_mpii(release: Path) -> None:
    dataset = formats.read(release, release.parent, "mpii")
    table = dataset.people
    assert dataset.problems == ()
    assert list(table.person_id) == ["mpii:0", "mpii:1", "mpii:2"]
    assert list(table.image_id) == ["mpii:a.png", "mpii:a.png", "mpii:c.png"]
    assert table.v[0].tolist() == [0] * 6 + [2, 1, 2, 2] + [0] * 6  # an empty is_visible is read as visible
    assert table.xy[0, 7].tolist() == [170, 57]
    assert table.bbox_xywh[0].tolist() == [150, 10, 300, 400]  # scale 2 around (300, 210)
    # one label, no scale: the label's box, 1 px wider on each side
    assert table.bbox_xywh[1].tolist() == [99, 49, 2, 2]
    assert not table.labelled[2].any()
    assert not table.bbox_given.any()


def test_official_file_is_written_back_value_for_value(release: Path) -> None:
    dataset = formats.read(release, release.parent)
    formats.write(release.with_name("b.mat"), dataset, "mpii")
    before, after = (
        scipy.io.loadmat(release.with_name(name), simplify_cells=True)["RELEASE"] for name in ("a.mat", "b.mat")
    )
    assert str(before) == str(after)


def test_a_changed_point_is_patched_and_a_removed_one_is_gone(release: Path) -> None:
    dataset = formats.read(release, release.parent)
    xy, v = dataset.people.xy.copy(), dataset.people.v.copy()
    xy[0, 6], v[0, 6] = (1, 2), 1
    xy[0, 7], v[0, 7] = np.nan, 0
    xy[2, 3], v[2, 3] = (4, 5), 2
    changed = replace(dataset.people, xy=xy, v=v, origin=np.where(v > 0, ORIGIN["labelled"], 0))
    formats.write(release.with_name("b.mat"), replace(dataset, people=changed), "mpii")
    back = formats.read(release.with_name("b.mat"), release.parent).people
    assert back.equals(replace(changed, record=back.record))
    assert json.loads(back.record[0])["x1"] == 90


def test_both_forms_of_mpii_turn_into_each_other(release: Path) -> None:
    dataset = formats.read(release, release.parent)
    formats.write(release.with_name("b.json"), dataset, "mpii")
    back = mpii.read(release.with_name("b.json"), release.parent).people
    assert back.equals(replace(dataset.people, record=back.record, bbox_xywh=back.bbox_xywh))


def test_head_rectangle_is_kept_for_the_rule_that_uses_it(release: Path) -> None:
    record = json.loads(formats.read(release, release.parent).people.record[0])
    rectangle = np.array([[record[key] for key in ("x1", "y1", "x2", "y2")]])
    neck, top = head_from_rectangle(rectangle, np.array([[110.0, 145.0]]))
    # centre (110, 45), straight above the thorax; diagonal sqrt(40^2 + 50^2) = 64.03, .4 of it 25.61
    np.testing.assert_allclose([neck[0], top[0]], [[110, 70.61], [110, 19.39]], atol=0.01)


@pytest.mark.parametrize(
    ("rectangle", "message"),
    [
        ({"x1": 1.0}, "annorect[0]: expected objpos and scale, or labelled points, got neither"),
        ({"annopoints": {"point": structs([point(16)])}},
         "annorect[0].annopoints.point[0].id: expected an id of 0 to 15, used once, got 16"),
        ({"annopoints": {"point": structs([point(3), point(3)])}},
         "annorect[0].annopoints.point[1].id: expected an id of 0 to 15, used once, got 3"),
        ({"annopoints": {"point": structs([{"x": "left", "y": 1.0, "id": 1}])}},
         'annorect[0].annopoints.point[0]: expected a struct with numbers x, y, id, '
         'got {"x": "left", "y": 1.0, "id": 1}'),
        ({"scale": np.inf, "objpos": {"x": 1.0, "y": 1.0}},
         "annorect[0].scale: expected a finite number, got Infinity"),
    ],
    ids=["no place", "id of 16", "id twice", "no number", "infinite"],
)  # fmt: skip
def test_bad_person_is_set_aside(tmp_path: Path, rectangle: dict[str, Any], message: str) -> None:
    pictures(tmp_path, ["a.png"])
    fine = {"scale": 1.0, "objpos": {"x": 9.0, "y": 9.0}}
    people = {"image": {"name": "a.png"}, "annorect": structs([rectangle, fine])}
    scipy.io.savemat(tmp_path / "a.mat", {"RELEASE": {"annolist": structs([people])}})
    dataset = mpii_mat.read(tmp_path / "a.mat", tmp_path)
    assert list(dataset.people.person_id) == ["mpii:1"]
    assert [str(problem) for problem in dataset.problems] == [f"{tmp_path}/a.mat: RELEASE.annolist[0].{message}"]
