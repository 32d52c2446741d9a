"""Label Studio's machine learning backend, on loopback: `GET /health`, `POST /setup`, `POST /predict` and their kin.

A server that is connected to it asks it about a task while somebody labels with the smart keypoint tool, and the page
shows what it answers (see `live`).
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from annotator.errors import AnnotatorError, InputError, expected
from annotator.labelstudio import config, loopback
from annotator.labelstudio.client import Client
from annotator.labelstudio.live import Live
from annotator.labelstudio.loopback import Answer, RequestError
from annotator.labelstudio.sync import find
from annotator.labelstudio.versions import utc
from annotator.store import tasks
from annotator.store.project import Project

PORT = 9090
TITLE = "annotator"  # of the backend in a project's settings


def health(live: Live, _: Answer) -> Answer:
    """That it runs."""
    return {"status": "UP", "model_class": live.model.name}


def setup(live: Live, asked: Answer) -> Answer:
    """What signs predictions; refuses a project whose labelling configuration is another."""
    _check(live, asked.get("schema"), "schema")
    return {"model_version": live.version}


def versions(live: Live, _: Answer) -> Answer:
    """The same as a list."""
    return {"versions": [live.version]}


def predict(live: Live, asked: Answer) -> Answer:
    """A prediction for each task, in order (see `Live.predict`)."""
    _check(live, asked.get("label_config"), "label_config")
    todo = asked.get("tasks")
    if not isinstance(todo, list):
        raise RequestError("a list", _kind(todo), "tasks")
    context = _part(asked.get("params"), "params").get("context")
    clicked = None if context is None else _regions(_part(context, "params.context").get("result"), "params.context")
    for i, task in enumerate(todo):
        where = f"tasks[{i}]"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise RequestError("a task with data", _kind(task), where)
        for name in ("drafts", "annotations"):
            if not isinstance(there := task.get(name) or [], list):
                raise RequestError("a list", _kind(there), f"{where}.{name}")
            # Where nobody labels, a server gives their numbers alone.
            task[name] = [one for one in there if isinstance(one, dict)]
            for one in task[name]:
                one["result"] = _regions(one.get("result"), f"{where}.{name}")
                one["updated_at"] = _time(one.get("updated_at"), f"{where}.{name}.updated_at")
    return {"results": [live.predict(task, clicked) for task in todo]}


def noted(_: Live, __: Answer) -> Answer:
    """Nothing is learnt here from what happens on the server: `label pull` reads it, and training is a command."""
    return {}


ROUTES = {
    ("GET", "/"): health,
    ("GET", "/health"): health,
    ("GET", "/versions"): versions,
    ("POST", "/setup"): setup,
    ("POST", "/predict"): predict,
    ("POST", "/webhook"): noted,
    ("POST", "/train"): noted,
}


def serving(live: Live, port: int = PORT) -> AbstractContextManager[str]:
    """Answer while the context lasts; gives the address. Port 0 takes one that is free.

    Raises:
        InputError: the port is taken.
    """
    return loopback.serving({asked: partial(route, live) for asked, route in ROUTES.items()}, port)


def wait() -> None:
    """Wait until interrupted."""
    threading.Event().wait()


def connect(project: Project, client: Client, url: str) -> list[str]:
    """Have a server ask the backend that answers at `url`, in all rounds that were pushed to it; gives their titles.

    A second call changes the address of the backend that is there.

    Raises:
        InputError: nothing was pushed to this server, or it cannot reach the backend.
        MissingError: no server answers, or it refuses the token.
    """
    titles = []
    for number, title in tasks.rounds_out(project):
        if not (there := find(project, client, number, title)):
            continue
        _connect(client, there.id, {"project": there.id, "url": url, "title": TITLE, "is_interactive": True})
        titles.append(there.title)
    if not titles:
        raise InputError(expected("a round that was pushed to it (annotator label push)", "none", client.url))
    return titles


def _connect(client: Client, project: int, body: Answer) -> None:
    """Make a project's backend, or change the one that is there; either way the server asks it whether it runs."""

    def known() -> list[int]:
        rows = client.request("GET", "api/ml/", params={"project": project})
        return [int(row["id"]) for row in rows if row["title"] == TITLE]

    if not known():
        try:
            client.request("POST", "api/ml/", body)
            return
        except AnnotatorError:
            # It is made, and then a server that may not call this machine refuses the webhook which belongs to it; that
            # is no loss, since nothing is learnt from webhooks.
            if not known():
                raise
    client.request("PATCH", f"api/ml/{known()[0]}", body)


def _check(live: Live, found: Any, where: str) -> None:
    """Refuse a labelling configuration that ours are not answers to; a request may come without one."""
    if found is None:
        return
    if not isinstance(found, str):
        raise RequestError("a labelling configuration", _kind(found), where)
    if other := config.differences(config.make(live.model.skeleton), found):
        raise RequestError("it as `label push` made it", other[0], where)


def _part(value: Any, where: str) -> Answer:
    """A part of a request that is an object, or is not there."""
    if value is not None and not isinstance(value, dict):
        raise RequestError("an object", _kind(value), where)
    return value or {}


def _regions(value: Any, where: str) -> list[Answer]:
    """A list of regions, as far as that is taken for granted later; none where it is not there."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestError("a list of regions", _kind(value), f"{where}.result")
    for i, entry in enumerate(value):
        place = f"{where}.result[{i}]"
        for part in ("value", "meta"):
            _part(_part(entry, place).get(part), f"{place}.{part}")
        if not entry or not isinstance(entry.get("id"), str):
            raise RequestError("a region with an id", _kind(entry.get("id") if entry else entry), place)
    return value


def _time(value: Any, where: str) -> str:
    """A time in UTC that sorts, empty where there is none."""
    try:
        return utc(str(value)) if value else ""
    except ValueError as error:
        raise RequestError("a time", value, where) from error


def _kind(value: Any) -> str:
    names = {type(None): "nothing", dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return names.get(type(value), "a number")
