"""A local Label Studio server: started on loopback with a data folder of its own, found again, stopped if it is ours.

A *home* is such a folder: `data` (Label Studio's own: database, keys, media), `files` (links to the folders of pictures
that it may show), `server.json` (which process we started; no secrets), `server.log`. The token is kept by Label Studio
alone, in its database, and read there when it is needed. Of a team's server nothing is kept: ANNOTATOR_LABEL_URL and
ANNOTATOR_LABEL_TOKEN name it and open it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from annotator.errors import InputError, MissingError, StorageError, expected
from annotator.files import sha256, write_json
from annotator.labelstudio import environment, processes
from annotator.labelstudio.client import Client
from annotator.labelstudio.environment import Progress, locked, quiet
from annotator.labelstudio.retrying import TAKE_TOKEN

EMAIL = "reviewer@localhost"
PORT = 8080
# Half a minute where nothing else runs; a busy machine takes its time.
PATIENCE_S = 300
STOPPING_S = 15
# A port that was asked for may be let go of a moment later: tries, a fifth of a second apart.
PORT_TRIES = 25
REVIEWER = "SELECT email FROM htx_user WHERE email = ?"
TOKEN = "SELECT key FROM authtoken_token JOIN htx_user ON htx_user.id = user_id WHERE email = ?"


class _TakenError(MissingError):
    """Somebody else took the port between our look at it and the server's start, seconds later."""


@dataclass(frozen=True)
class Server:
    """A server that we started and that runs.

    Attributes:
        url: where it answers.
        pid, started: its process, and when that began (see `processes.started`).
        version: Label Studio's.
    """

    url: str
    pid: int
    started: str
    version: str


@dataclass(frozen=True)
class Pictures:
    """How a server is to be told of a folder of pictures.

    Attributes:
        storage: path of the local-files storage that the project needs; empty where pictures have addresses.
        prefix: what comes before a picture's quoted file name in a task.
    """

    storage: str
    prefix: str

    def address(self, file_name: str) -> str:
        """What a task says where this picture is.

        >>> Pictures("", "https://pictures.example/set/").address("a b/1.jpg")
        'https://pictures.example/set/a%20b/1.jpg'
        """
        return self.prefix + quote(file_name)


def home_folder(home: Path | None = None) -> Path:
    """The home that was asked for, or the user's."""
    return Path(os.path.abspath(home)) if home else environment.user_folder()  # noqa: PTH100 (no links followed)


def find(home: Path) -> Server | None:
    """The server that we started in this home, if its process still runs."""
    try:
        server = Server(**json.loads((home / "server.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # none, or cut short by a full disk
        return None
    return server if processes.started(server.pid) == server.started else None


def up(home: Path, port: int | None = None, progress: Progress = quiet) -> tuple[Server, str]:
    """Find the home's server or start it, and wait until it answers. The environment must be installed.

    Args:
        home: its folder; made where it is not there.
        port: on loopback; without one, 8080, or any where that is taken.
        progress: told how many seconds it has been waited, of how many at most.

    Returns:
        The server, and the password of its reviewer where this call made it, else an empty string.

    Raises:
        MissingError: it does not come up; the log is named.
        InputError: the port is taken.
        StorageError: the home cannot be written.
    """
    with locked(home / "lock"):
        if server := find(home):
            _wait(server, home, progress)
            return server, ""
        told = {} if _has_reviewer(home) else {"email": EMAIL, "password": _password()}
        return _start(home, port, told, progress), told.get("password", "")


def down(home: Path) -> Server | None:
    """Stop the server that we started in this home, and no other; None where there is none."""
    with locked(home / "lock"):
        server = find(home)
        if server:
            processes.stop(server.pid, STOPPING_S)
        (home / "server.json").unlink(missing_ok=True)
        return server


def new_password(home: Path) -> str:
    """Give the reviewer another password, and return it."""
    password = _password()
    told = json.dumps({"email": EMAIL, "password": password})
    environment.run_launcher("password", home / "data", home / "server.log", told)
    return password


def token(home: Path) -> str:
    """The reviewer's token, from Label Studio's database.

    Raises:
        MissingError: no server has been started in this home.
    """
    if not (rows := _ask(home, TOKEN)):
        raise MissingError(expected("a server's data (annotator label up)", "none", str(home)))
    return rows[0]


def connect(url: str | None = None, home: Path | None = None) -> Client:
    """Reach the server to work with: that of `url` or ANNOTATOR_LABEL_URL, else the one that `label up` started.

    Raises:
        MissingError: no server, or no token (ANNOTATOR_LABEL_TOKEN) for the one that was named.
    """
    if address := url or os.environ.get("ANNOTATOR_LABEL_URL"):
        if not (given := os.environ.get("ANNOTATOR_LABEL_TOKEN")):
            raise MissingError(f"{expected('ANNOTATOR_LABEL_TOKEN', 'nothing', address)}: {TAKE_TOKEN}")
        return Client(address, given)
    folder = home_folder(home)
    if not (server := find(folder)):
        raise MissingError(f"{expected('a Label Studio server', 'none', str(folder))}: annotator label up")
    return Client(server.url, token(folder))


def pictures(home: Path, images: Path) -> Pictures:
    """Let the home's server show one folder of pictures, and nothing beside it.

    Label Studio serves files below its document root that lie in some project's storage. One server has one document
    root, and projects have many folders: so the root is `files`, which holds nothing but a link to each folder that was
    pushed, and the storage is that link. Nobody can make a storage of any other folder of this machine.

    Raises:
        InputError: `images` is no folder.
    """
    target = Path(os.path.abspath(images))  # noqa: PTH100 (a moved link must not change the name)
    if not target.is_dir():
        raise InputError(expected("a folder of pictures", "none", str(images)))
    name = re.sub(r"[^\w.-]", "_", target.name)[:40] + "-" + sha256(os.fsencode(target))[:10]
    link = home / "files" / name
    try:
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        link.symlink_to(target, target_is_directory=True)
    except FileExistsError:
        pass  # its name says where it leads
    except OSError as error:
        raise StorageError(expected("a folder to write", error.strerror or error, str(link.parent))) from error
    return Pictures(str(link), f"/data/local-files/?d={quote(name)}/")


def _start(home: Path, port: int | None, told: dict[str, str], progress: Progress, starts: int = 3) -> Server:
    """Start a server and wait for it; on another port where the first was taken meanwhile. Stop one that fails."""
    server = _begin(home, _free(port), told)
    try:
        _wait(server, home, progress)
    except BaseException as error:
        processes.stop(server.pid, STOPPING_S)
        if isinstance(error, _TakenError) and not port and starts > 1:
            return _start(home, port, told, progress, starts - 1)
        raise
    return server


def _begin(home: Path, port: int, told: dict[str, str]) -> Server:
    data, files = home / "data", home / "files"
    try:
        for folder in (data, files):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = data / environment.DATABASE
        if not database.exists():
            shutil.copyfile(environment.empty_database(), database)
            database.chmod(0o600)
        log = os.open(home / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise StorageError(expected("a folder to write", error.strerror or error, str(home))) from error
    command = [str(environment.python()), str(environment.LAUNCH), "serve", str(port)]
    try:
        pid = processes.spawn(command, environment.server_variables(data, files), log, json.dumps(told))
    finally:
        os.close(log)
    server = Server(f"http://127.0.0.1:{port}", pid, processes.started(pid) or "", environment.version())
    write_json(home / "server.json", asdict(server))
    return server


def _wait(server: Server, home: Path, progress: Progress) -> None:
    """Wait until the server answers, and is the one with this home's token."""
    begin = time.monotonic()
    log = home / "server.log"
    while (waited := time.monotonic() - begin) < PATIENCE_S:
        progress(int(waited), PATIENCE_S)
        if processes.started(server.pid) != server.started:
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise MissingError(
                expected("a server that starts", said[-1] if said else "an end without a word", str(log))
            )
        if (status := _answers(server.url, home)) == 200:
            progress(PATIENCE_S, PATIENCE_S)
            return
        if 400 <= status < 500:
            raise _TakenError(expected("this home's server", "another one, which took the port meanwhile", server.url))
        time.sleep(0.2)
    raise MissingError(expected(f"a server that answers within {PATIENCE_S} s", "silence", str(log)))


def _answers(url: str, home: Path) -> int:
    """Status of the server's answer to who has this home's token; 0 where there is none."""
    if not (keys := _ask(home, TOKEN)):
        return 0
    request = urllib.request.Request(f"{url}/api/current-user/whoami", headers={"Authorization": f"Token {keys[0]}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def _has_reviewer(home: Path) -> bool:
    return bool(_ask(home, REVIEWER))


def _ask(home: Path, question: str) -> list[str]:
    """First column of what Label Studio's database knows about the reviewer; nothing where it is not there yet."""
    path = home / "data" / environment.DATABASE
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            return [str(row[0]) for row in db.execute(question, (EMAIL,))]
    except sqlite3.OperationalError:  # being made
        return []
    except sqlite3.DatabaseError as error:
        raise StorageError(expected("Label Studio's database", error, str(path))) from error


def _password() -> str:
    return os.environ.get("ANNOTATOR_LABEL_PASSWORD") or secrets.token_urlsafe(12)


def _free(port: int | None) -> int:
    """The port asked for, or 8080 where it is free, or any that is.

    One that was asked for is waited for: a server that has just been stopped lets go of it a moment later.
    """
    for candidate in [port] * PORT_TRIES if port else [PORT, 0]:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", candidate))
            except OSError:
                time.sleep(0.2 if port else 0.0)
                continue
            return int(trial.getsockname()[1])
    raise InputError(expected("a free port", f"{port}, which is taken", "127.0.0.1"))
