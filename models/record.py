"""What a run's folder keeps beside its checkpoints: how it was started, and its metrics.

starts.jsonl    one line a start: when, with what code (git), on what; what git does not have lies in `changes-*.diff`
metrics.jsonl   one line a window of steps (losses, rate, speed) and one a check (`check/...`); a resumed run cuts it at
                its checkpoint, so that no step is there twice
"""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotator.files import sha256, write_text

STARTS, METRICS = "starts.jsonl", "metrics.jsonl"
CHECK = "check/"


def rows(path: Path) -> list[dict[str, Any]]:
    """Lines of such a file; none where it is not there. A last line that a kill cut short does not count."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line; whoever kills the process between two lines loses neither, and half a line goes first."""
    if path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n"):
        _write(path, rows(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def cut(path: Path, step: int) -> None:
    """Leave out what comes after a step: it is done again."""
    _write(path, [row for row in rows(path) if row["step"] <= step])


def _write(path: Path, kept: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def checks(path: Path) -> list[dict[str, Any]]:
    """The lines of checks; all others have a loss."""
    return [row for row in rows(path) if "loss" not in row]


def last_check(path: Path, epoch: int | None = None) -> dict[str, float]:
    """What the last check of a run found, or that of one epoch; empty where there was none."""
    last = [row for row in checks(path) if epoch in (None, row["epoch"])][-1:]
    return {name: value for row in last for name, value in row.items() if name.startswith(CHECK)}


def begin(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write down a start, and return what is written."""
    state, changes = git_state()
    row = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "git": state} | facts
    if changes:
        row["changes"] = f"changes-{sha256(changes.encode())[:12]}.diff"
        write_text(out / row["changes"], changes)
    append(out / STARTS, row)
    return row


def git_state() -> tuple[str, str]:
    """The commit of this code, `-dirty` where files differ from it, and their difference."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, cwd=Path(__file__).parents[1]
        ).stdout

    # An installed package may lie inside somebody else's checkout.
    if shutil.which("git") is None or not git("ls-files", "models/record.py"):
        return "not a checkout", ""
    # A file that was never added is no difference to git, and may well be the recipe.
    new = git("ls-files", "--others", "--exclude-standard", "-z", "*.py", "*.toml").split("\0")[:-1]
    added = [git("diff", "--no-index", "--", "/dev/null", name) for name in new]
    changes = git("diff", "HEAD") + "".join(added)
    return git("describe", "--always", "--abbrev=40").strip() + ("-dirty" if changes else ""), changes
