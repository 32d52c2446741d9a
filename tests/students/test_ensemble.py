"""Several networks' words on one keypoint, fused by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.skeletons import COCO_17, MPII_16, UNION_21
from annotator.students import card as cards
from annotator.students.base import PoseModel
from annotator.students.cache import Cache
from annotator.students.ensemble import AGREE, fuse
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout
from tests import networks
from tests.students.test_onnx import HEATMAP, SPOT, scene

NAN = (float("nan"), float("nan"))


def words(*of_each: tuple[tuple[float, float], float]) -> np.ndarray:
    """Packed words (C, 1, 1, 10) of C networks: place and score; entropy tells whose the other columns are."""
    packed = np.full((len(of_each), 1, 1, Readout.PACKED), np.nan)
    for i, (xy, score) in enumerate(of_each):
        if np.isfinite(xy).all():
            packed[i, 0, 0] = [*xy, score, 5, i, 1, *NAN, 0, 2]
    return packed


def fused(packed: np.ndarray, *trust: float, scale: float = 100) -> tuple[Readout, float]:
    out, apart = fuse(packed, np.array(trust)[:, None], np.array([scale]))
    return Readout.unpack(out), float(apart[0, 0])


def test_those_that_agree_are_averaged_by_trust_times_score() -> None:
    word, apart = fused(words(((10, 20), 0.8), ((14, 23), 0.5)), 1.0, 0.4)
    # weights .8 and .2: (10, 20) + .2 * (4, 3); distance of 4 and 3 is 5
    np.testing.assert_allclose(word.xy[0, 0], [10.8, 20.6], atol=1e-6)
    assert apart == pytest.approx(5)


def test_the_others_columns_are_those_of_the_one_that_leads() -> None:
    word, _ = fused(words(((10, 20), 0.5), ((11, 20), 0.9)), 1.0, 1.0)
    assert (word.entropy[0, 0], word.score[0, 0], word.spread[0, 0]) == (1, 0.9, 5)


@pytest.mark.parametrize(("distance", "x"), [(14.9, 10 + 14.9 / 4), (15.1, 10)], ids=["agrees", "too far"])
def test_a_word_further_than_a_part_of_the_persons_scale_is_left_out(distance: float, x: float) -> None:
    assert AGREE * 100 == 15
    word, apart = fused(words(((10, 20), 0.9), ((10 + distance, 20), 0.3)), 1.0, 1.0)
    np.testing.assert_allclose(word.xy[0, 0], [x, 20], atol=1e-6)
    assert apart == pytest.approx(distance)  # the disagreement is said all the same


def test_trust_decides_who_leads() -> None:
    far = words(((10, 20), 0.9), ((90, 20), 0.4))
    assert fused(far, 0.3, 1.0)[0].xy[0, 0, 0] == pytest.approx(90)
    assert fused(far, 1.0, 1.0)[0].xy[0, 0, 0] == pytest.approx(10)


def test_the_largest_distance_of_any_two_is_the_disagreement() -> None:
    _, apart = fused(words(((0, 0), 0.9), ((3, 4), 0.9), ((0, -6), 0.9)), 1, 1, 1)
    assert apart == pytest.approx(np.hypot(3, 10))


def test_one_that_lacks_a_keypoint_has_no_say() -> None:
    word, apart = fused(words((NAN, 0), ((14, 23), 0.2)), 1.0, 0.1)
    np.testing.assert_allclose(word.xy[0, 0], [14, 23])
    assert word.entropy[0, 0] == 1 and np.isnan(apart)


def test_nobodys_keypoint_stays_unknown() -> None:
    word, apart = fused(words((NAN, 0), (NAN, 0)), 1.0, 1.0)
    assert np.isnan(word.pack()).all() and np.isnan(apart)


def test_a_network_without_trust_still_speaks_where_it_is_alone() -> None:
    assert fused(words((NAN, 0), ((14, 23), 0.5)), 1.0, 0.0)[0].xy[0, 0, 0] == pytest.approx(14)


@given(st.integers(0, 2**32 - 1), st.permutations([0, 1, 2]))
def test_the_order_of_the_networks_does_not_matter(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    packed, trust, scale = rng.uniform(0, 90, (3, 4, 5, Readout.PACKED)), rng.uniform(0, 1, (3, 5)), np.full(4, 200.0)
    packed[rng.random((3, 4, 5)) < 0.3] = np.nan
    out, apart = fuse(packed, trust, scale)
    turned, turned_apart = fuse(packed[order], trust[order], scale)
    np.testing.assert_allclose(turned, out)
    np.testing.assert_allclose(turned_apart, apart)


@given(st.integers(0, 2**32 - 1))
def test_a_fused_place_lies_among_the_words(seed: int) -> None:
    rng = np.random.default_rng(seed)
    packed = rng.uniform(0, 90, (3, 4, 5, Readout.PACKED))
    out, _ = fuse(packed, np.ones((3, 5)), np.full(4, 200.0))
    low, high = packed[..., :2].min(axis=0), packed[..., :2].max(axis=0)
    assert ((out[..., :2] >= low - 1e-9) & (out[..., :2] <= high + 1e-9)).all()


def test_two_datasets_networks_together_know_the_union(tmp_path: Path) -> None:
    nets = []
    for skeleton, fields in ((COCO_17, {}), (MPII_16, {"trust": {"pelvis": 0.5}})):
        more: dict[str, Any] = {"dataset": skeleton.name, "keypoints": list(skeleton.keypoints)} | fields
        path = networks.bright_heatmap(tmp_path / f"{skeleton.name}.onnx", k=len(skeleton))
        card = cards.load(networks.write_card(path, HEATMAP | {"offset_px": 1.5}, **more))
        nets.append(OnnxModel(card, path))
    images, table = scene(tmp_path)
    proposals, _ = PoseModel("teachers", tuple(nets), UNION_21).predict(images, table.project(UNION_21), Cache(None))
    np.testing.assert_allclose(proposals.xy[0], np.tile(SPOT, (21, 1)), atol=0.3)
    both = UNION_21.indices(set(COCO_17.keypoints) & set(MPII_16.keypoints))
    assert len(both) == 12
    known = np.isfinite(proposals.disagreement_px[0])
    np.testing.assert_array_equal(np.flatnonzero(known), np.sort(both))  # elsewhere there is one word only
