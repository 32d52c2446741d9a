"""Tables of offsets, from small scenes whose labels lie where we put them and networks that see a bright spot."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import InputError
from annotator.people import people
from annotator.skeletons import COCO_17, MPII_16, UNION_21, Skeleton
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel
from annotator.training import Part, write_set
from tests.students.test_onnx import BOX, SPOT, scene
from tests.workflows.test_teachers import part_in_memory, teacher
from workflows import offsets
from workflows.looks import Looking
from workflows.offsets import HIPS, applied, bias, conventions, hips_row, report, taught
from workflows.words import Bench

TORSO = 50.0


def body(folder: Path, name: str, skeleton: Skeleton, hips_lower: float = 0.0) -> Part:
    """Three people, one a picture, all labels on its spot, but shoulders 50 px above it and hips lower by some."""
    folder.mkdir(exist_ok=True)
    images = scene(folder)[0].take(np.array([0, 0, 0]))
    names = np.array(["a", "b", "c"], dtype=object)
    xy = np.tile(SPOT, (3, len(skeleton), 1))
    for side, x in (("left", 10), ("right", -10)):
        xy[:, skeleton.index(f"{side}_shoulder")] += [x, -TORSO]
        xy[:, skeleton.index(f"{side}_hip")] += [x, hips_lower]
    if "head_top" in skeleton.keypoints:
        xy[:, skeleton.index("head_top"), 1] -= TORSO + 20
    table = people(skeleton, person_id=[f"{name}:{i}" for i in range(3)], image_id=names, source=name, xy=xy,
                   v=np.full((3, len(skeleton)), 2), bbox_xywh=np.array([BOX] * 3))  # fmt: skip
    return Part(name, replace(images, image_id=names), table)


@pytest.fixture
def ask(tmp_path, students) -> Looking:
    """COCO's hips are labelled 5 px lower than MPII's."""
    teacher(students, "tinypose", COCO_17)
    teacher(students, "tinypose_mpii16", MPII_16)
    coco, mpii = body(tmp_path, "coco", COCO_17, 5.0), body(tmp_path, "mpii", MPII_16)
    return Looking({"coco": coco, "mpii": mpii, "coco/choose": coco, "mpii/choose": mpii}, tmp_path / "kept.sqlite")


def test_the_difference_of_labels_is_found_whatever_the_networks_say(ask):
    lines, by = conventions(ask, ("coco", "mpii"))
    # Every network says the spot. COCO's hips are 5 px below it and its torso 55 px long, MPII's on it: 5 / 55 = .0909.
    # To the person's left the spot is 10 px away: 10 / 50 of the torso on one dataset, 10 / 55 on the other.
    np.testing.assert_allclose(by[HIPS, 0], [-5 / 55, -5 / 55], atol=2e-3)
    np.testing.assert_allclose(by[HIPS, 1], [10 / 55 - 10 / 50, 10 / 50 - 10 / 55], atol=2e-3)
    row = next(line for line in lines if line.startswith("| left_hip"))
    assert row.count("**-.091** (-.091 to -.091)") == 2 and "-0.091 up" in row
    assert {line.count("|") for line in lines if line.startswith("|")} == {9}


def test_a_networks_constant_is_said_in_pixels_of_its_crop(ask):
    row = next(line for line in bias(ask, "tinypose") if line.startswith("| left_hip"))
    # BOX is 90 x 120 and fills .8 of a crop of 48 x 64: .4267 crop pixels a pixel. The word is 10 left and 5 above.
    assert row == "| left_hip | 3 | **-4.27** (-4.27 to -4.27) | **-2.13** (-2.13 to -2.13) |"


def test_hips_moved_onto_their_labels_are_bought():
    bench = Bench(part_in_memory(), "pckh_0.5")
    old, new = np.full((6, 21, 10), np.nan), np.full((6, 21, 10), np.nan)
    old[..., :2] = bench.labels
    new[..., :2] = bench.labels
    old[:, HIPS, 0] += 8  # half a head is 7.5 px
    assert (
        hips_row(bench, "who", old, new) == "| m, pckh_0.5 | who | 0.0 (0.0 to 0.0) | **+100.0** (+100.0 to +100.0) |"
    )


def test_applying_nothing_buys_nothing(ask):
    rows = applied(ask, np.zeros((21, 2)))[4:-1]
    assert len(rows) == 6 and all("+0.0" in row.split("|")[4] and "**" not in row for row in rows)


def test_what_a_set_teaches_stands_beside_its_labels(tmp_path):
    pytest.importorskip("torch", reason="needs the train extra")
    known = teacher(tmp_path / "nets", "bright", COCO_17)
    parts = [body(tmp_path, "coco", COCO_17, 5.0), body(tmp_path, "other", COCO_17, -10.0)]
    write_set(tmp_path / "set", parts, [OnnxModel(known.card, known.weights)], UNION_21, Cache(None))
    # 5 px above the labelled hips of a torso of 55 px, 10 below those of one of 40.
    assert taught(tmp_path / "set")[4:-1] == [
        "| coco | 3 | **.091** (.091 to .091) |",
        "| other | 3 | **-.250** (-.250 to -.250) |",
    ]


def test_what_a_set_teaches_needs_a_set(tmp_path):
    given = argparse.Namespace(only=["taught"], set=None, data=tmp_path, out=tmp_path, student="default")
    with pytest.raises(InputError, match="--set: expected a training set"):
        next(report(given))


@pytest.mark.parametrize(("folder", "last"), [(None, "applied"), (Path("set"), "learnt")])
def test_where_a_set_is_named_all_tables_are_made(monkeypatch, tmp_path, folder, last):
    monkeypatch.setattr(offsets.Looking, "at", lambda data, out: None)
    monkeypatch.setattr(offsets, "conventions", lambda ask, pair: (["conventions"], None))
    for name in ("bias", "applied", "taught", "learnt"):
        monkeypatch.setattr(offsets, name, lambda *_, name=name: [name])
    given = argparse.Namespace(only=None, set=folder, data=tmp_path, out=tmp_path, student="default")
    made = [lines[0] for lines in report(given)]
    assert made[:5] == ["bias", "bias", "conventions", "conventions", "conventions"] and made[-1] == last
    assert ("taught" in made) == (folder is not None)
