"""Small annotation files with pictures of noise, as the datasets write them, and what `propose` made of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from annotator.skeletons import COCO_17, UNION_21

SIZE = (160, 120)
OUTPUTS = ("annotations.json", "problems.jsonl", "rounds/001/proposals.parquet", "rounds/001/round.toml")


def pictures(root: Path, count: int, seed: int = 0) -> list[str]:
    """Pictures of noise; gives their names."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = [f"{i:06d}.png" for i in range(count)]
    for name in names:
        coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BILINEAR).save(root / name)
    return names


def coco(folder: Path, count: int = 4, people: int = 3, seed: int = 0) -> tuple[Path, Path]:
    """A COCO keypoints file of `count` pictures with as many people each, and the folder of the pictures.

    About a third of the keypoints are unlabelled, but never shoulders and hips of the first person of a picture.
    """
    rng = np.random.default_rng(seed)
    names = pictures(folder / "images", count, seed)
    trunk = COCO_17.indices([f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")])
    annotations = []
    for i in range(count * people):
        xy, v = rng.integers([5, 5], [155, 115], (17, 2)), rng.choice([0, 1, 2], 17)
        if i % people == 0:
            v[trunk] = 2
        xy[v == 0] = 0
        annotations.append({
            "id": 1000 + 7 * i, "image_id": 139 + i // people, "category_id": 1, "iscrowd": 0, "mood": f"calm {i}",
            "bbox": [*rng.uniform(0, 60, 2).round(2).tolist(), *rng.uniform(30, 90, 2).round(2).tolist()],
            "area": round(rng.uniform(900, 4000), 3), "num_keypoints": int((v > 0).sum()),
            "keypoints": np.column_stack([xy, v]).ravel().tolist(),
        })  # fmt: skip
    document = {
        "images": [{"id": 139 + i, "file_name": name, "width": 160, "height": 120} for i, name in enumerate(names)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": []}],
    }
    (folder / "coco.json").write_text(json.dumps(document))
    return folder / "coco.json", folder / "images"


def mpii(folder: Path, count: int = 4, people: int = 2, seed: int = 1) -> tuple[Path, Path]:
    """An MPII list, pixels counted from 1, all joints labelled but each fourth person's wrists."""
    rng = np.random.default_rng(seed)
    names = pictures(folder / "frames", count, seed)
    records: list[dict[str, Any]] = []
    for i in range(count * people):
        joints = rng.uniform([5, 5], [155, 115], (16, 2)).round(4)
        seen = np.ones(16, dtype=int)
        if i % 4 == 0:
            seen[[10, 15]], joints[[10, 15]] = 0, -1
        records.append({
            "image": names[i // people], "center": rng.uniform(50, 90, 2).round(3).tolist(),
            "scale": round(rng.uniform(0.3, 0.6), 5),
            "joints": joints.tolist(), "joints_vis": seen.tolist(),
        })  # fmt: skip
    (folder / "mpii.json").write_text(json.dumps(records))
    return folder / "mpii.json", folder / "frames"


def annotations(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "annotations.json").read_text())["annotations"]
    return found


def points(annotation: dict[str, Any]) -> dict[str, tuple[float, float, int, str]]:
    """x, y, v and origin of each keypoint."""
    flat = np.reshape(annotation["keypoints"], (21, 3)).tolist()
    words = annotation["annotator"]["origin"]
    return {name: (*flat[k], words[k]) for k, name in enumerate(UNION_21.keypoints)}


def origins(annotation: dict[str, Any]) -> Counter[str]:
    return Counter(annotation["annotator"]["origin"])


def rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """proposals.parquet by person and keypoint."""
    table = pq.read_table(out / "rounds/001/proposals.parquet").to_pylist()
    return {(row["person_id"], row["keypoint"]): row for row in table}


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in OUTPUTS}


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes({"cut short": data[: len(data) // 2], "text": b"no picture", "empty": b""}[how])
