"""A round's project on a real server is found again, and what was changed there by hand is an error."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from annotator.cli import main
from annotator.errors import InputError
from annotator.labelstudio import config, server
from annotator.labelstudio.client import Client
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects
from tests.labelstudio.working import (
    PICTURES,
    decisions,
    everything,
    four_pictures,
    proposed,
    pulled,
    push,
    result_of,
    submit,
    tasks_in,
)

EDITED = "it as it was made, got another: keypoint: 'nose' is not there (new there: 'Nase'); nothing was changed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return four_pictures(tmp_path)


def test_a_configuration_edited_by_hand_is_an_error_that_names_the_difference(
    folder: Path, client: Client, label_home: Path
) -> None:
    pushed = push(folder, client, label_home)
    edited = config.make(UNION_21).replace('"nose"', '"Nase"')
    client.request("PATCH", f"api/projects/{pushed.project}/", {"label_config": edited})
    before = tasks_in(client, pushed.project)
    with pytest.raises(InputError, match=re.escape(EDITED)):
        push(folder, client, label_home)
    assert client.config_of(pushed.project) == edited and tasks_in(client, pushed.project) == before


def test_a_round_that_was_edited_by_hand_is_named_and_all_others_are_pulled(
    folder: Path, client: Client, label_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = push(folder, client, label_home)
    with Project.open(folder) as project:
        projects.write_round(folder, snapshot(project).people, 2)
    newer = push(folder, client, label_home)

    def label(config: str) -> None:
        client.request("PATCH", f"api/projects/{newer.project}/", {"label_config": config})

    def state() -> Any:
        views = client.request("GET", "api/dm/views/", params={"project": newer.project})
        return views, client.request("GET", f"api/projects/{newer.project}/"), tasks_in(client, newer.project)

    label(config.make(UNION_21).replace('"nose"', '"Nase"'))
    for pushed in (older, newer):
        task = tasks_in(client, pushed.project)[0]
        submit(client, task["id"], result_of(task))
    before = state()
    assert main(["label", "pull", str(folder), "--home", str(label_home), "--json"]) == InputError.exit_code
    out, err = capsys.readouterr()
    assert json.loads(out)["answers"] == 1
    assert err.count("\n") == 1 and f"project {newer.project} ({newer.title}): expected {EDITED}" in err
    assert state() == before
    label(config.make(UNION_21))
    assert pulled(folder, client).answers == 1


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
