"""The labelling configuration says what we mean, and what somebody changed in it is found."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from annotator.errors import InputError
from annotator.labelstudio import config
from annotator.labelstudio.tasks import task
from annotator.skeletons import SKELETONS, UNION_21, Skeleton, make
from tests.labelstudio.made import coco_like, pictures, submitted

# Keys that Label Studio's page has for itself (its keymap and the tools of a picture).
TAKEN = set("uvhropkbe")
CONFIG = config.make(UNION_21)
LINES = len(CONFIG.splitlines())


def labels(tag: str, text: str = CONFIG) -> list[ElementTree.Element]:
    return [label for control in ElementTree.fromstring(text).iter(tag) for label in control]


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_every_keypoint_is_a_label_in_its_order(skeleton: Skeleton) -> None:
    found = labels("KeyPointLabels", config.make(skeleton))
    assert [label.get("value") for label in found] == list(skeleton.keypoints)
    assert [label.get("model_index") for label in found] == [str(k) for k in range(len(skeleton))]


def test_every_label_has_a_key_of_its_own_that_the_page_does_not_use() -> None:
    keys = [label.get("hotkey") for tag in ("RectangleLabels", "KeyPointLabels", "Choices") for label in labels(tag)]
    assert len(keys) == 26 and len(set(keys)) == 26 and not set(keys) & TAKEN


def test_left_right_and_middle_have_the_colours_of_our_pictures() -> None:
    from annotator.report import drawing

    colours = {label.get("value"): label.get("background") for label in labels("KeyPointLabels")}
    wanted = {"left_hip": drawing.BLUE, "right_hip": drawing.YELLOW, "pelvis": drawing.PURPLE}
    assert {name: colours[name] for name in wanted} == {
        name: f"#{r:02X}{g:02X}{b:02X}" for name, (r, g, b, _) in wanted.items()
    }


@pytest.mark.parametrize(("name", "head"), [("union21", True), ("mpii16", True), ("coco17", False)])
def test_a_head_can_be_drawn_where_its_points_are_keypoints(name: str, head: bool) -> None:
    names = [label.get("value") for label in labels("RectangleLabels", config.make(SKELETONS[name]))]
    assert names == ["person", "head"][: 1 + head]


def test_a_keypoint_named_like_a_rectangle_is_refused() -> None:
    with pytest.raises(InputError, match=r"odd: expected keypoints other than person, got person"):
        config.make(make("odd", ["person"]))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"nose"', '"Nase"', ["keypoint: 'nose' is not there (new there: 'Nase')"]),
        ('<Choice value="occluded" hotkey="2" />', "", ["visibility: 'occluded' is not there"]),
        ("KeyPointLabels", "PolygonLabels", ["keypoint: <KeyPointLabels> for 'image' is <PolygonLabels> for 'image'"]),
        ('name="visibility"', 'name="seen"', ["<Choices name='visibility'> is not there"]),
        ('value="$image"', 'value="$photo"', ["image: <Image> for '$image' is <Image> for '$photo'"]),
        ("</View>", "", [f"the configuration is no XML (no element found: line {LINES}, column 0)"]),
    ],
    ids=["renamed", "removed", "another tag", "another name", "another picture", "cut short"],
)  # fmt: skip
def test_what_somebody_changed_is_named(old: str, new: str, found: list[str]) -> None:
    assert config.differences(CONFIG, CONFIG.replace(old, new)) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("#56B4E9", "#000000"),
        ('hotkey="n"', 'hotkey="ctrl+n"'),
        ('<Choice value="visible"', '<Choice value="blurred" /><Choice value="visible"'),
        ('<Header value="$note" size="5" />', '<Header value="Be quick" />'),
        ("<Image", '<PolygonLabels name="p" toName="image"><Label value="car" /></PolygonLabels><Image'),
    ],
    ids=["nothing", "colour", "key", "a choice more", "header", "a control more"],
)
def test_what_changes_no_meaning_is_no_difference(old: str, new: str) -> None:
    assert config.differences(CONFIG, CONFIG.replace(old, new) if old else CONFIG) == []


def test_label_studios_own_coco_export_names_every_keypoint(tmp_path: Path) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter", reason="needs the extra: label").Converter
    people, proposals = coco_like(1)
    picture = pictures(people, proposals)[0]
    annotation = {"id": 1, "result": submitted(picture), "completed_by": 1, "was_cancelled": False}
    entry = {"id": 1, "data": task(picture, "made.jpg", "made")["data"], "annotations": [annotation]}
    (tmp_path / "tasks.json").write_text(json.dumps([entry]))
    exporter = converter(CONFIG, str(tmp_path), download_resources=False)
    assert "COCO" in exporter.supported_formats
    exporter.convert_to_coco(str(tmp_path / "tasks.json"), str(tmp_path / "out"), is_dir=False)
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    keypoints = next(c["keypoints"] for c in document["categories"] if "keypoints" in c)
    # All our labels are keypoints of one category, with both rectangles beside it; the points come one by one.
    assert keypoints == list(UNION_21.keypoints)
    points = next(a["keypoints"] for a in document["annotations"] if "keypoints" in a)
    # It rounds to whole pixels from the picture's edge: half a pixel more than the labels' own count.
    shown = {point.keypoint: (round(point.x + 0.5), round(point.y + 0.5)) for point in picture.people[0].points}
    triples = dict(zip(keypoints, zip(points[::3], points[1::3], points[2::3], strict=True), strict=True))
    assert {name: (x, y) for name, (x, y, v) in triples.items() if v} == shown
