"""Pushing and pulling against a real server: nothing twice, nothing lost, whatever fails in between."""

from __future__ import annotations

import json
import random
import re
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request as Get
from urllib.request import urlopen

import pytest

from annotator.decisions import Decisions
from annotator.errors import InputError, MissingError, StorageError
from annotator.labelstudio import config, server, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.outcome import Pulled
from annotator.labelstudio.retrying import Pauses
from annotator.labelstudio.tasks import region_id
from annotator.people import ORIGIN
from annotator.skeletons import UNION_21
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects, scenes
from tests.labelstudio.faults import Fault, Proxy
from tests.labelstudio.working import push, result_of, submit, tasks_in, update

PICTURES, EACH = 4, 2
HASTY = Pauses(attempts=3, sleep=lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of four pictures with two people each, and proposals for all of them."""
    projects.project(tmp_path / "p", scenes.coco(tmp_path, PICTURES, EACH))
    return tmp_path / "p"


def keys(client: Client, project: int) -> list[str]:
    return [key for key, _ in client.keys_of(project)]


def wanted(folder: Path) -> list[str]:
    with Project.open(folder) as project:
        return tasks.keys_of(project, 1)


def decisions(folder: Path) -> Decisions:
    with Project.open(folder) as project:
        return project.decisions()


def pulled(folder: Path, client: Client) -> Pulled:
    with Project.open(folder) as project:
        return sync.pull(project, client)


def proposed(there: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Person and keypoint of each proposal that can be accepted, in some tasks."""
    out = []
    for task in there:
        ids = {region["id"] for region in result_of(task) if "score" in region and not region.get("readonly")}
        for one in task["data"]["people"]:
            name = one["person_id"]
            out += [(name, keypoint) for keypoint in UNION_21.keypoints if region_id(1, name, keypoint) in ids]
    return sorted(out)


def everything(made: Decisions) -> list[tuple[str, str]]:
    """Person and keypoint of each decision."""
    return sorted(zip(made.person_id, made.keypoint, strict=True))


def box(name: str) -> dict[str, Any]:
    """A rectangle that a reviewer drew."""
    value = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": ["person"]}
    size = {"original_width": 160, "original_height": 120, "image_rotation": 0}
    return {"id": name, "from_name": "person", "to_name": "image", "type": "rectanglelabels", "value": value, **size}


def moved(result: list[dict[str, Any]], person: str, keypoint: str, by: float) -> list[dict[str, Any]]:
    out = json.loads(json.dumps(result))
    for entry in out:
        if entry["id"] == region_id(1, person, keypoint):
            entry["value"]["x"] += by
    return out


def test_a_round_goes_out_in_ranked_order_and_the_server_shows_it(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home, controls=1, overlap=2)
    assert (pushed.tasks, pushed.new, pushed.people) == (PICTURES, PICTURES, PICTURES * EACH)
    there = tasks_in(client, pushed.project)
    assert [task["data"]["key"] for task in there] == wanted(folder)
    assert [task["data"]["rank"] for task in there] == sorted(task["data"]["rank"] for task in there)
    assert {len(task["predictions"]) for task in there} == {1}
    found = client.request("GET", f"api/projects/{pushed.project}/")
    assert found["maximum_annotations"] == 2 and found["model_version"] == "made round 001"
    address = there[0]["data"]["image"]
    key = {"Authorization": f"Token {server.token(label_home)}"}
    with urlopen(Get(client.url + address, headers=key)) as picture:
        assert picture.read() == (folder.parent / "images" / Path(address).name).read_bytes()


def test_a_second_push_changes_nothing(folder: Path, client: Client, label_home: Path) -> None:
    first = push(folder, client, label_home)
    before = tasks_in(client, first.project)
    second = push(folder, client, label_home)
    assert (second.tasks, second.new, second.project) == (PICTURES, 0, first.project)
    assert tasks_in(client, first.project) == before


class Killed(BaseException):
    """As a signal would end it."""


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_push_that_is_killed_goes_on_where_it_was(folder: Path, client: Client, label_home: Path, after: int) -> None:
    def kill(done: int, total: int) -> None:
        if done >= after:
            raise Killed

    with pytest.raises(Killed):
        push(folder, client, label_home, batch=1, progress=kill)
    pushed = push(folder, client, label_home)
    assert keys(client, pushed.project) == wanted(folder) and pushed.new == PICTURES - after


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/import", status=500, times=3),
        Fault("POST .*/import", status=502, after=True),
        Fault("POST .*/import", after=True),
        Fault("POST .*/import", status=429, headers={"Retry-After": "0"}),
        Fault("POST /api/projects/", status=500, after=True),
        Fault("POST .*localfiles", after=True),
        Fault("GET .*", status=503, times=2),
        Fault("POST .*/import", status=401),
    ],
    ids=["500 for long", "502, done", "reset, done", "429", "500, project made", "reset, storage made", "503", "401"],
)
def test_whatever_fails_a_push_that_is_repeated_ends_as_one_that_did_not(
    folder: Path, client: Client, label_home: Path, fault: Fault
) -> None:
    with (
        Proxy(client.url, [fault]) as proxy,
        Client(proxy.url, server.token(label_home), HASTY) as faulty,
        suppress(MissingError, StorageError),
    ):
        push(folder, faulty, label_home, batch=1)
    assert not fault.times
    pushed = push(folder, client, label_home)
    assert keys(client, pushed.project) == wanted(folder)
    assert [row["title"] for row in client.projects()].count(pushed.title) == 1
    assert len(client.request("GET", "api/storages/localfiles", params={"project": pushed.project})) == 1


def test_a_copy_that_came_late_is_taken_away_again_but_not_one_that_somebody_worked_on(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    first, second, *_ = there = tasks_in(client, pushed.project)
    copies = [{"data": task["data"], "predictions": []} for task in (first, second)]
    client.request("POST", f"api/projects/{pushed.project}/import", copies)
    late = [number for _, number in client.keys_of(pushed.project)][-2:]
    submit(client, late[1], result_of(second))
    push(folder, client, label_home)
    numbers = {task["id"] for task in there} - {second["id"]} | {late[1]}
    assert {number for _, number in client.keys_of(pushed.project)} == numbers
    assert pulled(folder, client).answers == 1


def test_what_was_submitted_comes_back_once_with_who_when_and_how_long(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    task = tasks_in(client, pushed.project)[0]
    person = task["data"]["people"][0]["person_id"]
    number = submit(client, task["id"], moved(result_of(task), person, "upper_neck", 5), lead_time=7.25)
    came = pulled(folder, client)
    assert came.answers == 1 and came.problems == [] and came.decisions["corrected"] == 1
    assert not pulled(folder, client)
    with Project.open(folder) as project:
        (answer,) = tasks.answers(project)
        made = project.decisions()
    assert (answer.annotation, answer.reviewer, answer.lead_time, answer.skipped) == (number, server.EMAIL, 7.25, False)
    assert answer.updated_at == sync.utc(client.request("GET", f"api/annotations/{number}/")["updated_at"])
    assert json.loads(answer.result) == moved(result_of(task), person, "upper_neck", 5)
    assert set(made.when) == {answer.updated_at} and set(made.reviewer) == {server.EMAIL}
    row = made.origin == ORIGIN["corrected"]
    # Five percent of 160 pixels.
    assert (made.after_xy - made.before_xy)[row][0] == pytest.approx([8, 0], abs=1e-9)


def test_skipped_tasks_and_drafts_decide_nothing(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home)
    skipped, draft, both, _ = tasks_in(client, pushed.project)
    submit(client, skipped["id"], result_of(skipped), was_cancelled=True)
    client.request("POST", f"api/tasks/{draft['id']}/drafts", {"result": result_of(draft), "lead_time": 1})
    submit(client, both["id"], result_of(both), was_cancelled=True)
    submit(client, both["id"], result_of(both))
    came = pulled(folder, client)
    assert (came.answers, came.skipped) == (1, 2)
    assert set(decisions(folder).person_id) == {person["person_id"] for person in both["data"]["people"]}


def test_an_updated_answer_replaces_what_it_said_and_a_skipped_one_takes_it_back(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    task, other, *_ = tasks_in(client, pushed.project)
    person = task["data"]["people"][0]["person_id"]
    number = submit(client, task["id"], moved(result_of(task), person, "upper_neck", 5))
    submit(client, other["id"], result_of(other))
    pulled(folder, client)
    first = decisions(folder)
    gone = [entry for entry in result_of(task) if entry["id"] != region_id(1, person, "upper_neck")]
    update(client, number, result=gone)
    assert pulled(folder, client).answers == 1
    second = decisions(folder)
    assert len(second) == len(first) - 1 and "corrected" not in Counter(second.origin)
    with Project.open(folder) as project:  # both versions stay in the store
        assert project.db.execute("SELECT count(*) FROM answers WHERE annotation = ?", (number,)).fetchone() == (2,)
    update(client, number, was_cancelled=True)
    assert pulled(folder, client).skipped == 1
    assert set(decisions(folder).person_id) == {one["person_id"] for one in other["data"]["people"]}


def test_several_answers_to_one_task_are_all_kept(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home, overlap=2)
    task = tasks_in(client, pushed.project)[0]
    for i in range(2):
        submit(client, task["id"], [*result_of(task), box(f"b{i}")], ground_truth=i == 0)
    came = pulled(folder, client)
    assert came.answers == 2 and came.new_people == 2
    with Project.open(folder) as project:
        assert sorted(answer.ground_truth for answer in tasks.answers(project)) == [False, True]
        assert len({row.person_id for row in tasks.boxes(project)}) == 2


def test_a_pull_that_is_killed_loses_nothing(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home)
    # The first task in order is submitted last: a mark moved too early would hide the others.
    for task in reversed(tasks_in(client, pushed.project)):
        submit(client, task["id"], result_of(task))

    def kill(done: int, total: int) -> None:
        raise Killed

    with Project.open(folder) as project, pytest.raises(Killed):
        sync.pull(project, client, kill)
    assert pulled(folder, client).answers == PICTURES - 1
    assert everything(decisions(folder)) == proposed(tasks_in(client, pushed.project))


def test_two_pulls_at_once_enter_everything_once(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home)
    for task in tasks_in(client, pushed.project):
        submit(client, task["id"], result_of(task))

    def work(_: int) -> Pulled:
        with Client(client.url, server.token(label_home)) as own:
            return pulled(folder, own)

    with ThreadPoolExecutor(3) as pool:
        came = list(pool.map(work, range(3)))
    assert sum(one.answers for one in came) == PICTURES
    assert everything(decisions(folder)) == proposed(tasks_in(client, pushed.project))


def test_a_full_disk_in_the_middle_of_a_pull_loses_and_doubles_nothing(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    noise = "".join(random.Random(0).choices("0123456789abcdef", k=100_000))  # 50 kB however it is packed
    for task in tasks_in(client, pushed.project):
        submit(client, task["id"], [*result_of(task), {**box("b"), "meta": {"text": [noise]}}])
    with Project.open(folder) as project:
        pages = project.db.execute("PRAGMA page_count").fetchone()[0]
        project.db.execute(f"PRAGMA max_page_count = {pages + 20}")  # 80 kB: one answer, not two
        with pytest.raises(
            StorageError, match=r"store\.sqlite: expected a store that can be written, got database or d"
        ):
            sync.pull(project, client)
        assert len(list(tasks.answers(project))) == 1
    assert pulled(folder, client).answers == PICTURES - 1
    assert everything(decisions(folder)) == proposed(tasks_in(client, pushed.project))


def test_a_configuration_edited_by_hand_is_an_error_that_names_the_difference(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    edited = config.make(UNION_21).replace('"nose"', '"Nase"')
    client.request("PATCH", f"api/projects/{pushed.project}/", {"label_config": edited})
    before = tasks_in(client, pushed.project)
    what = "it as it was made, got another: keypoint: 'nose' is not there (new there: 'Nase'); nothing was changed"
    for command in (lambda: push(folder, client, label_home), lambda: pulled(folder, client)):
        with pytest.raises(InputError, match=re.escape(what)):
            command()
    assert client.config_of(pushed.project) == edited and tasks_in(client, pushed.project) == before


def test_a_project_with_another_title_is_found_and_not_made_twice(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    client.request("PATCH", f"api/projects/{pushed.project}/", {"title": "ours now"})
    assert push(folder, client, label_home).project == pushed.project
    submit(client, tasks_in(client, pushed.project)[0]["id"], [])
    assert pulled(folder, client).answers == 1


def test_a_project_that_is_gone_or_was_never_pushed_is_one_line(folder: Path, client: Client, label_home: Path) -> None:
    with pytest.raises(InputError, match=r"expected a round that was pushed \(annotator label push\), got none"):
        pulled(folder, client)
    pushed = push(folder, client, label_home)
    client.request("DELETE", f"api/projects/{pushed.project}/")
    with pytest.raises(InputError, match=r"expected project 'p round 001 .*', which was pushed, got none such"):
        pulled(folder, client)
    with Project.open(folder) as project:  # a round that went to another server
        tasks.open_round(project, 2, unlock=False)
    assert push(folder, client, label_home).new == PICTURES  # and may go out again
    assert pulled(folder, client).lines() == ["0 answers, 0 skipped; decisions: none", "not on this server: round 2"]


def test_tasks_that_are_not_ours_are_reported_and_passed_over(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home)
    client.request("POST", f"api/projects/{pushed.project}/import", [{"data": {"image": "x.jpg", "note": ""}}])
    stranger = max(task["id"] for task in client.tasks_of(pushed.project))
    number = submit(client, stranger, [])
    came = pulled(folder, client)
    what = f"task {stranger}, annotation {number}: expected a task that was pushed from here, got another; passed over"
    assert came.problems == [what] and not came.answers


def test_locked_labels_cannot_be_unlocked_halfway(folder: Path, client: Client, label_home: Path) -> None:
    push(folder, client, label_home)
    with pytest.raises(InputError, match=r"round 1: expected labels locked, as it went out, got unlocked \(--unlock\)"):
        push(folder, client, label_home, unlock=True)


def test_watching_tells_what_came_and_survives_a_server_that_is_down_for_a_while(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    todo = [task["id"] for task in tasks_in(client, pushed.project)[:2]]
    told: list[Pulled] = []
    down = Fault("GET /api/projects", status=503, times=0)

    def sleep(_: float) -> None:
        if len(told) == 2:
            raise KeyboardInterrupt
        if todo and len(told) == 2 - len(todo):
            submit(client, todo.pop(), [])
            down.times = 3

    with (
        Proxy(client.url, [down]) as proxy,
        Client(proxy.url, server.token(label_home), Pauses(1)) as faulty,
        Project.open(folder) as project,
        pytest.raises(KeyboardInterrupt),
    ):
        sync.watch(project, faulty, 30, told.append, sleep)
    assert [one.answers for one in told] == [1, 1] and down.times == 0


def test_watching_ends_where_the_server_stays_away(folder: Path, client: Client, label_home: Path) -> None:
    push(folder, client, label_home)
    slept: list[float] = []
    with (
        Proxy(client.url, [Fault(status=503, times=1000)]) as proxy,
        Client(proxy.url, server.token(label_home), Pauses(1)) as faulty,
        Project.open(folder) as project,
        pytest.raises(StorageError, match="503"),
    ):
        sync.watch(project, faulty, 30, lambda _: None, slept.append)
    assert slept == [30.0] * (sync.PATIENCE - 1)


def test_a_server_that_was_restarted_at_another_address_is_the_same_one(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    first, second, *_ = tasks_in(client, pushed.project)
    submit(client, first["id"], result_of(first))
    assert pulled(folder, client).answers == 1
    submit(client, second["id"], result_of(second))
    server.down(label_home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running, _ = server.up(label_home, port)
    with Client(running.url, server.token(label_home)) as again:
        assert running.url != client.url
        assert pulled(folder, again).answers == 1 and push(folder, again, label_home).new == 0
    assert everything(decisions(folder)) == proposed([first, second])
