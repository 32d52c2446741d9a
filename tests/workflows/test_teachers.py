"""Measuring teachers: figures counted by hand, paired differences, cards that differ in one setting, tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.people import people
from annotator.skeletons import COCO_17, MPII_16, UNION_21, Skeleton
from annotator.students import card as cards
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout
from annotator.students.registry import Known
from annotator.training import Part
from tests import networks
from tests.conftest import ROOT
from tests.students.test_onnx import BOX, HEATMAP, SPOT, scene
from workflows.highest_cell import HighestCell
from workflows.teachers import Asking, above, biases, fusions, header, merged, per_keypoint, scored, settings, trusted
from workflows.training_set import check_parts
from workflows.words import MEAN, Bench, Compared, compare, words

HEAD_TOP = UNION_21.index("head_top")
HEAD = 20.0  # upper_neck to head_top: the head size is 15 px


def part(folder: Path, name: str, skeleton: Skeleton) -> Part:
    """Two people, one a picture, all labels on its bright spot but head_top, which is above it."""
    images = scene(folder)[0].take(np.array([0, 0]))
    images = replace(images, image_id=np.array(["a", "b"], dtype=object))
    xy = np.tile(SPOT, (2, len(skeleton), 1))
    if "head_top" in skeleton.keypoints:
        xy[:, skeleton.index("head_top"), 1] -= HEAD
    table = people(
        skeleton, person_id=[f"{name}:1", f"{name}:2"], image_id=["a", "b"], source=name, xy=xy,
        v=np.full((2, len(skeleton)), 2), bbox_xywh=np.array([BOX, BOX]),
    )  # fmt: skip
    return Part(name, images, table)


def teacher(folder: Path, name: str, skeleton: Skeleton, **fields: Any) -> Known:
    """A network that takes the brightest place for every keypoint."""
    path = networks.bright_heatmap(folder / f"{name}.onnx", k=len(skeleton))
    said: dict[str, Any] = {"dataset": skeleton.name, "keypoints": list(skeleton.keypoints), "role": "teacher"}
    card = networks.write_card(path, HEATMAP | {"offset_px": 1.5}, **said | fields)
    return Known(cards.load(card), card, path)


@pytest.fixture
def ground(tmp_path) -> list[Bench]:
    coco, mpii = part(tmp_path, "coco", COCO_17), part(tmp_path, "mpii", MPII_16)
    return [Bench(coco, "similarity"), Bench(mpii, "pckh_0.5"), Bench(mpii, "pckh_0.1")]


def exact(bench: Bench, **moved: float) -> np.ndarray:
    """The labels themselves, some keypoints moved to the right by some pixels."""
    xy = bench.labels.copy()
    for name, px in moved.items():
        xy[:, UNION_21.index(name), 0] += px
    return xy


def test_pckh_counts_keypoints_within_a_part_of_the_head(ground):
    half, tenth = (compare(one, exact(one, left_hip=7.4, left_knee=7.6, left_ankle=1.4)).value[0] for one in ground[1:])
    hip, knee, ankle = UNION_21.indices(["left_hip", "left_knee", "left_ankle"])
    assert (half[hip], half[knee], half[ankle]) == (1, 0, 1)  # half a head is 7.5 px
    assert (tenth[hip], tenth[knee], tenth[ankle]) == (0, 0, 1)  # a tenth 1.5
    assert half[MEAN] == pytest.approx(13 / 14)  # of 16 keypoints pelvis and thorax are not counted
    assert np.isnan(half[UNION_21.index("nose")])


def test_the_mean_of_similarity_is_the_mean_oks(ground):
    # Scale is sqrt(.53 x 90 x 120); a distance of twice sigma times that gives exp(-1/2): one keypoint of 17.
    far = 2 * 0.026 * np.sqrt(0.53 * 90 * 120)
    value = compare(ground[0], exact(ground[0], nose=far)).value[0]
    assert value[UNION_21.index("nose")] == pytest.approx(np.exp(-0.5), abs=1e-9)
    assert value[MEAN] == pytest.approx((16 + np.exp(-0.5)) / 17)


def test_the_mean_is_over_what_both_know(ground):
    bench = ground[0]
    fewer = exact(bench, left_hip=1e3)
    fewer[:, UNION_21.index("nose")] = np.nan
    found = compare(bench, exact(bench, nose=1e3), fewer)
    assert found.value[:, MEAN] == pytest.approx([1, 15 / 16])


@given(st.floats(-20, 20))
def test_a_word_is_no_better_than_itself(px):
    bench = Bench(part_in_memory(), "pckh_0.5")
    said = exact(bench, left_wrist=px)
    assert compare(bench, said, said).gain(0, 1) == (0, 0, 0)


def part_in_memory() -> Part:
    """People in six pictures that nobody opens."""
    xy = np.tile(SPOT, (6, 16, 1))
    xy[:, MPII_16.index("head_top"), 1] -= HEAD
    names = [f"m:{i}" for i in range(6)]
    table = people(MPII_16, person_id=names, image_id=names, source="m", xy=xy, v=np.full((6, 16), 2),
                   bbox_xywh=np.tile(BOX, (6, 1)))  # fmt: skip
    return Part("m", None, table)  # type: ignore[arg-type]


def test_who_is_clearly_worse_is_not_trusted():
    samples = np.zeros((100, 3, MEAN + 1))
    samples[:, 0, 0], samples[:, 1, 0], samples[:, 2, 0] = 0.9, np.linspace(0.85, 0.95, 100), 0.5
    value = np.zeros((3, MEAN + 1))
    value[:, 0] = 0.9, 0.91, 0.5
    found = Compared(value, samples, np.full((3, MEAN + 1), 9))
    assert trusted(found, [0, 1, 2], 0) == [1, 0]
    assert trusted(found, [2], 0) == [2]


def test_a_word_below_the_floor_is_silent_only_where_another_is_above():
    packs = np.full((2, 1, 3, Readout.PACKED), 5.0)
    packs[..., 2] = np.array([[[0.1, 0.1, 0.9]], [[0.8, 0.15, 0.85]]])
    left = np.isfinite(above(packs, 0.2)[..., 0])
    np.testing.assert_array_equal(left[:, 0], [[False, True, True], [True, True, True]])


def test_scored_words_keep_their_places_and_what_is_unknown_stays_so():
    pack = np.full((1, 2, Readout.PACKED), 5.0)
    pack[0, 1] = np.nan
    out = scored(pack)
    assert out[0, 0, 2] == 1 and np.isnan(out[0, 1]).all()
    np.testing.assert_array_equal(out[..., :2], pack[..., :2])


def test_the_highest_cell_is_the_middle_of_a_cell_and_within_one_of_the_refined_place(tmp_path, ground):
    known = teacher(tmp_path / "nets", "bright", COCO_17, flip_test=False, keypoint_offset_px={"nose": [0.0, 8.0]})
    network = OnnxModel(known.card, known.weights)
    crops = np.stack([networks.blob(networks.SIZE, (21.3, 30.2), 3.0)])
    coarse, fine = HighestCell(known.card, known.weights).read(crops), network.read(crops)
    # Cell 5 covers pixels 20 to 23, middle 21.5; cell 7 pixels 28 to 31, middle 29.5; the nose is said to be 8 lower.
    np.testing.assert_allclose(coarse.xy[0, 1:], np.tile([21.5, 29.5], (16, 1)))
    np.testing.assert_allclose(coarse.xy[0, 0], [21.5, 37.5])
    assert np.abs(coarse.xy - fine.xy).max() <= 4
    assert coarse.score == pytest.approx(fine.score)


def test_a_changed_card_is_the_card_but_for_what_was_changed(tmp_path, ground):
    known = teacher(tmp_path / "nets", "bright", COCO_17, keypoint_offset_px={"nose": [0.0, 8.0]})
    ask = Asking(ground, tmp_path / "out")
    own = ask.about_all(OnnxModel(known.card, known.weights))
    plain = ask.changed(known, keypoint_offset_px={})
    card = cards.load(next((tmp_path / "out" / "cards").glob("*.toml")))
    assert card == known.card.model_copy(update={"keypoint_offset_px": {}})
    down = (own["coco"] - plain["coco"])[..., :2]
    assert down[:, 0, 1].min() > 5 and not down[:, 1:17].any()
    assert np.isnan(plain["coco"][:, HEAD_TOP]).all()


def test_every_row_has_the_headers_cells(tmp_path, ground):
    bias = {"keypoint_offset_px": {"left_hip": [0.0, 1.0]}}
    known = {
        "one": teacher(tmp_path / "nets", "one", COCO_17, **bias),
        "two": teacher(tmp_path / "nets", "two", MPII_16, flip_test=False, trust={"pelvis": 0.5}),
    }
    ask = Asking(ground, tmp_path / "out")
    said = {name: ask.about_all(OnnxModel(entry.card, entry.weights)) for name, entry in known.items()}
    cells = header(ground, "what")[0].count("|")
    rows = [row for name, entry in known.items() for row in settings(ask, ground, entry, said[name])]
    rows += [*fusions(ground, known, said), *biases(ask, ground, known, said)]
    assert {row.count("|") for row in rows} == {cells}
    assert sum("one's, " in row for row in rows) == 2 and sum("mirror image |" in row for row in rows) == 2
    lines = per_keypoint(ground[1], said).splitlines()
    assert lines[2] == "| keypoint | n | one | two | trusted |"
    # One knows the limbs, the other all; head_top is the one label that is not on the spot.
    assert "| head_top | 2 |  | 0.0 (0.0 to 0.0) | two |" in lines
    assert "| pelvis | 2 |  | 100.0 (100.0 to 100.0) | two |" in lines


def test_merging_does_not_change_what_was_given():
    before = {"crop": {"factor": 1.2}}
    assert merged(before, {"crop": {"factor": 2.0}}) == {"crop": {"factor": 2.0}} and before["crop"]["factor"] == 1.2


def test_words_are_kept_and_hidden_labels_do_not_matter(tmp_path, ground):
    known = teacher(tmp_path / "nets", "bright", COCO_17)
    network, cache, bench = OnnxModel(known.card, known.weights), tmp_path / "kept.sqlite", ground[0]
    first = words(network, bench.part, cache)
    known.weights.unlink()
    bare = replace(bench.part, people=bench.part.people.hide(list(COCO_17.keypoints)))
    np.testing.assert_array_equal(words(network, bare, cache), first)
    np.testing.assert_allclose(first[:, 0, :2], [SPOT, SPOT], atol=0.3)


@pytest.mark.slow
def test_tinyposes_hips_are_nearer_to_cocos_labels_with_its_cards_constants(data, teachers, tmp_path):
    card = cards.load(ROOT / "models/teachers/tinypose.toml")
    coco = check_parts(data)[0]
    bench = Bench(coco, "similarity").take(np.arange(40))
    bare = card.model_copy(update={"keypoint_offset_px": {}})
    with_them, without = (
        words(OnnxModel(one, teachers / card.file), bench.part, tmp_path / "kept.sqlite") for one in (card, bare)
    )
    hips = UNION_21.indices(["left_hip", "right_hip"])
    found = compare(bench, with_them, without)
    assert (found.value[0] - found.value[1])[hips].mean() > 0.005  # .012 on these 40, .019 on all 147
    others = np.setdiff1d(np.arange(17), hips)
    np.testing.assert_array_equal(found.value[0, others], found.value[1, others])
