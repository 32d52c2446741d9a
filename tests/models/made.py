"""Pictures of coloured dots, people whose labels are the dots, a teacher that finds them, training sets of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.images import Images
from annotator.people import People, people
from annotator.skeletons import COCO_17, MPII_16, UNION_21, Skeleton
from annotator.students.cache import Cache
from annotator.students.card import Card
from annotator.students.onnx import OnnxModel
from annotator.training import Part, write_set

WIDTH, HEIGHT = 160, 120
# The colour channel of each keypoint that is drawn; wrists are MPII's and COCO's, the nose only COCO's.
CHANNEL = {"nose": 0, "left_wrist": 1, "right_wrist": 2}
GHOST = 128  # brightness of a second, fainter dot


def blob(size_wh: tuple[int, int], at: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """A round dot (H, W) of height 1, its middle at the pixel index `at`."""
    x, y = np.meshgrid(np.arange(size_wh[0]), np.arange(size_wh[1]))
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2))


def centroid(grey: np.ndarray) -> np.ndarray:
    """Middle of a dot, as pixel index x, y."""
    bright = np.where(grey > 0.2 * grey.max(), grey, 0).astype(np.float64)
    y, x = np.indices(grey.shape)
    return np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()


def dotted(
    folder: Path, n: int, skeleton: Skeleton = UNION_21, *, source: str = "dots", pixel_origin: int = 0, seed: int = 0
) -> tuple[Images, People]:
    """N people, one a picture, all keypoints labelled; those of CHANNEL are drawn where their label is.

    The left wrist has a ghost 30 pixels below it, half as bright: a second peak for the teacher.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    xy = np.stack([rng.uniform(56, 104, (n, len(skeleton))), rng.uniform(25, 95, (n, len(skeleton)))], axis=2).round(2)
    # Far enough apart that no dot touches another.
    for name, (x, y) in {"nose": (80, 30), "left_wrist": (65, 55), "right_wrist": (95, 60)}.items():
        if name in skeleton.keypoints:
            xy[:, skeleton.index(name)] = np.array([x, y]) + rng.integers(-4, 5, (n, 2))
    for i in range(n):
        pixels = np.zeros((HEIGHT, WIDTH, 3))
        for name, channel in CHANNEL.items():
            if name in skeleton.keypoints:
                pixels[..., channel] = 255 * blob((WIDTH, HEIGHT), xy[i, skeleton.index(name)])
        pixels[..., 1] += GHOST * blob((WIDTH, HEIGHT), xy[i, skeleton.index("left_wrist")] + [0, 30])
        Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(folder / f"{i}.png")
    names = np.array([f"{source}:{i}" for i in range(n)], dtype=object)
    images = Images(
        image_id=names,
        path=np.array([str(folder / f"{i}.png") for i in range(n)], dtype=object),
        file_name=np.array([f"{i}.png" for i in range(n)], dtype=object),
        width=np.full(n, WIDTH),
        height=np.full(n, HEIGHT),
        record=np.full(n, "", dtype=object),
    )
    box = np.tile([50.0 + pixel_origin, 20.0 + pixel_origin, 60.0, 80.0], (n, 1))
    table = people(
        skeleton,
        person_id=names,
        image_id=names,
        source=source,
        xy=xy + pixel_origin,
        v=np.full((n, len(skeleton)), 2),
        bbox_xywh=box,
        pixel_origin=pixel_origin,
    )
    return images, table


def dot_teacher(folder: Path, name: str = "dots", *, flip_test: bool = False) -> OnnxModel:
    """A network whose three heatmaps are the colours, at half the resolution: it sees the dots and nothing else."""
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    pool = helper.make_node("AveragePool", ["image"], ["maps"], kernel_shape=[2, 2], strides=[2, 2])
    graph = helper.make_graph(
        [pool],
        "dots",
        [helper.make_tensor_value_info("image", kind, ["n", 3, 96, 72])],
        [helper.make_tensor_value_info("maps", kind, ["n", 3, 48, 36])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / f"{name}.onnx"))
    card: dict[str, Any] = {
        "name": name,
        "role": "teacher",
        "file": f"{name}.onnx",
        "dataset": "union21",
        "keypoints": list(CHANNEL),
        "input": {"name": "image", "size_hw": [96, 72], "mean": [0, 0, 0], "std": [255, 255, 255]},
        # Cell j is the mean of pixels 2j and 2j + 1. A mirror image that is moved by a cell is 2 crop pixels off.
        "output": {"kind": "heatmap", "name": "maps", "stride": 2, "offset_px": 0.5, "flip_shift": 1.0},
        "flip_test": flip_test,
    }
    return OnnxModel(Card.model_validate(card), folder / f"{name}.onnx")


def two_datasets(folder: Path, n: int = 8) -> list[Part]:
    """N people labelled as COCO does, and N as MPII does, who count pixels from 1."""
    coco = dotted(folder / "coco", n, COCO_17, source="coco", seed=1)
    mpii = dotted(folder / "mpii", n, MPII_16, source="mpii", pixel_origin=1, seed=2)
    return [Part("coco", *coco), Part("mpii", *mpii, 0.5)]


def written(folder: Path, n: int = 8) -> Path:
    """A training set of `two_datasets`, taught by the dots."""
    parts, teachers = two_datasets(folder, n), [dot_teacher(folder)]
    write_set(folder / "set", parts, teachers, UNION_21, Cache(None), beta={"dots": 0.45})
    return folder / "set"
