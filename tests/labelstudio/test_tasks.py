"""What a reviewer is shown: one task a picture, labels locked, proposals free, nothing told of roles."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from annotator.labelstudio.frame import Frame
from annotator.labelstudio.tasks import Shown, region_id, task
from annotator.people import ORIGIN
from annotator.proposals import uncertainty
from annotator.skeletons import UNION_21
from tests.labelstudio.made import ADDED, coco_like, pictures, regions, selection, submitted

PEOPLE, PROPOSALS = coco_like(6)


def made(picture: Shown) -> dict[str, Any]:
    return task(picture, "/data/local-files/?d=a/1.jpg", "union21-t")


def test_there_is_one_task_a_picture_in_ranked_order_with_everybody_in_one_prediction() -> None:
    order = [5, 0, 2, 1, 4, 3]  # rows; two people a picture: pictures 2, 0, 1 in the order of their first person
    ranked = selection(PEOPLE.take(order))
    drawn = pictures(PEOPLE, PROPOSALS, ranked)
    assert [(picture.image_id, picture.rank) for picture in drawn] == [("made:2", 1), ("made:0", 2), ("made:1", 3)]
    assert [p.person_id for p in drawn[0].people] == ["made:5", "made:4"]
    entry = made(drawn[0])
    assert len(entry["predictions"]) == 1 and entry["data"]["rank"] == 1
    kinds = Counter(result["type"] for result in entry["predictions"][0]["result"])
    points = sum(len(person.points) for person in drawn[0].people)
    assert kinds == {"rectanglelabels": 2, "keypointlabels": points, "choices": points}


def test_keypoints_are_children_of_their_persons_rectangle_and_lie_above_all_rectangles() -> None:
    picture = pictures(PEOPLE, PROPOSALS)[0]
    result = submitted(picture)
    boxes = [entry for entry in result if entry["type"] == "rectanglelabels"]
    assert result[-2:] == boxes  # the page draws the first region last, on top
    areas = [entry["value"]["width"] * entry["value"]["height"] for entry in boxes]
    assert areas == sorted(areas)  # the smaller one above the larger, so that each can be taken
    for i, person in enumerate(picture.people):
        parent = regions(picture, result, i)[0]["id"]
        children = {entry["value"]["keypointlabels"][0] for entry in result
                    if entry.get("parentID") == parent and entry["type"] == "keypointlabels"}  # fmt: skip
        assert children == {point.keypoint for point in person.points}


@pytest.mark.parametrize("unlock", [False, True])
def test_labels_are_locked_unless_they_are_to_be_moved_and_proposals_never(unlock: bool) -> None:
    picture = pictures(PEOPLE, PROPOSALS, unlock=unlock)[0]
    result = submitted(picture)
    for i, person in enumerate(picture.people):
        for point in person.points:
            of = regions(picture, result, i, point.keypoint)
            free = unlock or point.keypoint in ADDED
            assert [entry.get("readonly", False) for entry in of] == [not free] * 2
            assert ("score" in of[0]) == (point.keypoint in ADDED)


def test_labels_carry_their_visibility_and_proposals_their_score_and_radius() -> None:
    proposals = replace(PROPOSALS, radius90=np.where(np.arange(21) == 19, 12.34, np.nan)[None].repeat(6, 0))
    picture = pictures(PEOPLE, proposals)[0]
    result = submitted(picture)
    words = {1: "occluded", 2: "visible"}
    for k, name in enumerate(UNION_21.keypoints[:17]):
        if v := PEOPLE.v[0, k]:
            assert regions(picture, result, 0, name)[1]["value"]["choices"] == [words[v]]
    neck, top = (regions(picture, result, 0, name)[0] for name in ("upper_neck", "head_top"))
    assert neck["meta"]["text"] == ["within 12.3 px in 90 % of cases"]
    assert top["meta"]["text"] == [f"spread {PROPOSALS.spread_px[0, 20]:.1f} px, not calibrated"]
    assert neck["score"] == pytest.approx(PROPOSALS.score[0, 19], abs=5e-5)


def test_the_least_certain_have_the_lowest_score_and_every_person_its_uncertainty() -> None:
    # Pictures of one person each, so that a task's uncertainty is the person's.
    people = replace(PEOPLE, image_id=np.array([f"made:{i}" for i in range(6)], dtype=object))
    entries = [made(picture) for picture in pictures(people, replace(PROPOSALS, image_id=people.image_id))]
    scores = [entry["predictions"][0]["score"] for entry in entries]
    asked = replace(PROPOSALS, xy=np.where(np.isin(UNION_21.keypoints, ADDED)[None, :, None], PROPOSALS.xy, np.nan))
    unsure = uncertainty(asked)
    assert np.argsort(scores).tolist() == np.argsort(-unsure).tolist() and all(0 < score <= 1 for score in scores)
    assert [entry["data"]["people"][0]["uncertainty"] for entry in entries] == pytest.approx(unsure, abs=5e-5)


def test_controls_are_shown_without_proposals_and_traps_with_one_elsewhere() -> None:
    chosen = selection(PEOPLE, "ct", trap=("pelvis", 30.0, -40.0))
    control, trap = pictures(PEOPLE, PROPOSALS, chosen)[0].people
    assert not {point.keypoint for point in control.points} & set(ADDED)
    assert {point.keypoint for point in trap.points} >= set(ADDED) and trap.trap_px == 50
    points = {point.keypoint: (point.x, point.y) for point in trap.points}
    assert points["pelvis"] == tuple(PROPOSALS.xy[1, 17] + [30, -40])
    assert points["thorax"] == tuple(PROPOSALS.xy[1, 18])


def test_nothing_in_a_task_tells_who_is_a_trap_or_a_control() -> None:
    plain, trap = (pictures(PEOPLE, PROPOSALS, selection(PEOPLE, roles, ("nose", 0, 9)))[0] for roles in ("rr", "rt"))
    text = json.dumps(made(trap))
    assert "trap" not in text and "control" not in json.dumps(
        made(pictures(PEOPLE, PROPOSALS, selection(PEOPLE, "c"))[0])
    )
    assert plain.key == trap.key  # nor does the key


def test_points_by_a_rule_are_shown_and_locked() -> None:
    origin = np.where(np.array(UNION_21.keypoints) == "pelvis", ORIGIN["derived"], ORIGIN["proposed"])
    picture = pictures(PEOPLE, replace(PROPOSALS, origin=np.repeat(origin[None], 6, 0)))[0]
    assert {point.kind for point in picture.people[0].points if point.keypoint == "pelvis"} == {"derived"}
    assert regions(picture, submitted(picture), 0, "pelvis")[0]["readonly"] is True


def test_what_a_reviewer_rejected_before_is_not_proposed_again() -> None:
    origin = PEOPLE.origin.copy()
    origin[0, 17], origin[0, 18] = ORIGIN["absent"], ORIGIN["rejected"]
    picture = pictures(replace(PEOPLE, origin=origin), PROPOSALS)[0]
    assert {point.keypoint for point in picture.people[0].points} & set(ADDED) == {"upper_neck", "head_top"}


def test_what_lies_outside_is_drawn_at_the_edge_since_the_server_refuses_it_elsewhere() -> None:
    xy, box = PEOPLE.xy.copy(), PEOPLE.bbox_xywh.copy()
    xy[0, 0], box[0] = (700, -20), (-30, 400, 900, 200)
    picture = pictures(replace(PEOPLE, xy=xy, bbox_xywh=box), PROPOSALS)[0]
    nose, rectangle = (regions(picture, submitted(picture), 0, name)[0]["value"] for name in ("nose", ""))
    assert (nose["x"], nose["y"]) == (100, 0)
    assert [rectangle[key] for key in ("x", "y", "width", "height")] == pytest.approx([0, 400 / 4.8, 100, 80 / 4.8])


def test_the_size_is_the_one_the_browser_shows() -> None:
    picture = pictures(PEOPLE, PROPOSALS, frame=Frame(640, 480, 6))[0]
    assert {(entry["original_width"], entry["original_height"]) for entry in submitted(picture)} == {(480, 640)}


def test_the_key_follows_picture_people_and_round_and_nothing_else() -> None:
    first = pictures(PEOPLE, PROPOSALS)[0]
    again = pictures(PEOPLE, coco_like(6, seed=9)[1], selection(PEOPLE.take([1, 0])), Frame(1, 1), unlock=True)[0]
    assert first.key == again.key and first.key.startswith("r001-")
    other = [pictures(PEOPLE, PROPOSALS, number=2)[0], pictures(PEOPLE, PROPOSALS, selection(PEOPLE.take([0])))[0],
             pictures(PEOPLE, PROPOSALS)[1]]  # fmt: skip
    assert len({first.key, *(picture.key for picture in other)}) == 4


def test_others_in_the_picture_are_counted_for_the_reviewer() -> None:
    picture = pictures(PEOPLE, PROPOSALS, selection(PEOPLE.take([0])))[0]
    assert picture.others == 1
    assert made(picture)["data"]["note"] == (
        "1 person to review, 4 keypoints proposed: drag what is off, mark what is hidden or not in the picture."
        " Leave the other person in this picture alone."
    )


def test_who_was_chosen_and_is_gone_is_passed_over() -> None:
    people, proposals = coco_like(4)
    chosen = selection(people.take([0, 1, 3]))  # of the second picture, somebody a reviewer had found
    left = pictures(people.take([1, 2]), proposals, chosen)
    assert [[person.person_id for person in picture.people] for picture in left] == [["made:1"]]
    assert left[0].rank == 2


def test_what_was_shown_comes_back_from_its_text_to_the_last_bit() -> None:
    chosen = selection(PEOPLE, "rtc", trap=("pelvis", 1 / 3, -2 / 7))
    for picture in pictures(PEOPLE, PROPOSALS, chosen, Frame(641, 479, 7)):
        assert Shown.from_json(picture.to_json()) == picture


def test_ids_are_the_same_each_time_and_none_is_given_twice() -> None:
    names = ["", *UNION_21.keypoints]
    ids = [region_id(r, person, name) for r in (1, 2) for person in ("coco:1", "coco:11") for name in names]
    assert len(set(ids)) == len(ids) and region_id(1, "coco:1", "nose") == ids[1]
