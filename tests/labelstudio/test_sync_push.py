"""Pushing to a real server: nothing twice, nothing lost, whatever fails in between."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.request import Request as Get
from urllib.request import urlopen

import pytest

from annotator import queue
from annotator.errors import InputError, MissingError, StorageError
from annotator.labelstudio import server
from annotator.labelstudio.client import Client
from annotator.labelstudio.retrying import Pauses
from annotator.selection import Request
from annotator.snapshot import snapshot
from annotator.store.project import Project
from tests import projects
from tests.labelstudio.faults import Fault, Proxy
from tests.labelstudio.working import (
    EACH,
    EVERYBODY,
    PICTURES,
    Killed,
    box,
    four_pictures,
    keys,
    pulled,
    push,
    rectangles,
    result_of,
    submit,
    tasks_in,
    update,
    wanted,
)

HASTY = Pauses(attempts=3, sleep=lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return four_pictures(tmp_path)


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


def test_a_second_push_changes_the_number_of_reviewers_where_it_names_one(
    folder: Path, client: Client, label_home: Path
) -> None:
    number = push(folder, client, label_home).project
    task = tasks_in(client, number)[0]
    submit(client, task["id"], result_of(task))

    def state() -> tuple[int, int, bool]:
        there = client.request("GET", f"api/tasks/{task['id']}/")
        assert len(there["annotations"]) == 1
        wanted = client.request("GET", f"api/projects/{number}/")["maximum_annotations"]
        return wanted, there["overlap"], there["is_labeled"]

    for asked, found in [(None, (1, 1, True)), (2, (2, 2, False)), (None, (2, 2, False)), (1, (1, 1, True))]:
        assert push(folder, client, label_home, overlap=asked).new == 0
        assert state() == found


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


def test_locked_labels_cannot_be_unlocked_halfway(folder: Path, client: Client, label_home: Path) -> None:
    push(folder, client, label_home)
    with pytest.raises(InputError, match=r"round 1: expected labels locked, as it went out, got unlocked \(--unlock\)"):
        push(folder, client, label_home, unlock=True)


@pytest.mark.parametrize("killed", [False, True], ids=["before the push", "in the middle of it"])
def test_a_round_goes_out_though_somebody_chosen_for_it_is_gone(
    folder: Path, client: Client, label_home: Path, killed: bool
) -> None:
    first = push(folder, client, label_home)
    task = tasks_in(client, first.project)[0]
    others = rectangles(task)  # no word on anybody's keypoints
    number = submit(client, task["id"], [*others, box("b")])
    pulled(folder, client)
    with Project.open(folder) as project:
        projects.write_round(folder, snapshot(project).people, 2)
    request = Request(EVERYBODY, "people", "random")
    assert len(queue.select(folder, request).selection) == PICTURES * EACH + 1

    def kill(done: int, total: int) -> None:
        raise Killed

    if killed:
        with pytest.raises(Killed):
            push(folder, client, label_home, batch=1, progress=kill)
    update(client, number, result=others)
    pulled(folder, client)
    second = push(folder, client, label_home)
    # What is in the store already goes out as it was to; a picture never gets two tasks.
    assert (second.tasks, second.new, second.gone) == (PICTURES, PICTURES, int(not killed))
    assert second.people == PICTURES * EACH + int(killed)
    assert len({one["data"]["image_id"] for one in tasks_in(client, second.project)}) == PICTURES
    assert ("1 chosen people are gone: their reviewers took them back" in second.lines()) != killed
