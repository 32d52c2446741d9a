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
    """One teacher's network on a device, how it takes pixels, and the digest of its weights."""

    net: OnnxNet
    mean: Tensor
    std: Tensor
    size_hw: tuple[int, int]
    sha256: str


class Watchers:
    """Teachers that look at crops on the device that trains; no part of what is trained or saved.

    Args:
        names: of teachers with heatmaps.
        device: where to look; on CUDA in half precision.

    Raises:
        InputError: no teacher of that name, or one that draws no heatmaps or cannot be run in torch.
        FormatError: weights that are not the card's.
        MissingError: weights that are not where ANNOTATOR_TEACHERS says.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.type = torch.float16 if device.type == "cuda" else torch.float32
        self.eyes = [_opened(entry, device, self.type) for entry in teachers(names)]

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


def digests(names: Sequence[str]) -> dict[str, str]:
    """The sha256 of these teachers' weights; raises as `Watchers`, so that no run begins that cannot go on."""
    return dict(zip(names, (eye.sha256 for eye in Watchers(names, torch.device("cpu")).eyes), strict=True))


def teachers(names: Sequence[str]) -> list[Known]:
    """Those of the known networks; raises InputError as `Watchers`."""
    if not names:
        return []
    # Only who asks for teachers that look needs what reads cards.
    from annotator.students import registry

    known = {entry.card.name: entry for entry in registry.known()}
    planes = {name: (getattr(one.card.output, "layout", ""), one.card.input.layout) for name, one in known.items()}
    drawing = sorted(name for name, layouts in planes.items() if layouts == ("NCHW", "NCHW"))
    if unknown := [name for name in names if name not in drawing]:
        raise InputError(expected(f"teachers with heatmaps, of {', '.join(drawing)}", unknown[0], "watch"))
    return [known[name] for name in names]


def _opened(entry: Known, device: torch.device, kind: torch.dtype) -> Eye:
    from annotator.students.card import check_weights

    card, where = entry.card, f"watch {entry.card.name}"
    if not entry.here:
        raise MissingError(expected(f"{card.file} (set ANNOTATOR_TEACHERS)", "no such file", where))
    sha256, size_hw = check_weights(card, entry.weights), tuple(card.input.size_hw)
    net = OnnxNet(entry.weights, card.output.name).eval()
    try:
        shape = tuple(net(torch.zeros(2, 3, *size_hw)).shape)
    except Exception as error:  # torch raises all kinds
        reason = str(error).split("\n")[0] or type(error).__name__
        raise InputError(expected("a network that torch can run", reason, where)) from error
    if shape[:2] != (2, len(card.keypoints)):
        raise InputError(expected(f"maps of {len(card.keypoints)} keypoints for 2 crops", shape, where))
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (card.input.mean, card.input.std))
    return Eye(net.to(device, kind, memory_format=torch.channels_last), mean, std, size_hw, sha256)
