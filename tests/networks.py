"""Networks small enough to be worked out by hand, as ONNX files with cards: what is bright is the keypoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from annotator.skeletons import COCO_17, UNION_21

Fields = dict[str, Any]
SIZE = (64, 48)  # height, width of all their crops
INTEGERS = {"last", "second", "groups", "flat", "halves", "size"}  # weights that are not 32-bit floats
# A stick figure of 21 keypoints, in crop pixels from the crop's middle: faces us, so its left is on our right.
OFFSETS = np.array([
    [0, -22], [1, -23], [-1, -23], [2, -22], [-2, -22], [6, -14], [-6, -14], [8, -6], [-8, -6], [9, 1], [-9, 1],
    [4, 2], [-4, 2], [4, 13], [-4, 13], [4, 24], [-4, 24], [0, 2], [0, -14], [0, -18], [0, -27],
])  # fmt: skip


def save(
    path: Path, nodes: list[Any], weights: dict[str, np.ndarray], inputs: list[int | str], outputs: Fields, **more: Any
) -> Path:
    """An ONNX file of some nodes; `outputs` gives each output's shape, a text standing for a size that is open.

    `more` are the shapes of inputs beside the image.
    """
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in ({"image": inputs} | more).items()
        ],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [
            onnx.numpy_helper.from_array(value.astype(np.int64 if name in INTEGERS else np.float32), name)
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def write_card(path: Path, output: Fields, **fields: Any) -> Path:
    """Write the card of `path`'s network beside it: red over 255, COCO's keypoints, unless `fields` say otherwise."""
    how = {"name": "image", "size_hw": list(SIZE), "mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0], "batch": 3}
    said = {
        "name": path.stem,
        "role": "student",
        "file": path.name,
        "dataset": "coco17",
        "keypoints": list(COCO_17.keypoints),
        "input": how | fields.pop("input", {}),
        "output": output,
    }
    path.with_suffix(".toml").write_text(tomli_w.dumps(said | fields))
    return path.with_suffix(".toml")


def bright_heatmap(path: Path, layout: str = "NCHW", tap: int | None = None, k: int = 17) -> Path:
    """K equal maps with a cell for 4 x 4 pixels of a crop: their mean, or with `tap` the pixel (tap, tap) among them.

    So cell j speaks of crop pixel 4 j + 1.5, or of 4 j + tap.
    """
    helper = pytest.importorskip("onnx", reason="needs the train extra").helper
    (height, width), last = SIZE, layout == "NHWC"
    window = np.full((4, 4), 1 / 16)
    if tap is not None:
        window[:], window[tap, tap] = 0, 1
    weight = np.zeros((k, 3, 4, 4))
    weight[:, 0] = window
    nodes = [helper.make_node("Conv", ["crop", "weight"], ["planes"], strides=[4, 4])]
    nodes.insert(0, helper.make_node("Transpose", ["image"], ["crop"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]))
    nodes.append(helper.make_node("Transpose", ["planes"], ["heatmap"], perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]))
    cells = [height // 4, width // 4]
    return save(
        path,
        nodes,
        {"weight": weight},
        ["n", height, width, 3] if last else ["n", 3, height, width],
        {"heatmap": ["n", *cells, k] if last else ["n", k, *cells]},
    )


def bright_simcc(path: Path, k: int = 17) -> Path:
    """K equal pairs of axes with two bins a crop pixel: sums over columns and rows, halfway bins interpolated."""
    helper = pytest.importorskip("onnx", reason="needs the train extra").helper
    height, width = SIZE
    make = helper.make_node
    nodes = [
        make("Conv", ["image", "red"], ["plane"]),
        make("ReduceMean", ["plane"], ["columns"], axes=[2], keepdims=0),
        make("ReduceMean", ["plane"], ["rows"], axes=[3], keepdims=0),
        make("MatMul", ["columns", "halves_x"], ["bins_x"]),
        make("MatMul", ["rows", "halves_y"], ["bins_y"]),
        make("Mul", ["bins_x", "ones"], ["simcc_x"]),
        make("Mul", ["bins_y", "ones"], ["simcc_y"]),
    ]
    red = np.zeros((1, 3, 1, 1))
    red[:, 0] = 1
    weights = {"red": red, "halves_x": _halves(width), "halves_y": _halves(height), "ones": np.ones((k, 1))}
    outputs = {"simcc_x": ["n", k, 2 * width], "simcc_y": ["n", k, 2 * height]}
    return save(path, nodes, weights, ["n", 3, height, width], outputs)


def _halves(size: int) -> np.ndarray:
    """From `size` pixels to twice as many bins: bin 2 i is pixel i, bin 2 i + 1 the mean of i and i + 1."""
    out = np.zeros((size, 2 * size))
    i = np.arange(size)
    out[i, 2 * i] = 1
    out[i, 2 * i + 1] += 0.5
    out[np.minimum(i + 1, size - 1), 2 * i + 1] += 0.5
    return out * 10  # means over a side are small: make peaks of them


def random_student(folder: Path, seed: int = 0, name: str = "tiny", **fields: Any) -> Path:
    """A student of the union's 21 keypoints, fast and of no use, whose word depends on every pixel; gives its card."""
    helper = pytest.importorskip("onnx", reason="needs the train extra").helper
    rng = np.random.default_rng(seed)
    (height, width), features = SIZE, 3 * 4 * 3
    nodes = [
        helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["small"], ["features"]),
    ]
    weights, outputs = {}, {}
    for axis, bins in (("x", 2 * width), ("y", 2 * height)):
        weights[f"weight_{axis}"] = rng.normal(0, 1, (features, 21 * bins))
        weights[f"shape_{axis}"] = np.array([-1, 21, bins])
        outputs[f"simcc_{axis}"] = ["n", 21, bins]
        nodes += [
            helper.make_node("MatMul", ["features", f"weight_{axis}"], [f"flat_{axis}"]),
            helper.make_node("Cast", [f"shape_{axis}"], [f"sizes_{axis}"], to=7),  # 64-bit integers
            helper.make_node("Reshape", [f"flat_{axis}", f"sizes_{axis}"], [f"simcc_{axis}"]),
        ]
    path = save(folder / f"{name}.onnx", nodes, weights, ["n", 3, height, width], outputs)
    output = {"kind": "simcc", "name_x": "simcc_x", "name_y": "simcc_y"}
    union = {"dataset": "union21", "keypoints": list(UNION_21.keypoints)}
    return write_card(path, output, **union | fields)


def prompted_student(folder: Path, name: str = "prompted") -> Path:
    """A student of 21 keypoints that takes known ones and does not look at the picture; gives its card.

    It proposes keypoint k at OFFSETS[k] crop pixels from the middle of the crop; where some keypoints are known, from
    where these would put the middle, on the mean. So all follow each known one, the fewer are known the further.
    """
    make = pytest.importorskip("onnx", reason="needs the train extra").helper.make_node
    height, width = SIZE
    middle = np.array([[[width, height]]]) / 2 - 0.5
    nodes = [
        make("Sub", ["xy", "places"], ["away"]),  # (N, K, 2) of known points from where they would be
        make("Unsqueeze", ["given", "last"], ["there"]),
        make("Mul", ["away", "there"], ["counted"]),
        make("ReduceSum", ["counted", "second"], ["total"], keepdims=1),
        make("ReduceSum", ["there", "second"], ["number"], keepdims=1),
        make("Max", ["number", "one"], ["at_least"]),
        make("Div", ["total", "at_least"], ["shift"]),
        make("Add", ["places", "shift"], ["moved"]),  # (N, K, 2)
        make("Split", ["moved"], ["x", "y"], axis=2),
    ]
    for axis in "xy":
        nodes += [
            make("Sub", [f"bins_{axis}", axis], [f"from_{axis}"]),
            make("Mul", [f"from_{axis}", f"from_{axis}"], [f"squared_{axis}"]),
            make("Mul", [f"squared_{axis}", "sharpness"], [f"simcc_{axis}"]),
        ]
    weights = {
        "places": middle + OFFSETS, "one": np.ones(1), "sharpness": np.array([-0.125]),
        "bins_x": np.arange(2 * width)[None, None] / 2, "bins_y": np.arange(2 * height)[None, None] / 2,
        "last": np.array([2]), "second": np.array([1]),
    }  # fmt: skip
    prompts = {"xy": ["n", 21, 2], "given": ["n", 21]}
    outputs = {"simcc_x": ["n", 21, 2 * width], "simcc_y": ["n", 21, 2 * height]}
    path = save(folder / f"{name}.onnx", nodes, weights, ["n", 3, height, width], outputs, **prompts)
    output = {"kind": "simcc", "name_x": "simcc_x", "name_y": "simcc_y"}
    how = {"name_xy": "xy", "name_given": "given"}
    return write_card(path, output, dataset="union21", keypoints=list(UNION_21.keypoints), prompts=how)


def blob(shape_hw: tuple[int, int], xy: tuple[float, float], sigma: float) -> np.ndarray:
    """A grey picture (H, W, 3), black but for a round bright spot with its middle at pixel index `xy`."""
    y, x = np.mgrid[: shape_hw[0], : shape_hw[1]]
    spot = 255 * np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / (2 * sigma**2))
    return np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=2)
