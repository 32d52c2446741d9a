"""A convolutional ONNX network as a torch module, to run on the device that trains.

onnxruntime for a processor is what reads networks everywhere else; a step on an accelerator cannot wait for one. Only
operations of pose networks are known, each on tensors whose first dimension is the batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from annotator.errors import InputError, expected

Operation = Callable[..., Tensor | tuple[Tensor, ...]]
RESIZE: dict[tuple[bytes, bytes], dict[str, Any]] = {
    (b"nearest", b"asymmetric"): {"mode": "nearest"},
    (b"linear", b"align_corners"): {"mode": "bilinear", "align_corners": True},
}


class OnnxNet(nn.Module):
    """The network of a file: pixels (N, 3, H, W) -> one of its outputs.

    Args:
        path: the file; its input's height and width are fixed.
        output: which output, by name.

    Raises:
        InputError: no such output, or an operation that is not known here.
    """

    def __init__(self, path: Path, output: str) -> None:
        super().__init__()
        graph, values = _simplified(path)
        self.input = next(one.name for one in graph.input if one.name not in values)
        self.output = output
        if output not in (there := [one.name for one in graph.output]):
            raise InputError(expected(f"an output {output}", ", ".join(there), str(path)))
        self.steps = [(_operation(node, values, path), list(node.input), list(node.output)) for node in graph.node]
        for i, (name, value) in enumerate(sorted(values.items())):
            if np.issubdtype(value.dtype, np.floating):
                self.register_buffer(f"weight_{i}", torch.from_numpy(value.copy()))
                values[name] = f"weight_{i}"
        self.values = values
        last = {name: i for i, (_, inside, _) in enumerate(self.steps) for name in inside if name != output}
        self.spent = [[name for name, at in last.items() if at == i] for i in range(len(self.steps))]

    def forward(self, pixels: Tensor) -> Tensor:
        """What the file says of pixels (N, 3, H, W), in the pixels' own precision."""
        held: dict[str, Tensor] = {self.input: pixels}
        for (does, inside, outside), spent in zip(self.steps, self.spent, strict=True):
            made = does(*(held[name] if name in held else self._value(name) for name in inside))
            held |= zip(outside, made if isinstance(made, tuple) else (made,), strict=True)
            for name in spent:
                held.pop(name, None)
        return held[self.output]

    def _value(self, name: str) -> Any:
        """A constant of the file: a weight, or numbers that say how; None for an input that is left out."""
        value = self.values.get(name)
        return getattr(self, value) if isinstance(value, str) else value


def _simplified(path: Path) -> tuple[Any, dict[str, Any]]:
    """A file's graph for one crop without what computes shapes, and its constants by name."""
    import onnx
    import onnxruntime

    file = onnx.load(str(path))
    constants = {one.name for one in file.graph.initializer}
    for value in (*file.graph.input, *file.graph.output):
        if value.name in constants:
            continue
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del file.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "simple.onnx")
        onnxruntime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    return graph, {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}


def _operation(node: Any, values: dict[str, Any], path: Path) -> Operation:
    """What a node does to its inputs."""
    import onnx

    how = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    simple: dict[str, Operation] = {
        "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Clip": torch.clamp, "Add": torch.add, "Mul": torch.mul,
        "Identity": lambda x: x,
        "Concat": lambda *parts: torch.cat(parts, how["axis"]),
        "Transpose": lambda x: x.permute(how["perm"]),
        "Reshape": lambda x, shape: x.reshape(len(x), *shape[1:].tolist()),
        "Split": lambda x, sizes: x.split(sizes.tolist(), how.get("axis", 0)),
    }  # fmt: skip
    if node.op_type == "Conv" and how.get("auto_pad", b"NOTSET") == b"NOTSET":
        return _convolution(how)
    if node.op_type == "Resize":
        return _enlargement(how, [values.get(name) for name in node.input], path)
    if node.op_type not in simple:
        wanted = f"one of Conv (with its own padding), Resize, {', '.join(simple)}"
        raise InputError(expected(wanted, node.op_type, str(path)))
    return simple[node.op_type]


def _convolution(how: dict[str, Any]) -> Operation:
    stride, spread, groups = how.get("strides", 1), how.get("dilations", 1), how.get("group", 1)
    top, left, bottom, right = how.get("pads", [0, 0, 0, 0])

    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if (top, left) == (bottom, right):
            return functional.conv2d(x, weight, bias, stride, (top, left), spread, groups)
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weight, bias, stride, 0, spread, groups)

    return convolve


def _enlargement(how: dict[str, Any], constants: list[np.ndarray | None], path: Path) -> Operation:
    """Nearest neighbours, or linear between corners; ONNX says how many times larger, or how large."""
    kind = how.get("mode", b"nearest"), how.get("coordinate_transformation_mode", b"half_pixel")
    near = how.get("nearest_mode", b"round_prefer_floor") if kind[0] == b"nearest" else b"floor"
    if kind not in RESIZE or near != b"floor":
        got = " ".join(word.decode() for word in (*kind, near))
        raise InputError(expected("a Resize to the nearest pixel, floor, or linear between corners", got, str(path)))
    times, size = [*constants, None][2:4]
    size = None if size is None else size[2:].tolist()
    times = None if size is not None or times is None else times[2:].tolist()
    return lambda x, *_: functional.interpolate(x, size, times, **RESIZE[kind])
