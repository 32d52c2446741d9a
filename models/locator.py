"""A map a keypoint beside RTMPose's head, and the two as one answer.

RTMPose's head gives each axis of a keypoint a distribution (SimCC), from features at stride 32. What it learns at one
place of a crop it has to learn again at the next; a map is convolved and knows no places, so a few thousand people
teach it more. It also trains the backbone from the first step: RTMPose starts from a backbone that was trained on
heatmaps, since from nothing the head's distributions stay at the mean pose for long.

Each is evidence on where the keypoint is, so their answer is the product: the logs of the map's marginals are added to
the axes, whose bins stay as fine as they were. The loss sees the product, and the map by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL = 4  # pixels of the crop
WIDTH = 128


class Mix(nn.Module):
    """One look around, added to what is there: each channel convolved by itself, then across channels."""

    def __init__(self) -> None:
        super().__init__()
        self.around = nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.across = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, WIDTH, h, w) -> the same shape."""
        return x + self.across(functional.silu(self.norm(self.around(x))))


class Locator(nn.Module):
    """A map a keypoint, at cells of CELL pixels.

    Args:
        channels: of the features at strides 8, 16 and 32.
        keypoints: K.
    """

    def __init__(self, channels: tuple[int, ...], keypoints: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(many, WIDTH, 1) for many in channels)
        self.mix = nn.ModuleList(Mix() for _ in channels[1:])
        self.out = nn.Conv2d(WIDTH, keypoints * 4, 1)

    def forward(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and what they are drawn from, from features from fine to coarse.

        Returns:
            (N, K, H / CELL, W / CELL) logs of shares up to a constant, and (N, WIDTH, H / 8, W / 8).
        """
        x = self.lateral[-1](features[-1])
        for i in range(len(features) - 2, -1, -1):
            finer = self.lateral[i](features[i])
            x = self.mix[i](finer + functional.interpolate(x, size=finer.shape[-2:]))
        around = functional.silu(x)
        return functional.pixel_shuffle(self.out(around), 2), around


class Drawn(nn.Module):
    """Teachers' maps, from what the student's own are drawn from; nothing at first."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(WIDTH, maps * 4, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, around: Tensor) -> Tensor:
        """Maps (N, M, H / CELL, W / CELL) in the teachers' own values."""
        # A step of AdamW moves all weights alike, and there are many of them to a cell.
        return functional.pixel_shuffle(self.out(around * WIDTH**-0.5), 2)


def fused(axes: tuple[Tensor, Tensor], maps: Tensor) -> tuple[Tensor, Tensor]:
    """Raw axes (N, K, bins) with the logs of the map's marginals added; a cell's bins get what lies between cells too.

    >>> axes, maps = (torch.zeros(1, 1, 16), torch.zeros(1, 1, 16)), torch.full((1, 1, 2, 2), -30.0)
    >>> maps[0, 0, 1, 0] = 0  # the lower left one of four cells of 8 bins
    >>> [int(axis.argmax()) // 8 for axis in fused(axes, maps)]
    [0, 1]
    """
    shares = maps.flatten(2).log_softmax(dim=-1).unflatten(2, maps.shape[2:])
    marginals = shares.logsumexp(dim=2), shares.logsumexp(dim=3)
    across, down = (axis + finer(marginal, axis.shape[-1]) for axis, marginal in zip(axes, marginals, strict=True))
    return across, down


def finer(cells: Tensor, bins: int) -> Tensor:
    """Values of cells (N, K, C) at the bins within them, (N, K, bins): linear between cells, as they are at the edges.

    There are as many bins in each cell.

    torch's own interpolation in one dimension takes an accelerator an eighth of a step.
    """
    many = bins // cells.shape[-1]
    at = (torch.arange(many, device=cells.device) + 0.5) / many - 0.5
    before = torch.cat([cells[..., :1], cells[..., :-1]], dim=-1)[..., None]
    after = torch.cat([cells[..., 1:], cells[..., -1:]], dim=-1)[..., None]
    return (cells[..., None] * (1 - at.abs()) + before * (-at).clamp(min=0) + after * at.clamp(min=0)).flatten(2)
