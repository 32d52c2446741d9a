"""Clicks with the smart tool, and what a backend answers, by plain HTTP."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from annotator import rounds, sources
from annotator.labelstudio import config
from annotator.labelstudio.frame import frame_of
from annotator.labelstudio.live import Live
from annotator.labelstudio.tasks import Shown, region_id, shown
from annotator.skeletons import UNION_21
from annotator.snapshot import snapshot
from annotator.store import tasks
from annotator.store.project import Project
from tests import scenes
from tests.labelstudio.made import NAMES, Result, drawn, selection

CONFIG = config.make(UNION_21)


def made(folder: Path, student: Path, seed: int = 1) -> Path:
    """A project of one picture with four people, and its proposals."""
    sources.init(folder / "p", [sources.source_settings(*scenes.coco(folder, 1, 4, seed))])
    rounds.propose_project(folder / "p", rounds.How(student=str(student), workers=1))
    return folder / "p"


def shown_in(folder: Path, roles: str = "", trap: tuple[str, float, float] = ("head_top", 20, 0)) -> Shown:
    """Enter the picture as pushed; gives it."""
    with Project.open(folder) as project:
        now = snapshot(project)
        chosen = selection(now.people, roles, trap)
        (picture,) = shown(now.people, now.proposals, chosen, now.images, frame_of, round=1)
        tasks.open_round(project, 1, unlock=False)
        tasks.put_tasks(project, 1, [(picture.key, picture.image_id, 1, picture.to_json())])
    return picture


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
    """Status, reason and JSON of an answer."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.reason, json.loads(answer.read())


def as_task(picture: Shown, **more: Any) -> dict[str, Any]:
    """The task as Label Studio sends it."""
    return {"id": 7, "data": {"key": picture.key, "image": "/x.png"}, "drafts": [], "annotations": [], **more}


def predict(url: str, asked: dict[str, Any], clicked: Result | None = None) -> dict[str, Any]:
    """The one prediction for a task."""
    context = None if clicked is None else {"result": clicked}
    body = {"tasks": [asked], "project": "1.2", "label_config": CONFIG, "params": {"login": None, "context": context}}
    status, _, answer = ask(url, "POST", "/predict", json.dumps(body).encode())
    assert status == 200, answer
    (prediction,) = answer["results"]
    return dict(prediction)


def click(picture: Shown, keypoint: str, xy: tuple[float, float], name: str = "c1", **more: Any) -> Result:
    """A click with the smart tool, in pixels."""
    x, y = picture.frame.point_percent(np.array(xy, dtype=np.float64), 0).tolist()
    (entry,) = drawn(picture, "keypointlabels", keypoint, (x, y), name)
    value = {**entry["value"], "labels": [keypoint]}
    return [{**entry, "value": value, "is_positive": True, **more}]


def places(picture: Shown, result: Result) -> dict[tuple[str, str], tuple[float, float]]:
    """(person, keypoint) -> pixels of the keypoints in a result; they have the ids that were pushed."""
    ids = {region_id(1, p.person_id, name): (p.person_id, name) for p in picture.people for name in NAMES}
    points = [entry for entry in result if entry["type"] == "keypointlabels"]
    assert [entry["value"]["keypointlabels"][0] for entry in points] == [ids[entry["id"]][1] for entry in points]
    parents = {name: region_id(1, name) for name, _ in ids.values()}
    assert all(entry["parentID"] == parents[ids[entry["id"]][0]] for entry in points)
    xy = [np.array([entry["value"]["x"], entry["value"]["y"]]) for entry in points]
    at = [tuple(picture.frame.point_xy(one, 0).tolist()) for one in xy]
    return dict(zip([ids[entry["id"]] for entry in points], at, strict=True))


def accepted(result: Result, answer: Result) -> Result:
    """A result after the page took over an answer."""
    ids = {entry["id"] for entry in answer}
    return [entry for entry in result if entry["id"] not in ids] + answer


def told(live: Live, person: str, **points: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """What `rounds.repropose` says of a person, given their labels and some points more."""
    row = np.flatnonzero(live.now.people.person_id == person)
    one = live.now.people.take(row)
    known = np.where(one.labelled[..., None], one.xy, np.nan)
    for name, xy in points.items():
        known[0, UNION_21.index(name)] = xy
    proposals = rounds.repropose(live.model, live.now.images, one, known, live.kept)
    return {name: tuple(proposals.xy[0, k].tolist()) for k, name in enumerate(NAMES)}


WHO = 3  # has a labelled hip and no shoulder, so that all four keypoints which COCO lacks are proposed


def free(picture: Shown, person: int = WHO) -> set[str]:
    """Keypoints of a person that are proposed."""
    return {point.keypoint for point in picture.people[person].points if point.kind == "proposal"}
