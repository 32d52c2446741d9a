"""The paper's loss (arXiv 2405.20084, eq. 6-8), in its order.

The paper writes the keypoint loss as a squared distance. RTMPose predicts two distributions a keypoint (SimCC) and is
trained by a KL divergence against smoothed targets, so that is what stands in for the squared distance here;
`squared_distance` keeps the paper's form. All losses are means over the batch of sums over keypoints, divided by K.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Axes = tuple[Tensor, Tensor]

# The paper's weights: of the labels, and of COCO's and MPII's teacher where a training set does not say its own.
ALPHA = 0.30
BETA = {"tinypose": 0.45, "tinypose_mpii16": 0.25}


def divergence(predicted: Axes, target: Axes) -> Tensor:
    """KL(target || predicted), both axes added, (B, K).

    Args:
        predicted: raw outputs (B, K, W) and (B, K, H).
        target: distributions of the same shapes; all-zero rows count as no divergence.
    """
    total = torch.zeros((), device=predicted[0].device)
    for raw, wanted in zip(predicted, target, strict=True):
        log_p = F.log_softmax(raw.float(), dim=-1)
        total = total + (torch.xlogy(wanted, wanted) - wanted * log_p).sum(dim=-1)
    return total


def map_divergence(maps: Tensor, target: Axes) -> Tensor:
    """KL(target || maps), (B, K): the axes' targets, pooled to the map's cells and multiplied, against its softmax.

    Args:
        maps: raw maps (B, K, h, w).
        target: distributions (B, K, W * split) and (B, K, H * split).
    """
    height, width = maps.shape[-2:]
    along_x = target[0].unflatten(-1, (width, -1)).sum(dim=-1)
    along_y = target[1].unflatten(-1, (height, -1)).sum(dim=-1)
    wanted = (along_y[..., None] * along_x[..., None, :]).flatten(2)
    return (torch.xlogy(wanted, wanted) - wanted * F.log_softmax(maps.float().flatten(2), dim=-1)).sum(dim=-1)


def squared_distance(predicted: Axes, xy: Tensor, split: float) -> Tensor:
    """|p - g|^2 in square crop pixels, (B, K): eq. 6 as written, p being the mean of the predicted distributions."""
    means = []
    for raw in predicted:
        at = torch.arange(raw.shape[-1], device=raw.device, dtype=torch.float32) / split
        means.append((F.softmax(raw.float(), dim=-1) * at).sum(dim=-1))
    return ((torch.stack(means, dim=-1) - torch.nan_to_num(xy)) ** 2).sum(dim=-1)


def conditional_keypoint_loss(per_keypoint: Tensor, weight: Tensor) -> Tensor:
    """Eq. 6: only keypoints that the person's own dataset labels, and that are labelled, count.

    Args:
        per_keypoint: (B, K) divergence from the labels.
        weight: (B, K) 0 where there is no label, else how far the label is trusted.
    """
    return (per_keypoint * weight).sum(dim=1).mean() / per_keypoint.shape[1]


def distillation_loss(per_keypoint: Tensor, weight: Tensor) -> Tensor:
    """Eq. 7: a teacher speaks about every person, whatever the dataset, on the keypoints it knows.

    Args:
        per_keypoint: (B, K) divergence from the teacher's mixture.
        weight: (B, K) 0 for keypoints the teacher does not know or is not sure of.
    """
    return (per_keypoint * weight).sum(dim=1).mean() / per_keypoint.shape[1]


def total_loss(labels: Tensor, teachers: dict[str, Tensor], alpha: float, beta: dict[str, float]) -> Tensor:
    """Eq. 8: alpha * L_CK + (1 - alpha) * sum_j beta_j * L_D(j)."""
    return alpha * labels + (1 - alpha) * sum(beta[name] * loss for name, loss in teachers.items())


def map_distance(drawn: Tensor, seen: Tensor) -> Tensor:
    """Squared distance of maps (N, M, h, w) from what teachers saw, summed over a map's cells: its mean over maps."""
    if drawn.shape[-2:] != seen.shape[-2:]:
        drawn = F.interpolate(drawn, seen.shape[-2:], mode="bilinear", align_corners=False)
    return (drawn - seen).square().sum(dim=(2, 3)).mean()
