"""The server's environment: hashed, installed once, told nothing that it need not know."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing

import pytest

from annotator import doctor
from annotator.errors import MissingError, StorageError
from annotator.labelstudio import environment


def test_every_requirement_of_the_server_is_hashed_and_names_no_index():
    text = environment.REQUIREMENTS.read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert f"label-studio=={environment.version()} " in text


def test_other_requirements_make_another_environment(tmp_path, monkeypatch):
    before = environment.folder()
    other = tmp_path / "server.txt"
    other.write_text(environment.REQUIREMENTS.read_text() + "\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", other)
    assert environment.folder() != before and environment.folder().parent == before.parent


def test_the_home_of_the_environment_is_the_users_or_what_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_LABEL_HOME", str(tmp_path))
    assert environment.user_folder() == tmp_path and not environment.installed()
    monkeypatch.delenv("ANNOTATOR_LABEL_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(environment.user_folder()) == "/home/somebody/.local/share/annotator/label-studio"


def test_an_environment_that_is_there_is_not_made_again(label_home):
    told = []
    environment.install(lambda done, total: told.append((done, total)))
    assert environment.installed() and told == []


@pytest.mark.parametrize(
    ("variables", "state", "found", "mend"),
    [
        ({}, "ok", "not running (annotator label up)", ""),
        ({"HOME": "nowhere"}, "missing", "no server on this machine", "annotator label up"),
        ({"URL": "https://label.example", "TOKEN": "x"}, "ok", "the team's, https://label.example", ""),
        ({"URL": "https://label.example"}, "broken", "without a token", "take a token from"),
    ],
    ids=["installed", "not installed", "the team's", "the team's, closed"],
)
def test_the_doctor_says_which_server_there_is(label_home, tmp_path, monkeypatch, variables, state, found, mend):
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(f"ANNOTATOR_LABEL_{name}", value)
    (finding,) = doctor.examine(["label-studio"])
    assert finding.state == state and found in finding.found and finding.mend.startswith(mend)


def test_the_database_that_lies_ready_has_tables_and_nobody(label_home):
    with closing(sqlite3.connect(environment.empty_database())) as db:
        assert db.execute("SELECT count(*) FROM htx_user").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM authtoken_token").fetchone() == (0,)


def test_a_package_with_another_hash_is_refused_and_leaves_nothing_that_passes_for_whole(tmp_path, monkeypatch):
    requirements = tmp_path / "server.txt"
    requirements.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", requirements)
    monkeypatch.setenv("ANNOTATOR_LABEL_HOME", str(tmp_path / "home"))
    told = []
    with pytest.raises(
        MissingError, match=r"install.log \(Label Studio's environment\): expected an installation that"
    ):
        environment.install(lambda done, total: told.append((done, total)))
    assert "hash" in (tmp_path / "home" / "install.log").read_text().lower()
    assert not environment.installed()
    assert (1, 1) not in told


def test_a_folder_that_cannot_be_made_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANNOTATOR_LABEL_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="expected a folder to write"):
        environment.install()


@pytest.mark.parametrize(
    "name", ["HOST", "PASSWORD", "LABEL_STUDIO_DEBUG", "HEARTEX_USERNAME", "ANNOTATOR_LABEL_TOKEN"]
)
def test_the_server_is_told_nothing_of_our_environment_that_could_change_it(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "from the user's shell")
    variables = environment.server_variables(tmp_path)
    assert "from the user's shell" not in variables.values()
    assert {key for key in variables if not key.startswith(("LABEL_STUDIO_", "LC_"))} <= {
        *environment.KEPT,
        *("XDG_CONFIG_HOME", "OMP_NUM_THREADS", "PYTHONUNBUFFERED"),
    }


def test_who_comes_second_waits_for_the_lock(tmp_path):
    order = []

    def second() -> None:
        with environment.locked(tmp_path / "lock"):
            order.append("second")

    with environment.locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
