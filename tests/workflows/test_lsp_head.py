"""LSP's neck and crown in the head's own frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.people import people
from annotator.skeletons import LSP_14, UNION_21
from annotator.training import Part
from tests import networks
from tests.students.test_onnx import BOX, scene
from tests.workflows.test_looks import HEAD_TOP, UPPER_NECK, seen, standing, turned
from workflows.looks import Looking
from workflows.lsp_head import OFFSET, apart, away, head_frame, shifted, tilt, transfer
from workflows.measuring import STAND_IN

ALL = np.ones(4, dtype=bool)


def heads(n: int = 4, lean: float = 0.0) -> np.ndarray:
    """People whose heads are 40 px long and lean to their left by some degrees."""
    xy = standing(n)
    xy[:, UPPER_NECK] = (200, 90)
    angle = np.radians(lean)
    xy[:, HEAD_TOP] = xy[:, UPPER_NECK] + 40 * np.array([np.sin(angle), -np.cos(angle)])
    return xy


def test_the_head_line_goes_from_neck_to_top_and_left_is_the_persons_own():
    axes, length = head_frame(heads(1))
    np.testing.assert_allclose(axes[0], [[0, -1], [1, 0]], atol=1e-12)
    assert length[0] == pytest.approx(40)


@pytest.mark.parametrize("lean", [0, 30, 90, 150])
def test_tilt_is_the_angle_between_head_and_torso(lean):
    np.testing.assert_allclose(tilt(turned(heads(2, lean), 1.0)), lean, atol=1e-4)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0, 2 * np.pi), st.booleans())
def test_a_label_lies_as_far_from_the_word_as_it_was_shifted(neck, top, angle, mirrored):
    said = turned(heads(lean=20), angle, mirrored)
    found = away(seen(said, shifted(said, {"upper_neck": neck, "head_top": top})))
    np.testing.assert_allclose(found, np.broadcast_to([[neck, 0], [top, 0]], found.shape), atol=1e-9)


@given(st.floats(-0.3, 0.3), st.floats(-0.2, 0.2))
def test_the_networks_bias_falls_out_and_the_datasets_difference_stays(bias, difference):
    """A word that is `bias` off on both; heads as the network sees them are the unit."""
    true, said = heads(lean=10), shifted(heads(lean=10), {"upper_neck": bias})
    ours = seen(said, true)
    length = head_frame(said)[1] / head_frame(true)[1]
    theirs = seen(said, shifted(true, {"head_top": difference * length[0]}))
    along, left = apart([theirs, ours], 1, [ALL, ALL])
    assert along.value == pytest.approx(difference, abs=1e-9) and left.value == pytest.approx(0, abs=1e-9)


def test_only_the_chosen_count():
    said = heads()
    labels = shifted(said, {"head_top": 0.1})
    labels[2:] = shifted(said[2:], {"head_top": 0.3})
    first = np.array([True, True, False, False])
    assert apart([seen(said, labels), seen(said, said)], 1, [first, ALL])[0].value == pytest.approx(0.1)
    assert apart([seen(said, labels), seen(said, said)], 1, [~first, ALL])[0].value == pytest.approx(0.3)


def clicked(folder: Path, times: float) -> Part:
    """Two of LSP's people as the prompted student sees everybody, but neck and crown lie `times` OFFSET away."""
    images = scene(folder)[0].take(np.array([0, 0]))
    middle = np.array(BOX[:2]) + np.array(BOX[2:]) / 2
    # BOX fills .8 of a crop of 64 x 48 pixels; the student counts from the middle of its pixels, half a pixel before.
    seen_at = middle + (networks.OFFSETS - 0.5) * BOX[3] * 1.25 / networks.SIZE[0]
    union = shifted(seen_at[None], {name: times * part for name, part in OFFSET.items()})[0]
    names = [STAND_IN["lsp"].get(name, name) for name in LSP_14.keypoints]
    xy = np.tile(union[UNION_21.indices(names)], (2, 1, 1))
    table = people(LSP_14, person_id=["lsp:0", "lsp:1"], image_id=["a", "b"], source="lsp", xy=xy,
                   v=np.full((2, 14), 2), bbox_xywh=np.array([BOX, BOX]))  # fmt: skip
    return Part("lsp", replace(images, image_id=np.array(["a", "b"], dtype=object)), table)


@pytest.mark.parametrize(("times", "moved"), [(1, 100), (3, 100), (5, 0)])
def test_a_head_top_moved_by_the_offset_is_measured_against_the_crown(tmp_path, times, moved):
    card = networks.prompted_student(tmp_path)
    ask = Looking({"lsp/test": clicked(tmp_path, times)}, tmp_path / "kept.sqlite")
    *_, last, _, weights, _ = transfer(ask, [str(card)])
    row = last.split(" | ")
    # A head line of 9 crop pixels, a torso of hypot(10, 16) = 18.9: OFFSET is 1.6 pixels, .2 of the torso 3.8. Three
    # times OFFSET is 4.7 away as it is and 3.1 when moved; five times 7.8 and 6.3.
    as_it_is = 100 if times == 1 else 0
    assert row[:3] == ["| head_top", "prompted", "2"]
    assert weights.startswith("Weights (sha256): prompted ")
    assert row[3:5] == [f"{value:.1f} ({value:.1f} to {value:.1f})" for value in (as_it_is, moved)]
