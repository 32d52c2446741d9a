"""What kind of person it is, told by labels, box and picture: small, lying, crowded, at the edge, seen from behind.

The definitions stand in `told_by` as whoever leads the labelling would say them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator.derived import head_size
from annotator.formats.dataset import Dataset
from annotator.images import size_of
from annotator.people import AREA_PER_BOX, BoolArray, People
from annotator.skeletons import FloatArray, IntArray

SMALL_PX, SMALL_HEAD_PX = 64, 20
OVERLAP = 0.3
FEW_LABELS = 8
# Of the torso's length: how far the left shoulder must lie to one side of the right one for a front or back view.
TURNED = 0.25
EVERYBODY, EDGE, REST = "everybody", "at the picture's edge", "none of the hard ones"
UNKNOWN = "orientation unknown"
# Cases that tell how hard a person is.
HARD = ("small", "leaning or lying", "upside down", "crowded", EDGE, "few labels", "seen from behind")
SMALL = {
    "head": f"a head under {SMALL_HEAD_PX} pixels",
    "segment": f"a segment under {SMALL_PX}^2 pixels",
    "box": f"{AREA_PER_BOX} of the box around its keypoints under {SMALL_PX}^2 pixels",
}
TOUCHES = "its box touches the picture's edge"


def told_by(people: People) -> dict[str, str]:
    """How each case of `cases` is told of these people; of size and edge it depends on what their dataset has."""
    made = f"{TOUCHES}, and a keypoint has no label; the box is made, wider than the person"
    return {
        EVERYBODY: "who has a label",
        "small": SMALL[_size_by(people)],
        "leaning or lying": "the line from hips to shoulders 30 to 90 degrees off the vertical",
        "upside down": "the line from hips to shoulders more than 90 degrees off the vertical",
        "crowded": f"its box shares more than {OVERLAP} (IoU) with another labelled person's",
        EDGE: TOUCHES if people.bbox_given.any() else made,
        "few labels": f"fewer than {FEW_LABELS}",
        "seen from behind": f"the left shoulder to the left, by more than {TURNED} of the torso's length",
        "seen from the side": "neither shoulder to one side by that much",
        UNKNOWN: "a shoulder or a hip has no label, so that tilt and turn are unknown",
        REST: "none of the kinds from small to seen from behind; seen from the front or the side",
    }


def cases(dataset: Dataset) -> dict[str, BoolArray]:
    """(N,) of each case of `told_by`: which people of a dataset are of that kind."""
    people = dataset.people
    image = dataset.images.rows_of(people.image_id)
    tilt, turn = tilt_and_turn(people)
    by_head = _size_by(people) == "head"
    cut = people.bbox_given | ~people.labelled.all(axis=1)
    found = {
        EVERYBODY: np.ones(len(people), dtype=bool),
        "small": head_size(people.xy, people.skeleton) < SMALL_HEAD_PX if by_head else people.scale_px() < SMALL_PX,
        "leaning or lying": (tilt >= 30) & (tilt <= 90),
        "upside down": tilt > 90,
        "crowded": overlap(people.bbox_xywh, image) > OVERLAP,
        EDGE: reaches_edge(people, sizes(dataset)[image]) & cut,
        "few labels": people.labelled.sum(axis=1) < FEW_LABELS,
        "seen from behind": turn < -TURNED,
        "seen from the side": np.abs(turn) <= TURNED,
        UNKNOWN: np.isnan(turn),
    }
    return found | {REST: ~np.any([found[name] for name in (*HARD, UNKNOWN)], axis=0)}


def _size_by(people: People) -> str:
    """The key of SMALL by which a dataset's people are called small."""
    if np.isfinite(head_size(people.xy, people.skeleton)).any():
        return "head"
    return "segment" if (people.area > 0).any() else "box"


def tilt_and_turn(people: People) -> tuple[FloatArray, FloatArray]:
    """How the trunk lies, both (N,); NaN without both shoulders and both hips, or where they coincide.

    Tilt: degrees between the vertical and the line from the middle of the hips up to that of the shoulders, 0 to 180.
    Turn: how far the left shoulder lies to the side of the right one, across that line and in its lengths; above 0
    where we see the person's front.
    """
    left, right, *hips = (
        people.xy[:, people.skeleton.index(f"{side}_{part}")]
        for part in ("shoulder", "hip")
        for side in ("left", "right")
    )
    trunk = (left + right) / 2 - (hips[0] + hips[1]) / 2
    length = np.linalg.norm(trunk, axis=1)
    x, y = trunk.T / np.where(length > 0, length, np.nan)
    across = (left - right)[:, 0] * -y + (left - right)[:, 1] * x
    return np.degrees(np.arccos(np.clip(-y, -1, 1))), across / np.where(length > 0, length, np.nan)


def overlap(bbox_xywh: FloatArray, image: IntArray) -> FloatArray:
    """(N,) largest intersection over union of each box with another one of its picture; 0 where there is none."""
    low, high = bbox_xywh[:, None, :2], bbox_xywh[:, None, :2] + bbox_xywh[:, None, 2:]
    side = np.clip(np.minimum(high, high[:, 0]) - np.maximum(low, low[:, 0]), 0, None)
    shared, area = side.prod(axis=2), bbox_xywh[:, 2:].prod(axis=1)
    iou = shared / (area[:, None] + area - shared)
    other = (image[:, None] == image) & ~np.eye(len(image), dtype=bool)
    return np.asarray(np.where(other, iou, 0).max(axis=1, initial=0))


def reaches_edge(people: People, size: IntArray) -> BoolArray:
    """(N,) whether a box comes within a pixel of the edge of its picture, whose width and height are `size` (N, 2)."""
    low = people.bbox_xywh[:, :2] - people.pixel_origin[:, None].astype(float)
    return np.asarray(((low <= 1) | (low + people.bbox_xywh[:, 2:] >= size - 1)).any(axis=1))


def sizes(dataset: Dataset) -> IntArray:
    """(M, 2) width and height of each picture, from the files where the dataset does not say."""
    images = dataset.images
    said = np.stack([images.width, images.height], axis=1)
    for row in np.flatnonzero((said <= 0).any(axis=1)):
        said[row] = size_of(Path(images.path[row]))
    return said
