"""A reviewer in a real browser, on the page of a real server: what is seen, what is done, and what the store has then.

Needs Debian's chromium on the path.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator import rounds, sources
from annotator.labelstudio import backend, config, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.live import Live
from annotator.labelstudio.outcome import Pulled
from annotator.people import ORIGINS
from annotator.skeletons import COCO_17, UNION_21
from annotator.store.project import Project
from tests import networks
from tests.labelstudio.conftest import PASSWORD
from tests.labelstudio.reviewer import Place, Reviewer
from tests.labelstudio.working import push, tasks_in

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
photographs = pytest.importorskip("skimage.data", reason="needs the demo extra")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium on the path (Debian: apt-get install chromium)"
)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
SIZE = 512
BOX = (60, 5, 400, 500)
# The astronaut's, in pixels. Neither shoulders nor hips, so that all four keypoints which COCO lacks are proposed.
LABELS = {
    "nose": (222, 112, 2), "left_eye": (240, 93, 2), "right_eye": (205, 93, 2), "left_ear": (262, 105, 1),
    "left_elbow": (368, 330, 2), "right_elbow": (70, 330, 2),
}  # fmt: skip
Decided = dict[str, tuple[str, Place, int]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def reviewer(browser: Any) -> Iterator[Reviewer]:
    """A new page, with a profile of its own."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield Reviewer(page)
    page.close()


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return networks.prompted_student(tmp_path / "networks")


@pytest.fixture
def folder(tmp_path: Path, student: Path) -> Path:
    """A project of one photograph with one person."""
    (tmp_path / "images").mkdir()
    Image.fromarray(photographs.astronaut()).save(tmp_path / "images" / "astronaut.png")
    flat = [value for name in COCO_17.keypoints for value in LABELS.get(name, (0, 0, 0))]
    person = {"id": 11, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": BOX, "area": 150_000, "keypoints": flat}
    document = {
        "images": [{"id": 1, "file_name": "astronaut.png", "width": SIZE, "height": SIZE}],
        "annotations": [person | {"num_keypoints": len(LABELS)}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": []}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    sources.init(tmp_path / "p", [sources.source_settings(tmp_path / "coco.json", tmp_path / "images")])
    rounds.propose_project(tmp_path / "p", rounds.How(student=str(student), workers=1))
    return tmp_path / "p"


def opened(reviewer: Reviewer, client: Client, project: int) -> None:
    (task,) = tasks_in(client, project)
    reviewer.open(client.url, PASSWORD, project, task["id"])


def pulled(folder: Path, client: Client) -> tuple[Pulled, Decided]:
    """What a pull came to, and keypoint -> word, place and visibility of all decisions."""
    with Project.open(folder) as project:
        found, made = sync.pull(project, client), project.decisions()
    rows = zip(made.keypoint, made.origin, made.after_xy.tolist(), made.after_v.tolist(), strict=True)
    return found, {name: (ORIGINS[origin], tuple(xy), v) for name, origin, xy, v in rows}


def pixels(place: Place) -> Place:
    """Percent as pixels of the photograph: a pixel's middle is half a pixel from its edge."""
    return place[0] * SIZE / 100 - 0.5, place[1] * SIZE / 100 - 0.5


def is_drawn(found: Any, colour: str) -> bool:
    """Whether a colour of the configuration is nearer to one of some pixels than 80 of 255."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(found - wanted).max(axis=1) < 80).any())


def test_a_reviewer_sees_a_person_drags_hides_and_deletes_a_keypoint_and_the_store_has_just_that(
    folder: Path, client: Client, label_home: Path, reviewer: Reviewer
) -> None:
    pushed = push(folder, client, label_home)
    opened(reviewer, client, pushed.project)
    reviewer.shoot("opened")
    before = reviewer.points()
    assert set(before) == {*LABELS, "pelvis", "thorax", "upper_neck", "head_top"}
    assert reviewer.zoom() == 1  # to its edges
    for name in UNION_21.keypoints:  # its button, with its key
        assert reviewer.page.get_by_text(name, exact=True).first.is_visible()
    drawn = {"left_eye": "left", "right_eye": "right", "head_top": ""}
    assert all(is_drawn(reviewer.colours(before[name]), config.COLOURS[side]) for name, side in drawn.items())
    left, middle = (BOX[0] / SIZE * 100, 60.0), ((BOX[0] + BOX[2] / 2) / SIZE * 100, 60.0)
    assert is_drawn(reviewer.colours(left, 3), config.BOX_COLOURS["person"])
    assert not is_drawn(reviewer.colours(middle, 3), config.BOX_COLOURS["person"])

    reviewer.pull("nose", (60, 60))  # a label, locked
    assert reviewer.points() == before
    reviewer.pull("head_top", (44, 3))
    reviewer.press("thorax", "2", "occluded")
    assert reviewer.page.get_by_text("not calibrated").first.is_visible()  # how far off it may be
    reviewer.shoot("selected")
    reviewer.press("pelvis", "Backspace", "gone")
    reviewer.submit()

    found, decided = pulled(folder, client)
    assert found.problems == [] and found.moved_boxes == found.new_people == 0
    assert {name: (word, v) for name, (word, _, v) in decided.items()} == {
        "head_top": ("corrected", 2), "thorax": ("accepted", 1), "upper_neck": ("accepted", 2),
    }  # fmt: skip
    assert decided["head_top"][1] == pytest.approx(pixels((44, 3)), abs=1.5)  # a pixel of the screen
    for name in ("thorax", "upper_neck"):
        assert decided[name][1] == pytest.approx(pixels(before[name]), abs=1e-9)


def test_one_click_moves_the_rest_and_what_follows_is_no_word_of_the_reviewers(
    folder: Path, client: Client, label_home: Path, reviewer: Reviewer, student: Path
) -> None:
    pushed = push(folder, client, label_home)
    with backend.serving(Live.open(folder, str(student)), 0) as url, Project.open(folder) as project:
        backend.connect(project, client, url)
        opened(reviewer, client, pushed.project)
        before = reviewer.points()
        reviewer.click_smart(config.KEYS[UNION_21.index("head_top")], (44, 3))
        after = reviewer.points()
        reviewer.shoot("followed")
        reviewer.press("pelvis", "3", "not in the picture")
        reviewer.submit()
    moved = {name for name, place in after.items() if place != before[name]}
    assert moved == {"pelvis", "thorax", "upper_neck", "head_top"} and set(after) == set(before)
    found, decided = pulled(folder, client)
    assert found.problems == []
    assert {name: word for name, (word, _, _) in decided.items()} == {
        "head_top": "corrected", "thorax": "accepted", "upper_neck": "accepted", "pelvis": "absent",
    }  # fmt: skip
    for name in ("thorax", "upper_neck", "head_top"):
        assert decided[name][1] == pytest.approx(pixels(after[name]), abs=1e-9)
