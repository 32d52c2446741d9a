"""MPII's official file, mpii_human_pose_v1_u12_1.mat: one struct RELEASE with a list of images, `annolist`.

An image has `annorect`, its people: head rectangle x1, y1, x2, y2; `annopoints.point` with x, y, id (0 right ankle to
15 left wrist) and is_visible (1 visible, 0 occluded, often empty: read as visible); `objpos` and `scale`, which make
the box as in `mpii`. People of the test images have no points. A person's id is its place in the whole file.
The file's other fields (img_train, single_person, act, ...) pass through as values, without their array types. This
cannot be held: sizes of pictures, areas, boxes but by the rule, and of ids only the order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator.errors import FormatError, expected
from annotator.formats import matlab
from annotator.formats.dataset import Dataset
from annotator.formats.matlab import as_list
from annotator.formats.mpii import PIXEL_ORIGIN, box_of_scale, scale_of_box
from annotator.formats.records import Aside, Pictures, Record, Triples, at_origin, is_number, kind_of, shown
from annotator.images import Images
from annotator.people import People, box_of_keypoints, people
from annotator.skeletons import MPII_16, Skeleton

NAME = "mpii_mat"
LOOKED_FOR = "a .mat file with RELEASE"
_JOINTS = len(MPII_16)


def looks_like(path: Path) -> str:
    """Why this may be MPII's official file, or nothing."""
    return "a .mat file with a variable RELEASE" if "RELEASE" in matlab.variables(path) else ""


def read(path: Path, root: Path, source: str = "mpii") -> Dataset:
    """Read MPII's official file; `root` is the folder of its pictures.

    Raises:
        FormatError: the file cannot be used at all; faults of single people are in `Dataset.problems`.
    """
    release = matlab.load(path, "RELEASE", simplify=True)
    if not isinstance(release, dict) or "annolist" not in release:
        raise FormatError(expected("a struct with annolist", kind_of(release), f"{path}: RELEASE"))
    aside = Aside(path)
    pictures = Pictures(root, aside)
    persons: dict[str, tuple[Record, str]] = {}
    annolist, index = [], -1
    for i, entry in enumerate(as_list(release["annolist"])):
        pointer = f"RELEASE.annolist[{i}]"
        name = entry.get("image", {}).get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            aside.put(f"{pointer}.image.name", "a file name", shown(name), entry)
            continue
        kept: list[Any] = []
        for j, rectangle in enumerate(as_list(entry.get("annorect", []))):
            index += 1
            where = f"{pointer}.annorect[{j}]"
            record = {"image": name, **_filled(rectangle)} if isinstance(rectangle, dict) else rectangle
            text = aside.text(record, where)
            if text is None or not pictures.there(name, f"{pointer}.image.name", record):
                continue
            if fault := wrong_person(record):
                aside.put(f"{where}{fault[0]}", fault[1], fault[2], record)
                continue
            person = f"{source}:{index}"
            persons[person] = (record, text)
            kept.append(person)
        annolist.append({**entry, "annorect": kept})
    pictures.report_missing()
    rest = {"release": {**release, "annolist": annolist}}
    return Dataset(NAME, path, pictures.table(source), _people(persons, source), tuple(aside.problems), rest)


def write(path: Path, dataset: Dataset) -> None:
    """Write MPII's official structure; records that came from one are patched, others are built."""
    table = at_origin(dataset.people, PIXEL_ORIGIN).align(MPII_16)
    own = dataset.format == NAME
    rectangles = dict(zip(table.person_id, _rectangles(table, own), strict=True))
    if own:
        release = dict(dataset.rest["release"])
        annolist = [dict(entry) for entry in release["annolist"]]
        _add_found(annolist, table, dataset.images)
    else:
        people_of: dict[str, list[str]] = {image: [] for image in dataset.images.image_id}
        for person, image in zip(table.person_id, table.image_id, strict=True):
            people_of[image].append(person)
        release = {"img_train": [1] * len(dataset.images)}
        annolist = [
            {"image": {"name": name}, "annorect": people_of[image]}
            for image, name in zip(dataset.images.image_id, dataset.images.file_name, strict=True)
        ]
    for entry in annolist:
        there = [rectangles[person] for person in entry["annorect"] if person in rectangles]
        entry["annorect"] = matlab.structs(there) if there else np.zeros((0, 0))
    matlab.save(path, {"RELEASE": {**release, "annolist": matlab.structs(annolist)}})


def triples(_: Dataset) -> tuple[Skeleton, Triples]:
    """MPII-16, and a function from a person's record to its x, y, v triples as written."""
    return MPII_16, record_triples


def points_of(record: Record) -> list[Record]:
    """The annotated points of a person."""
    annotated = record.get("annopoints")
    return as_list(annotated.get("point", [])) if isinstance(annotated, dict) else []


def record_triples(record: Record) -> list[list[Any]]:
    """A record's keypoints as x, y, v triples with its own numbers."""
    out: list[list[Any]] = [[-1, -1, 0] for _ in range(_JOINTS)]
    for point in points_of(record):
        out[int(point["id"])] = [point["x"], point["y"], 1 if str(point.get("is_visible")) == "0" else 2]
    return out


def wrong_person(record: Any) -> tuple[str, str, str] | None:
    """What keeps a record from being a person, as (pointer, expected, found)."""
    if not isinstance(record, dict):
        return "", "a struct", kind_of(record)
    seen = set()
    for k, point in enumerate(points_of(record)):
        where = f".annopoints.point[{k}]"
        if not isinstance(point, dict) or any(not is_number(point.get(key)) for key in ("x", "y", "id")):
            return where, "a struct with numbers x, y, id", shown(point)
        if point["id"] not in range(_JOINTS) or point["id"] in seen:
            return f"{where}.id", "an id of 0 to 15, used once", shown(point["id"])
        seen.add(point["id"])
    if _given(record) is None and not seen:
        return "", "objpos and scale, or labelled points", "neither"
    return None


def _given(record: Record) -> tuple[list[float], float] | None:
    """Centre and scale, where both are there."""
    position, scale = record.get("objpos"), record.get("scale")
    if not isinstance(position, dict) or not is_number(scale) or scale <= 0:
        return None
    center = [position.get("x"), position.get("y")]
    return (center, float(scale)) if all(is_number(value) for value in center) else None  # type: ignore


def _filled(rectangle: Record) -> Record:
    """A struct without its empty fields: MATLAB gives every struct of an array every field."""
    return {key: value for key, value in rectangle.items() if not (isinstance(value, list) and not value)}


def _people(persons: dict[str, tuple[Record, str]], source: str) -> People:
    records = [record for record, _ in persons.values()]
    points = np.array([record_triples(record) for record in records], dtype=np.float64).reshape(-1, _JOINTS, 3)
    boxes = box_of_keypoints(np.where(points[..., 2:] > 0, points[..., :2], np.nan))
    for row, record in enumerate(records):
        if given := _given(record):
            boxes[row] = box_of_scale(np.array([given[0]], dtype=np.float64), np.array([given[1]]))[0]
    return people(
        MPII_16,
        person_id=list(persons),
        image_id=[f"{source}:{record['image']}" for record in records],
        source=source,
        xy=points[..., :2],
        v=points[..., 2],
        bbox_xywh=boxes,
        bbox_given=False,
        pixel_origin=PIXEL_ORIGIN,
        record=[text for _, text in persons.values()],
    )


def _add_found(annolist: list[Record], table: People, images: Images) -> None:
    """Enter people without a record, whom a reviewer found, in their pictures."""
    names = dict(zip(images.image_id, images.file_name, strict=True))
    found: dict[str, list[str]] = {}
    for person, image, text in zip(table.person_id, table.image_id, table.record, strict=True):
        if not text:
            found.setdefault(names[image], []).append(person)
    for entry in annolist:
        entry["annorect"] = [*entry["annorect"], *found.pop(entry["image"]["name"], [])]


def _rectangles(table: People, own: bool) -> list[Record]:
    """One struct for each person."""
    center, scale = scale_of_box(table.bbox_xywh)
    out = []
    for row, text in enumerate(table.record):
        record = json.loads(text) if own and text else {}
        record.pop("image", None)
        if not record or table.bbox_given[row]:  # the file gives no box: a reviewer moved it
            x, y = center[row].tolist()
            record |= {"scale": float(scale[row]), "objpos": {"x": x, "y": y}}
        _patch(record, table.xy[row].tolist(), table.v[row].tolist())
        if points := points_of(record):
            record["annopoints"] = {**record["annopoints"], "point": matlab.structs(points)}
        out.append(record)
    return out


def _patch(record: Record, xy: list[list[float]], v: list[int]) -> None:
    """Bring the points of a record to what the table says, leaving those alone that say it already."""
    before = record_triples(record)
    changed = [k for k in range(_JOINTS) if before[k][2] != v[k] or (v[k] and before[k][:2] != xy[k])]
    if not changed:
        return
    points = {int(point["id"]): point for point in points_of(record)}
    for k in changed:
        if v[k]:
            points[k] = {**points.get(k, {}), "x": xy[k][0], "y": xy[k][1], "id": k, "is_visible": v[k] - 1}
        else:
            del points[k]
    annotated = record.get("annopoints")
    record["annopoints"] = {**(annotated if isinstance(annotated, dict) else {}), "point": list(points.values())}
