"""The server's own environment: Label Studio and what trains a student cannot live in one (setuptools, for one).

It is installed on first use from the hashed `server.txt` beside this file, with uv where that is found, else with pip,
into the user's folder (ANNOTATOR_LABEL_HOME, else `~/.local/share/annotator/label-studio`). An empty database is made
with it, so that a server's first start need not wait for 300 migrations (half a minute or more).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from annotator.errors import MissingError, StorageError, expected
from annotator.files import file_sha256, share

REQUIREMENTS = Path(__file__).with_name("server.txt")
LAUNCH = Path(__file__).with_name("launch.py")
COMPLETE = "complete"
DATABASE = "label_studio.sqlite3"
# What the server's process is told of this one's environment; Label Studio reads names as common as HOST and PASSWORD.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
SECRETS = ("ANNOTATOR_LABEL_TOKEN", "ANNOTATOR_LABEL_PASSWORD")
Progress = Callable[[int, int], None]


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


def user_folder() -> Path:
    """Where the environment is, and the data where no `--home` says otherwise."""
    default = Path.home() / ".local" / "share" / "annotator" / "label-studio"
    return Path(os.environ.get("ANNOTATOR_LABEL_HOME") or default)


def version() -> str:
    """The server's version."""
    found = re.search(r"^label-studio==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    return found[1] if found else ""


def folder() -> Path:
    """The environment's folder; its name follows the requirements, so that an update makes a new one."""
    return user_folder() / f"environment-{file_sha256(REQUIREMENTS)[:12]}"


def installed() -> bool:
    """Whether the environment is there, whole."""
    return (folder() / COMPLETE).is_file()


def python() -> Path:
    """The environment's interpreter."""
    return folder() / "bin" / "python"


def empty_database() -> Path:
    """A database without users and projects, up to date."""
    return folder() / "empty" / DATABASE


def install(progress: Progress = quiet) -> None:
    """Make the environment, or do nothing where it is there.

    Args:
        progress: told how many of the packages are in place, and how many there are.

    Raises:
        MissingError: no package index answers, or a package cannot be built; the log is named.
        StorageError: the folder cannot be written.
    """
    if installed():
        return
    with locked(user_folder() / "install.lock"):
        if installed():  # by whom we waited for
            return
        place = folder()
        shutil.rmtree(place, ignore_errors=True)
        log = user_folder() / "install.log"
        log.write_text("")
        total = len(re.findall(r"^\S+==", REQUIREMENTS.read_text(), re.MULTILINE))
        with _watched(place, log, total, progress):
            for command in _commands(place):
                _run(command, log, {key: value for key, value in os.environ.items() if key not in SECRETS})
            run_launcher("migrate", empty_database().parent, log)
        (place / COMPLETE).write_text(f"label-studio {version()}\n")


def server_variables(data: Path, files: Path | None = None) -> dict[str, str]:
    """Environment of a process that runs Label Studio on a data folder. It asks nobody on the network anything.

    Args:
        data: its database, media and keys.
        files: its document root: what local-files storages may lie in.
    """
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    settings = {
        "BASE_DATA_DIR": str(data),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LOG_LEVEL": "WARNING",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "ENABLE_LEGACY_API_TOKEN": "true",
        "LOCAL_FILES_SERVING_ENABLED": "true" if files else "false",
        "LOCAL_FILES_DOCUMENT_ROOT": str(files or data / "none"),
        "DJANGO_DB": "sqlite",
        "ML_BLOCK_LOCAL_IP": "false",  # `annotator label backend` is on this machine, too
    }
    own = {"XDG_CONFIG_HOME": str(data / "config"), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return kept | own | {f"LABEL_STUDIO_{name}": value for name, value in settings.items()}


def run_launcher(task: str, data: Path, log: Path, told: str = "") -> None:
    """Run `launch.py` for a task that ends, telling it something on its standard input."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    _run([str(python()), str(LAUNCH), task], log, server_variables(data), told)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process in here; others wait."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(expected("a folder to write", error.strerror or error, str(path.parent))) from error


def _commands(place: Path) -> list[list[str]]:
    options = ["--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)]
    if uv := _uv():
        make = [uv, "venv", "--python", sys.executable, str(place)]
        return [make, [uv, "pip", "install", "--python", str(python()), "--compile-bytecode", *options]]
    pip = [str(python()), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *options]
    return [[sys.executable, "-m", "venv", str(place)], pip]


def _uv() -> str | None:
    """A uv that works: a version manager's shim may be there without it."""
    for candidate in (shutil.which("uv"), share(".uv", "bin", "uv")):
        if candidate and Path(candidate).is_file():
            ran = subprocess.run([str(candidate), "--version"], capture_output=True, check=False)
            if ran.returncode == 0:
                return str(candidate)
    return None


def _run(command: list[str], log: Path, variables: Mapping[str, str], told: str = "") -> None:
    with log.open("a") as out:
        ran = subprocess.run(
            command, input=told, text=True, stdout=out, stderr=subprocess.STDOUT, env=variables, check=False
        )
    if ran.returncode != 0:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        where = f"{log} (Label Studio's environment)"
        if any("No space left on device" in line for line in said):
            raise StorageError(expected("room for 900 MB", "No space left on device", where))
        raise MissingError(expected("an installation that succeeds", said[-1] if said else ran.returncode, where))


@contextmanager
def _watched(place: Path, log: Path, total: int, progress: Progress) -> Iterator[None]:
    """Tell how many packages are in place, while they come; those that pip has fetched alone count half."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            there = len(list(place.glob("lib/python*/site-packages/*.dist-info")))
            fetched = log.read_text(errors="replace").count("Collecting ")
            progress(min(total, max(there, fetched // 2)), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    progress(total, total)
