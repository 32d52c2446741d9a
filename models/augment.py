"""Augmentation of a whole batch, on the training device: one affine a person, one warp, colour, blanked squares.

With `Augmentation.mmpose` crops are moved by `augment_mmpose` instead, which also draws the fields below it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from annotator.errors import InputError, expected
from models import targets


@dataclass(frozen=True)
class Augmentation:
    """How far a crop is moved, and what is done to its pixels.

    Attributes:
        flip: probability of a mirror image.
        scale: lowest and highest zoom; with `mmpose` of the box, so that a person's zoom is one over it.
        rotate: degrees either way (normal, cut at this), with probability `rotate_share`.
        shift: fraction of the crop either way; with `mmpose` of the box.
        half_body: probability that the crop closes in on the upper or the lower half.
        colour: strength of brightness, contrast and channel gains.
        blank: probability of a blanked square of up to .4 of the width.
        paste: probability that such a square shows a part of another person's crop.
        blend: probability that another person's crop is laid over the whole.
        mmpose: crops are moved as MMPose moves them: half bodies by keypoint, all numbers normal and cut at one sigma.
        hsv: how far hue, saturation and value are moved either way, in OpenCV's 8 bits, each in half of the crops.
        blur, median: probabilities that squares of 3, 5 or 7 pixels are averaged, and replaced by their median.
        hole: probability of a black rectangle of .2 to .4 of each side.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.7, 1.35)
    rotate: float = 60.0
    rotate_share: float = 0.6
    shift: float = 0.08
    half_body: float = 0.2
    colour: float = 0.25
    blank: float = 0.4
    paste: float = 0.0
    blend: float = 0.0
    mmpose: bool = False
    hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)
    blur: float = 0.0
    median: float = 0.0
    hole: float = 0.0


# What of it are probabilities.
SHARES = ("flip", "rotate_share", "half_body", "blank", "paste", "blend", "blur", "median", "hole")


def check(how: dict[str, Any]) -> None:
    """Raises InputError where a recipe's augmentation is none: another name, or a probability beyond 0 to 1."""
    known = [field.name for field in fields(Augmentation)]
    if unknown := sorted(set(how) - set(known)):
        raise InputError(expected(f"one of {', '.join(known)}", ", ".join(unknown), "augmentation"))
    for name in sorted(set(SHARES) & set(how)):
        if not isinstance(how[name], int | float) or not 0 <= how[name] <= 1:
            raise InputError(expected("a probability", repr(how[name]), f"augmentation {name}"))


NONE = Augmentation(0, (1, 1), 0, 0, 0, 0, 0, 0)


def sent(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Numbers on a device, fractions as 32 bits, without waiting for what the device is doing."""
    tensor = torch.as_tensor(values)
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    # CUDA does not wait if the memory stays where it is; MPS does not either, and may then read what is no more there.
    tensor = tensor.pin_memory() if device.type == "cuda" else tensor
    return tensor.to(device, non_blocking=device.type != "mps")


def affines(
    points: np.ndarray, stored_hw: tuple[int, int], size_hw: tuple[int, int], context: float,
    how: Augmentation, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Stored crop -> network crop, (B, 2, 3), and who is mirrored, (B,).

    Args:
        points: (B, K, 2) the best known keypoints in stored-crop pixels, NaN where unknown, for half bodies.
        stored_hw, size_hw: sizes of both crops.
        context: how many times the stored crop is wider than an unmoved network crop; a network crop of another shape
            shows all of that part and more at two of its sides.
    """
    n = len(points)
    centre, zoom = unmoved(n, stored_hw, size_hw, context)
    zoom *= np.exp(rng.uniform(*np.log(how.scale), n))
    centre, zoom = _half_bodies(points, centre, zoom, size_hw, how.half_body, rng)
    spread = np.clip(rng.normal(0, how.rotate / 2 + 1e-9, n), -how.rotate, how.rotate)
    angle = np.deg2rad(np.where(rng.random(n) < how.rotate_share, spread, 0))
    mirrored = rng.random(n) < how.flip
    shift = rng.uniform(-how.shift, how.shift, (n, 2)) * np.array([size_hw[1], size_hw[0]])
    middle = np.array([size_hw[1] / 2, size_hw[0] / 2]) + shift
    # A mirror image maps index i to W - 1 - i, so its middle lies one index lower.
    middle[:, 0] -= np.where(mirrored, 1.0, 0.0)
    return moves(centre, zoom, angle, mirrored, middle), mirrored


def unmoved(
    n: int, stored_hw: tuple[int, int], size_hw: tuple[int, int], context: float
) -> tuple[np.ndarray, np.ndarray]:
    """What n unmoved crops show of stored ones: the centre (n, 2) in stored pixels, and the zoom (n,)."""
    centre = np.tile(np.array([stored_hw[1] / 2, stored_hw[0] / 2]), (n, 1))
    return centre, np.full(n, context * min(size_hw[1] / stored_hw[1], size_hw[0] / stored_hw[0]))


def moves(
    centre: np.ndarray, zoom: np.ndarray, angle: np.ndarray, mirrored: np.ndarray, middle: np.ndarray
) -> np.ndarray:
    """Affines (B, 2, 3) that zoom, turn by radians, mirror some, and take `centre` to `middle`, (B, 2) both."""
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    linear = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    linear[mirrored, 0] *= -1
    return np.concatenate([linear, (middle - np.einsum("nij,nj->ni", linear, centre))[..., None]], axis=2)


def _half_bodies(
    points: np.ndarray, centre: np.ndarray, zoom: np.ndarray, size_hw: tuple[int, int], share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Close in on the keypoints above or below the middle one, where there are enough of them."""
    chosen, upper, margin = (
        rng.random(len(points)) < share,
        rng.random(len(points)) < 0.6,
        rng.uniform(1.3, 1.8, len(points)),
    )
    for i in np.flatnonzero(chosen):
        known = points[i][np.isfinite(points[i]).all(axis=1)]
        if len(known) < 8:
            continue
        half = (
            known[np.argsort(known[:, 1])][: len(known) // 2]
            if upper[i]
            else known[np.argsort(known[:, 1])][len(known) // 2 :]
        )
        low, high = half.min(axis=0), half.max(axis=0)
        side = np.maximum(high - low, 24) * margin[i]
        centre[i] = (low + high) / 2
        # Never closer than twice what it would be otherwise: the stored pixels hold little more detail.
        zoom[i] = min(np.min(np.array([size_hw[1], size_hw[0]]) / side), 2 * zoom[i])
    return centre, zoom


def warp(crops: Tensor, affine: np.ndarray, size_hw: tuple[int, int]) -> Tensor:
    """Warped crops (B, 3, H, W) float 0..255 from stored crops (B, h, w, 3) uint8, black beyond the edge.

    OpenCV on a CPU, `grid_sample` on an accelerator; both sample bilinearly and agree to within rounding.
    """
    if crops.device.type == "cpu":
        height, width = size_hw
        # A crop is too small to share: OpenCV's threads would only wait for torch's, which spin.
        cv2.setNumThreads(0)
        done = [cv2.warpAffine(one, m, (width, height), flags=cv2.INTER_LINEAR)
                for one, m in zip(crops.numpy(), affine, strict=True)]  # fmt: skip
        return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).float()
    return warp_on_device(crops, affine, size_hw)


def warp_on_device(crops: Tensor, affine: np.ndarray, size_hw: tuple[int, int]) -> Tensor:
    """As `warp`, by `grid_sample` on the crops' own device."""
    height, width = size_hw
    _, h, w, _ = crops.shape
    square = np.concatenate([affine, np.tile([[[0.0, 0.0, 1.0]]], (len(affine), 1, 1))], axis=1)
    back = sent(np.linalg.inv(square)[:, :2], crops.device)
    there = {"device": crops.device, "dtype": torch.float32}
    y, x = torch.meshgrid(torch.arange(height, **there), torch.arange(width, **there), indexing="ij")
    source = targets.transform(back, torch.stack([x, y], dim=-1)[None])
    grid = torch.stack([(2 * source[..., 0] + 1) / w - 1, (2 * source[..., 1] + 1) / h - 1], dim=-1)
    return F.grid_sample(crops.permute(0, 3, 1, 2).float(), grid, align_corners=False, padding_mode="zeros")


def recolour(pixels: Tensor, how: Augmentation, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, channel gains, and one square that hides something, of pixels (B, 3, H, W) in 0..255."""
    n = len(pixels)
    if how.colour:
        gain = 1 + rng.uniform(-how.colour, how.colour, (n, 1, 1, 1))
        tint = 1 + rng.uniform(-how.colour, how.colour, (n, 3, 1, 1)) / 3
        lift = rng.uniform(-100 * how.colour, 100 * how.colour, (n, 1, 1, 1))
        pixels.mul_(sent(gain * tint, pixels.device)).add_(sent(lift, pixels.device)).clamp_(0, 255)
    return _blanked(pixels, how, rng)


def _blanked(pixels: Tensor, how: Augmentation, rng: np.random.Generator) -> Tensor:
    """One square of a person's crop that shows one grey, or what another's crop shows there."""
    n, _, height, width = pixels.shape
    box, grey, pasted = np.zeros((4, n, 1)), np.zeros(n), np.zeros(n, bool)
    chosen = np.flatnonzero(rng.random(n) < how.blank)
    for i in chosen:
        side = int(rng.uniform(0.1, 0.4) * width)
        top, left = rng.integers(0, height - side), rng.integers(0, width - side)
        box[:, i, 0], grey[i] = (top, top + side, left, left + side), rng.uniform(0, 255)
        pasted[i] = how.paste and n > 1 and rng.random() < how.paste
    if not len(chosen):
        return pixels
    top, bottom, left, right = box[:, chosen]
    y, x = np.arange(height), np.arange(width)
    rows, columns = ((y >= top) & (y < bottom))[:, None, :, None], ((x >= left) & (x < right))[:, None, None]
    inside = sent(rows, pixels.device) & sent(columns, pixels.device)
    fill = sent(grey[chosen, None, None, None], pixels.device)
    at, before = (sent(which, pixels.device) for which in (chosen, (chosen - 1) % n))
    if pasted.any():
        fill = torch.where(sent(pasted[chosen, None, None, None], pixels.device), pixels[before], fill)
    pixels[at] = torch.where(inside, fill, pixels[at])
    return pixels


def blended(pixels: Tensor, first: int, how: Augmentation, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pixels (N, 3, H, W) with others' laid over some of the first ones, and who is still alone, (N,)."""
    over = (rng.random(len(pixels)) < how.blend) & (np.arange(len(pixels)) < first)
    share = sent(np.where(over, rng.uniform(0.3, 0.7, len(pixels)), 0.0)[:, None, None, None], pixels.device)
    return torch.lerp(pixels, pixels.roll(1, 0), share), sent(~over, pixels.device)
