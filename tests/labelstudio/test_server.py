"""A local server: started, found, stopped by whom it belongs to; its secrets stay where Label Studio keeps them."""

from __future__ import annotations

import http.cookiejar
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from annotator.cli import main
from annotator.errors import InputError, MissingError, StorageError
from annotator.labelstudio import environment, processes, server
from annotator.labelstudio.client import Client
from annotator.labelstudio.retrying import Pauses
from tests.labelstudio.conftest import PASSWORD, free_port
from tests.labelstudio.faults import Fault, Proxy

PROC = Path("/proc")


@pytest.fixture
def sleeper():
    """A process that is nobody's server."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def _log_in(url: str, password: str) -> bool:
    """Whether Label Studio's page lets the reviewer in, as a browser would ask it to."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with browser.open(f"{url}/user/login/") as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    form = {"email": server.EMAIL, "password": password, "csrfmiddlewaretoken": token[1]}
    with browser.open(f"{url}/user/login/", urllib.parse.urlencode(form).encode()) as page:
        return "/user/login" not in page.url


def test_up_finds_the_server_that_runs_and_makes_no_password(label_home):
    running = server.find(label_home)
    told = []
    assert server.up(label_home, progress=lambda done, total: told.append((done, total))) == (running, "")
    assert told[-1] == (server.PATIENCE_S, server.PATIENCE_S)
    assert running.url.startswith("http://127.0.0.1:")


def test_the_command_finds_it_says_so_and_lists_its_projects(label_home, client, capsys):
    project = client.find_or_make_project("listed by status", "<View></View>")
    home = ["--home", str(label_home)]
    assert main(["label", "up", *home]) == 0
    assert capsys.readouterr().out == f"Label Studio {environment.version()} answers at {client.url}\n"
    assert main(["label", "status", *home, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = {"id": project.id, "title": "listed by status", "task_number": 0, "num_tasks_with_annotations": 0}
    assert (found["url"], found["user"]) == (client.url, server.EMAIL)
    assert row in found["projects"]
    assert main(["label", "status", *home]) == 0
    assert re.search(rf"^{project.id} +listed by status +0 +0 *$", capsys.readouterr().out, re.MULTILINE)


def test_a_teams_server_is_reached_by_address_and_token_from_the_environment(label_home, client, monkeypatch, capsys):
    monkeypatch.setenv("ANNOTATOR_LABEL_TOKEN", server.token(label_home))
    assert main(["label", "up", "--url", client.url]) == 0
    assert capsys.readouterr().out == f"{client.url} lets {server.EMAIL} in\n"
    monkeypatch.setenv("ANNOTATOR_LABEL_URL", client.url)
    assert main(["label", "status", "--home", "/nowhere"]) == 0


def test_a_server_stops_starts_again_with_its_data_and_takes_a_new_password(tmp_path, capsys):
    home = tmp_path / "home"
    up = ["label", "up", "--home", str(home)]

    def password() -> str:
        shown = re.search(rf"^log in as {server.EMAIL}, password (\S+) \(shown only now", capsys.readouterr().out, re.M)
        return shown[1] if shown else ""

    try:
        assert main([*up, "--port", str(free_port())]) == 0
        first, made, token = server.find(home), password(), server.token(home)
        assert _log_in(first.url, made)
        with server.connect(home=home) as client:
            client.find_or_make_project("kept over a restart", "<View></View>")
        assert main(["label", "down", "--home", str(home)]) == 0
        assert capsys.readouterr().out == f"stopped {first.url}\n"
        assert server.down(home) is None and processes.started(first.pid) is None
        with pytest.raises(MissingError, match=r"expected a Label Studio server, got none: annotator label up"):
            server.connect(home=home)

        assert main([*up, "--port", first.url.rpartition(":")[2], "--new-password"]) == 0
        second, another = server.find(home), password()
        assert (second.url, second.pid != first.pid, server.token(home)) == (first.url, True, token)
        assert [_log_in(second.url, one) for one in (made, another)] == [False, True]
        with server.connect(home=home) as client:
            assert client.find_project("kept over a restart")
    finally:
        server.down(home)


def test_a_port_that_was_asked_for_is_waited_for():
    with socket.socket() as before:
        before.bind(("127.0.0.1", 0))
        before.listen()
        port = before.getsockname()[1]
        threading.Timer(0.5, before.close).start()
        assert server._free(port) == port


def test_down_leaves_alone_what_it_did_not_start(tmp_path, sleeper, label_home, capsys):
    # Its number is in the file; but the process that we started there began at another time.
    mine = {"url": "http://127.0.0.1:1", "pid": sleeper.pid, "started": "an earlier boot:1", "version": "1"}
    (tmp_path / "server.json").write_text(json.dumps(mine))
    assert server.find(tmp_path) is None
    assert main(["label", "down", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("nothing to stop")
    assert sleeper.poll() is None and server.find(label_home)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}'])
def test_a_note_cut_short_is_no_server(tmp_path, content):
    (tmp_path / "server.json").write_text(content)
    assert server.find(tmp_path) is None
    assert server.down(tmp_path) is None


@pytest.mark.parametrize("child", ["echo; exec sleep 600", "trap '' TERM; echo; sleep 600"], ids=["obeys", "ignores"])
def test_a_process_is_told_by_its_start_and_stopped_with_its_children(tmp_path, child):
    out = tmp_path / "out"
    begin = "import subprocess, sys, time; "
    begin += f"child = subprocess.Popen(['sh', '-c', {child!r}], stdout=subprocess.PIPE); child.stdout.readline()"
    command = [sys.executable, "-c", f"{begin}; print(child.pid, sys.stdin.read(), flush=True); time.sleep(600)"]
    with out.open("w") as log:
        pid = processes.spawn(command, {"ONLY": "this"}, log.fileno(), "told on stdin")
    begun = processes.started(pid)
    assert begun and processes.started(pid) == begun
    while not out.read_text().endswith("\n"):
        assert processes.started(pid) == begun
    child, _, told = out.read_text().strip().partition(" ")
    assert told == "told on stdin"
    assert (PROC / str(pid) / "environ").read_bytes() == b"ONLY=this\0"
    processes.stop(pid, 2)
    assert processes.started(pid) is None
    assert processes.started(int(child)) is None


def test_a_server_that_does_not_start_says_what_it_said_and_is_not_left_running(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "media").write_text("in the way of a folder")
    with pytest.raises(MissingError, match=rf"{tmp_path}/server.log: expected a server that starts, got .*media"):
        server.up(tmp_path)
    assert server.find(tmp_path) is None


def test_a_database_that_is_none_is_not_written_over(tmp_path):
    path = tmp_path / "data" / environment.DATABASE
    path.parent.mkdir()
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(StorageError, match=r"expected Label Studio's database, got file is not a database"):
        server.up(tmp_path)
    assert path.read_bytes() == b"this is no database " * 100


def test_a_port_that_is_taken_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"expected a free port, got {port}, which is taken"):
            server.up(tmp_path, port)


def test_where_the_usual_port_is_taken_another_is_found():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "PORT", taken.getsockname()[1])
        assert server._free(None) not in (0, server.PORT)
    assert server._free(None) > 0


def test_a_server_that_lost_its_port_to_another_is_stopped(tmp_path, label_home, monkeypatch):
    # What answers on the port is a server, but not the one of this home.
    busy = server.find(label_home)
    monkeypatch.setattr(server, "_free", lambda port: int(busy.url.rpartition(":")[2]))
    with pytest.raises(MissingError, match="expected this home's server, got another one"):
        server.up(tmp_path, 1)
    assert server.find(tmp_path) is None and server.find(label_home) == busy


def test_a_home_that_cannot_be_written_says_so(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["label", "down", "--home", str(tmp_path / "file" / "home")]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_server_there_is_no_token(tmp_path):
    with pytest.raises(MissingError, match=r"expected a server's data \(annotator label up\), got none"):
        server.token(tmp_path)


def test_a_named_server_without_a_token_says_where_to_get_one(monkeypatch, capsys):
    monkeypatch.setenv("ANNOTATOR_LABEL_URL", "https://label.example")
    assert main(["label", "status"]) == 3
    says = "annotator: https://label.example: expected ANNOTATOR_LABEL_TOKEN, got nothing: take a token from"
    assert capsys.readouterr().err.startswith(says)


def _everything_under(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def test_no_secret_is_in_a_file_that_we_write_or_in_the_log(label_home, client, personal_token, tmp_path):
    assert client.whoami() and server.pictures(label_home, tmp_path)
    files = _everything_under(label_home)
    assert {"server.json", "server.log", "label_studio.sqlite3"} <= {path.name for path in files}
    keys = {"token": server.token(label_home), "personal": personal_token, "password": PASSWORD}
    found = {(name, path.name) for name, key in keys.items() for path, held in files.items() if key.encode() in held}
    assert found == {("token", "label_studio.sqlite3")}  # Label Studio's own
    modes = {path.name: path.stat().st_mode & 0o077 for path in (label_home / "data", *files) if path.exists()}
    assert (modes["data"], modes["server.log"], modes["label_studio.sqlite3"]) == (0, 0, 0)


def test_no_secret_is_in_a_process_list_or_in_the_servers_environment(label_home, personal_token):
    keys = [key.encode() for key in (server.token(label_home), personal_token, PASSWORD)]
    running = server.find(label_home)
    listed = (PROC / str(running.pid) / "cmdline").read_bytes()
    assert b"launch.py\0serve" in listed
    variables = (PROC / str(running.pid) / "environ").read_bytes()
    assert b"LABEL_STUDIO_BASE_DATA_DIR" in variables
    everybody = b"".join(path.read_bytes() for path in PROC.glob("[0-9]*/cmdline") if os.access(path, os.R_OK))
    assert [key for key in keys if key in variables + everybody] == []


@pytest.mark.parametrize("kind", ["legacy", "personal"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=401, times=99), Fault(status=404, times=99), Fault(times=99), Fault(status=299, times=99, body=b"<")],
    ids=["401", "404", "reset", "another server"],
)
def test_no_secret_is_in_a_traceback_or_a_message(label_home, personal_token, monkeypatch, capsys, caplog, kind, fault):
    caplog.set_level(logging.DEBUG)
    key = personal_token if kind == "personal" else server.token(label_home)
    monkeypatch.setenv("ANNOTATOR_LABEL_TOKEN", key)
    monkeypatch.setattr(Pauses, "seconds", lambda self: iter(()))  # no patience: each error is the last
    with Proxy(server.find(label_home).url, [Fault(**vars(fault))]) as proxy:
        assert main(["label", "status", "--url", proxy.url, "--debug"]) in (1, 3, 4)
    said = capsys.readouterr()
    shown = said.out + said.err + caplog.text
    assert "Traceback" in said.err
    assert [word for word in (key, key[:20], "sessionid", "Authorization") if word in shown] == []
    assert said.err.count("Traceback") == 1  # nothing chained


def test_every_options_default_address_is_the_environments(monkeypatch, label_home):
    monkeypatch.setenv("ANNOTATOR_LABEL_HOME", str(label_home))
    assert server.home_folder() == label_home
    with server.connect() as client:
        assert isinstance(client, Client)
