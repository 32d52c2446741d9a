"""A reviewer at Label Studio's page: what a browser shows of a task, and what hands do there."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from annotator.labelstudio import server

PATIENCE_MS = 180_000  # of a page that a busy machine draws
# What the page knows.
REGIONS = "window.dataManager.lsf.currentAnnotation.serializeAnnotation()"
PICTURE = "window.dataManager.lsf.lsf.annotationStore.selected.objects[0]"
POINTS = f"{REGIONS}.filter(r => r.type === 'keypointlabels')"
Place = tuple[float, float]


class Reviewer:
    """A page; places are percent of the picture."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE_MS)

    def open(self, url: str, password: str, project: int, task: int) -> None:
        """Log in, and open a task."""
        self.page.goto(f"{url}/user/login/?next={quote(f'/projects/{project}/data?task={task}')}")
        self.page.fill("input[name=email]", server.EMAIL)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("canvas")
        self.page.wait_for_function(f"() => {PICTURE}.imageIsLoaded && {PICTURE}.sizeUpdated && {POINTS}.length > 0")
        self.page.wait_for_timeout(1000)  # the tools come, and the picture is fitted to what is left

    def zoom(self) -> float:
        """How far the picture is magnified beyond its frame."""
        return float(self.page.evaluate(f"() => {PICTURE}.zoomScale"))

    def points(self) -> dict[str, Place]:
        """Where each keypoint is."""
        values = [entry["value"] for entry in self.page.evaluate(f"() => {POINTS}")]
        return {value["keypointlabels"][0]: (value["x"], value["y"]) for value in values}

    def at(self, place: Place) -> Place:
        """Pixels on the screen."""
        box = self.page.locator("canvas").nth(1).bounding_box()
        return box["x"] + place[0] / 100 * box["width"], box["y"] + place[1] / 100 * box["height"]

    def colours(self, place: Place, around: int = 1) -> Any:
        """(P, 3) colours of the screen at a place and around it."""
        with Image.open(io.BytesIO(self.page.screenshot())) as screen:
            pixels = np.asarray(screen.convert("RGB")).astype(int)
        x, y = (round(value) for value in self.at(place))
        return pixels[y - around : y + around + 1, x - around : x + around + 1].reshape(-1, 3)

    def pull(self, keypoint: str, to: Place) -> None:
        """Press the mouse on a keypoint, and let go elsewhere."""
        self.page.keyboard.press("Escape")
        self.page.mouse.move(*self.at(self.points()[keypoint]))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(to), steps=8)
        self.page.mouse.up()
        self.page.wait_for_timeout(500)

    def select(self, keypoint: str) -> None:
        """Click on a keypoint."""
        self.page.keyboard.press("Escape")
        self.page.mouse.click(*self.at(self.points()[keypoint]))
        self.page.wait_for_function(
            f"name => {PICTURE}.selectedRegions.some(region => region.labelName === name)", arg=keypoint
        )

    def press(self, keypoint: str, key: str, then: str) -> None:
        """Select a keypoint and press a key, until its visibility is a word, or `gone`."""
        self.select(keypoint)
        name = self.page.evaluate(f"() => {PICTURE}.selectedRegions[0].cleanId")
        self.page.keyboard.press(key)
        is_gone = f"([name, _]) => {REGIONS}.every(region => region.id !== name)"
        says_so = f"([name, word]) => {REGIONS}.some(r => r.id === name && (r.value.choices || []).includes(word))"
        self.page.wait_for_function(is_gone if then == "gone" else says_so, arg=[name, then])

    def click_smart(self, key: str, place: Place) -> None:
        """Choose a label by its key and click with the smart tool; what is answered is taken over at once."""
        self.page.get_by_text("Auto-Annotation").click()
        self.page.get_by_test_id("bottombar-auto-accept-toggle").click()
        self.page.locator("[class*=tool_smart]").first.click()
        self.page.keyboard.press(key)
        self.page.wait_for_function(f"() => {PICTURE}.activeStates().length === 1")
        with self.page.expect_response(lambda answer: "interactive-annotating" in answer.url):
            self.page.keyboard.down("Control")
            self.page.mouse.click(*self.at(place))
            self.page.keyboard.up("Control")
        self.page.wait_for_function(f"() => {REGIONS}.every(region => !('is_positive' in region))")

    def submit(self) -> None:
        """Submit the annotation."""
        with self.page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
            self.page.get_by_role("button", name="Submit").click()

    def shoot(self, name: str) -> None:
        """Take a picture of the page where somebody wants it (ANNOTATOR_SCREENSHOTS, a folder)."""
        if folder := os.environ.get("ANNOTATOR_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")
