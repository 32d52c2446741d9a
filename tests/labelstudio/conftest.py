"""One real Label Studio server for all tests of a session, with a home of its own, and live help without a server.

The server is started once, on loopback.
Its environment is installed where `annotator label up` installs it (ANNOTATOR_LABEL_HOME, else the user's folder), so
only the first session waits for that. A start takes five seconds, since an empty database lies ready there.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.labelstudio import backend, environment, server
from annotator.labelstudio.client import Client
from annotator.labelstudio.live import Live
from annotator.labelstudio.retrying import Pauses
from annotator.labelstudio.tasks import Shown
from tests import networks
from tests.labelstudio.clicking import made, shown_in

pytest.importorskip("label_studio_sdk", reason="needs the label extra")
PASSWORD = "a password for tests"


def free_port() -> int:
    """A port that is free now, and that no other session of these tests is about to take."""
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return int(trial.getsockname()[1])


@pytest.fixture(autouse=True)
def _nobodys_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a server that somebody works with."""
    for name in ("URL", "TOKEN", "PASSWORD"):
        monkeypatch.delenv(f"ANNOTATOR_LABEL_{name}", raising=False)


@pytest.fixture(scope="session")
def label_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of the server that runs while the tests do: `server.find(home)` is it, `server.token(home)` opens it.

    Its reviewer is server.EMAIL with PASSWORD.
    """
    home = tmp_path_factory.mktemp("label") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANNOTATOR_LABEL_PASSWORD", PASSWORD)
        environment.install()
        server.up(home, free_port())
    try:
        yield home
    finally:
        server.down(home)


@pytest.fixture
def client(label_home: Path) -> Iterator[Client]:
    """A client of that server that waits for nothing: a failed call is repeated at once."""
    running = server.find(label_home)
    assert running
    with Client(running.url, server.token(label_home), Pauses(sleep=lambda _: None)) as opened:
        yield opened


@pytest.fixture(scope="session")
def personal_token(label_home: Path) -> str:
    """A personal access token of the reviewer, who may have one at a time."""
    with server.connect(home=label_home) as opened:
        return str(opened.request("POST", "api/token/", {})["token"])


@pytest.fixture(scope="session")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Card of a student that takes known points."""
    return networks.prompted_student(tmp_path_factory.mktemp("prompted"))


@pytest.fixture
def folder(tmp_path: Path, prompted: Path) -> Path:
    """A project of one picture with four people, and that student's proposals."""
    return made(tmp_path, prompted)


@pytest.fixture
def picture(folder: Path) -> Shown:
    """That picture as pushed."""
    return shown_in(folder)


@pytest.fixture
def live(folder: Path, prompted: Path, picture: Shown) -> Live:
    """Live help for it."""
    return Live.open(folder, str(prompted))


@pytest.fixture
def url(live: Live) -> Iterator[str]:
    """Where that answers."""
    with backend.serving(live, 0) as address:
        yield address
