"""What kind of person it is, told by labels, box and picture: small, lying, crowded, cut off, seen from behind.

The definitions stand in CASES as whoever leads the labelling would say them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator.derived import head_size
from annotator.formats.dataset import Dataset
from annotator.images import size_of
from annotator.people import BoolArray, People
from annotator.skeletons import FloatArray, IntArray

SMALL_PX, SMALL_HEAD_PX = 64, 20
OVERLAP = 0.3
FEW_LABELS = 8
# Of the torso's length: how far the left shoulder must lie to one side of the right one for a front or back view.
TURNED = 0.25
EVERYBODY, REST = "everybody", "none of the hard ones"
# Cases that tell how hard a person is -> how each is told.
HARD = {
    "small": f"an area under {SMALL_PX}^2 pixels; MPII: a head under {SMALL_HEAD_PX} pixels",
    "leaning or lying": "the line from hips to shoulders 30 to 90 degrees off the vertical",
    "upside down": "the line from hips to shoulders more than 90 degrees off the vertical",
    "crowded": f"its box shares more than {OVERLAP} (IoU) with another labelled person's",
    "cut off by the picture": "its box reaches the picture's edge, and labels are missing",
    "few labels": f"fewer than {FEW_LABELS}",
    "seen from behind": f"the left shoulder to the left, by more than {TURNED} of the torso's length",
}
CASES = {
    EVERYBODY: "who has a label",
    **HARD,
    "seen from the side": "neither shoulder to one side by that much",
    REST: "none of these; seen from the front or the side",
}


def cases(dataset: Dataset) -> dict[str, BoolArray]:
    """(N,) of each case of CASES: which people of a dataset are of that kind."""
    people = dataset.people
    image = dataset.images.rows_of(people.image_id)
    tilt, turn = tilt_and_turn(people)
    head = head_size(people.xy, people.skeleton)
    small = head < SMALL_HEAD_PX if np.isfinite(head).any() else people.scale_px() < SMALL_PX
    found = {
        EVERYBODY: np.ones(len(people), dtype=bool),
        "small": small,
        "leaning or lying": (tilt >= 30) & (tilt <= 90),
        "upside down": tilt > 90,
        "crowded": overlap(people.bbox_xywh, image) > OVERLAP,
        "cut off by the picture": reaches_edge(people, sizes(dataset)[image]) & ~people.labelled.all(axis=1),
        "few labels": people.labelled.sum(axis=1) < FEW_LABELS,
        "seen from behind": turn < -TURNED,
        "seen from the side": np.abs(turn) <= TURNED,
    }
    return found | {REST: ~np.any([found[name] for name in HARD], axis=0)}


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
