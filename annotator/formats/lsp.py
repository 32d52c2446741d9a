"""Leeds Sports Pose: one `joints` array in a .mat file, one person a picture, pictures numbered from 1.

LSP has (3, 14, N) and its third row says OCCLUDED (1 occluded, 0 visible); pictures are im0001.jpg. LSP extended has
(14, 3, N) and its third column says LABELLED (1 labelled, 0 not, coordinates then meaningless); pictures are
im00001.jpg. The two flags are each other's inverse. There are no boxes: `people.box_of_keypoints` is the rule. This
cannot be held: two people in a picture, other picture names, boxes, areas; in LSP unlabelled keypoints, in LSP
extended whether a keypoint is occluded. People of another format are written as LSP extended's.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.errors import FormatError, InputError, expected
from annotator.formats import matlab
from annotator.formats.dataset import Dataset, Problem
from annotator.formats.records import Aside, Record, Triples, at_origin, check_found, counted, shown
from annotator.images import Images
from annotator.people import BoolArray, box_of_keypoints, people
from annotator.skeletons import LSP_14, FloatArray, Skeleton

NAME = "lsp"
LOOKED_FOR = "a .mat file with joints (3, 14, N) or (14, 3, N)"
# Networks trained on COCO and MPII put the limbs of 300 people of each set .39 (LSP) and .12 px (LSP extended) left of
# the labels on average (standard error .04 and .08), where counting from 1 would give 1. What is left may be MATLAB's
# origin of 1, shrunk together with the pictures.
PIXEL_ORIGIN = 0
_JOINTS = len(LSP_14)
_FILE_NAME = re.compile(r"im(\d+)\.jpg")


def looks_like(path: Path) -> str:
    """Why this may be an LSP file, or nothing."""
    return "a .mat file with a variable joints" if "joints" in matlab.variables(path) else ""


def read(path: Path, root: Path, source: str | None = None) -> Dataset:
    """Read LSP's or LSP extended's joints.mat; `root` is the folder of its pictures.

    `source` is `lsp` or `lspet` where it is not given. People whose picture is not there are counted in one problem.

    Raises:
        FormatError: the file cannot be used at all; faults of single people are in `Dataset.problems`.
    """
    joints, extended = load(path)
    source = source or ("lspet" if extended else "lsp")
    names = [f"im{i + 1:0{5 if extended else 4}d}.jpg" for i in range(len(joints))]
    there = np.array([(root / name).is_file() for name in names], dtype=bool)
    lost = [name for name, found in zip(names, there, strict=True) if not found]
    check_found(root, int(there.sum()), lost)
    aside = Aside(path)
    for i in np.flatnonzero(there):
        if fault := wrong_person(joints[i], extended):
            there[i] = False
            aside.put(f"joints[{i}]{fault[0]}", fault[1], fault[2], {"image": names[i], "joints": joints[i].tolist()})
    problems = aside.problems
    if lost:
        found = f"{counted(len(lost), 'picture')} not there; their people are set aside"
        problems.append(Problem(str(path), "joints", f"the pictures of {len(joints):,} people", found, lost))
    others = {int(i): joints[i].tolist() for i in np.flatnonzero(~there)}
    rest = {"extended": extended, "count": len(joints), "others": others}
    return _dataset(path, root, source, joints, names, np.flatnonzero(there), rest, problems)


def write(path: Path, dataset: Dataset) -> None:
    """Write a joints.mat; raises InputError where it cannot hold the people."""
    table = at_origin(dataset.people, PIXEL_ORIGIN).align(LSP_14)
    own = dataset.format == NAME
    extended = dataset.rest["extended"] if own else True
    names = dict(zip(dataset.images.image_id, dataset.images.file_name, strict=True))
    numbers = [number_of(names[image], str(path)) for image in table.image_id]
    if len(set(numbers)) != len(numbers):
        raise InputError(expected("one person a picture", "pictures with several", str(path)))
    if not extended and not table.labelled.all():
        raise InputError(expected("people with all 14 keypoints labelled", "others", str(path)))
    joints = np.zeros((max([dataset.rest["count"] if own else 0, *numbers]), _JOINTS, 3))
    for i, values in (dataset.rest["others"] if own else {}).items():
        joints[int(i)] = values
    for row, number in enumerate(numbers):
        if own and table.record[row]:
            joints[number - 1] = json.loads(table.record[row])["joints"]
        before = visibility(joints[number - 1, :, 2], extended)
        after = np.minimum(table.v[row], 1) * 2 if extended else table.v[row]
        changed = (before != after) | ((after > 0) & (joints[number - 1, :, :2] != table.xy[row]).any(axis=1))
        joints[number - 1, changed, :2] = np.nan_to_num(table.xy[row, changed])
        joints[number - 1, changed, 2] = (after > 0)[changed] if extended else (after == 1)[changed]
    matlab.save(path, {"joints": joints.transpose(1, 2, 0) if extended else joints.transpose(2, 1, 0)})


def triples(dataset: Dataset) -> tuple[Skeleton, Triples]:
    """LSP-14, and a function from a person's record to its x, y, v triples."""

    def triples_of(record: Record) -> list[list[Any]]:
        joints = np.array(record["joints"])
        v = visibility(joints[:, 2], dataset.rest["extended"])
        return [[x, y, seen] for (x, y), seen in zip(joints[:, :2].tolist(), v.tolist(), strict=True)]

    return LSP_14, triples_of


def restricted(dataset: Dataset, _: Images, kept: BoolArray) -> dict[str, Any]:
    """`rest` with the people left out among the others: a file whose pictures have numbers holds all of them."""
    others = dict(dataset.rest["others"])
    for text in dataset.people.record[~kept]:
        record = json.loads(text)
        others[number_of(record["image"], str(dataset.path)) - 1] = record["joints"]
    return {**dataset.rest, "others": others}


def load(path: Path) -> tuple[FloatArray, bool]:
    """The joints as (N, 14, 3), and whether the file is LSP extended's."""
    joints = np.asarray(matlab.load(path, "joints"))
    shape = joints.shape if joints.ndim == 3 else (*joints.shape, 1)  # MATLAB drops the last axis of one person
    if joints.dtype.kind in "iuf" and shape[:2] == (3, _JOINTS):
        return joints.reshape(shape).transpose(2, 1, 0).astype(np.float64), False
    if joints.dtype.kind in "iuf" and shape[:2] == (_JOINTS, 3):
        return joints.reshape(shape).transpose(2, 0, 1).astype(np.float64), True
    raise FormatError(expected("joints of (3, 14, N) or (14, 3, N) numbers", joints.shape, str(path)))


def visibility(flag: NDArray[Any], extended: bool) -> NDArray[np.int64]:
    """COCO's v from LSP's occluded flag or LSP extended's labelled flag."""
    return np.where(flag == 1, 2, 0) if extended else np.where(flag == 1, 1, 2)


def wrong_person(joints: FloatArray, extended: bool) -> tuple[str, str, str] | None:
    """What keeps a (14, 3) array from being a person, as (pointer, expected, found)."""
    for k, (x, y, flag) in enumerate(joints.tolist()):
        if flag not in (0, 1):
            return f"[{k}]", "a flag of 0 or 1", shown(flag)
        if (flag == 1 or not extended) and not np.isfinite([x, y]).all():
            return f"[{k}]", "a finite x and y", shown([x, y])
    if extended and not (joints[:, 2] == 1).any():
        return "", "a labelled keypoint, since there is no box", "none"
    return None


def number_of(file_name: str, where: str) -> int:
    """Number of a picture, counted from 1; raises InputError where its name holds none."""
    match = _FILE_NAME.fullmatch(file_name)
    if not match or int(match[1]) == 0:
        raise InputError(expected("pictures named im0001.jpg and so on", file_name, where))
    return int(match[1])


def _dataset(
    path: Path, root: Path, source: str, joints: FloatArray, names: list[str], rows: NDArray[Any],
    rest: dict[str, Any], problems: list[Problem],
) -> Dataset:  # fmt: skip
    kept = [names[i] for i in rows]
    images = Images(
        image_id=np.array([f"{source}:{name}" for name in kept], dtype=object),
        path=np.array([str(root / name) for name in kept], dtype=object),
        file_name=np.array(kept, dtype=object),
        width=np.full(len(rows), -1),
        height=np.full(len(rows), -1),
        record=np.full(len(rows), "", dtype=object),
    )
    xy, v = joints[rows, :, :2], visibility(joints[rows, :, 2], rest["extended"])
    table = people(
        LSP_14,
        person_id=[f"{source}:{i}" for i in rows],
        image_id=images.image_id,
        source=source,
        xy=xy,
        v=v,
        bbox_xywh=box_of_keypoints(np.where((v > 0)[..., None], xy, np.nan)),
        bbox_given=False,
        pixel_origin=PIXEL_ORIGIN,
        record=[json.dumps({"image": names[i], "joints": joints[i].tolist()}) for i in rows],
    )
    return Dataset(NAME, path, images, table, tuple(problems), rest)
