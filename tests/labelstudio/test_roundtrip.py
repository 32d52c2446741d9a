"""Nothing is lost on the way to a reviewer and back: generated people without a server, whole projects with one.

The cases named `loss` are what other bridges were measured to lose (of 34 points 2 arrive, all named person; two people
become one; whole pixels; v always 2; predictions that nobody looked at become labels; half a pixel of shift).
"""

from __future__ import annotations

import filecmp
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.current import current_people
from annotator.export import export
from annotator.labelstudio.client import Client
from annotator.labelstudio.frame import SHOWN, Frame
from annotator.labelstudio.sync import pull
from annotator.people import ORIGIN, ORIGINS, People
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.store.project import Project
from tests import projects, scenes
from tests.labelstudio.made import ADDED, answer, changed, coco_like, drawn, move, pictures, selection, submitted
from tests.labelstudio.working import push, result_of, submit, tasks_in

WHEN = "2026-01-01T00:00:00+00:00"
PEOPLE_EACH = 10
frames = st.builds(Frame, st.integers(16, 8000), st.integers(16, 8000), st.sampled_from(sorted(SHOWN)))


@st.composite
def reviews(draw: st.DrawFn) -> tuple[People, Proposals, Frame]:
    """Ten people in pictures of any size, orientation and pixel count; some points lie outside, v is anything."""
    frame, seed = draw(frames), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    people, proposals = coco_like(PEOPLE_EACH, seed)
    size = np.array([frame.width, frame.height])
    xy = rng.uniform(-0.1, 1.1, people.xy.shape) * size
    v = rng.integers(0, 3, people.v.shape) * ~np.isin(UNION_21.keypoints, ADDED)
    people = replace(
        people,
        xy=np.where((v > 0)[..., None], xy, np.nan),
        v=v,
        origin=np.where(v > 0, ORIGIN["labelled"], ORIGIN["none"]),
        pixel_origin=np.full(PEOPLE_EACH, draw(st.sampled_from([0, 1]))),
        # Two people a picture, side by side or one within the other.
        bbox_xywh=np.hstack([rng.uniform(-0.1, 0.6, (PEOPLE_EACH, 2)) * size, rng.uniform(0.05, 0.6, (10, 2)) * size]),
    )
    where = rng.uniform(-0.1, 1.1, proposals.xy.shape) * size
    return people, replace(proposals, xy=where), frame


@settings(max_examples=60)
@given(reviews())
def test_what_nobody_touched_comes_back_to_the_last_bit(made: tuple[People, Proposals, Frame]) -> None:
    people, proposals, frame = made  # 60 examples of 10 people
    for picture in pictures(people, proposals, frame=frame):
        found = answer(picture, submitted(picture))
        assert found.problems == [] and found.boxes == []
        decided = found.decisions("ann", WHEN)
        # Each proposal is accepted where it was, under its own person and name; no label is decided on.
        rows = [int(name.split(":")[1]) for name in decided.person_id]
        columns = UNION_21.indices(decided.keypoint)
        assert set(decided.origin) == {ORIGIN["accepted"]} and set(decided.keypoint) == set(ADDED)
        assert len(decided) == len(ADDED) * len(picture.people)
        assert (decided.after_xy == proposals.xy[rows, columns]).all() and (decided.before_xy == decided.after_xy).all()
        after = current_people(people, decided)
        labels = people.labelled
        assert (after.xy[labels] == people.xy[labels]).all() and (after.v[labels] == people.v[labels]).all()


@settings(max_examples=60)
@given(reviews(), st.floats(-3, 3), st.floats(-3, 3))
def test_what_was_moved_comes_back_where_it_was_put(
    made: tuple[People, Proposals, Frame], dx: float, dy: float
) -> None:
    people, proposals, frame = made
    picture = pictures(people, proposals, frame=frame, unlock=True)[0]
    result = submitted(picture)
    free = [entry for entry in result if entry["type"] != "rectanglelabels"]
    at = {(e["id"], key): e["value"][key] for e in free for key in ("x", "y")}
    found = answer(picture, changed(result, free, move(dx, dy)))
    assert found.problems == [] and found.boxes == []
    far = max(abs(dx), abs(dy)) > 1e-6
    expected_words = {"corrected"} if far else {"accepted"}
    decided = found.decisions("ann", WHEN)
    assert {ORIGINS[code] for code in decided.origin} == expected_words and at
    if far:
        for i in range(len(decided)):
            person = next(p for p in picture.people if p.person_id == decided.person_id[i])
            sent = next(p for p in person.points if p.keypoint == decided.keypoint[i])
            shown = np.clip(frame.point_percent(np.array([sent.x, sent.y]), person.pixel_origin), 0, 100)
            wanted = frame.point_xy(shown + np.array([dx, dy]), person.pixel_origin)
            assert np.abs(decided.after_xy[i] - wanted).max() < 1e-9
            assert decided.after_v[i] == sent.v


def test_loss_of_34_points_sent_34_arrive_under_their_own_names_and_people() -> None:
    people, _ = coco_like(2)
    xy = np.random.default_rng(0).uniform(50, 400, people.xy.shape)
    v = np.where(np.isin(UNION_21.keypoints, ADDED), 0, 1 + np.arange(21) % 2)[None].repeat(2, 0)
    people = replace(people, xy=np.where((v > 0)[..., None], xy, np.nan), v=v, origin=np.where(v > 0, 1, 0))
    picture = pictures(people, Proposals.none(UNION_21), unlock=True)[0]
    result = submitted(picture)
    points = [entry for entry in result if entry["type"] == "keypointlabels"]
    assert len(points) == 34
    found = answer(picture, changed(result, points, move(1, 0)))
    decided = found.decisions("ann", WHEN)
    assert len(decided) == 34 and Counter(decided.person_id) == {"made:0": 17, "made:1": 17}
    assert list(decided.keypoint) == [*UNION_21.keypoints[:17]] * 2
    # Fractions of a pixel stay, and so does v = 1.
    assert decided.after_xy.reshape(2, 17, 2) == pytest.approx(people.xy[:, :17] + [6.4, 0], abs=1e-9)
    assert decided.after_v.reshape(2, 17).tolist() == v[:, :17].tolist() and 1 in decided.after_v


def test_loss_of_half_a_pixel_does_not_happen() -> None:
    people, proposals = coco_like(1)
    picture = pictures(people, proposals, selection(people, "c"))[0]
    # A click into the middle of pixel (100, 200) of 640 x 480.
    click = drawn(picture, "keypointlabels", "pelvis", (100.5 / 6.4, 200.5 / 4.8), "n1")
    (made,) = [one for one in answer(picture, submitted(picture) + click).points if one.origin]
    assert made.after == pytest.approx((100, 200), abs=1e-9)


@pytest.mark.parametrize("source", ["coco", "mpii"])
def test_a_project_that_nobody_changed_exports_to_its_input_after_a_whole_round(
    tmp_path: Path, client: Client, label_home: Path, source: str
) -> None:
    made = {"coco": scenes.coco, "mpii": scenes.mpii}[source](tmp_path, count=6)
    projects.project(tmp_path / "p", made)
    pushed = push(tmp_path / "p", client, label_home, controls=2)
    for task in tasks_in(client, pushed.project):
        submit(client, task["id"], result_of(task))
    with Project.open(tmp_path / "p") as project:
        pulled = pull(project, client)
        proposals, people = snapshot(project).proposals, snapshot(project).people
        decided = project.decisions()
    assert pulled.answers == 6 and pulled.problems == []
    # COCO lacks four keypoints (two may follow by a rule), MPII the five of a face; controls show none of them.
    assert set(pulled.decisions) == {"accepted"} and pulled.decisions["accepted"] == len(decided) > 0
    rows = [list(proposals.person_id).index(name) for name in decided.person_id]
    assert (decided.after_xy == proposals.xy[rows, UNION_21.indices(decided.keypoint)]).all()
    assert people.labelled.any()
    out = export(tmp_path / "p", tmp_path / "out.json", source, "labelled")
    assert out.same and filecmp.cmp(out.path, made[0], shallow=False)


def test_loss_predictions_that_nobody_submitted_do_not_come_back(
    tmp_path: Path, client: Client, label_home: Path
) -> None:
    made = scenes.coco(tmp_path, count=3)
    projects.project(tmp_path / "p", made)
    pushed = push(tmp_path / "p", client, label_home)
    assert all(task["predictions"] for task in tasks_in(client, pushed.project))
    with Project.open(tmp_path / "p") as project:
        pulled = pull(project, client)
        assert not pulled and len(project.decisions()) == 0
