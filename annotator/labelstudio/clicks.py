"""A task's regions as they stand while a reviewer works on it, and whose point a click with the smart tool places.

The page tells a backend of such a click and of all regions of that name; the rest is in the reviewer's draft, which
Label Studio saves at most five seconds after a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotator.labelstudio.config import CHOICE_OF, VISIBILITY, VISIBLE
from annotator.labelstudio.regions import POINT, Drawn, Region, gather, inside, understood, upright
from annotator.labelstudio.tasks import FIXED, KEYPOINT_WIDTH, Shown, ShownPerson, box_percent, region_id
from annotator.skeletons import FloatArray

Result = list[dict[str, Any]]
SMART = "is_positive"  # what regions made with the smart tool have, and no others
SEEN = (VISIBLE, CHOICE_OF[1])


@dataclass(frozen=True)
class Standing:
    """The regions of a task as they stand.

    Attributes:
        result: all of them, clicks in their points' places.
        answered: what goes back for the clicks.
        helped: people of whom the reviewer clicked or changed a region since.
        unsaved: some of it is not in the draft, and may or may not have been taken over by the page.
    """

    result: Result
    answered: Result
    helped: frozenset[str]
    unsaved: bool


def standing(
    picture: Shown,
    asked: dict[str, Any],
    pushed: Result,
    clicked: Result,
    keypoints: Sequence[str],
    unsaved: Result,
) -> Standing:
    """The reviewer's draft, or else what was pushed, with what was clicked since.

    Args:
        picture: what was shown.
        asked: the task; its drafts are the reviewer's own.
        pushed: the prediction that was pushed.
        clicked: regions that replace those of their id, and points made with the smart tool.
        keypoints: the skeleton's names.
        unsaved: what was answered since the draft was saved.
    """
    last = max(asked.get("drafts") or [], key=lambda draft: str(draft["updated_at"]), default=None)
    base: Result = [*(last["result"] if last else pushed)]
    for entry in unsaved:
        base = _put(base, [entry])
    ids = {entry.get("id") for entry in base}
    clicks = [entry for entry in clicked if entry.get("id") not in ids or SMART in entry]
    changed = [entry for entry in clicked if entry not in clicks and not _is_in(base, entry)]
    waiting = [entry for entry in base if SMART in entry]  # clicks whose answers wait to be accepted
    base = _put(base, changed)
    drawn = gather(picture, [entry for entry in base if entry not in waiting], keypoints)
    answered: Result = []
    owner_of = _owners(picture, keypoints)
    helped = {owner_of[entry["id"]] for entry in changed if entry["id"] in owner_of}
    for entry in _last_of_each([*waiting, *clicks]):
        person = _whose(picture, drawn, entry, keypoints)
        now = entry in clicks
        if person is None:
            answered += [_plain(entry)] if now else []
            continue
        placed = _placed(picture, person, entry, base)
        base = _put([one for one in base if one.get("id") != entry.get("id")], placed)
        if now:
            answered += placed
            helped.add(person.person_id)
    return Standing(base, answered, frozenset(helped), bool(unsaved))


def _is_in(result: Result, entry: dict[str, Any]) -> bool:
    """Whether a region is there as it is, wherever its other fields come from."""
    same = [one for one in result if (one.get("id"), one.get("type")) == (entry.get("id"), entry.get("type"))]
    return any(one.get("value") == entry.get("value") for one in same)


def _put(result: Result, new: Result) -> Result:
    """A result with some entries replaced."""
    names = {(entry.get("id"), entry.get("type")) for entry in new}
    return [entry for entry in result if (entry.get("id"), entry.get("type")) not in names] + new


def _last_of_each(clicks: Result) -> Result:
    """Points only, each id once, as it came last; a click that says `not here` is left out."""
    last = {entry.get("id"): entry for entry in clicks if entry.get("type") == POINT and entry.get(SMART, True)}
    return [*last.values()]


def _owners(picture: Shown, keypoints: Sequence[str]) -> dict[str, str]:
    """Region id -> person_id, of all regions that were or could be shown."""
    names = [person.person_id for person in picture.people]
    return {region_id(picture.round, name, keypoint): name for name in names for keypoint in ("", *keypoints)}


def _whose(picture: Shown, drawn: Drawn, click: dict[str, Any], keypoints: Sequence[str]) -> ShownPerson | None:
    """The person whose point a click places: around it, if anybody is, and with the nearest point of that name.

    None where that cannot be told, or the click is no point of the project.
    """
    if not (found := understood(picture, [click], keypoints, [])):
        return None
    region = found[0]
    parents = {region_id(picture.round, person.person_id): person for person in picture.people}
    free = [person for person in picture.people if not _is_fixed(person, region.label)]
    if region.parent in parents:
        return parents[region.parent] if parents[region.parent] in free else None
    around = [person for person in free if inside(region.middle, _bounds(picture, person, drawn))] or free
    placed = [person for person in around if drawn.points.get((person.person_id, region.label))]
    if len(around) > 1 and placed:
        size = np.array(picture.frame.shown_size)
        return min(placed, key=lambda person: _away(drawn, person, region, size))
    return around[0] if len(around) == 1 else None


def _away(drawn: Drawn, person: ShownPerson, region: Region, size: FloatArray) -> float:
    """How far a click is from a person's point of that name, in pixels."""
    there = drawn.points[person.person_id, region.label]
    return min(float(np.linalg.norm((region.xy - other.xy) * size)) for other in there)


def _bounds(picture: Shown, person: ShownPerson, drawn: Drawn) -> FloatArray:
    box = drawn.boxes.get(person.person_id)
    return box_percent(picture, person) if box is None else upright(box.corners)


def _is_fixed(person: ShownPerson, keypoint: str) -> bool:
    return any(point.keypoint == keypoint and point.kind in FIXED for point in person.points)


def _placed(picture: Shown, person: ShownPerson, click: dict[str, Any], base: Result) -> Result:
    """A click as the point it places: under the point's own id, with the visibility that it has or had."""
    name = region_id(picture.round, person.person_id, click["value"][POINT][0])
    place = {"x": click["value"]["x"], "y": click["value"]["y"], "width": KEYPOINT_WIDTH}
    parent = region_id(picture.round, person.person_id)
    common = {**_plain(click), "id": name, "parentID": parent, "origin": "manual"}
    words = [
        entry.get("value", {}).get("choices", [])
        for entry in base
        if entry.get("id") == name and entry.get("type") == "choices"
    ]
    seen = [word for some in words for word in some if word in SEEN]
    choice = {**common, "from_name": VISIBILITY, "type": "choices"}
    return [
        {**common, "value": {**place, POINT: click["value"][POINT]}},
        {**choice, "value": {**place, "choices": seen[:1] or [VISIBLE]}},
    ]


def _plain(click: dict[str, Any]) -> dict[str, Any]:
    """A click as a point that was made with the plain tool."""
    value = {name: some for name, some in click.get("value", {}).items() if name != "labels"}
    return {**{name: some for name, some in click.items() if name != SMART}, "value": value}
