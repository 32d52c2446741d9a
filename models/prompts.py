"""Known keypoints as prompts: what the network is told about a person besides the picture.

A known keypoint is rendered on the two SimCC axes, as a target would be, and enters the head as a token beside that
keypoint's own; an unknown one enters as a learned vector. All start at nothing, so that weights trained without prompts
go on unchanged. In training each batch goes through the head twice, with and without prompts, on one backbone pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models import targets


@dataclass(frozen=True)
class Giving:
    """How prompts are drawn in training.

    Attributes:
        all: share of people of whom everything known is given but a few keypoints, the case of a labelled person.
        jitter_px: a third of the people has its prompts moved by a normal of this width, in crop pixels.
        wrong: share of given keypoints that are somewhere else, a crop's tenth to half away, or on the other side.
    """

    all: float = 0.4
    jitter_px: float = 3.0
    wrong: float = 0.06


def draw(known: Tensor, flip: Tensor, size_wh: tuple[int, int], how: Giving, rng: np.random.Generator) -> Tensor:
    """Prompts (B, K, 2) in crop pixels, NaN where nothing is given, from known keypoints (B, K, 2).

    How many are given is uniform from one to all; a share of people has nearly everything. Some are wrong on purpose,
    so that one bad label does not drag the rest.
    """
    n, k, _ = known.shape
    share = np.where(rng.random(n) < how.all, rng.uniform(0.8, 1, n), rng.uniform(0, 1, n))
    given = rng.random((n, k)) < share[:, None]
    xy = known.cpu().numpy().astype(np.float64)
    xy = xy + rng.normal(0, 1, xy.shape) * np.where(rng.random(n) < 1 / 3, how.jitter_px, 0)[:, None, None]
    wrong, swapped = rng.random((n, k)) < how.wrong, rng.random((n, k)) < 0.5
    angle, far = rng.uniform(0, 2 * np.pi, (n, k)), rng.uniform(0.1, 0.5, (n, k)) * min(size_wh)
    elsewhere = xy + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * far[..., None]
    elsewhere = np.where(swapped[..., None], xy[:, flip.cpu().numpy()], elsewhere)
    xy = np.where(wrong[..., None], elsewhere, xy)
    xy = np.where(given[..., None], xy, np.nan)
    return torch.as_tensor(xy, dtype=torch.float32, device=known.device)


class Prompts(nn.Module):
    """Tokens of known keypoints.

    Args:
        keypoints: K.
        hidden: width of the head's tokens.
        size_wh, split: the crop and its SimCC bins a pixel.
    """

    def __init__(self, keypoints: int, hidden: int, size_wh: tuple[int, int], split: float) -> None:
        super().__init__()
        self.size_wh, self.split = size_wh, split
        self.place = nn.ModuleList(nn.Linear(int(size * split), hidden, bias=False) for size in size_wh)
        self.known, self.unknown = (nn.Parameter(torch.zeros(keypoints, hidden)) for _ in range(2))
        for axis in self.place:
            nn.init.zeros_(axis.weight)

    def forward(self, xy: Tensor, given: Tensor) -> Tensor:
        """Tokens (B, K, hidden).

        Args:
            xy: (B, K, 2) crop pixels; what is not given may hold anything finite.
            given: (B, K) 1 where the keypoint is known, else 0.
        """
        token = self.known
        for axis, linear in enumerate(self.place):
            at = torch.arange(linear.in_features, device=xy.device, dtype=torch.float32) / self.split
            bell = torch.exp(-0.5 * ((at - xy[..., axis : axis + 1]) / WIDTH_PX) ** 2)
            token = token + linear(bell)
        return torch.where(given[..., None] > 0, token, self.unknown)


# Wider than a target, so that neighbouring bins share what they learn.
WIDTH_PX = 2 * targets.SIGMA_PX


def split_given(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K, 2) with NaN where nothing is given -> places without NaN, and 1 or 0, (B, K)."""
    given = torch.isfinite(prompts).all(dim=-1)
    return torch.nan_to_num(prompts), given.float()
