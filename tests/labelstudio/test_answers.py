"""What comes back goes home to its person and keypoint, and what the reviewer did with it is told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator.labelstudio.answers import Answer, read
from annotator.labelstudio.frame import Frame
from annotator.labelstudio.tasks import Shown, region_id
from annotator.people import ORIGINS
from annotator.skeletons import UNION_21
from tests.labelstudio.made import (
    ADDED,
    NAMES,
    Result,
    answer,
    as_points,
    changed,
    choose,
    coco_like,
    drawn,
    move,
    pictures,
    regions,
    selection,
    submitted,
    without,
)

PEOPLE, PROPOSALS = coco_like(4, seed=3)
ABSENT = "not in the picture"


def shown(roles: str = "", trap: tuple[str, float, float] = ("pelvis", 30, -40), **more: Any) -> Shown:
    return pictures(PEOPLE, PROPOSALS, selection(PEOPLE, roles, trap), **more)[0]


def box_id(picture: Shown, person: int) -> str:
    return region_id(picture.round, picture.people[person].person_id)


def inside(picture: Shown, person: int, at: float = 0.5) -> tuple[float, float]:
    """A place within a person's rectangle, in percent."""
    value = regions(picture, submitted(picture), person)[0]["value"]
    return value["x"] + at * value["width"], value["y"] + at * value["height"]


PLAIN, CONTROL, TRAP, FREE = shown(), shown("c"), shown("t"), shown(unlock=True)
LABEL = next(name for k, name in enumerate(NAMES) if PEOPLE.v[0, k] == 2)


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


def test_a_point_hung_under_another_person_is_that_persons() -> None:
    result = submitted(PLAIN)
    result = without(result, regions(PLAIN, result, 1, "pelvis"))
    result = changed(result, regions(PLAIN, result, 0, "pelvis"), lambda e: e.update(parentID=box_id(PLAIN, 1)))
    points = as_points(answer(PLAIN, result))
    assert points["made:0", "pelvis"] == ("deleted", "") and points["made:1", "pelvis"] == ("moved", "corrected")


def test_a_loose_point_belongs_to_the_one_person_around_it_who_lacks_it() -> None:
    result = submitted(PLAIN)
    result = without(result, regions(PLAIN, result, 1, "pelvis"))
    new = drawn(PLAIN, "keypointlabels", "pelvis", inside(PLAIN, 1), "n1")
    found = answer(PLAIN, result + new)
    assert as_points(found)["made:1", "pelvis"] == ("moved", "corrected") and found.problems == []


def test_a_loose_point_that_could_be_anybodys_is_reported_and_decides_nothing() -> None:
    people = replace(PEOPLE, bbox_xywh=np.repeat([[100.0, 100, 200, 200]], 4, 0))
    picture = pictures(people, PROPOSALS)[0]
    result = submitted(picture)
    both = [entry for i in (0, 1) for entry in regions(picture, result, i, "pelvis")]
    new = drawn(picture, "keypointlabels", "pelvis", inside(picture, 0), "n1")
    found = answer(picture, without(result, both) + new)
    assert found.problems == [
        "pelvis: expected one person around it to lack it, got 2 (made:0, made:1): hang it under one"
    ]
    assert {as_points(found)[name, "pelvis"] for name in ("made:0", "made:1")} == {("deleted", "")}


def test_a_new_person_comes_back_as_one_with_its_points_under_it_or_around_them() -> None:
    box = drawn(PLAIN, "rectanglelabels", "person", (80, 70, 20, 30), "b1")
    under = drawn(PLAIN, "keypointlabels", "nose", (1, 1), "n1", "b1", "occluded")
    loose = drawn(PLAIN, "keypointlabels", "left_hip", (90, 80), "n2")
    found = answer(PLAIN, submitted(PLAIN) + under + box + loose)
    (new,) = found.boxes
    assert (new.person_id, new.image_id, new.before) == ("made:0:new-b1", "made:0", None)
    assert new.after == pytest.approx((512, 336, 128, 144))  # percent of 640 x 480; a box has no half pixel
    points = {one.keypoint: one for one in found.points if one.person_id == new.person_id}
    assert {name: (one.origin, one.after_v) for name, one in points.items()} == {
        "nose": ("corrected", 1), "left_hip": ("corrected", 2)
    }  # fmt: skip
    assert points["left_hip"].after == pytest.approx((575.5, 383.5)) and found.problems == []


def test_a_second_point_of_a_name_within_one_person_decides_nothing() -> None:
    new = drawn(PLAIN, "keypointlabels", "pelvis", inside(PLAIN, 1), "n1")
    alone = replace(PLAIN, people=PLAIN.people[1:])
    found = answer(alone, submitted(alone) + new)
    assert found.problems == ["made:1: pelvis: expected one, got 2"]
    assert ("made:1", "pelvis") not in as_points(found)


def test_two_points_of_a_name_at_one_place_are_one() -> None:
    alone = replace(PLAIN, people=PLAIN.people[1:])
    result = submitted(alone)
    place = regions(alone, result, 0, "pelvis")[0]["value"]
    found = answer(alone, result + drawn(alone, "keypointlabels", "pelvis", (place["x"], place["y"]), "n1"))
    assert found.problems == [] and as_points(found)["made:1", "pelvis"] == ("untouched", "accepted")


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


# A head of 60 x 80 px (diagonal 100) whose middle is 100 px straight above the middle of the shoulders: the two points
# lie .4 x 100 px below and above that middle.
SHOULDERS = {"left_shoulder": (340.0, 300.0), "right_shoulder": (300.0, 300.0)}
HEAD = ((320.5 - 30) / 6.4, (200.5 - 40) / 4.8, 60 / 6.4, 80 / 4.8)
ENDS = {"upper_neck": (320.0, 240.0), "head_top": (320.0, 160.0)}


def with_shoulders(roles: str = "", labelled: bool = True) -> Shown:
    xy, v = PEOPLE.xy.copy(), PEOPLE.v.copy()
    for name, place in SHOULDERS.items():
        k = UNION_21.index(name)
        xy[0, k], v[0, k] = (place, 2) if labelled else ((np.nan, np.nan), 0)
    origin = np.where(v > 0, 1, 0)
    people = replace(PEOPLE, xy=xy, v=v, origin=origin)
    return pictures(people, PROPOSALS, selection(people, roles))[0]


def head(picture: Shown, name: str = "h1", rotation: float = 0) -> Result:
    result = drawn(picture, "rectanglelabels", "head", HEAD, name, box_id(picture, 0))
    result[0]["value"]["rotation"] = rotation
    return result


@pytest.mark.parametrize(("roles", "decision"), [("", "corrected"), ("c", "control")], ids=["shown", "blind"])
def test_a_head_rectangle_gives_neck_and_top_by_the_rule(roles: str, decision: str) -> None:
    picture = with_shoulders(roles)
    found = answer(picture, submitted(picture) + head(picture))
    assert found.problems == []
    ends = {one.keypoint: one for one in found.points if one.person_id == "made:0" and one.keypoint in ENDS}
    assert {name: one.after for name, one in ends.items()} == {
        name: pytest.approx(place, abs=1e-9) for name, place in ENDS.items()
    }
    assert {(one.origin, one.gesture) for one in ends.values()} == {(decision, "head_box")}
    assert {g for one, g in zip(found.points, [one.gesture for one in found.points], strict=True)
            if one.keypoint not in ENDS} == {"point"}  # fmt: skip


def test_two_plain_points_remain_possible_and_are_told_apart() -> None:
    picture = with_shoulders()
    result = submitted(picture)
    found = answer(picture, changed(result, regions(picture, result, 0, "head_top"), move(1, 0)))
    assert {one.gesture for one in found.points} == {"point"}
    assert as_points(found)["made:0", "head_top"] == ("moved", "corrected")


def test_a_moved_shoulder_moves_what_follows_from_the_head() -> None:
    picture = with_shoulders(labelled=False)
    placed = [entry for name, (x, y) in SHOULDERS.items() for entry in drawn(
        picture, "keypointlabels", name, ((x + 0.5) / 6.4, (y + 0.5) / 4.8), name, box_id(picture, 0))]  # fmt: skip
    thorax = regions(picture, submitted(picture), 0, "thorax")
    found = answer(picture, without(submitted(picture), thorax) + placed + head(picture))
    ends = {one.keypoint: one.after for one in found.points if one.person_id == "made:0" and one.keypoint in ENDS}
    assert ends == {name: pytest.approx(place, abs=1e-9) for name, place in ENDS.items()}


def test_a_head_without_a_thorax_below_it_is_reported() -> None:
    picture = with_shoulders(labelled=False)
    result = without(submitted(picture), regions(picture, submitted(picture), 0, "thorax"))
    found = answer(picture, result + head(picture))
    assert found.problems == ["made:0: head: expected both shoulders or a thorax below it, got neither"]
    assert as_points(found)["made:0", "head_top"] == ("untouched", "accepted")


def test_points_placed_beside_a_head_rectangle_count() -> None:
    picture = with_shoulders()
    result = submitted(picture)
    found = answer(picture, changed(result, regions(picture, result, 0, "head_top"), move(1, 0)) + head(picture))
    assert found.problems == ["made:0: head: expected a rectangle or points, got both; the points count (head_top)"]
    assert {one.gesture for one in found.points} == {"point"}


def test_a_turned_head_rectangle_counts_with_its_own_middle() -> None:
    picture = with_shoulders()
    found = answer(picture, submitted(picture) + head(picture, rotation=90))
    # A quarter turn about (290.5, 160.5) px: the middle comes to 40 px left and 30 px below that corner.
    middle, thorax = np.array([290.0 - 40, 160 + 30]), np.array([320.0, 300])
    away = 40 * (middle - thorax) / np.linalg.norm(middle - thorax)
    ends = {one.keypoint: one.after for one in found.points if one.person_id == "made:0"}
    assert ends["upper_neck"] == pytest.approx(middle - away) and ends["head_top"] == pytest.approx(middle + away)


def spoil(change: Callable[[Shown, Result], Result], *problems: str) -> tuple[Any, ...]:
    return change, problems


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        spoil(lambda p, r: [*r, *({"id": name, "type": "polygonlabels", "value": {}} for name in ("p1", "p2"))],
              "expected rectangles and keypoints, got 2 of type polygonlabels"),
        spoil(lambda p, r: r + drawn(p, "keypointlabels", "tail", (5, 5), "n1", box_id(p, 0)),
              "region n1: expected a name of the project, got 'tail'"),
        spoil(lambda p, r: r + drawn(p, "keypointlabels", "pelvis", (5, 5), "n1", box_id(p, 0)),
              "made:0: pelvis: expected one, got 2"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, "pelvis")[:1], lambda e: e["value"].update(keypointlabels=[])),
              f"region {region_id(1, 'made:0', 'pelvis')}: expected one name, got none"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, LABEL), move(1, 1)),
              f"made:0: {LABEL}: expected it where it is locked, got another place or visibility"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, LABEL), choose("occluded")),
              f"made:0: {LABEL}: expected it where it is locked, got another place or visibility"),
        spoil(lambda p, r: without(r, regions(p, r, 0)), "made:0: expected its rectangle, got none; its box stays"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, "pelvis"), lambda e: e["value"].update(x="left")),
              f"region {region_id(1, 'made:0', 'pelvis')} (pelvis): expected numbers for x, y, got others"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, "pelvis"), lambda e: e.update(image_rotation=90)),
              f"region {region_id(1, 'made:0', 'pelvis')} (pelvis): expected the picture upright, got it turned by 90"
              " degrees"),
        spoil(lambda p, r: changed(r, regions(p, r, 0, "pelvis"),
                                   lambda e: e.update(original_width=480, original_height=640)),
              f"region {region_id(1, 'made:0', 'pelvis')} (pelvis): expected a picture of 640 x 480, got 480 x 640"),
        spoil(lambda p, r: r + regions(p, r, 0, "pelvis")[:1],
              f"pelvis: expected an id of its own, got {region_id(1, 'made:0', 'pelvis')} twice"),
    ],
    ids=["unknown type", "unknown name", "twice", "name turned off", "locked, moved", "locked, hidden", "box gone",
         "no number", "picture turned", "another picture", "same id twice"],
)  # fmt: skip
def test_what_cannot_be_understood_is_reported_and_the_rest_is_as_it_was(
    change: Callable[[Shown, Result], Result], problems: tuple[str, ...]
) -> None:
    found = answer(PLAIN, change(PLAIN, submitted(PLAIN)))
    assert tuple(found.problems) == problems
    plain = as_points(answer(PLAIN, submitted(PLAIN)))
    different = {key for key, value in plain.items() if as_points(found).get(key) != value}
    assert different <= {("made:0", "pelvis"), ("made:0", LABEL)}


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(hidden=True),
        lambda e: e.update(origin="prediction-changed", locked=True),
        lambda e: e.update(original_width=1280, original_height=960),
        lambda e: e["value"].update(width=3.0),
        lambda e: e.pop("meta", None),
    ],
    ids=["hidden", "locked", "a larger copy", "another width", "no note"],
)
def test_what_the_page_adds_or_hides_changes_nothing(change: Callable[[dict[str, Any]], None]) -> None:
    result = submitted(PLAIN)
    points = [entry for name in ADDED for entry in regions(PLAIN, result, 0, name)]
    found = answer(PLAIN, changed(result, points, change))
    assert found.problems == [] and as_points(found) == as_points(answer(PLAIN, result))


def test_relations_between_regions_are_passed_over() -> None:
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    assert answer(PLAIN, [*submitted(PLAIN), relation]).problems == []


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
