"""The regions of an annotation, sorted by the person they belong to, before anything is compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotator.labelstudio.again import NOTE
from annotator.labelstudio.config import HEAD, PERSON, V_OF, boxes_of
from annotator.labelstudio.tasks import Shown, box_percent, region_id
from annotator.skeletons import FloatArray

# Of a box's longer side: hands and feet reach out of many boxes.
MARGIN = 0.1
# Sizes of one picture that are the same but for rounding.
SAME_SHAPE = 0.01
BOX, POINT = "rectanglelabels", "keypointlabels"
FLAT = "expected a person's rectangle with an area, got none"
VALUE_OF = {BOX: ("x", "y", "width", "height"), POINT: ("x", "y")}
# Further results of a region that is understood by its main one, and what stands between regions.
PASSED = ("relation",)


@dataclass(frozen=True)
class Region:
    """A rectangle or keypoint as it came back.

    Attributes:
        kind: rectanglelabels or keypointlabels.
        id, parent: its id, and that of the region it hangs under, '' for none.
        label: its one name.
        xywh: (4,) percent; width and height 0 for a keypoint.
        corners: (4, 2) percent, a rectangle's; all one point for a keypoint.
        rotation: degrees, a rectangle's.
        v: COCO's visibility as chosen; -1 where nothing was chosen.
        again: its note says that it is a proposal made while the reviewer worked.
    """

    kind: str
    id: str
    parent: str
    label: str
    xywh: FloatArray
    corners: FloatArray
    rotation: float
    v: int
    again: bool = False

    def is_a(self, name: str) -> bool:
        """Whether it is a rectangle of this name."""
        return self.kind == BOX and self.label == name

    @property
    def is_flat(self) -> bool:
        """Whether it has no area."""
        return bool(self.xywh[2:].min() <= 0)

    @property
    def xy(self) -> FloatArray:
        """(2,) percent."""
        return self.xywh[:2]

    @property
    def middle(self) -> FloatArray:
        """(2,) percent."""
        return np.asarray(self.corners.mean(axis=0))


@dataclass
class Drawn:
    """Regions by their owner: a person_id, or the id of a new person's rectangle."""

    boxes: dict[str, Region] = field(default_factory=dict)
    heads: dict[str, Region] = field(default_factory=dict)
    points: dict[tuple[str, str], list[Region]] = field(default_factory=dict)
    new_people: list[Region] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def gather(picture: Shown, result: Sequence[dict[str, Any]], keypoints: Sequence[str]) -> Drawn:
    """Sort an annotation's regions by their person; what fits nowhere becomes a problem."""
    drawn = Drawn()
    regions = understood(picture, result, keypoints, drawn.problems)
    ours = {region_id(picture.round, person.person_id): person.person_id for person in picture.people}
    owner_of = dict(ours)  # region id -> owner
    for person in picture.people:
        owner_of |= {region_id(picture.round, person.person_id, name): person.person_id for name in keypoints}
    for region in regions:
        if region.is_a(PERSON) and region.id in ours:
            drawn.boxes[ours[region.id]] = region
        elif region.is_a(PERSON):
            owner_of[region.id] = region.id
            if region.is_flat:
                drawn.problems.append(f"region {region.id}: {FLAT}; what hangs under it is left out, too")
                continue
            drawn.new_people.append(region)
            drawn.boxes[region.id] = region
    rest = [region for region in regions if not region.is_a(PERSON)]
    loose = [region for region in rest if not _at_home(drawn, region, owner_of)]
    bounds = {person.person_id: box_percent(picture, person) for person in picture.people}
    bounds |= {owner: upright(region.corners) for owner, region in drawn.boxes.items()}
    for region in loose:
        _find_home(drawn, region, bounds)
    return drawn


def _at_home(drawn: Drawn, region: Region, owner_of: dict[str, str]) -> bool:
    """Give a region to its owner, whom its parent tells, else its own id; False where both are new.

    The parent comes first: a reviewer who hangs a point under another person means that.
    """
    owner = owner_of.get(region.parent) or owner_of.get(region.id)
    if owner:
        _give(drawn, owner, region)
    return owner is not None


def _find_home(drawn: Drawn, region: Region, bounds: dict[str, FloatArray]) -> None:
    """Give a region that hangs under nothing to the one person around it who lacks it.

    A second point for the one person around it goes to that person, too: two of a name decide nothing.
    """
    within = [owner for owner in bounds if inside(region.middle, bounds[owner])] if len(bounds) > 1 else [*bounds]
    around = [owner for owner in within if not _has(drawn, owner, region)]
    if not around and len(within) == 1 and region.kind == POINT:
        around = within
    if len(around) == 1:
        _give(drawn, around[0], region)
    else:
        found = f"{len(around)} ({', '.join(around)})" if around else "none"
        drawn.problems.append(
            f"{region.label}: expected one person around it to lack it, got {found}: hang it under one"
        )


def _has(drawn: Drawn, owner: str, region: Region) -> bool:
    return owner in drawn.heads if region.is_a(HEAD) else bool(drawn.points.get((owner, region.label)))


def upright(corners: FloatArray) -> FloatArray:
    """Box (4,) xywh around some corners."""
    low = corners.min(axis=0)
    return np.concatenate([low, corners.max(axis=0) - low])


def inside(xy: FloatArray, xywh: FloatArray) -> bool:
    """Whether a point is in a box or close to it, both in percent."""
    away = MARGIN * xywh[2:].max()
    return bool((xy >= xywh[:2] - away).all() and (xy <= xywh[:2] + xywh[2:] + away).all())


def _give(drawn: Drawn, owner: str, region: Region) -> None:
    if not region.is_a(HEAD):
        there = drawn.points.setdefault((owner, region.label), [])
        # A click with the smart tool stays where the point that answers it was accepted alone.
        if not any((region.xy == other.xy).all() for other in there):
            there.append(region)
    elif owner in drawn.heads:
        drawn.problems.append(f"{owner}: {HEAD}: expected one, got another")
    else:
        drawn.heads[owner] = region


def understood(
    picture: Shown, result: Sequence[dict[str, Any]], keypoints: Sequence[str], problems: list[str]
) -> list[Region]:
    """Rectangles and keypoints with one known name each; everything else is counted in `problems`."""
    names = {BOX: boxes_of(keypoints), POINT: tuple(keypoints)}
    chosen = {}
    for entry in result:
        if entry.get("type") == "choices":
            words = entry.get("value", {}).get("choices", [])
            chosen[str(entry.get("id"))] = next((V_OF[word] for word in words if word in V_OF), -1)
    out: dict[str, Region] = {}
    unknown: Counter[str] = Counter()
    for entry in result:
        kind = str(entry.get("type"))
        if kind == "choices" or kind in PASSED:
            continue
        if kind not in VALUE_OF:
            unknown[kind] += 1
        elif region := _region(picture, entry, kind, chosen, problems):
            if region.label not in names[kind]:
                problems.append(f"region {region.id}: expected a name of the project, got {region.label!r}")
                continue
            if region.id in out:
                problems.append(f"{region.label}: expected an id of its own, got {region.id} twice")
            out.setdefault(region.id, region)
    problems += [f"expected rectangles and keypoints, got {n} of type {kind}" for kind, n in unknown.items()]
    return list(out.values())


def _region(
    picture: Shown, entry: dict[str, Any], kind: str, chosen: dict[str, int], problems: list[str]
) -> Region | None:
    """One region; None, with a word on why, where it has no one known name or lies in another picture."""
    value, name = entry.get("value", {}), str(entry.get("id"))
    labels = value.get(kind) or []
    where = f"region {name}"
    if len(labels) != 1:
        problems.append(f"{where}: expected one name, got {', '.join(labels) or 'none'}")
        return None
    if problem := _elsewhere(picture, entry):
        problems.append(f"{where} ({labels[0]}): {problem}")
        return None
    try:
        numbers = [float(value[key]) for key in VALUE_OF[kind]]
    except (KeyError, TypeError, ValueError):
        numbers = [math.nan]
    rotation = float(value.get("rotation") or 0)
    if not all(map(math.isfinite, [*numbers, rotation])):
        problems.append(f"{where} ({labels[0]}): expected numbers for {', '.join(VALUE_OF[kind])}, got others")
        return None
    xywh = np.array([*numbers, 0.0, 0.0][:4])
    parent = str(entry.get("parentID") or "")
    corners = picture.frame.corners(xywh, rotation)
    notes = (entry.get("meta") or {}).get("text")
    again = any(str(note).endswith(NOTE) for note in (notes if isinstance(notes, list) else [notes]))
    return Region(kind, name, parent, labels[0], xywh, corners, rotation, chosen.get(name, -1), again)


def _elsewhere(picture: Shown, entry: dict[str, Any]) -> str:
    """Why a region's percent are not of the picture as we know it."""
    if entry.get("image_rotation"):
        return f"expected the picture upright, got it turned by {entry['image_rotation']} degrees"
    width, height = entry.get("original_width"), entry.get("original_height")
    shown = picture.frame.shown_size
    if width and height and abs(width * shown[1] / (height * shown[0]) - 1) > SAME_SHAPE:
        return f"expected a picture of {shown[0]} x {shown[1]}, got {width} x {height}"
    return ""
