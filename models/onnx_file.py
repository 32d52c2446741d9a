"""A network to an ONNX file, checked against itself.

Weights may be kept as 16-bit floats: each becomes an initializer of half the size and a cast, which onnxruntime folds
away when it loads the file. Arithmetic stays in 32 bits, so speed does not change.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

HALF_MAX = float(np.finfo(np.float16).max)


def write(
    model: nn.Module, path: Path, size_hw: tuple[int, int], outputs: list[str], *, half: bool = False,
    beside: dict[str, Tensor] | None = None,
) -> float:  # fmt: skip
    """Export `model` (pixels (N, 3, H, W) -> tensors) and return the largest difference to it on random pixels.

    Args:
        model: in eval mode, on the CPU.
        path: the ONNX file; the input is called `image`, the batch size stays open.
        size_hw: the input's size.
        outputs: names, in the order the model returns them.
        half: keep the weights as 16-bit floats.
        beside: examples (2, ...) of further inputs, by name, in the order the model takes them.
    """
    model = model.eval()
    pixels = torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    examples = {"image": pixels} | (beside or {})
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        # All inputs have one batch size: its name is said once for each of them.
        warnings.filterwarnings("ignore", message="# The axis name")
        program = torch.onnx.export(
            model, tuple(examples.values()), input_names=list(examples), output_names=outputs, dynamo=True,
            verbose=False, dynamic_shapes=tuple({0: batch} for _ in examples), optimize=True,
        )  # fmt: skip
    program.save(str(path), external_data=False)
    strip(path)
    if half:
        halve(path)
    with torch.no_grad():
        wanted = model(*examples.values())
    wanted = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
    found = run(path, **{name: example.numpy() for name, example in examples.items()})
    return max(float(np.abs(f - w.numpy()).max()) for f, w in zip(found, wanted, strict=True))


def strip(path: Path) -> None:
    """Take out what the exporter notes beside the network: source lines and paths of the machine it ran on."""
    model = onnx.load(str(path))
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, str(path))


def run(path: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime makes of inputs by name: `image`, normalised pixels (N, 3, H, W), and what the network takes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def halve(path: Path) -> None:
    """Keep the weights of an ONNX file as 16-bit floats, in place."""
    model = onnx.load(str(path))
    graph, casts, kept = model.graph, [], []
    for weight in graph.initializer:
        array = numpy_helper.to_array(weight)
        # What 16 bits cannot hold stays, and so do small tensors, where nothing is saved.
        if weight.data_type != TensorProto.FLOAT or array.size < 64 or np.abs(array).max() > HALF_MAX:
            kept.append(weight)
            continue
        name = f"{weight.name}_half"
        kept.append(numpy_helper.from_array(array.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [weight.name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
