"""Reviewers' work on a real server, done through its interface as the page does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.labelstudio import pushing
from annotator.labelstudio.client import Client
from annotator.labelstudio.outcome import Pushed
from annotator.selection import Request
from tests.labelstudio.made import Result

EVERYBODY = 1000.0  # more than there are people in any test


def push(folder: Path, client: Client, home: Path, *, controls: int = 0, traps: int = 0, **more: Any) -> Pushed:
    """Choose everybody there is to ask about, and push them to the local server."""
    request = Request(EVERYBODY, "people", "random", controls, traps)
    return pushing.push_round(folder, client, pushing.Places(home), request, **more)


def tasks_in(client: Client, project: int) -> list[dict[str, Any]]:
    """All tasks of a project with what is in them."""
    return list(client.tasks_of(project, ("id", "data", "predictions", "annotations")))


def result_of(task: dict[str, Any]) -> Result:
    """What the page sends where a reviewer submits a task without touching anything."""
    result = task["predictions"][0]["result"]
    return [{**entry, "origin": "prediction"} for entry in json.loads(json.dumps(result))]


def submit(client: Client, task: int, result: Sequence[dict[str, Any]], **more: Any) -> int:
    """Submit an annotation; gives its number."""
    body = {"result": list(result), "lead_time": 12.5, **more}
    return int(client.request("POST", f"api/tasks/{task}/annotations/", body)["id"])


def update(client: Client, annotation: int, **fields: Any) -> None:
    """Change a submitted annotation."""
    client.request("PATCH", f"api/annotations/{annotation}/", fields)
