"""Several reviewers: spread, sigmas, traps caught, disagreements; and the project as they leave it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator import formats
from annotator.cli import main
from annotator.decisions import Decisions
from annotator.export import export
from annotator.labelstudio import reviewers, server
from annotator.labelstudio.client import Client
from annotator.people import People
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.spread import spread, with_floor
from annotator.store import tasks
from annotator.store.project import Project
from annotator.store.tasks import BoxRow, TrapRow
from tests import projects, scenes
from tests.builders import make_people, make_proposals
from tests.labelstudio.working import push, result_of, submit, tasks_in, update
from tests.projects import NOWHERE, decisions

NECK, TOP, PELVIS = (UNION_21.index(name) for name in ("upper_neck", "head_top", "pelvis"))
COCO_1 = "coco:1000"


def people(n: int = 4, head_px: float = 40.0) -> People:
    """People of scale 100 px; the ends of the head are 4/3 of its size apart."""
    table = make_people(n, UNION_21)
    xy, v, origin = table.xy.copy(), table.v.copy(), table.origin.copy()
    xy[:, NECK], xy[:, TOP] = (100, 100), (100, 100 - head_px / 0.75)
    v[:, [NECK, TOP]], origin[:, [NECK, TOP]] = 2, 1
    return replace(table, xy=xy, v=v, origin=origin, area=np.full(n, 10_000.0))


def placed(word: str, *points: tuple[int, str, tuple[float, float]]) -> Decisions:
    """(person, reviewer, place) of the pelvis."""
    return decisions(*((f"made:{i}", "pelvis", word, who, NOWHERE, xy) for i, who, xy in points))


def test_spread_and_sigma_are_root_mean_squares_over_head_and_scale() -> None:
    made = placed(
        "control",
        (0, "Ann", (10, 10)), (0, "Bob", (16, 18)),  # 10 px apart: 5 + 5 squared and summed is 50, over 1
        (1, "Ann", (10, 10)), (1, "Bob", (10, 10)),  # 0, over 1
        (2, "Ann", (10, 10)),  # alone
    )  # fmt: skip
    found = spread(people(), made)
    assert found.heads[PELVIS] == pytest.approx(5 / 40)  # sqrt(50 / 2) = 5 px of 40
    assert found.sigma[PELVIS] == pytest.approx(5 / 100)
    assert (found.n[PELVIS], found.sigma_n[PELVIS], found.blind[PELVIS]) == (2, 2, True)
    assert 0 <= found.low[PELVIS] <= found.sigma[PELVIS] <= found.high[PELVIS]
    assert np.isnan(np.delete(found.heads, PELVIS)).all()
    assert np.isnan(np.delete(found.sigma, PELVIS)).all()


def test_points_placed_with_the_proposal_in_sight_give_a_spread_but_no_sigma() -> None:
    found = spread(people(), placed("corrected", (0, "Ann", (10, 10)), (0, "Bob", (16, 18))))
    assert found.heads[PELVIS] == pytest.approx(np.sqrt(50) / 40)
    assert (found.blind[PELVIS], found.sigma_n[PELVIS]) == (False, 0)
    assert np.isnan(found.sigma[PELVIS])


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_the_sigma_that_reviewers_were_made_with_lies_in_its_interval_or_near(seed: int) -> None:
    """400 people, three reviewers, .05 of the scale in all directions: the estimate is off by some 2 %."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.05 * 100 / np.sqrt(2), (400, 3, 2))
    made = placed("control", *((i, f"R{r}", tuple(100 + noise[i, r])) for i in range(400) for r in range(3)))
    found = spread(people(400), made, rounds=200)
    assert found.sigma[PELVIS] == pytest.approx(0.05, rel=0.12)
    assert found.low[PELVIS] < found.sigma[PELVIS] < found.high[PELVIS]


def test_no_radius_is_smaller_than_the_reviewers_spread() -> None:
    table = people()
    proposals = replace(
        make_proposals(table), radius90=np.full(table.v.shape, 6.0), spread_px=np.full(table.v.shape, 4.0)
    )
    found = spread(table, placed("control", (0, "Ann", (10, 10)), (0, "Bob", (16, 18))))
    raised = with_floor(proposals, table, found)
    rms = np.sqrt(50)  # of head 40 px in everybody
    assert raised.spread_px[:, PELVIS] == pytest.approx([rms] * 4)
    assert raised.radius90[:, PELVIS] == pytest.approx([rms * np.sqrt(np.log(10))] * 4)  # 1 - e^(-r^2 / rms^2) = .9
    assert np.isnan(raised.radius50).all()
    others = np.delete(np.arange(21), PELVIS)
    np.testing.assert_array_equal(raised.radius90[:, others], proposals.radius90[:, others])
    wide = replace(proposals, radius90=np.full(table.v.shape, 60.0))
    np.testing.assert_array_equal(with_floor(wide, table, found).radius90, wide.radius90)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A COCO project with a round that went out as one task of two people."""
    projects.project(tmp_path / "p", scenes.coco(tmp_path / "source"))
    with Project.open(tmp_path / "p") as project:
        tasks.open_round(project, 1, unlock=True)
        tasks.put_tasks(project, 1, [("key", "coco:139", 1, "{}")])
    return tmp_path / "p"


def answer(folder: Path, number: int, who: str, made: Decisions, **more: Any) -> None:
    """A submitted annotation with its decisions."""
    with Project.open(folder) as project:
        row = tasks.put_project(project, 1, "1 today")
        when = f"2026-01-01T00:00:{number:02d}.000000+00:00"
        review = tasks.Reviewed(row, "key", number, when, when, who, 90.0, False, False, "[]")
        assert tasks.put_answer(project, review, made, ["point"] * len(made), **more)


def test_each_reviewer_has_answers_minutes_words_and_traps_caught(folder: Path) -> None:
    trap = [TrapRow("Ann", COCO_1, "head_top", caught=False)]
    answer(folder, 1, "Ann", decisions((COCO_1, "thorax", "accepted", "Ann", (1, 1), (1, 1))), traps=trap)
    answer(folder, 2, "Bob", decisions(), traps=[TrapRow("Bob", COCO_1, "head_top", caught=True)])
    with Project.open(folder) as project:
        ann, bob = reviewers.report(project).reviewers
    assert (ann.name, ann.answers, ann.skipped, ann.minutes, ann.decisions) == ("Ann", 1, 0, 1.5, {"accepted": 1})
    assert [(r.traps, r.caught) for r in (ann, bob)] == [(1, 0), (1, 1)]
    # Wilson: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z^2 = 3.84: 0 of 1 is 0 to .79
    assert (ann.low, ann.high) == pytest.approx((0, 0.7935), abs=1e-4)
    assert (bob.low, bob.high) == pytest.approx((0.2065, 1), abs=1e-4)


def test_status_prints_reviewers_spread_and_disagreements(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for number, (who, neck, top) in enumerate([("Ann", (60, 60), (60, 40)), ("Bob", (61, 60), (90, 90))], 1):
        answer(folder, number, who, decisions(
            (COCO_1, "upper_neck", "control", who, NOWHERE, neck),
            (COCO_1, "head_top", "corrected", who, (5, 5), top),
        ))  # fmt: skip
    assert main(["label", "status", str(folder), "--home", str(tmp_path / "none")]) == 3  # no server, but a report
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["reviewer", "answers", "skipped", "minutes", "accepted", "corrected", "control",
                              "rejected", "absent", "traps", "caught", "95", "%"]  # fmt: skip
    assert out[1].split()[:9] == ["Ann", "1", "0", "2", "0", "1", "1", "0", "0"]
    neck = next(line.split() for line in out if line.startswith("upper_neck"))
    assert neck[0] == "upper_neck" and neck[-3:] == ["0.026", "(not", "measured)"]
    assert "reviewers disagree on 1 points, the furthest apart first:" in out
    assert f"  {COCO_1} head_top: Ann corrected, Bob corrected, 58.3 px apart" in "\n".join(out)  # 30 and 50
    with Project.open(folder) as project:
        json.dumps(reviewers.report(project).summary(), allow_nan=False)
        assert tasks.keys_deciding(project, 1, {(COCO_1, "head_top")}) == ["key"]
        assert tasks.keys_deciding(project, 1, {(COCO_1, "nose")}) == []


BOX = (10.0, 20.0, 40.0, 60.0)


def found(folder: Path, image_id: str, pixel_origin: int, known: str) -> None:
    """Ann and Bob drew the same new person and placed its nose, and Ann moved a known person's box."""
    for number, (who, x) in enumerate([("Ann", 30.0), ("Bob", 31.0)], 1):
        name = f"{image_id}:1-{number}-r"
        boxes = [BoxRow(name, image_id, pixel_origin, None, BOX)]
        if who == "Ann":
            boxes.append(BoxRow(known, image_id, pixel_origin, (1, 1, 1, 1), (5.0, 6.0, 30.0, 40.0)))
        answer(folder, number, who, decisions((name, "left_hip", "corrected", who, NOWHERE, (x, 40.0))), boxes=boxes)


def test_new_people_and_moved_boxes_are_exported(folder: Path, tmp_path: Path) -> None:
    found(folder, "coco:139", 0, COCO_1)
    with Project.open(folder) as project:
        now = snapshot(project)
    assert now.people.person_id[-1] == "coco:139:1-1-r"
    assert (len(now.people), len(now.labels)) == (13, 13)
    export(folder, tmp_path / "out.json", points="human")
    document = json.loads((tmp_path / "out.json").read_text())
    by_id = {a["annotator"]["person_id"]: a for a in document["annotations"]}
    new, moved = by_id["coco:139:1-1-r"], by_id[COCO_1]
    assert (new["id"], new["image_id"], new["bbox"]) == (1000 + 7 * 11 + 1, 139, list(BOX))
    assert scenes.points(new)["left_hip"] == (30.5, 40.0, 2, "corrected")  # the mean of both
    source = json.loads((tmp_path / "source/coco.json").read_text())["annotations"][0]
    assert (moved["bbox"], moved["annotator"]["previous_bbox"]) == ([5, 6, 30, 40], source["bbox"])
    export(folder, tmp_path / "labels.json", points="labelled")
    assert json.loads((tmp_path / "labels.json").read_text()) == json.loads((tmp_path / "source/coco.json").read_text())


@pytest.mark.parametrize("format_", ["mpii", "yolo"])
def test_new_people_and_moved_boxes_reach_other_formats(tmp_path: Path, format_: str) -> None:
    source = scenes.mpii(tmp_path / "source")
    projects.project(tmp_path / "p", source)
    with Project.open(tmp_path / "p") as project:
        tasks.open_round(project, 1, unlock=False)
        tasks.put_tasks(project, 1, [("key", "mpii:000000.png", 1, "{}")])
    found(tmp_path / "p", "mpii:000000.png", 1, "mpii:1")
    out = tmp_path / ("out.json" if format_ == "mpii" else "out")
    export(tmp_path / "p", out, format_)
    back = formats.read(out, source[1], format_).people
    assert len(back) == 9
    new = back.take([int(np.flatnonzero(back.labelled.sum(axis=1) == 1)[0])])
    shift = new.pixel_origin[0] - 1.0
    np.testing.assert_allclose(new.xy[new.labelled], [[30.5 + shift, 40 + shift]])
    low, high = new.bbox_xywh[0, :2], new.bbox_xywh[0, :2] + new.bbox_xywh[0, 2:]
    assert (low <= np.array(BOX[:2]) + shift + 1e-9).all() and (high >= np.add(BOX[:2], BOX[2:]) + shift - 1e-9).all()
    moved = back.bbox_xywh[[1]][0]
    assert moved[:2] + moved[2:] / 2 == pytest.approx(np.array([20, 26]) + shift)  # its middle
    if format_ == "mpii":  # everybody else as before
        before, after = json.loads(source[0].read_text()), json.loads(out.read_text())
        assert before[2:] == after[2:8] and before[0] == after[0]


def test_a_floor_from_reviewers_reaches_the_radius_that_is_shown(folder: Path) -> None:
    for number, (who, x) in enumerate([("Ann", 60.0), ("Bob", 66.0)], 1):
        words = [
            (COCO_1, "upper_neck", "control", who, NOWHERE, (x, 60.0)),
            (COCO_1, "head_top", "control", who, NOWHERE, (60.0, 20.0)),
        ]
        answer(folder, number, who, decisions(*words))
    with Project.open(folder) as project:
        now = snapshot(project)
    raw = Proposals.read_rows(now.proposals_file, UNION_21)
    assert (now.proposals.spread_px[0, NECK] > raw.spread_px[0, NECK]) == (raw.spread_px[0, NECK] < np.sqrt(18))
    assert now.proposals.spread_px[0, NECK] >= np.sqrt(18) - 1e-5  # (3^2 + 3^2) / 1, in a person of the same head


def as_drawn(task: dict[str, Any], moved: dict[str, float]) -> Any:
    """What the page sends after keypoints of the first person were dragged right, by percents of the width."""
    result = result_of(task)
    first = next(entry["parentID"] for entry in result if entry.get("parentID"))
    for entry in result:
        if entry.get("parentID") == first and (name := entry["value"].get("keypointlabels", [""])[0]) in moved:
            entry["value"]["x"] += moved[name]
    return result


def test_disagreements_get_a_tab_on_the_server_until_they_are_settled(
    tmp_path: Path, client: Client, label_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    projects.project(tmp_path / "p", scenes.coco(tmp_path / "source", 2, 1))
    made = push(tmp_path / "p", client, label_home, overlap=2)
    task, other = tasks_in(client, made.project)
    bob = client.request("POST", "api/users/", {"email": "bob@example.org", "username": "bob", "first_name": "B"})["id"]
    submit(client, other["id"], result_of(other))
    submit(client, other["id"], result_of(other), completed_by=bob)
    submit(client, task["id"], as_drawn(task, {"head_top": 1.0}))
    away = submit(client, task["id"], as_drawn(task, {"head_top": 40.0}), completed_by=bob)

    def pull() -> list[str]:
        assert main(["label", "pull", str(tmp_path / "p"), "--home", str(label_home)]) == 0
        return capsys.readouterr().out.splitlines()

    def tabs() -> list[dict[str, Any]]:
        found = client.request("GET", "api/dm/views/", params={"project": made.project})
        return [view for view in found if view["data"]["title"] == reviewers.TAB]

    line = next(line for line in pull() if "disagree" in line)
    (tab,) = tabs()
    assert line == f"reviewers disagree on 1 points: {client.url}/projects/{made.project}/data?tab={tab['id']}"
    listed = client.request("GET", "api/tasks/", params={"view": tab["id"], "project": made.project, "fields": "all"})
    assert [entry["id"] for entry in listed["tasks"]] == [task["id"]]
    pull()
    assert len(tabs()) == 1  # the same, not one more
    update(client, away, result=as_drawn(task, {"head_top": 1.5}))
    assert not any("disagree" in line for line in pull())
    assert tabs() == []
    with Project.open(tmp_path / "p") as project:
        now, who = snapshot(project), reviewers.report(project).reviewers
    assert {one.name for one in who} == {server.EMAIL, "bob@example.org"}
    assert [one.answers for one in who] == [2, 2]
    person = now.people.take(now.people.image_id == task["data"]["image_id"])
    raw = now.proposals.take(now.proposals.person_id == person.person_id[0])
    assert person.origin[0, TOP] == 6  # corrected
    # 1 and 1.5 percent of 160 pixels: 1.6 and 2.4, 2 on average
    assert person.xy[0, TOP] == pytest.approx(raw.xy[0, TOP] + [2.0, 0], abs=1e-3)
