"""data.yaml of YOLO-pose: which keypoints the lines hold, and where the lines are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from annotator.errors import FormatError, expected
from annotator.files import read_bytes
from annotator.formats.coco import skeleton_of
from annotator.formats.cocowrite import category
from annotator.formats.records import shown
from annotator.skeletons import COCO_17, HALPE_26, LSP_14, MPII_16, UNION_21, Skeleton, make


class Data(NamedTuple):
    """What is known of a folder before its lines are read."""

    skeleton: Skeleton
    dimensions: int
    labels: Path
    text: str


def says_keypoints(file: Path) -> bool:
    """Whether a .yaml file is one of YOLO-pose."""
    return "kpt_shape" in read_bytes(file, "a .yaml file").decode("utf-8", "replace")


def starts_with_numbers(file: Path) -> bool:
    """Whether the first line of a text file is a class, a box and at least one keypoint."""
    try:
        return len([float(token) for token in read_bytes(file, "a text file").split(b"\n")[0].split()]) > 6
    except ValueError:
        return False


def beside(folder: Path) -> Path | None:
    """The .yaml file with kpt_shape in a folder or one of the two above it."""
    for place in (folder, folder.parent, folder.parent.parent):
        for file in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            if says_keypoints(file):
                return file
    return None


def find(path: Path, root: Path) -> Data:
    """Skeleton and labels of a data.yaml or a folder.

    The labels of a data.yaml are where Ultralytics looks for them: `root` with its last `images` replaced by `labels`,
    else the folder `labels` beside it.
    """
    if not root.is_dir():
        raise FormatError(expected("a folder of pictures", "no such folder", str(root)))
    file = beside(path) if path.is_dir() else path
    labels = path / "labels" if (path / "labels").is_dir() else path
    if not path.is_dir():
        parts = list(root.absolute().parts)
        last = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else -1
        swapped = Path(*parts[:last], "labels", *parts[last + 1 :]) if last >= 0 else path.parent / "labels"
        labels = swapped if swapped.is_dir() else path.parent / "labels"
        if not labels.is_dir():
            raise FormatError(expected("a folder of labels", "no such folder", str(labels)))
    text = read_bytes(file, "a data.yaml").decode("utf-8", "replace") if file else ""
    skeleton, dimensions = parse(text or f"kpt_shape: [{_guessed_keypoints(labels)}, 3]", file or path)
    return Data(skeleton, dimensions, labels, text)


def parse(text: str, path: Path) -> tuple[Skeleton, int]:
    """Skeleton and numbers a keypoint (2 or 3) from the text of a data.yaml."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}: line {mark.line + 1} column {mark.column + 1}" if mark else str(path)
        raise FormatError(expected("YAML", getattr(error, "problem", "something else"), where)) from error
    shape = content.get("kpt_shape") if isinstance(content, dict) else None
    if not isinstance(shape, list) or len(shape) != 2 or shape[1] not in (2, 3) or type(shape[0]) is not int:
        raise FormatError(expected("kpt_shape: [number of keypoints, 2 or 3]", shown(shape), str(path)))
    return _skeleton(content, shape[0], f"{path}: kpt_names"), shape[1]


def text_of(skeleton: Skeleton, dimensions: int) -> str:
    """Text of a data.yaml for a skeleton."""
    said = category(skeleton)
    lines = {
        "kpt_shape": [len(skeleton), dimensions],
        "flip_idx": skeleton.flip.tolist(),
        "names": {0: "person"},
        "kpt_names": {0: list(skeleton.keypoints)},
        "skeleton": said["skeleton"],
    }
    if "annotator" in said:
        lines["annotator"] = said["annotator"]
    return str(yaml.safe_dump(lines, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True))


def _skeleton(content: dict[str, Any], keypoints: int, where: str) -> Skeleton:
    names = content.get("kpt_names")
    if isinstance(names, dict):
        lists = {json.dumps(value): value for value in names.values()}
        if len(lists) != 1:
            raise FormatError(expected("one list of keypoints for all classes", f"{len(lists)}", where))
        names = next(iter(lists.values()))
    if names is not None:
        if not isinstance(names, list) or len(names) != keypoints or not all(isinstance(name, str) for name in names):
            raise FormatError(expected(f"{keypoints} names", shown(names), where))
        return skeleton_of({**content, "keypoints": names}, where)
    flip = content.get("flip_idx")
    for known in (COCO_17, MPII_16, HALPE_26, LSP_14, UNION_21):
        if len(known) == keypoints and (flip is None or flip == known.flip.tolist()):
            return known
    return make("yolo", [f"keypoint_{k}" for k in range(keypoints)])


def _guessed_keypoints(labels: Path) -> int:
    """Number of x, y, v triples in the first line of a folder without a data.yaml."""
    for file in sorted(labels.rglob("*.txt")):
        if tokens := read_bytes(file, "a text file").split(b"\n")[0].split():
            if len(tokens) > 5 and (len(tokens) - 5) % 3 == 0:
                return (len(tokens) - 5) // 3
            wanted = "a class, a box and x, y, v triples, or a data.yaml that says how"
            raise FormatError(expected(wanted, f"{len(tokens)} numbers", f"{file}: line 1"))
    raise FormatError(expected("a .txt file with a line", "none", str(labels)))
