from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator import formats
from annotator.errors import FormatError
from annotator.proposals import KIND
from annotator.skeletons import UNION_21
from tests import scenes
from tests.builders import make_proposals
from tests.conftest import ROOT
from workflows import contact_sheet
from workflows.consistency import CHECKS, Heads, counts
from workflows.unlabelled import Completed, moved, sheets

# Facing us, upright, a head of 10 px, the middle of the shoulders at (0, 0): upper_neck 3 px above it and head_top
# 13.33 px further, so that .75 of their distance is the head size; the person's left is on our right.
FRONTAL = {
    "left_shoulder": (8, 0), "right_shoulder": (-8, 0), "upper_neck": (0, -3), "head_top": (0, -3 - 40 / 3),
    "nose": (0, -9), "left_eye": (2, -11), "right_eye": (-2, -11), "left_ear": (4, -9), "right_ear": (-4, -9),
}  # fmt: skip
# The head turned to the person's left: the far ear is not seen, the near one lies behind the middle.
TURNED = FRONTAL | {"nose": (5, -8.5), "left_eye": (5, -11), "right_eye": (3, -11), "left_ear": (math.nan, math.nan),
                    "right_ear": (-1, -9.5)}  # fmt: skip
TITLES = [check.title for check in CHECKS]


def figure(points: dict[str, tuple[float, float]], **changed: tuple[float, float]) -> Heads:
    xy = np.full((1, 21, 2), np.nan)
    for name, place in (points | changed).items():
        xy[0, UNION_21.index(name)] = place
    return Heads(xy, np.array([10.0]))


def failed(heads: Heads) -> set[str]:
    kept, asked = counts(heads)
    return {title for title, up, down in zip(TITLES, kept[0], asked[0], strict=False) if up < down}


def test_values_of_an_upright_frontal_figure_are_those_worked_by_hand():
    heads = figure(FRONTAL)
    # In head sizes: 16.33 - 9, 3, 9 - 3, 11 - 3 pixels along the axis; the rectangle's middle is 9.67 px above.
    expected = [[7.333], [0], [3], [6], [0], [6], [8, 8], [6, 6], [0.667, 2.404, 2.404, 4.055, 4.055], [4], [4, 4]]
    for check, value in zip(CHECKS, expected, strict=True):
        np.testing.assert_allclose(check.value(heads)[0], np.array(value) / 10, atol=1e-3, err_msg=check.title)


@pytest.mark.parametrize("points", [FRONTAL, TURNED], ids=["frontal", "turned"])
@settings(max_examples=40)
@given(turn=st.floats(0, math.tau), scale=st.floats(0.5, 40), mirror=st.booleans())
def test_checks_neither_see_rotation_nor_size_nor_mirror(points, turn, scale, mirror):
    """A quarter turn is a person who lies."""
    heads = figure(points)
    xy = heads.xy[:, UNION_21.flip] * [-1, 1] if mirror else heads.xy
    rotation = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    other = Heads(xy @ rotation.T + [300, 200], scale * heads.size)
    assert failed(other) == set()
    for check in CHECKS:
        np.testing.assert_allclose(np.sort(check.value(other)), np.sort(check.value(heads)), atol=1e-9)


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"head_top": (0, -8)}, "head_top above the ears"),
        ({"head_top": (10, -14)}, "head_top beside the body's axis"),
        ({"upper_neck": (0, 4)}, "upper_neck above the shoulders"),
        ({"upper_neck": (0, -8)}, "upper_neck below the nose"),
        ({"upper_neck": (5, -3)}, "upper_neck beside the body's axis"),
        ({"nose": (0, -15)}, "nose between upper_neck and head_top"),
        ({"left_eye": (2, -4)}, "eyes between upper_neck and head_top"),
        ({"right_ear": (-4, -14)}, "ears between upper_neck and head_top"),
        ({"right_eye": (-9, -10)}, "nose, eyes, ears within the head rectangle's reach"),
        ({"left_eye": (-2, -11), "right_eye": (2, -11)}, "left eye to the left of the right"),
        ({"left_ear": (-4, -9)}, "each ear on its own side of the head's axis"),
    ],
    ids=TITLES,
)
def test_a_point_out_of_place_breaks_its_check(changed, broken):
    assert broken in failed(figure(FRONTAL, **changed))


def test_what_is_not_there_is_not_asked():
    nowhere = (math.nan, math.nan)
    _, asked = counts(figure(FRONTAL, nose=nowhere, left_ear=nowhere))
    # No axis of the body from one ear, no nose; one ear, of the face three points, and the person as a whole.
    assert asked[0].tolist() == [0, 0, 0, 0, 0, 0, 2, 1, 3, 1, 1, 1]
    assert counts(figure({}))[1].sum() == 0


def test_the_last_column_counts_people_who_keep_all_their_checks():
    good, bad = figure(FRONTAL), figure(FRONTAL, nose=(0, -15))
    kept, asked = counts(Heads(np.concatenate([good.xy, bad.xy]), np.full(2, 10.0)))
    assert kept[:, -1].tolist() == [1, 0]
    assert asked[:, -1].tolist() == [1, 1]


def test_moved_points_lie_half_a_head_away_and_the_others_stay():
    heads = figure(FRONTAL)
    which = np.zeros((1, 21), dtype=bool)
    which[0, UNION_21.indices(["upper_neck", "head_top"])] = True
    distance = np.linalg.norm(moved(heads, which, np.random.default_rng(0)).xy - heads.xy, axis=2)
    np.testing.assert_allclose(distance[which], 5.0)
    assert np.nanmax(distance[~which]) == 0


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Sheets of four COCO and two MPII people on pictures of noise."""
    tmp_path = tmp_path_factory.mktemp("drawn")
    both = []
    for name, made, pictures in (("coco", scenes.coco, 2), ("mpii", scenes.mpii, 1)):
        read = formats.read(*made(tmp_path / name, pictures, 2), name)
        people = read.people.project(UNION_21)
        both.append(Completed(read.images, people, {"made": make_proposals(people)}, np.full(len(people), 12.0)))
    sheets(both, "made", tmp_path / "out")
    return both, tmp_path / "out"


def test_sheets_have_every_person_once_and_the_expected_size(drawn):
    both, out = drawn
    pages = sorted(out.glob("*.png"))
    assert [page.name for page in pages] == ["sheet_01.png", "sheet_02.png"]  # 6 people, 4 a page
    for page in pages:
        with Image.open(page) as picture:
            assert picture.size == (2 * contact_sheet.CELL[0], 2 * contact_sheet.CELL[1])
    with (out / "count.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = dict.fromkeys((int(row["number"]), row["person_id"]) for row in rows)
    ids = [person for one in both for person in one.people.person_id]
    assert list(numbers) == list(enumerate(ids, start=1))
    assert [row["keypoint"] for row in rows[:4]] == ["pelvis", "thorax", "upper_neck", "head_top"]
    assert len(rows) == 4 * 4 + 2 * 5


def test_a_page_holds_each_cell_in_its_place():
    cells = [Image.new("RGB", contact_sheet.CELL, (40 * i, 0, 0)) for i in range(1, 6)]
    first, second = contact_sheet.pages(cells)
    w, h = contact_sheet.CELL
    middles = [(w // 2, h // 2), (w + w // 2, h // 2), (w // 2, h + h // 2), (w + w // 2, h + h // 2)]
    assert [first.getpixel(at) for at in middles] == [(40, 0, 0), (80, 0, 0), (120, 0, 0), (160, 0, 0)]
    assert [second.getpixel(at) for at in middles] == [(200, 0, 0), *[(255, 255, 255)] * 3]


def test_only_added_points_have_a_measure_around_them(drawn):
    one = drawn[0][0]
    person, proposal = one.people.take([0]), one.proposals["made"].take([0])
    marks = contact_sheet.marks_with_measure(person, proposal, 12.0)
    added = {UNION_21.keypoints[k] for k in np.flatnonzero(proposal.kind[0] != KIND["labelled"])}
    assert {mark.name for mark in marks if mark.radius == 6} == added
    assert all(np.isnan(mark.radius) for mark in marks if mark.name not in added)


def test_a_filled_list_is_counted_with_wilsons_interval(tmp_path):
    verdicts = ["no"] * 8 + ["yes"] * 2 + ["unsure", "outside"]
    rows = [[str(i), f"coco:{i}", "head_top", "proposed", word] for i, word in enumerate(verdicts)]
    rows += [["1", "coco:1", "thorax", "derived", "no"]]
    contact_sheet.write_list(tmp_path / "count.csv", rows)
    lines = contact_sheet.counted(tmp_path / "count.csv").splitlines()
    # Wilson for 2 of 10: (.2 + 1.92 / 10 +- 1.96 sqrt(.016 + .0096)) / 1.384 with z^2 = 3.84.
    assert lines[2] == "| COCO, head_top | 10 | 2 (20 %) | 6 to 51 % | 1 | 1 |"
    assert lines[3].startswith("| COCO, thorax, by a rule | 1 | 0 (0 %) | 0 to")


def test_a_list_that_is_not_filled_is_refused_with_its_line(tmp_path):
    contact_sheet.write_list(tmp_path / "count.csv", [["1", "coco:1", "head_top", "proposed", ""]])
    with pytest.raises(FormatError, match="line 2: expected one of no, yes, unsure, outside, got ''"):
        contact_sheet.counted(tmp_path / "count.csv")


def test_the_published_counts_are_those_of_the_list_that_is_kept():
    page, kept = (ROOT / "docs" / "results.md").read_text(), ROOT / "workflows" / "eye_count.csv"
    assert contact_sheet.counted(kept).strip() in page
