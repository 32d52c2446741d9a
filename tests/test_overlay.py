from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.images import Images
from annotator.people import ORIGIN, People, people
from annotator.proposals import KIND, Proposals, uncertainty
from annotator.report import drawing
from annotator.report.overlay import (
    LOOKS,
    legend,
    marks_of,
    overlay,
    panel,
    view_of_person,
    write_pictures,
)
from annotator.skeletons import COCO_17, UNION_21, Skeleton
from tests.builders import make_people, make_proposals

GREY = np.full((200, 100, 3), 128, dtype=np.uint8)
NOSE, NECK = UNION_21.index("nose"), UNION_21.index("upper_neck")


def one_person(points: dict[str, tuple[float, float]], box: Any = (0, 0, 100, 200), **columns: Any) -> People:
    xy = np.full((1, 21, 2), np.nan)
    for name, place in points.items():
        xy[0, UNION_21.index(name)] = place
    v = np.where(np.isfinite(xy[..., 0]), 2, 0)
    return people(
        UNION_21, person_id=["a:1"], image_id=["a:1"], source="a", xy=xy, v=v, bbox_xywh=np.array([box]), **columns
    )


def proposed(table: People, points: dict[str, tuple[float, float]], **columns: Any) -> Proposals:
    """Proposals for these keypoints alone, with a spread of 5 px."""
    xy = np.full((1, 21, 2), np.nan)
    for name, place in points.items():
        xy[0, UNION_21.index(name)] = place
    return replace(make_proposals(table), xy=xy, spread_px=np.full((1, 21), 5.0), **columns)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, People, Proposals]:
    """A small picture and two people on and off it, with boxes down to a pixel, all points there or none at all."""
    skeleton: Skeleton = draw(st.sampled_from([COCO_17, UNION_21]))
    k, seed = len(skeleton), draw(st.integers(0, 99))
    height, width = draw(st.tuples(*[st.integers(1, 150)] * 2))
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-40, 190, (2, k, 2))
    v = rng.integers(0, 3, (2, k)) if draw(st.booleans()) else np.zeros((2, k), dtype=int)
    side = draw(st.sampled_from([0.5, 1.0, 60.0, 4000.0]))
    box = np.concatenate([rng.uniform(-60, 160, (2, 2)), np.full((2, 2), side)], axis=1)
    table = people(
        skeleton, person_id=["a:1", "a:2"], image_id=["a", "a"], source="a", xy=xy, v=v, bbox_xywh=box, pixel_origin=1
    )
    proposals = make_proposals(table, seed)
    if draw(st.booleans()):
        nothing = np.full((2, k), np.nan)
        proposals = replace(proposals, xy=np.full((2, k, 2), np.nan), spread_px=nothing, radius90=nothing)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), table, proposals


@settings(max_examples=40, deadline=None)
@given(scenes(), st.sampled_from([None, 0, 1]))
def test_an_overlay_changes_no_input_and_has_the_size_asked_for(scene, person):
    pixels, table, proposals = scene
    before = pixels.copy(), table.xy.copy(), proposals.xy.copy()
    shown, _, _ = panel(pixels, table, proposals, person=person, size=200)
    picture = overlay(pixels, table, proposals, person=person, size=200)
    for array, copy in zip((pixels, table.xy, proposals.xy), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert picture.mode == "RGB"
    assert max(shown.height / 200, shown.width / 320) == 1  # the one or the other limit is met, none exceeded
    assert picture.height > shown.height


def test_the_legend_covers_nothing():
    table = one_person({"nose": (50, 40)})
    proposals = proposed(table, {"upper_neck": (50, 60)})
    shown, _, _ = panel(GREY, table, proposals, person=0)
    whole = np.asarray(overlay(GREY, table, proposals, person=0))
    left = (whole.shape[1] - shown.width) // 2
    np.testing.assert_array_equal(whole[: shown.height, left : left + shown.width], np.asarray(shown))


def test_a_label_is_a_filled_disc_and_a_proposal_a_hollow_diamond():
    table = one_person({"nose": (20, 40)})
    shown, _, _ = panel(GREY, table, proposed(table, {"upper_neck": (70, 150)}), person=0)
    picture = np.asarray(shown)
    # 200 rows fill 800, four pixels for one: the middle of pixel (20, 40) lands on (82, 162).
    assert shown.size == (400, 800)
    for dx in (-3, 0, 3):
        assert tuple(picture[162, 82 + dx]) == drawing.BLUE[:3]
    assert tuple(picture[602, 282]) == drawing.YELLOW[:3]
    for dx in (-3, 3):
        assert tuple(picture[602, 282 + dx]) == (128, 128, 128)


def test_a_circle_has_the_radius_of_the_proposal():
    table = one_person({"nose": (20, 40)})
    radius = np.full((1, 21), 10.0)
    proposals = proposed(table, {"upper_neck": (50, 100)}, radius90=radius, calibrated=np.full((1, 21), 2))
    picture = np.asarray(panel(GREY, table, proposals, person=0)[0])
    # 10 pixels are 40 here: left of and below the middle (202, 402).
    for x, y in ((162, 402), (202, 442)):
        assert tuple(picture[y, x]) == drawing.YELLOW[:3]


def test_pixels_counted_from_one_are_drawn_one_pixel_back():
    from_zero, from_one = (
        one_person({"nose": (20, 40)}),
        one_person({"nose": (21, 41)}, (1, 1, 100, 200), pixel_origin=1),
    )
    a = overlay(GREY, from_zero, proposed(from_zero, {"upper_neck": (70, 150)}), person=0)
    b = overlay(GREY, from_one, proposed(from_one, {"upper_neck": (71, 151)}), person=0)
    assert np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "raw spread, uncalibrated"),
        ({"radius90": np.full((1, 21), 9.0), "calibrated": np.full((1, 21), 2)}, "90 % radius"),
        (
            {"radius90": np.full((1, 21), 9.0), "calibrated": np.full((1, 21), 1)},
            "90 % radius, calibrated on another dataset",
        ),
        ({"radius90": np.full((1, 21), 9.0)}, "90 % radius, uncalibrated"),
    ],
    ids=["raw spread", "own", "transferred", "uncalibrated"],
)
def test_the_legend_says_what_the_circles_are_worth(columns, words):
    table = one_person({"nose": (20, 40)})
    entries = [entry.words for entry in legend(marks_of(table, proposed(table, {"upper_neck": (70, 150)}, **columns)))]
    assert entries == ["labelled (1)", "proposed (1)", words]


def test_what_follows_by_a_rule_has_no_circle_and_a_look_of_its_own():
    table = one_person({"left_hip": (20, 140), "right_hip": (40, 140)})
    derived = proposed(table, {"pelvis": (30, 140)}, origin=np.full((1, 21), ORIGIN["derived"]))
    assert [entry.words for entry in legend(marks_of(table, derived))] == ["labelled (2)", "derived by a rule (1)"]


def test_a_point_nobody_asked_for_is_not_drawn():
    table = one_person({"nose": (20, 40)})
    proposals = proposed(table, {"nose": (22, 41), "upper_neck": (70, 150)})
    assert proposals.kind[0, NOSE] == KIND["labelled"]
    assert [(mark.name, mark.look) for mark in marks_of(table, proposals)] == [
        ("nose", LOOKS[0]), ("upper_neck", LOOKS[2])
    ]  # fmt: skip


def test_a_hidden_label_is_drawn_beside_its_proposal():
    table = one_person({"nose": (20, 40)})
    proposals = proposed(table, {"nose": (22, 41)}, kind=np.full((1, 21), KIND["hidden"]))
    assert [mark.look for mark in marks_of(table, proposals)] == [LOOKS[0], LOOKS[2]]


def test_an_occluded_label_looks_occluded():
    table = one_person({"nose": (20, 40)})
    assert marks_of(replace(table, v=np.minimum(table.v, 1)), proposed(table, {}))[0].look == LOOKS[1]


def test_points_outside_the_picture_are_named_below_it():
    table = one_person({"nose": (20, 40)})
    proposals = proposed(table, {"pelvis": (50, 230), "upper_neck": (70, 150)})
    assert panel(GREY, table, proposals)[2] == ["pelvis"]  # the whole picture ends at 200
    assert panel(GREY, table, proposals, person=0)[2] == []  # the person's view goes as far as its points
    assert panel(GREY, table, proposed(table, {"pelvis": (50, 9000)}), person=0)[2] == ["pelvis"]


@pytest.mark.parametrize("side", [1, 20, 500, 4000], ids="{} px".format)
def test_a_person_of_any_size_fills_the_picture(side):
    table = one_person({"nose": (1010 + side / 2, 1010 + side / 2)}, (1010, 1010, side, side))
    view = view_of_person(table, marks_of(table, proposed(table, {})), 6000, 6000)
    assert view.height == 800
    # .08 + a pixel of margin on either side, and at least 24 pixels in all.
    assert view.height / view.scale == pytest.approx(max(side * 1.16 + 2, 24), abs=2)


def test_labels_are_shown_even_where_the_box_is_wrong():
    table = one_person({"nose": (20, 40), "left_hip": (80, 150)}, (50, 50, 1, 1))
    assert panel(GREY, table, proposed(table, {"upper_neck": (30, 60)}), person=0)[2] == []


def test_uncertainty_is_the_mean_radius_over_the_scale():
    table = one_person({"nose": (20, 40)}, area=400.0)  # scale 20 px
    proposals = proposed(table, {"upper_neck": (70, 150), "pelvis": (50, 100), "nose": (20, 41)})
    assert uncertainty(proposals) == pytest.approx([0.25])  # spread 5 px of 20
    radius = np.full((1, 21), np.nan)
    radius[0, NECK] = 15.0  # of 20: .75; with the pelvis' .25 the mean is .5
    assert uncertainty(replace(proposals, radius90=radius)) == pytest.approx([0.5])
    assert np.isnan(uncertainty(proposed(table, {}))).all()


def scene_on_disk(folder: Path) -> tuple[Images, People, Proposals]:
    """Six people, two a picture; the second picture is no picture, and nothing is proposed for the last person."""
    names = ["0.png", "1.png", "2.png"]
    for name in names:
        Image.new("RGB", (640, 480), (90, 120, 90)).save(folder / name)
    (folder / "1.png").write_text("not a picture")
    table = make_people(6, COCO_17, seed=3).align(UNION_21)
    proposals = make_proposals(table)
    width = np.array([3.0, 9.0, 5.0, 5.0, 3.0, 20.0])  # of the scale
    xy = proposals.xy.copy()
    xy[5] = np.nan
    scale = np.full(6, 64.0)
    proposals = replace(proposals, xy=xy, scale_px=scale, spread_px=np.outer(width * scale, np.ones(21)))
    size = np.full(3, -1)
    images = Images(
        image_id=np.array(["made:0", "made:1", "made:2"], dtype=object),
        path=np.array([str(folder / name) for name in names], dtype=object),
        file_name=np.array(names, dtype=object), width=size, height=size, record=np.full(3, "", dtype=object),
    )  # fmt: skip
    return images, table, proposals


def test_pictures_are_of_the_least_certain_in_order_and_ties_go_by_id(tmp_path):
    written = write_pictures(tmp_path / "out", *scene_on_disk(tmp_path), n=9)
    # Widths 9, 5, 5, 3, 3: the two of 5 are on the picture that is none.
    assert [path.name for path in written.paths] == ["0001_made_1.png", "0004_made_0.png", "0005_made_4.png"]
    assert [reason.split(":")[1] for reason in written.skipped] == ["2", "3"]
    assert all("1.png: expected a picture, got no picture that Pillow knows" in r for r in written.skipped)
    assert sorted((tmp_path / "out").iterdir()) == written.paths


def test_pictures_are_the_same_bytes_when_drawn_again(tmp_path):
    scene = scene_on_disk(tmp_path)
    first, second = (write_pictures(tmp_path / name, *scene, n=1).paths for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_pictures_of_an_earlier_run_go_and_other_files_stay(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    scene = scene_on_disk(tmp_path)
    earlier = write_pictures(out, *scene, n=2).paths
    Image.new("RGB", (4, 4)).save(out / "0007_of_somebody_else.png")
    (out / "0008_notes.png").write_text("no picture at all")
    write_pictures(out, *scene, n=1)
    left = ["0007_of_somebody_else.png", "0008_notes.png"]
    assert sorted(path.name for path in out.iterdir()) == sorted([earlier[0].name, *left])


def test_a_name_finds_a_place_beside_its_mark_and_off_others():
    canvas = drawing.Canvas(Image.new("RGB", (200, 100), "white"))
    canvas.diamond((60, 50), drawing.YELLOW)
    canvas.disc((90, 50), drawing.BLUE)  # in the way to the right
    plain = np.asarray(canvas.finish()).copy()
    canvas.name((60, 50), "neck")
    changed = (np.asarray(canvas.finish()) != plain).any(axis=2)
    assert changed.any()
    assert not changed[42:59, 82:99].any()  # nothing over the disc
    assert not changed[44:57, 54:67].any()  # nor over the mark itself
