"""Known keypoints as prompts: what the network is told about a person besides the picture.

The picture's evidence on a keypoint, its map, is multiplied by a prior: where all others put this one, the known ones
and, for the rest, those that the picture shows. What the product changes is added to the two SimCC axes, whose bins
stay as fine as they were. So a corrected elbow decides between two wrists that the picture shows, and a wrist that is
seen clearly stays. With nothing given nothing changes, to the last bit.

The prior is a mixture density network (Bishop 1994), trained by `tell.py` on a finished student's own places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import locator, targets

WIDTH, PARTS = 384, 6  # of the prior's two layers; Gaussians a keypoint
PICK_PX, SURE_PX = 4, 8  # windows of an axis: whose mass picks the place, and whose mass says how sure it is
FAINTEST = -12.0  # log share that each cell of the map has beside the prior's, which may be wrong


@dataclass(frozen=True)
class Giving:
    """How prompts are drawn in training.

    Attributes:
        all: share of people of whom everything known is given but a few keypoints, the case of a labelled person.
        worst: share of whom one to three are given, those that the picture alone places worst, as a reviewer would.
        jitter_px: a third of the people has its prompts moved by a normal of this width, in crop pixels.
        wrong: share of given keypoints that are somewhere else, a crop's tenth to half away, or on the other side. With
            many of these the network believes the picture wherever a correction disagrees with it.
    """

    all: float = 0.4
    worst: float = 0.35
    jitter_px: float = 1.5
    wrong: float = 0.01


def draw(
    known: Tensor, placed: Tensor, flip: Tensor, size_wh: tuple[int, int], how: Giving, rng: np.random.Generator
) -> Tensor:
    """Prompts (B, K, 2) in crop pixels, NaN where nothing is given.

    Args:
        known: (B, K, 2) known keypoints in crop pixels, NaN where unknown.
        placed: (B, K, 2) where the picture alone puts them.
        flip: (K,) each keypoint's other side.
        size_wh: the crop.
        how: as above; of people who are neither nearly whole nor corrected any share is given.
        rng: source of chance.
    """
    n, k, _ = known.shape
    xy = known.cpu().numpy().astype(np.float64)
    kind = rng.random(n)
    share = np.where(kind < how.all, rng.uniform(0.8, 1, n), rng.uniform(0, 1, n) ** 1.5)
    given = rng.random((n, k)) < share[:, None]
    off = np.nan_to_num(np.linalg.norm(xy - placed.cpu().numpy(), axis=2), nan=-np.inf)
    # A reviewer sees what is far off, and is not exact about which is the farthest.
    rank = np.argsort(np.argsort(-(off + rng.uniform(0, 4, (n, k))), axis=1), axis=1)
    given = np.where((kind >= 1 - how.worst)[:, None], rank < rng.integers(1, 4, n)[:, None], given)
    xy = xy + rng.normal(0, 1, xy.shape) * np.where(rng.random(n) < 1 / 3, how.jitter_px, 0)[:, None, None]
    sides = flip.cpu().numpy()
    # What has no other side can only lie elsewhere.
    wrong, swapped = rng.random((n, k)) < how.wrong, (rng.random((n, k)) < 0.5) & (sides != np.arange(k))
    angle, far = rng.uniform(0, 2 * np.pi, (n, k)), rng.uniform(0.1, 0.5, (n, k)) * min(size_wh)
    elsewhere = xy + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * far[..., None]
    elsewhere = np.where(swapped[..., None], xy[:, sides], elsewhere)
    xy = np.where(wrong[..., None], elsewhere, xy)
    xy = np.where(given[..., None], xy, np.nan)
    return torch.as_tensor(xy, dtype=torch.float32, device=known.device)


class Prior(nn.Module):
    """Where all other keypoints put one: a mixture of Gaussians, of each keypoint left out in turn.

    Args:
        keypoints: K.
        unit_px: a length in the crop that stands for a person's size; boxes make people alike.
    """

    def __init__(self, keypoints: int, unit_px: float) -> None:
        super().__init__()
        self.unit_px = unit_px
        self.net = nn.Sequential(
            nn.Linear(5 * keypoints, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
        )  # fmt: skip
        # Mean x, mean y, width and share of each part.
        self.weight = nn.Parameter(torch.randn(keypoints, PARTS * 4, WIDTH) / WIDTH**0.5)
        self.bias = nn.Parameter(torch.zeros(keypoints, PARTS * 4))

    def forward(self, xy: Tensor, given: Tensor, sure: Tensor, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means (B, R, PARTS, 2) and widths (B, R, PARTS) in crop pixels, and log shares (B, R, PARTS).

        Args:
            xy: (B, K, 2) places in crop pixels, the given ones and the picture's own.
            given: (B, K) 1 where a place is given, else 0.
            sure: (B, K) how sure a place is, 0 to 1.
            left: (B, R) the keypoints to leave out; each is placed by the K - 1 others.
        """
        which = functional.one_hot(left, xy.shape[1]).to(xy.dtype)
        kept = 1 - which
        sure, given = sure[:, None] * kept, given[:, None] * kept
        middle = (xy[:, None] * sure[..., None]).sum(dim=2) / sure.sum(dim=2).clamp_min(1e-3)[..., None]
        away = (xy[:, None] - middle[:, :, None]) / self.unit_px * kept[..., None]
        hidden = self.net(torch.cat([away.flatten(2), given, sure, which], dim=2))
        out = torch.einsum("brh,brph->brp", hidden, self.weight[left]) + self.bias[left]
        out = out.unflatten(2, (PARTS, 4))
        mean = middle[:, :, None] + out[..., :2] * self.unit_px
        width = (0.05 + functional.softplus(out[..., 2]) / 3) * self.unit_px
        return mean, width, out[..., 3].log_softmax(dim=-1)

    @staticmethod
    def log_density(mixture: tuple[Tensor, Tensor, Tensor], at: Tensor) -> Tensor:
        """Log density (B, R, P), up to a constant, at points (B, R, P, 2) or any shape that broadcasts to it."""
        mean, width, share = mixture
        apart = (at[..., None, :] - mean[:, :, None]).square().sum(dim=-1)
        width = width[:, :, None]
        return torch.logsumexp(share[:, :, None] - apart / (2 * width.square()) - 2 * width.log(), dim=-1)


class Prompts(nn.Module):
    """The picture's evidence times the prior.

    Args:
        keypoints: K.
        size_wh, split: the crop and its SimCC bins a pixel.
        cell: pixels a cell of the map.
    """

    def __init__(self, keypoints: int, size_wh: tuple[int, int], split: float, cell: int) -> None:
        super().__init__()
        self.size_wh, self.split, self.cell = size_wh, split, cell
        self.prior = Prior(keypoints, min(size_wh) / 4)
        # Neither is as sure as it is right: powers of each, and a little evidence where the map shows none. From below
        # one the map's power stays there, where all is blurred.
        self.log_trust, self.log_sharp = (nn.Parameter(torch.full((keypoints,), start)) for start in (-0.9, 0.3))
        self.floor = nn.Parameter(torch.full((keypoints,), -6.0))

    def forward(self, axes: tuple[Tensor, Tensor], maps: Tensor, xy: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Axes (B, K, bins) as the given keypoints change them.

        Args:
            axes: raw axes of the answer, the map within them.
            maps: (B, K, H / cell, W / cell) raw maps.
            xy: (B, K, 2) crop pixels; what is not given may hold anything finite.
            given: (B, K) 1 where the keypoint is known, else 0.
        """
        changes = self.changes(self.seen(maps), xy, given, *self.places(axes))
        # A given keypoint stands where it was given.
        told = []
        for i, (axis, change) in enumerate(zip(axes, changes, strict=True)):
            at = torch.arange(axis.shape[-1], device=axis.device, dtype=axis.dtype) / self.split
            bell = -0.5 * ((at - xy[..., i : i + 1]) / targets.SIGMA_PX) ** 2
            moved = axis + locator.finer(change, axis.shape[-1])
            told.append(torch.where(given[..., None] > 0, bell, moved))
        return told[0], told[1]

    def places(self, axes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Where the picture alone puts each keypoint, (B, K, 2) crop pixels, and how sure it is, (B, K) 0 to 1."""
        xy, sure = [], []
        for axis in axes:
            share = torch.softmax(axis, dim=-1)
            picked, wide = (self._window(share, px) for px in (PICK_PX, SURE_PX))
            xy.append(picked.argmax(dim=-1).to(axis.dtype) / self.split)
            sure.append(wide.amax(dim=-1))
        return torch.stack(xy, dim=-1), (sure[0] * sure[1]).clamp(0, 1)

    def _window(self, share: Tensor, px: int) -> Tensor:
        """Mass within a window around each bin."""
        bins = int(px * self.split) | 1
        return functional.avg_pool1d(share, bins, 1, bins // 2) * bins

    def seen(self, maps: Tensor) -> Tensor:
        """The picture's evidence, log shares (B, K, rows, columns) of the map's cells."""
        cells = (maps.flatten(2) * self.log_sharp.exp()[:, None]).log_softmax(dim=-1)
        faint = self.floor[:, None] - float(np.log(cells.shape[-1]))
        return torch.logaddexp(cells, faint.expand_as(cells)).log_softmax(dim=-1).unflatten(2, maps.shape[2:])

    def changes(self, seen: Tensor, xy: Tensor, given: Tensor, placed: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        """What the given keypoints add to the log marginals of the evidence, (B, K, columns) and (B, K, rows)."""
        rows, columns = seen.shape[2:]
        known = given[..., None] > 0
        # Its shape, not its length: a length would fix the batch where the network is exported.
        everyone = torch.arange(seen.shape[1], device=seen.device).expand(seen.shape[0], -1)
        mixture = self.prior(torch.where(known, xy, placed), given, torch.where(given > 0, given, sure), everyone)
        prior = (self._on_cells(mixture, rows, columns) + np.exp(FAINTEST)).log()
        both = seen + self.log_trust.exp()[:, None, None] * prior
        both = both - both.flatten(2).logsumexp(dim=-1)[..., None, None]
        free = given.amax(dim=1)[:, None, None] * (1 - given)[..., None]
        across, down = (free * (both.logsumexp(dim=d) - seen.logsumexp(dim=d)) for d in (2, 3))
        return across, down

    def _on_cells(self, mixture: tuple[Tensor, Tensor, Tensor], rows: int, columns: int) -> Tensor:
        """A mixture's mass in each cell, as shares (B, K, rows, columns): parts are products of two marginals."""
        mean, width, share = mixture
        down, across = (self._mass(n, mean[..., axis], width) for axis, n in ((1, rows), (0, columns)))
        cells = (down * share.exp()[..., None]).transpose(2, 3) @ across
        return cells / cells.flatten(2).sum(dim=-1)[..., None, None].clamp_min(1e-30)

    def _mass(self, n: int, mean: Tensor, width: Tensor) -> Tensor:
        """Mass (B, K, PARTS, n) of normals in a row of n cells; a cell's bins reach half a bin beyond their middles."""
        edges = torch.arange(n + 1, device=mean.device, dtype=mean.dtype) * self.cell - 0.5 / self.split
        below = torch.erf((edges - mean[..., None]) / (width[..., None] * 2**0.5)) / 2
        return below[..., 1:] - below[..., :-1]


def split_given(prompts: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K, 2) with NaN where nothing is given -> places without NaN, and 1 or 0, (B, K)."""
    given = torch.isfinite(prompts).all(dim=-1)
    return torch.nan_to_num(prompts), given.float()
