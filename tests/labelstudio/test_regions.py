"""What comes back goes home to its person and keypoint; what cannot be understood is reported and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator.labelstudio.tasks import Shown, region_id
from tests.labelstudio.made import (
    ADDED,
    LABEL,
    PEOPLE,
    PROPOSALS,
    Result,
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
    submitted,
    without,
)

PLAIN = picture_of()


def inside(picture: Shown, person: int, at: float = 0.5) -> tuple[float, float]:
    """A place within a person's rectangle, in percent."""
    value = regions(picture, submitted(picture), person)[0]["value"]
    return value["x"] + at * value["width"], value["y"] + at * value["height"]


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
        spoil(lambda p, r: r + drawn(p, "rectanglelabels", "person", (5, 5, 0, 10), "b1")
              + drawn(p, "keypointlabels", "pelvis", inside(p, 0), "n1", "b1"),
              "region b1: expected a person's rectangle with an area, got none; what hangs under it is left out, too"),
        spoil(lambda p, r: changed(r, regions(p, r, 0), lambda e: e["value"].update(height=0)),
              "made:0: expected a person's rectangle with an area, got none; its box stays"),
        spoil(lambda p, r: r + regions(p, r, 0, "pelvis")[:1],
              f"pelvis: expected an id of its own, got {region_id(1, 'made:0', 'pelvis')} twice"),
    ],
    ids=["unknown type", "unknown name", "twice", "name turned off", "locked, moved", "locked, hidden", "box gone",
         "no number", "picture turned", "another picture", "new, flat", "made flat", "same id twice"],
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
