"""Known keypoints as prompts: what the network is told about a person besides the picture.

A known keypoint is rendered on the two SimCC axes, as a target would be, and enters the head as a token beside that
keypoint's own. An unknown one enters as a learned vector and, where anything is known, as a wide bell at the place
where the known ones put it: one layer of the head's attention learns to copy what is known, not to move its neighbours.
All start at nothing, so that weights trained without prompts go on unchanged. In training each batch goes through the
head twice, with and without prompts, on one backbone pass; `tell.py` trains a finished student's prompts alone.
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
    """Tokens of known keypoints, and of where the known ones put the others.

    Args:
        keypoints: K.
        hidden: width of the head's tokens.
        size_wh, split: the crop and its SimCC bins a pixel.
    """

    def __init__(self, keypoints: int, hidden: int, size_wh: tuple[int, int], split: float) -> None:
        super().__init__()
        self.size_wh, self.split = size_wh, split
        self.place, self.lead = (
            nn.ModuleList(nn.Linear(int(size * split), hidden, bias=False) for size in size_wh) for _ in range(2)
        )
        self.known, self.unknown = (nn.Parameter(torch.zeros(keypoints, hidden)) for _ in range(2))
        self.rest = nn.Sequential(
            nn.Linear(3 * keypoints + 3, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
            nn.Linear(WIDTH, 2 * keypoints),
        )  # fmt: skip
        for axis in (*self.place, *self.lead):
            nn.init.zeros_(axis.weight)

    def forward(self, xy: Tensor, given: Tensor) -> Tensor:
        """Tokens (B, K, hidden).

        Args:
            xy: (B, K, 2) crop pixels; what is not given may hold anything finite.
            given: (B, K) 1 where the keypoint is known, else 0.
        """
        told = self.known + self._bells(self.place, xy, KNOWN_PX)
        anything = given.amax(dim=1)[:, None, None]
        led = self.unknown + anything * self._bells(self.lead, self.expected(xy, given), LED_PX)
        return torch.where(given[..., None] > 0, told, led)

    def expected(self, xy: Tensor, given: Tensor) -> Tensor:
        """Where known keypoints alone put all of them, (B, K, 2) crop pixels; arguments as of `forward`."""
        counted, n = given[..., None], given.sum(dim=1).clamp_min(1)[:, None]
        middle = (xy * counted).sum(dim=1) / n
        away = (xy - middle[:, None]) * counted
        spread = (away.square().sum(dim=(1, 2))[:, None] / n + 1).sqrt()
        crop = float(min(self.size_wh))
        told = [(away / spread[..., None]).flatten(1), given, middle / crop, spread / crop]
        return middle[:, None] + self.rest(torch.cat(told, dim=1)).unflatten(1, (-1, 2)) * (crop / 4)

    def _bells(self, axes: nn.ModuleList, xy: Tensor, width_px: float) -> Tensor:
        """Points rendered on both axes and read as tokens."""
        token: Tensor | float = 0.0
        for axis, linear in enumerate(axes):
            at = torch.arange(linear.in_features, device=xy.device, dtype=torch.float32) / self.split
            token = token + linear(torch.exp(-0.5 * ((at - xy[..., axis : axis + 1]) / width_px) ** 2))
        return token


# A known point is a little wider than a target, so that neighbouring bins share what they learn; where the known ones
# put another is wide: a guess at a pose.
KNOWN_PX, LED_PX = 2 * targets.SIGMA_PX, 8 * targets.SIGMA_PX
WIDTH = 384


def split_given(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K, 2) with NaN where nothing is given -> places without NaN, and 1 or 0, (B, K)."""
    given = torch.isfinite(prompts).all(dim=-1)
    return torch.nan_to_num(prompts), given.float()
