"""Pulling from a real server: what was submitted comes back once, whatever fails in between."""

from __future__ import annotations

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotator.errors import StorageError
from annotator.labelstudio import server, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.outcome import Pulled
from annotator.labelstudio.retrying import Pauses
from annotator.labelstudio.tasks import region_id
from annotator.people import ORIGIN, ORIGINS
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects
from tests.labelstudio.faults import Fault, Proxy
from tests.labelstudio.working import (
    EACH,
    PICTURES,
    Killed,
    box,
    decisions,
    everything,
    four_pictures,
    moved,
    proposed,
    pulled,
    push,
    rectangles,
    result_of,
    submit,
    tasks_in,
    update,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return four_pictures(tmp_path)


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


def test_a_new_person_stays_while_anybodys_word_on_them_stands(folder: Path, client: Client, label_home: Path) -> None:
    """Drawn twice, asked about in the next round, and then one rectangle after the other is deleted."""
    first = push(folder, client, label_home, overlap=2)
    task = tasks_in(client, first.project)[0]
    numbers = [submit(client, task["id"], [*rectangles(task), box(f"b{i}")]) for i in range(2)]
    assert pulled(folder, client).new_people == 2
    with Project.open(folder) as project:
        now = snapshot(project)
    (new,) = now.people.person_id[PICTURES * EACH :]
    projects.write_round(folder, now.people, 2)
    second = push(folder, client, label_home)
    assert (second.round, second.people, second.gone) == (2, PICTURES * EACH + 1, 0)
    (asked,) = (
        one for one in tasks_in(client, second.project) if new in {p["person_id"] for p in one["data"]["people"]}
    )
    later = submit(client, asked["id"], moved(result_of(asked), new, "head_top", 5, number=2))
    pulled(folder, client)

    def found() -> dict[str, tuple[str, list[float]]]:
        with Project.open(folder) as project:
            people = snapshot(project).people
        row = people.person_id.tolist().index(new)
        return {name: (ORIGINS[people.origin[row, k]], people.xy[row, k].tolist())
                for k, name in enumerate(UNION_21.keypoints) if people.labelled[row, k]}  # fmt: skip

    before = found()
    assert {name: word for name, (word, _) in before.items()} == {
        "pelvis": "accepted", "thorax": "accepted", "upper_neck": "accepted", "head_top": "corrected"
    }  # fmt: skip
    for number in numbers:
        update(client, number, result=rectangles(task))
        assert pulled(folder, client).answers == 1 and found() == before
    update(client, later, was_cancelled=True)
    assert pulled(folder, client).skipped == 1
    with Project.open(folder) as project:
        assert len(snapshot(project).people) == PICTURES * EACH and new not in project.decisions().person_id


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


def test_tasks_that_are_not_ours_are_reported_and_passed_over(folder: Path, client: Client, label_home: Path) -> None:
    pushed = push(folder, client, label_home)
    client.request("POST", f"api/projects/{pushed.project}/import", [{"data": {"image": "x.jpg", "note": ""}}])
    stranger = max(task["id"] for task in client.tasks_of(pushed.project))
    number = submit(client, stranger, [])
    came = pulled(folder, client)
    what = f"task {stranger}, annotation {number}: expected a task that was pushed from here, got another; passed over"
    assert came.problems == [what] and not came.answers


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
