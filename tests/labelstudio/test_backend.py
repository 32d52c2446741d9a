"""Live help: Label Studio's protocol by plain HTTP, then a real server that asks, and the command."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from annotator.cli import main
from annotator.labelstudio import backend, loopback, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.live import Live
from annotator.labelstudio.tasks import Shown, region_id
from annotator.people import ORIGINS
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects, scenes
from tests.labelstudio.clicking import (
    CONFIG,
    WHO,
    accepted,
    as_task,
    ask,
    click,
    made,
    places,
    told,
)
from tests.labelstudio.made import submitted
from tests.labelstudio.working import push, submit, tasks_in

# As a shell without job control starts what ends in &: SIGINT is ignored there.
IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
PATIENCE_S = 120.0  # of a busy machine


def test_the_protocol_is_answered(url: str, live: Live) -> None:
    version = "prompted round 001"
    assert live.version == version
    assert ask(url, "GET", "/health") == (200, "OK", {"status": "UP", "model_class": "prompted"})
    assert ask(url, "GET", "/versions?project=1.2")[2] == {"versions": [version]}
    body = json.dumps({"project": "1.2", "schema": CONFIG, "access_token": "secret"}).encode()
    assert ask(url, "POST", "/setup/", body)[2] == {"model_version": version}
    for path in ("/webhook", "/train"):
        assert ask(url, "POST", path, b'{"action": "START_TRAINING"}') == (200, "OK", {})


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


REGIONS = {"params": {"context": {"result": [{"type": "keypointlabels"}]}}}


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "message"),
    [
        ("GET", "/nowhere", None, 404,
         "path: expected one of /, /health, /predict, /setup, /train, /versions, /webhook, got /nowhere"),
        ("GET", "/predict", None, 405, "/predict: expected POST, got GET"),
        ("PUT", "/predict", b"{}", 501, "Unsupported method ('PUT')"),
        ("POST", "/predict", b"{", 400, "/predict: expected JSON, got Expecting property name"),
        ("POST", "/predict", b"\xff\xfe", 400, "/predict: expected JSON, got"),
        ("POST", "/predict", b"[" * 100_000, 400, "/predict: expected JSON, got maximum recursion depth"),
        ("POST", "/predict", b"[]", 400, "/predict: expected a JSON object, got list"),
        ("POST", "/predict", b"", 400, "tasks: expected a list, got nothing"),
        ("POST", "/predict", body(tasks=[7]), 400, "tasks[0]: expected a task with data, got a number"),
        ("POST", "/predict", body(tasks=[{"data": "x"}]), 400, "tasks[0]: expected a task with data, got an object"),
        ("POST", "/predict", body(tasks=[], params=3), 400, "params: expected an object, got a number"),
        ("POST", "/predict", body(tasks=[], params={"context": {"result": {}}}), 400,
         "params.context.result: expected a list of regions, got an object"),
        ("POST", "/predict", body(tasks=[], **REGIONS), 400,
         "params.context.result[0]: expected a region with an id, got nothing"),
        ("POST", "/predict", body(tasks=[{"data": {}, "drafts": [{"result": [{"id": "a", "value": 1}]}]}]), 400,
         "tasks[0].drafts.result[0].value: expected an object, got a number"),
        ("POST", "/predict", body(tasks=[{"data": {}, "drafts": [{"result": [], "updated_at": "soon"}]}]), 400,
         "tasks[0].drafts.updated_at: expected a time, got soon"),
        ("POST", "/predict", body(tasks=[{"data": {}}]), 400,
         "expected a task that was pushed from this project, got one without a key"),
        ("POST", "/predict", body(tasks=[{"data": {"key": "\u2603"}}]), 400, "got the key '\u2603'"),
        ("POST", "/predict", body(tasks=[], label_config="<View/>"), 400,
         "label_config: expected it as `label push` made"),
        ("POST", "/setup", body(schema=7), 400, "schema: expected a labelling configuration, got a number"),
    ],
    ids=["path", "method", "other-method", "json", "bytes", "deep", "list", "empty", "task", "data", "params",
         "context", "region", "draft", "time", "no-key", "key", "config", "schema"],
)  # fmt: skip
def test_what_cannot_be_used_is_answered_in_one_line(
    url: str, capfd: pytest.CaptureFixture[str], method: str, path: str, sent: bytes | None, status: int, message: str
) -> None:
    found, reason, answer = ask(url, method, path, sent)
    assert found == status and message in answer["error"] and "\n" not in answer["error"]
    # Label Studio passes the reason phrase on, which has no letters beyond Latin-1.
    assert reason == answer["error"][:400].encode("latin-1", "replace").decode("latin-1").rstrip()
    assert capfd.readouterr() == ("", "")
    assert ask(url, "GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Length": "many"}, 411), ({"Content-Length": str(loopback.LARGEST + 1)}, 413)],
    ids=["no-length", "too-long"],
)
def test_a_body_of_no_use_is_not_read(url: str, headers: dict[str, str], status: int) -> None:
    assert ask(url, "POST", "/predict", None, **headers)[0] == status


def test_a_port_that_is_taken_is_refused(url: str, live: Live) -> None:
    port = urlsplit(url).port or 0
    with pytest.raises(ValueError, match=rf"127.0.0.1: expected a free port, got {port}"), backend.serving(live, port):
        raise AssertionError


def test_what_cannot_be_kept_is_not_shown(
    url: str, folder: Path, picture: Shown, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(folder / "store.sqlite")) as db:
        db.execute("DROP TABLE reproposed")
    asked = {"tasks": [as_task(picture)], "params": {"context": {"result": click(picture, "pelvis", (60, 50))}}}
    status, _, answer = ask(url, "POST", "/predict", json.dumps(asked).encode())
    assert status in (500, 503) and set(answer) == {"error"} and "reproposed" in answer["error"]
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said


def test_a_server_asks_the_backend_and_what_nobody_touched_is_accepted(
    tmp_path: Path, prompted: Path, client: Client, label_home: Path
) -> None:
    folder = made(tmp_path, prompted)
    pushed = push(folder, client, label_home)
    live = Live.open(folder, str(prompted))
    with Project.open(folder) as project:
        for _ in range(2):  # at another address the second time
            with backend.serving(live, 0) as url:
                assert backend.connect(project, client, url) == [pushed.title]
                (entry,) = client.request("GET", "api/ml/", params={"project": pushed.project})
                assert (entry["url"], entry["state"], entry["is_interactive"]) == (url, "CO", True)
                (there,) = tasks_in(client, pushed.project)
                picture = Shown.from_json(tasks.shown_of(project, there["data"]["key"]) or "")
                parent = region_id(1, picture.people[WHO].person_id)
                clicked = click(picture, "head_top", (70, 20), parentID=parent)
                asked = {"task": there["id"], "context": {"result": clicked}}
                answer = client.request("POST", f"api/ml/{entry['id']}/interactive-annotating", asked)
                bad = client.request(
                    "POST",
                    f"api/ml/{entry['id']}/interactive-annotating",
                    {"task": there["id"], "context": {"result": 3}},
                )
        assert "params.context.result: expected a list of regions, got a number" in bad["errors"][0]
        found = places(picture, answer["data"]["result"])
        person = picture.people[WHO].person_id
        wanted = told(live, person, head_top=(70, 20))
        assert {name for _, name in found} >= {"head_top", "upper_neck"}
        for (_, name), xy in found.items():
            assert xy == pytest.approx((70, 20) if name == "head_top" else wanted[name], abs=1e-9)
        submit(client, there["id"], accepted(submitted(picture), answer["data"]["result"]))
        pulled = sync.pull(project, client)
        assert pulled.problems == [] and pulled.decisions["corrected"] == 1
        made_of = project.decisions()
        mine = {made_of.keypoint[i]: i for i in range(len(made_of)) if made_of.person_id[i] == person}
        assert ORIGINS[made_of.origin[mine["head_top"]]] == "corrected"
        for name in {name for _, name in found} - {"head_top"}:
            assert ORIGINS[made_of.origin[mine[name]]] == "accepted"
            assert made_of.after_xy[mine[name]] == pytest.approx(wanted[name], abs=1e-9)


def test_the_command_answers_until_it_is_interrupted(
    tmp_path: Path, prompted: Path, client: Client, label_home: Path
) -> None:
    folder = made(tmp_path, prompted)
    title = push(folder, client, label_home).title
    options = ["--student", str(prompted), "--port", "0", "--home", str(label_home)]
    command = [*IN_THE_BACKGROUND, sys.executable, "-m", "annotator", "label", "backend", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        late = threading.Timer(PATIENCE_S, running.kill)
        late.start()
        try:
            said = running.stdout.readline() if running.stdout else ""
            found = re.fullmatch(r"prompted answers at (http://127.0.0.1:\d+), asked by: (.*)\n", said)
            assert found and found[2] == title
            assert ask(found[1], "GET", "/health")[0] == 200
            running.send_signal(signal.SIGINT)
            assert running.wait() == 130 and running.stderr and "Traceback" not in running.stderr.read()
        finally:
            late.cancel()
            running.kill()


@pytest.mark.parametrize(
    ("proposed", "options", "code", "message"),
    [
        (False, [], 1, "expected a round with proposals (annotator propose PROJECT), got none"),
        (True, ["--student", "nobody"], 1, "--student: expected one of"),
        (True, ["--home", "nowhere"], 3, "expected a Label Studio server, got none"),
    ],
    ids=["no-round", "no-student", "no-server"],
)
def test_a_command_that_cannot_start_says_why(
    tmp_path: Path, tiny_student: Path, capsys: pytest.CaptureFixture[str], proposed: bool, options: list[str],
    code: int, message: str,
) -> None:  # fmt: skip
    projects.project(tmp_path / "p", scenes.coco(tmp_path, 1), proposed=proposed)
    options = [str(tmp_path / option) if option == "nowhere" else option for option in options]
    given = [] if "--student" in options else ["--student", str(tiny_student)]
    assert main(["label", "backend", str(tmp_path / "p"), "--port", "0", *given, *options]) == code
    assert message in capsys.readouterr().err
