"""The labelling configuration of a project (XML), made from a skeleton, and what somebody changed in it.

A person is a rectangle, its keypoints are the rectangle's children. `model_index` on the keypoints, rectangle labels
and a single data key are what Label Studio's own COCO exporter asks for.
"""

from __future__ import annotations

from collections.abc import Collection
from xml.etree import ElementTree

from annotator.errors import InputError, expected
from annotator.skeletons import Skeleton

IMAGE, PERSON, KEYPOINT, VISIBILITY = "image", "person", "keypoint", "visibility"
HEAD, HEAD_POINTS = "head", ("upper_neck", "head_top")  # a rectangle, and what follows from it
VISIBLE, OCCLUDED, ABSENT = "visible", "occluded", "not in the picture"
V_OF = {VISIBLE: 2, OCCLUDED: 1, ABSENT: 0}
CHOICE_OF = {v: choice for choice, v in V_OF.items()}
# Okabe and Ito's, as in our pictures; the person's own left, right and middle.
COLOURS = {"left": "#56B4E9", "right": "#F0E442", "": "#CC79A7"}
BOX_COLOURS = {PERSON: "#009E73", HEAD: "#D55E00"}
# Label Studio's page uses u, v, h, r, o, p, k, b and e itself; left and right lie beside each other.
KEYS = "nqwaszxdfctygijlm7890"
OTHER_KEYS = {VISIBLE: "1", OCCLUDED: "2", ABSENT: "3", HEAD: "4", PERSON: "5"}
# The page gives a plain click to what lies there, and a person's rectangle does.
HINT = "Place a point inside a box: Ctrl and click (Mac: Cmd)"
# Elements that make up a configuration's meaning; all others may be changed at will.
LABEL_TAGS = ("Label", "Choice")


def make(skeleton: Skeleton) -> str:
    """Labelling configuration for a skeleton's keypoints.

    Raises:
        InputError: a keypoint has the name of a rectangle.
    """
    names = boxes_of(skeleton.keypoints)
    if taken := set(skeleton.keypoints) & set(names):
        raise InputError(expected("keypoints other than " + " and ".join(names), min(taken), skeleton.name))
    view = ElementTree.Element("View")
    _add(view, "Header", value="$note", size="5")
    row = _add(view, "View", style="display: flex; align-items: flex-start; gap: 1em")
    picture = _add(row, "View", style="flex: 1; min-width: 0")
    # Room for the tools, which come after the picture was fitted: else its edges would be cut off.
    size = {"maxWidth": "calc(100% - 50px)"}
    _add(picture, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true", rotateControl="false", **size)
    beside = _add(row, "View", style="flex: 0 0 17em")  # below the picture, labels would be out of sight
    plain = {"canRotate": "false", "fillOpacity": "0", "strokeWidth": "2", "smart": "false"}  # only points have help
    boxes = _add(beside, "RectangleLabels", name=PERSON, toName=IMAGE, **plain)
    for name in names:
        _add(boxes, "Label", value=name, background=BOX_COLOURS[name], hotkey=OTHER_KEYS[name])
    points = _add(beside, "KeyPointLabels", name=KEYPOINT, toName=IMAGE, opacity="0.9", strokeWidth="3")
    for k, name in enumerate(skeleton.keypoints):
        side = next(side for side in COLOURS if name.startswith(side))
        key = {"hotkey": KEYS[k]} if k < len(KEYS) else {}
        _add(points, "Label", value=name, background=COLOURS[side], model_index=str(k), **key)
    _add(beside, "Header", value=HINT, size="6")
    shown = {"visibleWhen": "region-selected", "whenTagName": KEYPOINT}
    choices = _add(beside, "Choices", name=VISIBILITY, toName=IMAGE, perRegion="true", choice="single-radio", **shown)
    for name in V_OF:
        _add(choices, "Choice", value=name, hotkey=OTHER_KEYS[name])
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def boxes_of(keypoints: Collection[str]) -> tuple[str, ...]:
    """Names of the rectangles that can be drawn: a head where its two points are keypoints."""
    return (PERSON, HEAD) if set(HEAD_POINTS) <= set(keypoints) else (PERSON,)


def differences(wanted: str, found: str) -> list[str]:
    """What a configuration found on the server lacks or means otherwise, one line each; colours and keys do not count.

    Labels and controls that somebody added are no difference: regions made with them are reported when they come back.
    """
    try:
        there = _meaning(found)
    except ElementTree.ParseError as error:
        return [f"the configuration is no XML ({error})"]
    out = []
    for name, (tag, target, labels) in _meaning(wanted).items():
        if name not in there:
            out.append(f"<{tag} name={name!r}> is not there")
            continue
        found_tag, found_target, found_labels = there[name]
        if (found_tag, found_target) != (tag, target):
            out.append(f"{name}: <{tag}> for {target!r} is <{found_tag}> for {found_target!r}")
        new = [label for label in found_labels if label not in labels]
        instead = f" (new there: {', '.join(map(repr, new))})" if new else ""
        out += [f"{name}: {label!r} is not there{instead}" for label in labels if label not in found_labels]
    return out


def _meaning(config: str) -> dict[str, tuple[str, str, list[str]]]:
    """Named element -> its tag, what it works on, and its labels."""
    named = {}
    for element in ElementTree.fromstring(config).iter():
        if name := element.get("name"):
            target = element.get("toName") or element.get("value") or ""
            labels = [
                str(label.get("alias") or label.get("value")) for label in element.iter() if label.tag in LABEL_TAGS
            ]
            named[name] = (element.tag, target, labels)
    return named


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)
