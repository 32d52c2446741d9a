"""Points and mixtures in picture pixels -> SimCC targets in an augmented crop.

A teacher's word on a keypoint is kept as a small mixture of isotropic Gaussians in picture pixels. An augmentation is
one affine: it moves the means, scales the widths, and, being isotropic, leaves the rest alone; the two marginals are
the targets.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Width of a certain point in crop pixels. RTMPose's own targets are softmax(10 * Gaussian of 4.9 bins), about .8 px
# wide on a floor of 3 %; twice that trains faster from scratch and lets the peak be read below a bin's width.
SIGMA_PX = 1.6
FAR = -80.0  # where a bell's log is cut, to no effect: exp takes a CPU 50 times as long where a float cannot hold it


def transform(affine: Tensor, xy: Tensor) -> Tensor:
    """Map points (B, ..., 2) by affines (B, 2, 3)."""
    # No product of matrices: an accelerator may round what goes into one to 10 bits, a pixel or two of a large picture.
    across, down, shift = affine.reshape(len(affine), *[1] * (xy.ndim - 2), 2, 3).unbind(dim=-1)
    return xy[..., :1] * across + xy[..., 1:] * down + shift


def zoom(affine: Tensor) -> Tensor:
    """Scale of affines (B, 2, 3), (B,)."""
    return torch.linalg.det(affine[:, :, :2]).abs().sqrt()


def render(
    xy: Tensor, sigma_px: Tensor, share: Tensor, size_wh: tuple[int, int], split: float
) -> tuple[Tensor, Tensor]:
    """SimCC targets (B, K, W * split) and (B, K, H * split) of mixtures with M parts, each summing to 1 over its axis.

    Args:
        xy: (B, K, M, 2) means in crop pixels; parts with a share of 0 may be NaN.
        sigma_px: (B, K, M) widths in crop pixels.
        share: (B, K, M) weights; a row of zeros gives a row of zeros.
    """
    targets = []
    for axis, size in enumerate(size_wh):
        at = torch.arange(int(size * split), device=xy.device, dtype=torch.float32) / split
        mean = torch.nan_to_num(xy[..., axis], nan=-1e4)
        off = (at - mean[..., None]).div_(sigma_px[..., None])
        bell = off.square_().mul_(-0.5).clamp_(min=FAR).exp_()
        rendered = bell.mul_((share / sigma_px)[..., None]).sum(dim=2)
        targets.append(rendered / rendered.sum(dim=-1, keepdim=True).clamp_min(1e-12))
    return targets[0], targets[1]


def inside(xy: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Whether points (..., 2) lie in the crop."""
    x, y = xy.unbind(dim=-1)
    return (x >= 0) & (y >= 0) & (x <= size_wh[0] - 1) & (y <= size_wh[1] - 1)
