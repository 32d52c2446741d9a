"""What teachers see in an augmented crop, map for map.

A teacher's word on a keypoint, kept in a training set, is one place or two, said of the unmoved crop. Its maps say
more: where else it looked, and what it makes of this very crop, also of one that shows two people laid over each other,
of which nobody has labels. A student of long schedules and few photographs profits from teachers that see what it sees
(Beyer et al., arXiv 2106.05237). It learns to draw their maps beside its own, from the same features, and forgets how
when training is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from annotator.errors import InputError, MissingError, expected
from models.onnx_net import OnnxNet

if TYPE_CHECKING:
    from annotator.students.registry import Known


@dataclass
class Eye:
    """One teacher's network on a device, and how it takes pixels."""

    net: OnnxNet
    mean: Tensor
    std: Tensor
    size_hw: tuple[int, int]


class Watchers:
    """Teachers that look at crops on the device that trains; no part of what is trained or saved.

    Args:
        names: of teachers with heatmaps.
        device: where to look; on CUDA in half precision.

    Raises:
        InputError: no teacher of that name, or one that draws no heatmaps.
        MissingError: its weights are not where ANNOTATOR_TEACHERS says.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.type = torch.float16 if device.type == "cuda" else torch.float32
        self.eyes = []
        for entry in teachers(names):
            if not entry.here:
                wanted = f"{entry.card.file} (set ANNOTATOR_TEACHERS)"
                raise MissingError(expected(wanted, "no such file", f"watch {entry.card.name}"))
            net = OnnxNet(entry.weights).eval().to(device, self.type, memory_format=torch.channels_last)
            how = entry.card.input
            mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (how.mean, how.std))
            self.eyes.append(Eye(net, mean, std, tuple(how.size_hw)))

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Maps (N, M, h, w) of pixels (N, 3, H, W) in 0..255, all teachers' keypoints after each other."""
        said = []
        for eye in self.eyes:
            shown = (pixels - eye.mean) / eye.std
            if tuple(pixels.shape[-2:]) != eye.size_hw:
                shown = functional.interpolate(shown, eye.size_hw, mode="bilinear", align_corners=False)
            said.append(eye.net(shown.to(self.type, memory_format=torch.channels_last)).float())
        return torch.cat(said, dim=1)


def maps(names: Sequence[str]) -> int:
    """How many maps these teachers draw; raises InputError as `Watchers`."""
    return sum(len(entry.card.keypoints) for entry in teachers(names))


def teachers(names: Sequence[str]) -> list[Known]:
    """Those of the known networks; raises InputError as `Watchers`."""
    if not names:
        return []
    # Only who asks for teachers that look needs what reads cards.
    from annotator.students import registry

    known = {entry.card.name: entry for entry in registry.known()}
    drawing = {name for name, entry in known.items() if getattr(entry.card.output, "layout", "") == "NCHW"}
    if unknown := [name for name in names if name not in drawing]:
        raise InputError(expected(f"teachers with heatmaps, of {', '.join(sorted(drawing))}", unknown[0], "watch"))
    return [known[name] for name in names]
