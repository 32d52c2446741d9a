"""RTMPose's own augmentation of a batch, on the training device: as MMPose 1.3 and what it calls draw it.

Moves, with `Augmentation.mmpose`: RandomHalfBody, RandomBBoxTransform, TopdownAffine, RandomFlip. Changes of pixels,
wherever `hsv`, `blur`, `median` or `hole` ask for one: YOLOXHSVRandomAug (MMDetection), Blur, MedianBlur and
CoarseDropout (Albumentations).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from models import augment
from models.augment import Augmentation, sent

# MMPose's defaults, which RTMPose leaves as they are: how often a box is shifted; of half bodies, the fewest labels of
# a person, of an upper and of a lower half, how often the upper half where both will do, and times its extent.
SHIFTED, FEWEST, FEWEST_OF_HALF, UPPER_FIRST, PADDING = 0.3, 9, (2, 3), 0.7, 1.5
LOWER_BODY = ("pelvis", "hip", "knee", "ankle", "heel", "toe")
KERNELS, HOLE = (3, 5, 7), (0.2, 0.4)


def lower_body(names: Sequence[str]) -> np.ndarray:
    """Which keypoints MMPose's data sets call `lower`, (K,).

    >>> lower_body(["nose", "left_wrist", "left_hip", "pelvis", "thorax"])
    array([False, False,  True,  True, False])
    """
    return np.array([any(part in name for part in LOWER_BODY) for name in names])


def affines(
    points: np.ndarray, below: np.ndarray, stored_hw: tuple[int, int], size_hw: tuple[int, int], context: float,
    how: Augmentation, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Stored crop -> network crop, (B, 2, 3), and who is mirrored, (B,), as MMPose moves crops.

    A person's own box is not stored, only that it grew to the crop's shape: its shift is a fraction of the grown one.

    Args:
        points: (B, K, 2) labelled keypoints in stored-crop pixels, NaN where there is no label.
        below: (K,) which keypoints are of the lower body (`lower_body`).
        stored_hw, size_hw, context: as of `augment.affines`.
    """
    n, size = len(points), np.array(size_hw[::-1], dtype=float)
    centre, zoom = augment.unmoved(n, stored_hw, size_hw, context)
    box = size / zoom[:, None]
    _halve(points, below, centre, box, how.half_body, rng)
    drawn, (low, high) = truncated_normal(rng, (n, 4)), how.scale
    centre += np.where(rng.random((n, 1)) < SHIFTED, how.shift * drawn[:, :2], 0) * box
    # TopdownAffine: the box grows to the crop's shape.
    zoom = (size / box).min(axis=1) / ((low + high) / 2 + (high - low) / 2 * drawn[:, 2])
    angle = np.deg2rad(np.where(rng.random(n) < how.rotate_share, how.rotate * drawn[:, 3], 0))
    mirrored = rng.random(n) < how.flip
    return augment.moves(centre, zoom, angle, mirrored, np.tile(size / 2, (n, 1))), mirrored


def _halve(
    points: np.ndarray, below: np.ndarray, centre: np.ndarray, box: np.ndarray, share: float, rng: np.random.Generator
) -> None:
    """RandomHalfBody: close in on the upper or the lower half of some; changes centres and boxes, (B, 2) both."""
    n = len(points)
    labelled = np.isfinite(points).all(axis=2)
    halves = np.stack([labelled & ~below, labelled & below], axis=1)
    will_do = halves.sum(axis=2) >= FEWEST_OF_HALF
    lower = np.where(will_do.all(axis=1), rng.random(n) >= UPPER_FIRST, will_do[:, 1])
    chosen = (rng.random(n) < share) & (labelled.sum(axis=1) >= FEWEST) & will_do.any(axis=1)
    shown = np.where(halves[np.arange(n), lower.astype(int)][..., None], points, np.nan)[chosen]
    centre[chosen] = np.nanmean(shown, axis=1)
    # Keypoints all in one place would be zoomed without end.
    box[chosen] = np.maximum(PADDING * (np.nanmax(shown, axis=1) - np.nanmin(shown, axis=1)), 1)


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers that are within one standard deviation, by the inverse of their distribution."""
    within = math.erf(math.sqrt(0.5))
    return math.sqrt(2) * torch.erfinv(torch.from_numpy(rng.uniform(-within, within, shape))).numpy()


def recolour(pixels: Tensor, how: Augmentation, rng: np.random.Generator) -> Tensor:
    """RTMPose's changes of pixels (B, 3, H, W) in 0..255: hue, saturation and value, then blur, median, a hole."""
    if any(how.hsv):
        by = rng.uniform(-1, 1, (len(pixels), 3)) * how.hsv * rng.integers(0, 2, (len(pixels), 3))
        pixels = hsv_moved(pixels, np.trunc(by))
    for share, smooth in ((how.blur, averaged), (how.median, median)):
        if share:
            pixels = _smoothed(pixels, share, smooth, rng)
    return _holed(pixels, how.hole, rng) if how.hole else pixels


def hsv_moved(pixels: Tensor, by: np.ndarray) -> Tensor:
    """RGB pixels (B, 3, H, W) in 0..255 whose hue, saturation and value are moved by (B, 3), as OpenCV's 8 bits do.

    There hue counts in steps of two degrees, and all three are whole numbers; what comes back is cut to one.
    """
    red, green, blue = pixels.unbind(dim=1)
    top, span = pixels.amax(dim=1), pixels.amax(dim=1) - pixels.amin(dim=1)
    sixths = torch.where(top == red, green - blue, torch.where(top == green, blue - red, red - green))
    sixths = sixths / span.clamp_min(1e-6) + torch.where(top == red, 0, torch.where(top == green, 2, 4))
    moved = [one[:, None, None] for one in sent(by, pixels.device).unbind(dim=1)]
    hue = ((30 * sixths).round() + moved[0]) % 180
    saturation = ((255 * span / top.clamp_min(1e-6)).round() + moved[1]).clamp(0, 255)
    value = (top + moved[2]).clamp(0, 255)
    # Each channel falls from the value by what the saturation takes where the hue is far from the channel's own.
    away = (sent(np.array([5.0, 3.0, 1.0]), pixels.device).view(3, 1, 1) + hue[:, None] / 30) % 6
    taken = torch.minimum(away, 4 - away).clamp(0, 1) * (saturation / 255)[:, None]
    return (value[:, None] * (1 - taken)).floor()


def averaged(pixels: Tensor, side: int) -> Tensor:
    """Means of squares of pixels (B, 3, H, W), as OpenCV's `blur` of 8 bits."""
    return F.avg_pool2d(F.pad(pixels, [side // 2] * 4, mode="reflect"), side, stride=1).round()


def median(pixels: Tensor, side: int) -> Tensor:
    """Medians of squares of pixels (B, 3, H, W), as OpenCV's `medianBlur`."""
    around = F.pad(pixels, [side // 2] * 4, mode="replicate").unfold(2, side, 1).unfold(3, side, 1)
    return around.flatten(4).median(dim=-1).values


def _smoothed(
    pixels: Tensor, share: float, smooth: Callable[[Tensor, int], Tensor], rng: np.random.Generator
) -> Tensor:
    """Some crops of pixels (B, 3, H, W), each over squares of a side of its own."""
    side = np.where(rng.random(len(pixels)) < share, rng.choice(KERNELS, len(pixels)), 0)
    for one in KERNELS:
        if (side == one).any():
            at = sent(np.flatnonzero(side == one), pixels.device)
            pixels[at] = smooth(pixels[at], one)
    return pixels


def _holed(pixels: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Some crops of pixels (B, 3, H, W) with a black rectangle that lies wholly in them."""
    chosen, inside = rng.random(len(pixels)) < share, []
    for length in pixels.shape[2:]:
        side = (length * rng.uniform(*HOLE, len(pixels))).astype(int)
        first = rng.integers(0, length - side + 1)
        at = np.arange(length)
        inside.append((at >= first[:, None]) & (at < (first + side)[:, None]) & chosen[:, None])
    rows, columns = (sent(one, pixels.device) for one in inside)
    return pixels.masked_fill_(rows[:, None, :, None] & columns[:, None, None], 0)
