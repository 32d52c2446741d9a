"""A run's own record: lines that a kill leaves whole, a cut at the checkpoint, the state of the code."""

from __future__ import annotations

import json
import subprocess

import pytest

from models import record

WINDOW = {"epoch": 1, "step": 4, "loss": 1.5}
CHECKED = {"epoch": 1, "step": 4, "check/coco/oks": 0.25}
LATER = {"epoch": 2, "step": 8, "loss": 1.0}


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / record.METRICS
    for row in (WINDOW, CHECKED, LATER):
        record.append(path, row)
    return path


def test_a_line_that_a_kill_cut_short_does_not_count(metrics):
    with metrics.open("a") as file:
        file.write('{"epoch": 2, "st')
    assert record.rows(metrics) == [WINDOW, CHECKED, LATER]
    record.cut(metrics, 8)
    record.append(metrics, WINDOW)
    assert record.rows(metrics) == [WINDOW, CHECKED, LATER, WINDOW]


def test_half_a_line_goes_before_the_next_is_added(metrics):
    with metrics.open("a") as file:
        file.write('{"epoch": 2, "st')
    record.append(metrics, WINDOW)
    assert record.rows(metrics) == [WINDOW, CHECKED, LATER, WINDOW]


@pytest.mark.parametrize(
    ("step", "kept"),
    [(0, []), (4, [WINDOW, CHECKED]), (7, [WINDOW, CHECKED]), (8, [WINDOW, CHECKED, LATER])],
    ids=["fresh", "at-a-check", "in-between", "at-the-end"],
)
def test_what_will_be_done_again_is_cut_off(metrics, step, kept):
    record.cut(metrics, step)
    assert record.rows(metrics) == kept


def test_checks_are_told_from_windows_of_steps(metrics):
    assert record.checks(metrics) == [CHECKED]
    assert record.last_check(metrics) == {"check/coco/oks": 0.25}
    record.append(metrics, {"epoch": 2, "step": 8, "check/coco/oks": 0.5})
    assert record.last_check(metrics) == {"check/coco/oks": 0.5}
    assert record.last_check(metrics, 1) == {"check/coco/oks": 0.25} and record.last_check(metrics, 3) == {}
    assert record.last_check(metrics.with_name("none.jsonl")) == {}


def checkout(folder, *, tracked):
    """A git checkout with this module's file in it, committed or not, and changed afterwards."""
    file = folder / "models" / "record.py"
    file.parent.mkdir()
    file.write_text("first\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    commands = [["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]] if tracked else [["init", "-q"]]
    for command in commands:
        subprocess.run([*git, *command], cwd=folder, check=True)
    file.write_text("second\n")
    return file


def test_a_start_says_the_commit_and_keeps_what_differs_from_it(tmp_path, monkeypatch):
    code, run = tmp_path / "code", tmp_path / "run"
    code.mkdir()
    run.mkdir()
    monkeypatch.setattr(record, "__file__", str(checkout(code, tracked=True)))
    (code / "mine.toml").write_text("epochs = 3\n")
    (code / "photographs.bin").write_text("large\n")
    row = record.begin(run, {"epoch": 3})
    (line,) = (run / record.STARTS).read_text().splitlines()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=code, capture_output=True, text=True, check=True).stdout
    assert json.loads(line) == row and row["epoch"] == 3 and row["git"] == f"{commit.strip()}-dirty"
    changes = (run / row["changes"]).read_text()
    assert "-first\n+second\n" in changes
    # Code that was never added too, and nothing else.
    assert "+epochs = 3\n" in changes and "photographs" not in changes


def test_code_that_was_never_added_is_a_difference(tmp_path, monkeypatch):
    file = checkout(tmp_path, tracked=True)
    file.write_text("first\n")
    monkeypatch.setattr(record, "__file__", str(file))
    clean, changes = record.git_state()
    assert (len(clean), changes) == (40, "")
    (tmp_path / "mine.py").write_text("epochs = 3\n")
    dirty, changes = record.git_state()
    assert dirty == f"{clean}-dirty" and "+epochs = 3\n" in changes


def test_code_that_lies_in_somebody_elses_checkout_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "__file__", str(checkout(tmp_path, tracked=False)))
    assert record.git_state() == ("not a checkout", "")


def test_without_git_a_run_begins_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record.begin(tmp_path, {})["git"] == "not a checkout"
