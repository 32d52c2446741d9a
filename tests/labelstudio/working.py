"""Reviewers' work on a real server, done through its interface as the page does it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.decisions import Decisions
from annotator.labelstudio import pushing, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.outcome import Pulled, Pushed
from annotator.labelstudio.tasks import region_id
from annotator.selection import Request
from annotator.skeletons import UNION_21
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects, scenes
from tests.labelstudio.made import Result

EVERYBODY = 1000.0  # more than there are people in any test
PICTURES, EACH = 4, 2


class Killed(BaseException):
    """As a signal would end it."""


def four_pictures(folder: Path) -> Path:
    """A project of four pictures with two people each, and proposals for all of them."""
    projects.project(folder / "p", scenes.coco(folder, PICTURES, EACH))
    return folder / "p"


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


def rectangles(task: dict[str, Any]) -> Result:
    """What the page sends where a reviewer deletes every keypoint: no word on any of them."""
    return [entry for entry in result_of(task) if entry["type"] == "rectanglelabels"]


def submit(client: Client, task: int, result: Sequence[dict[str, Any]], **more: Any) -> int:
    """Submit an annotation; gives its number."""
    body = {"result": list(result), "lead_time": 12.5, **more}
    return int(client.request("POST", f"api/tasks/{task}/annotations/", body)["id"])


def update(client: Client, annotation: int, **fields: Any) -> None:
    """Change a submitted annotation."""
    client.request("PATCH", f"api/annotations/{annotation}/", fields)


def keys(client: Client, project: int) -> list[str]:
    """External keys of a project's tasks."""
    return [key for key, _ in client.keys_of(project)]


def wanted(folder: Path) -> list[str]:
    """External keys of the first round's tasks, in ranked order."""
    with Project.open(folder) as project:
        return tasks.keys_of(project, 1)


def decisions(folder: Path) -> Decisions:
    """All that stand."""
    with Project.open(folder) as project:
        return project.decisions()


def pulled(folder: Path, client: Client) -> Pulled:
    """What a pull comes to."""
    with Project.open(folder) as project:
        return sync.pull(project, client)


def proposed(there: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Person and keypoint of each proposal that can be accepted, in some tasks."""
    out = []
    for task in there:
        ids = {region["id"] for region in result_of(task) if "score" in region and not region.get("readonly")}
        for one in task["data"]["people"]:
            name = one["person_id"]
            out += [(name, keypoint) for keypoint in UNION_21.keypoints if region_id(1, name, keypoint) in ids]
    return sorted(out)


def everything(made: Decisions) -> list[tuple[str, str]]:
    """Person and keypoint of each decision."""
    return sorted(zip(made.person_id, made.keypoint, strict=True))


def box(name: str) -> dict[str, Any]:
    """A rectangle that a reviewer drew."""
    value = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0, "rectanglelabels": ["person"]}
    size = {"original_width": 160, "original_height": 120, "image_rotation": 0}
    return {"id": name, "from_name": "person", "to_name": "image", "type": "rectanglelabels", "value": value, **size}


def moved(result: Result, person: str, keypoint: str, by: float, number: int = 1) -> Result:
    """A result of some round with a keypoint dragged right, by percents of the width."""
    out: Result = json.loads(json.dumps(result))
    for entry in out:
        if entry["id"] == region_id(number, person, keypoint):
            entry["value"]["x"] += by
    return out
