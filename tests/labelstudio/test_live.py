"""Live help: what is answered to a click, and what becomes of it at the pull."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotator.labelstudio import again, backend
from annotator.labelstudio.answers import Answer, read
from annotator.labelstudio.live import Live
from annotator.labelstudio.tasks import Shown, region_id, task
from annotator.store.project import Project
from tests.labelstudio.clicking import (
    WHO,
    accepted,
    as_task,
    click,
    free,
    made,
    places,
    predict,
    shown_in,
    told,
)
from tests.labelstudio.made import NAMES, drawn, submitted


def test_without_a_click_the_answer_is_what_was_pushed(url: str, picture: Shown) -> None:
    assert predict(url, as_task(picture)) == task(picture, "", "prompted")["predictions"][0]


def test_a_click_moves_its_point_and_the_rest_follows_as_repropose_says(url: str, live: Live, picture: Shown) -> None:
    person = picture.people[WHO]
    name = min(free(picture))
    xy = (person.box[0] + person.box[2] / 2, person.box[1] + 3)
    clicked = click(picture, name, xy, parentID=region_id(1, person.person_id))
    found = places(picture, predict(url, as_task(picture), clicked)["result"])
    assert found.pop((person.person_id, name)) == pytest.approx(xy, abs=1e-9)
    wanted = told(live, person.person_id, **{name: xy})
    before = {point.keypoint: (point.x, point.y) for point in person.points}
    # Those of the person that come to lie elsewhere.
    assert {key for _, key in found} == {key for key in free(picture) - {name} if wanted[key] != before[key]} != set()
    assert {key: xy for (_, key), xy in found.items()} == {
        key: pytest.approx(wanted[key], abs=1e-9) for _, key in found
    }


def test_what_nobody_touched_of_an_answer_is_a_proposal_that_was_kept(
    url: str, live: Live, folder: Path, picture: Shown
) -> None:
    person = picture.people[WHO]
    first, second = sorted(free(picture))[:2]
    result = submitted(picture)
    for name, xy in ((first, (40.0, 30.0)), (second, (50.0, 40.0))):
        draft = {"result": result, "updated_at": f"2026-01-01T00:00:{xy[0]:.0f}Z"}
        answer = predict(
            url, as_task(picture, drafts=[draft]), click(picture, name, xy, parentID=region_id(1, person.person_id))
        )
        result = accepted(result, answer["result"])
    with Project.open(folder) as project:
        known = again.known(project, picture.key)
    found = {one.keypoint: one for one in read(picture, result, NAMES, "n", known).points
             if one.person_id == person.person_id and one.keypoint in free(picture)}  # fmt: skip
    last = told(live, person.person_id, **{first: (40.0, 30.0), second: (50.0, 40.0)})
    for name, one in found.items():
        assert one.origin == ("corrected" if name in (first, second) else "accepted")
        assert one.after == pytest.approx({first: (40, 30), second: (50, 40)}.get(name, last[name]), abs=1e-9)
    assert found[second].before != (next(p for p in person.points if p.keypoint == second).x, 0)
    # In a store that knows nothing of them they are no word of the reviewer's either.
    elsewhere = read(picture, result, NAMES, "n")
    names = {one.keypoint for one in elsewhere.points if one.person_id == person.person_id and one.origin}
    assert names == {first, second} and all("that was shown from here" in line for line in elsewhere.problems)
    assert len(elsewhere.problems) == len(found) - 2 > 0


def test_undoing_an_answer_brings_back_what_was_pushed(url: str, folder: Path, picture: Shown) -> None:
    predict(url, as_task(picture), click(picture, min(free(picture)), (60, 50)))
    with Project.open(folder) as project:
        known = again.known(project, picture.key)
    found: Answer = read(picture, submitted(picture), NAMES, "n", known)
    sent = {(p.person_id, point.keypoint): (point.x, point.y) for p in picture.people for point in p.points}
    assert {one.origin for one in found.points} == {"accepted", ""} and found.problems == []
    assert all(one.after == sent[one.person_id, one.keypoint] for one in found.points)


def test_what_the_reviewer_moved_hid_or_deleted_is_left_alone(url: str, live: Live, picture: Shown) -> None:
    person = picture.people[WHO]
    names = sorted(free(picture))
    assert len(names) == 4
    clicked, moved, deleted, rest = names
    draft = []
    for entry in submitted(picture):
        if entry["id"] == region_id(1, person.person_id, moved):
            entry["value"] |= {"x": 50, "y": 50}
        if entry["id"] != region_id(1, person.person_id, deleted):
            draft.append(entry)
    drafts = [{"result": submitted(picture), "updated_at": "2026-01-01"}, {"result": draft, "updated_at": "2026-01-02"}]
    parent = region_id(1, person.person_id)
    answer = predict(url, as_task(picture, drafts=drafts), click(picture, clicked, (70, 20), parentID=parent))
    found = places(picture, answer["result"])
    assert {name for _, name in found} == {clicked, rest}
    xy = tuple(picture.frame.point_xy(np.array([50.0, 50.0]), 0).tolist())
    wanted = told(live, person.person_id, **{clicked: (70, 20), moved: xy})
    assert found[person.person_id, rest] == pytest.approx(wanted[rest], abs=1e-9)


@pytest.mark.parametrize("saved", [False, True], ids=["no-draft-yet", "undone"])
def test_a_second_click_before_the_draft_is_saved_does_not_undo_the_first(
    url: str, live: Live, picture: Shown, saved: bool
) -> None:
    person = picture.people[WHO].person_id
    first, second, *rest = sorted(free(picture))
    parent = region_id(1, person)
    predict(url, as_task(picture), click(picture, first, (70, 20), "c1", parentID=parent))
    drafts = [{"result": submitted(picture), "updated_at": "2999-01-01T00:00:00Z"}] if saved else []
    clicked = click(picture, second, (60, 50), "c2", parentID=parent)
    found = places(picture, predict(url, as_task(picture, drafts=drafts), clicked)["result"])
    known = {second: (60.0, 50.0)} | ({} if saved else {first: (70.0, 20.0)})
    assert {name for _, name in found} == {second, *rest, *([first] if saved else [])}
    wanted = told(live, person, **known)
    for name in rest:
        assert found[person, name] == pytest.approx(wanted[name], abs=1e-9)


def test_a_submitted_word_is_not_overwritten_where_there_is_no_draft(url: str, picture: Shown) -> None:
    clicked, moved, *_ = sorted(free(picture))
    annotation = submitted(picture)
    for entry in annotation:
        if entry["id"] == region_id(1, picture.people[WHO].person_id, moved):
            entry["value"] |= {"x": 50, "y": 50}
    parent = region_id(1, picture.people[WHO].person_id)
    asked = as_task(picture, annotations=[{"result": annotation}])
    found = places(picture, predict(url, asked, click(picture, clicked, (70, 20), parentID=parent))["result"])
    names = {name for _, name in found}
    assert clicked in names and moved not in names and len(names) == 3


@pytest.mark.parametrize("role", ["c", "t"], ids=["blind", "trap"])
def test_a_control_is_not_helped_and_a_trap_is_not_mended(folder: Path, prompted: Path, role: str) -> None:
    picture = shown_in(folder, "r" * WHO + role)
    person = picture.people[WHO].person_id
    with backend.serving(Live.open(folder, str(prompted)), 0) as url:
        answer = predict(url, as_task(picture), click(picture, "pelvis", (70, 60), parentID=region_id(1, person)))
    found = places(picture, answer["result"])
    assert found[person, "pelvis"] == pytest.approx((70, 60), abs=1e-9)
    names = {name for _, name in found} - {"pelvis"}
    assert names == (set() if role == "c" else {"thorax", "upper_neck"})


def test_of_several_people_around_a_click_the_nearest_point_of_that_name_moves(url: str, picture: Shown) -> None:
    name = min(free(picture, 2) & free(picture))
    for person in (picture.people[2], picture.people[WHO]):
        point = next(one for one in person.points if one.keypoint == name)
        result = predict(url, as_task(picture), click(picture, name, (point.x + 0.5, point.y)))["result"]
        assert {owner for owner, _ in places(picture, result)} == {person.person_id}


def test_the_page_sends_all_points_of_a_name_and_only_the_clicked_persons_follow(url: str, picture: Shown) -> None:
    name = min(free(picture, 2) & free(picture))
    ids = {region_id(1, person.person_id, name) for person in picture.people}
    all_of_it = [entry for entry in submitted(picture) if entry["id"] in ids]
    parent = region_id(1, picture.people[WHO].person_id)
    result = predict(url, as_task(picture), all_of_it + click(picture, name, (60, 60), parentID=parent))["result"]
    assert {owner for owner, _ in places(picture, result)} == {picture.people[WHO].person_id}


@pytest.mark.parametrize("how", ["locked", "negative", "unknown"])
def test_a_click_that_places_nothing_of_ours_comes_back_as_it_is_or_not_at_all(
    url: str, picture: Shown, how: str
) -> None:
    locked = next(point for point in picture.people[0].points if point.kind == "locked")
    xy, parent = (locked.x, locked.y), region_id(1, picture.people[0].person_id)
    made_click = {
        "locked": click(picture, locked.keypoint, xy, parentID=parent),
        "negative": click(picture, min(free(picture)), xy, is_positive=False),
        "unknown": click(picture, "tail", xy),
    }[how]
    result = predict(url, as_task(picture), made_click)["result"]
    assert [entry["id"] for entry in result] == ([] if how == "negative" else ["c1"])
    assert all("is_positive" not in entry and "labels" not in entry["value"] for entry in result)


def test_without_prompts_the_rules_alone_follow(tmp_path: Path, tiny_student: Path) -> None:
    folder = made(tmp_path, tiny_student, seed=0)
    picture = shown_in(folder)
    lacking = [person for person in picture.people
               if not {"left_hip", "right_hip"} & {point.keypoint for point in person.points}]  # fmt: skip
    person = lacking[0]
    parent = region_id(1, person.person_id)
    clicks = click(picture, "left_hip", (40, 50), "c1", parentID=parent)
    clicks += click(picture, "right_hip", (60, 70), "c2", parentID=parent)
    with backend.serving(Live.open(folder, str(tiny_student)), 0) as url:
        result = predict(url, as_task(picture), clicks)["result"]
    found = places(picture, result)
    # The middle of (40, 50) and (60, 70); nothing else follows, since the network looks at the picture alone.
    assert found.pop((person.person_id, "pelvis")) == pytest.approx((50, 60), abs=1e-9)
    assert {name for _, name in found} == {"left_hip", "right_hip"}
    pelvis = [entry for entry in result if entry["id"] == region_id(1, person.person_id, "pelvis")]
    assert all(entry["readonly"] for entry in pelvis)
    with Project.open(folder) as project:
        known = again.known(project, picture.key)
    answer = read(picture, accepted(submitted(picture), result), NAMES, "n", known)
    origins = {one.keypoint: one.origin for one in answer.points if one.person_id == person.person_id}
    assert answer.problems == [] and origins["left_hip"] == "corrected" and origins["pelvis"] == ""


def test_a_head_rectangle_shows_neck_and_top_where_they_will_be_stored(url: str, folder: Path, picture: Shown) -> None:
    person = picture.people[WHO]
    box = region_id(1, person.person_id)
    middle = picture.frame.point_percent(np.array([person.box[0] + 20.0, person.box[1] + 4.0]), 0).tolist()
    head = drawn(picture, "rectanglelabels", "head", (middle[0] - 4, middle[1] - 3, 8, 6), "h1", box)
    draft = {"result": submitted(picture) + head, "updated_at": "2026-01-01T00:00:00Z"}
    xy = (person.box[0] + person.box[2] / 2, person.box[1] + person.box[3] - 5)
    answer = predict(url, as_task(picture, drafts=[draft]), click(picture, "pelvis", xy, parentID=box))["result"]
    seen = places(picture, answer)
    with Project.open(folder) as project:
        known = again.known(project, picture.key)
    stored = read(picture, accepted(submitted(picture) + head, answer), NAMES, "n", known)
    ends = {one.keypoint: one for one in stored.points if one.gesture == "head_box"}
    assert stored.problems == []
    assert set(ends) == {"upper_neck", "head_top"}
    for name, one in ends.items():
        assert seen[person.person_id, name] == pytest.approx(one.after, abs=1e-6)
