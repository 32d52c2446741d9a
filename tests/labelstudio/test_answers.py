"""What a reviewer did with each point and box is told apart, and decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator.labelstudio.answers import Answer, read
from annotator.labelstudio.frame import Frame
from annotator.labelstudio.tasks import Shown
from annotator.people import ORIGINS
from annotator.skeletons import UNION_21
from tests.labelstudio.made import (
    ADDED,
    LABEL,
    NAMES,
    PEOPLE,
    PROPOSALS,
    answer,
    as_points,
    box_id,
    changed,
    choose,
    drawn,
    move,
    picture_of,
    pictures,
    regions,
    selection,
    submitted,
    without,
)

ABSENT = "not in the picture"
PLAIN, TRAP, FREE = picture_of(), picture_of("t"), picture_of(unlock=True)


def nothing(entry: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("picture", "keypoint", "change", "outcome", "decision"),
    [
        (PLAIN, LABEL, nothing, "untouched", ""),
        (PLAIN, "pelvis", nothing, "untouched", "accepted"),
        (PLAIN, "pelvis", move(0.01, 0), "moved", "corrected"),
        (PLAIN, "pelvis", choose("occluded"), "untouched", "accepted"),
        (PLAIN, "pelvis", choose(ABSENT), "absent", "absent"),
        (PLAIN, "pelvis", None, "deleted", ""),
        (FREE, LABEL, nothing, "untouched", ""),
        (FREE, LABEL, move(0, -0.01), "moved", "corrected"),
        (FREE, LABEL, choose("occluded"), "untouched", "corrected"),
        (FREE, LABEL, choose(ABSENT), "absent", "absent"),
        (FREE, LABEL, None, "deleted", ""),
        (TRAP, "pelvis", nothing, "untouched", ""),
        (TRAP, "pelvis", choose("occluded"), "untouched", ""),
        (TRAP, "pelvis", move(-30 / 6.4, 40 / 4.8), "moved", "corrected"),
        (TRAP, "pelvis", move(1 / 6.4, 0), "moved", ""),
        (TRAP, "pelvis", None, "deleted", ""),
        (TRAP, "thorax", nothing, "untouched", "accepted"),
    ],
    ids=["label", "proposal", "proposal moved", "proposal hidden", "proposal absent", "proposal deleted", "free label",
         "free label moved", "free label hidden", "free label absent", "free label deleted", "trap", "trap hidden",
         "trap moved back", "trap nudged", "trap deleted", "trap's other points"],
)  # fmt: skip
def test_what_was_done_to_a_point_decides(
    picture: Shown, keypoint: str, change: Callable[[dict[str, Any]], None] | None, outcome: str, decision: str
) -> None:
    result = submitted(picture)
    of = regions(picture, result, 0, keypoint)
    assert of
    found = answer(picture, changed(result, of, change) if change else without(result, of))
    assert found.problems == []
    points = as_points(found)
    assert points["made:0", keypoint] == (outcome, decision)
    # Every other point is as it would have been.
    others = as_points(answer(picture, result))
    assert {key: value for key, value in points.items() if key != ("made:0", keypoint)} == {
        key: value for key, value in others.items() if key != ("made:0", keypoint)
    }


@pytest.mark.parametrize(
    ("change", "caught"),
    [(nothing, False), (choose("occluded"), False), (move(1 / 6.4, 0), False), (move(-30 / 6.4, 40 / 4.8), True),
     (choose(ABSENT), True), (None, True)],
    ids=["as it was", "hidden", "nudged", "moved back", "absent", "deleted"],
)  # fmt: skip
def test_a_trap_is_caught_by_who_sees_that_it_is_wrong(
    change: Callable[[dict[str, Any]], None] | None, caught: bool
) -> None:
    result = submitted(TRAP)
    of = regions(TRAP, result, 0, "pelvis")
    found = answer(TRAP, changed(result, of, change) if change else without(result, of))
    assert found.traps == {("made:0", "pelvis"): caught}


@pytest.mark.parametrize(
    ("role", "visibility", "decision", "v"),
    [("r", "", "corrected", 2), ("r", "occluded", "corrected", 1), ("r", ABSENT, "absent", 0), ("c", "", "control", 2),
     ("c", "occluded", "control", 1), ("c", ABSENT, "absent", 0)],
    ids=["placed", "placed, hidden", "absent", "placed blind", "placed blind, hidden", "absent, blind"],
)  # fmt: skip
def test_a_new_point_is_placed_where_it_was_clicked(role: str, visibility: str, decision: str, v: int) -> None:
    people = PEOPLE.hide(["nose"])
    picture = pictures(people, PROPOSALS, selection(people, role))[0]
    new = drawn(picture, "keypointlabels", "nose", (25.0, 50.0), "n1", box_id(picture, 0), visibility)
    found = answer(picture, submitted(picture) + new)
    one = next(one for one in found.points if one.keypoint == "nose" and one.person_id == "made:0")
    assert (one.origin, one.after_v, one.before_v, np.isnan(one.before).all()) == (decision, v, 0, True)
    if v:  # a quarter of 640 and half of 480 px from the edge; the pixel that begins there is named by its middle
        assert one.after == (159.5, 239.5)


def test_a_moved_point_keeps_what_it_was_before() -> None:
    result = submitted(PLAIN)
    found = answer(PLAIN, changed(result, regions(PLAIN, result, 0, "pelvis"), move(1, 1)))
    made = found.decisions("ann@example.org", "2026-01-01T00:00:00+00:00")
    row = ORIGINS.index("corrected") == made.origin
    assert row.sum() == 1 and set(made.reviewer) == {"ann@example.org"}
    assert made.before_xy[row][0].tolist() == PROPOSALS.xy[0, 17].tolist()
    # One percent of 640 and of 480 px.
    assert made.after_xy[row][0] == pytest.approx(PROPOSALS.xy[0, 17] + [6.4, 4.8], abs=1e-9)


def test_two_people_do_not_become_one() -> None:
    found = answer(PLAIN, submitted(PLAIN))
    sent = {(person.person_id, point.keypoint) for person in PLAIN.people for point in person.points}
    assert {(one.person_id, one.keypoint) for one in found.points} == sent and len(found.points) == len(sent)
    assert Counter(one.person_id for one in found.points).keys() == {"made:0", "made:1"}


def test_a_name_says_which_keypoint_a_region_is() -> None:
    result = submitted(FREE)
    names = [name for k, name in enumerate(NAMES) if PEOPLE.v[0, k] > 0][:2]
    a, b = (regions(FREE, result, 0, name)[0] for name in names)
    places = [next((p.x, p.y) for p in FREE.people[0].points if p.keypoint == name) for name in names]
    a["value"]["keypointlabels"], b["value"]["keypointlabels"] = [names[1]], [names[0]]
    found = {one.keypoint: one for one in answer(FREE, result).points if one.person_id == "made:0"}
    assert [found[name].origin for name in names] == ["corrected", "corrected"]
    assert [found[name].after for name in names] == [pytest.approx(places[1]), pytest.approx(places[0])]


def test_a_moved_box_comes_back_as_a_box_and_an_untouched_one_not_at_all() -> None:
    result = submitted(PLAIN)
    found = answer(PLAIN, changed(result, regions(PLAIN, result, 1), lambda e: e["value"].update(x=10, width=20)))
    (moved,) = found.boxes
    assert moved.person_id == "made:1" and moved.before == tuple(PEOPLE.bbox_xywh[1])
    assert moved.after == pytest.approx((64, PEOPLE.bbox_xywh[1, 1], 128, PEOPLE.bbox_xywh[1, 3]))


def test_a_box_that_was_cut_at_the_edge_and_left_alone_is_not_moved() -> None:
    people = replace(PEOPLE, bbox_xywh=np.repeat([[-50.0, 300, 800, 300]], 4, 0))
    picture = pictures(people, PROPOSALS)[0]
    assert answer(picture, submitted(picture)).boxes == []


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("origin", [0, 1])
def test_every_orientation_and_pixel_count_comes_back_to_the_last_bit(orientation: int, origin: int) -> None:
    people = replace(PEOPLE, pixel_origin=np.full(4, origin))
    picture = pictures(people, PROPOSALS, frame=Frame(641, 479, orientation))[0]
    found = answer(picture, submitted(picture))
    assert found.problems == [] and found.boxes == []
    for one in found.points:
        i = int(one.person_id.split(":")[1])
        k = UNION_21.index(one.keypoint)
        wanted = PROPOSALS.xy[i, k] if one.keypoint in ADDED else people.xy[i, k]
        assert one.after == tuple(wanted)


def test_an_empty_answer_decides_nothing_but_says_that_the_boxes_are_gone() -> None:
    found = answer(PLAIN, [])
    assert {one.origin for one in found.points} == {""} and len(found.problems) == 2
    assert len(found.decisions("ann", "2026-01-01T00:00:00+00:00")) == 0


def test_new_people_have_an_id_that_their_annotation_keeps() -> None:
    box = drawn(PLAIN, "rectanglelabels", "person", (80, 70, 20, 30), "b1")
    first, second = (read(PLAIN, submitted(PLAIN) + box, NAMES, name) for name in ("3-7", "3-7"))
    other: Answer = read(PLAIN, submitted(PLAIN) + box, NAMES, "3-8")
    assert first.boxes == second.boxes and first.boxes[0].person_id == "made:0:3-7-b1"
    assert other.boxes[0].person_id != first.boxes[0].person_id
