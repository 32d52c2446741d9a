"""A batch of stored people -> network inputs and targets, augmented on the model's device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor

from models import augment, augment_mmpose, dense, targets

# Of a pixel's red, green and blue: what is taken away, and what the rest is divided by.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
HEARD = 0.2  # a teacher less sure than this says nothing; else its word weighs its score times its card's trust
SURE = 0.4  # what a teacher's trusted score must exceed for its word to count as known


@MODELS.register_module()
class Preprocessor(BaseDataPreprocessor):
    """Augments a batch of people and renders its targets, on the model's device.

    Args:
        info: a training set's `set.json`.
        size_hw: the network's input.
        split: SimCC bins a pixel.
        augmentation: fields of `augment.Augmentation`.
        seed: with step and process it fixes every random choice, so that a resumed run goes on as an unbroken one.
        known: whether batches for training also say where each keypoint is known to be.
        watch: teachers that look at augmented crops.
        watch_share: of how many of a batch, its first ones; only they are blended.
        last_augmentation: what of the augmentation is another from step `last_from` on.
    """

    def __init__(
        self, info: dict[str, Any], size_hw: tuple[int, int], split: float = 2.0,
        augmentation: dict[str, Any] | None = None, seed: int = 0, known: bool = False, watch: Sequence[str] = (),
        watch_share: float = 1.0, last_augmentation: dict[str, Any] | None = None, last_from: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__()
        self.info, self.size_hw, self.split, self.seed, self.known = info, tuple(size_hw), split, seed, known
        fields = {**(augmentation or {})}
        self.how, self.last_from = augment.Augmentation(**fields), last_from
        self.last = augment.Augmentation(**fields | {**(last_augmentation or {})})
        self.below = augment_mmpose.lower_body(info["keypoints"])
        self.label_weight = torch.tensor(info["label_weight"], dtype=torch.float32)
        # Sets written before cards' trust was a part of them say nothing of it.
        trust = [np.broadcast_to(teacher.get("trust", 1.0), len(info["keypoints"])) for teacher in info["teachers"]]
        self.trust = torch.tensor(np.array(trust), dtype=torch.float32).view(len(trust), len(info["keypoints"]))
        self.step, self.crops = 0, torch.empty(0)
        self.watch, self.watch_share = tuple(watch), watch_share
        self.watchers: dense.Watchers | None = None
        self.register_buffer("flip", torch.tensor(info["flip"]), persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Any]:
        """A batch of `PeopleSet` rows -> inputs (B, 3, H, W) and targets; where wanted, `known` points (B, K, 2).

        A batch without crops is of those that `crops` (people, h, w, 3) holds on the model's device.
        """
        how = (self.last if self.step >= self.last_from else self.how) if training else augment.NONE
        rng = np.random.default_rng([self.seed, self.step, int(training), dist.get_rank()])
        points = np.full((len(data["row"]), 1, 2), np.nan)
        if training:
            # Before all is sent: to read it back, or to send more later, would be to wait for the accelerator.
            data = data | {"trusted": data["teacher_score"].float() * self.trust,
                           "label_weight": self.label_weight[data["dataset"].long()]}  # fmt: skip
            best = self._best_known(data).float()
            # MMPose halves by what is labelled.
            points = targets.transform(data["affine"].float(), data["xy"].float() if how.mmpose else best).numpy()
            if self.known:
                data["known"] = best
        # Those of a check may be stored in another size than those of the training.
        stored_hw = tuple(data.get("crop", self.crops).shape[1:3])
        shapes = stored_hw, self.size_hw, self.info["context"]
        if how.mmpose:
            affine, mirrored = augment_mmpose.affines(points, self.below, *shapes, how, rng)
        else:
            affine, mirrored = augment.affines(points, *shapes, how, rng)
        data = {name: augment.sent(column, self.device) for name, column in data.items()}
        pixels = augment.warp(data["crop"] if "crop" in data else self.crops[data["at"]], affine, self.size_hw)
        alone = seen = None
        if training:
            pixels = augment_mmpose.recolour(augment.recolour(pixels, how, rng), how, rng)
            watched = int(len(pixels) * self.watch_share) if self.watch else 0
            if how.blend and watched and not self.known:
                pixels, alone = augment.blended(pixels, watched, how, rng)
            seen = self._watched(pixels[:watched])
        whole = _compose(augment.sent(affine, pixels.device), data["affine"])
        swap = augment.sent(mirrored, pixels.device)
        batch = {"inputs": pixels.sub_(self.mean).div_(self.std), "affine": whole, "row": data["row"]}
        if not training:
            return batch | {"truth": data}
        if self.known:
            known = self._mirror(targets.transform(whole, data["known"]), swap)
            batch["known"] = torch.where(targets.inside(known, self.size_hw[::-1])[..., None], known, torch.nan)
        if alone is not None:
            # Of two people in one crop no label and no word kept of either is true; maps alone speak.
            data |= {name: data[name] * alone.view(-1, *[1] * (data[name].ndim - 1)) for name in ("v", "trusted")}
        return batch | {"targets": self._targets(data, whole, swap) | ({} if seen is None else {"maps": seen})}

    def _watched(self, pixels: Tensor) -> Tensor | None:
        """What teachers see in these pixels, if any look."""
        if not len(pixels):
            return None
        if self.watchers is None:
            self.watchers = dense.Watchers(self.watch, pixels.device)
        return self.watchers(pixels)

    def _targets(self, data: dict[str, Tensor], affine: Tensor, swap: Tensor) -> dict[str, Any]:
        size_wh = self.size_hw[::-1]
        xy = self._mirror(targets.transform(affine, data["xy"].float()), swap)
        there = self._mirror(data["v"] > 0, swap) & targets.inside(xy, size_wh)
        one = torch.ones_like(xy[..., :1])
        labels = targets.render(xy[:, :, None], one * targets.SIGMA_PX, one * there[..., None], size_wh, self.split)
        weight = there * data["label_weight"][:, None]
        teachers = {}
        zoom = targets.zoom(affine)[:, None]
        for j, teacher in enumerate(self.info["teachers"]):
            mean = self._mirror(targets.transform(affine, data["teacher_xy"][:, j].float()), swap)
            share = self._mirror(data["teacher_share"][:, j].float(), swap) * targets.inside(mean, size_wh)
            score = self._mirror(data["teacher_score"][:, j].float(), swap)
            width = self._mirror(data["teacher_sigma"][:, j].float(), swap) * zoom
            sigma = torch.sqrt(targets.SIGMA_PX**2 + width**2)[..., None].expand_as(share)
            trusted = self._mirror(data["trusted"][:, j], swap)
            sure = torch.where((score > HEARD) & (share.sum(dim=-1) > 0.5), trusted, 0.0)
            teachers[teacher["name"]] = (targets.render(mean, sigma, share, size_wh, self.split), sure)
        return {"xy": xy, "labels": (labels, weight), "teachers": teachers}

    def _best_known(self, data: dict[str, Tensor]) -> Tensor:
        """Labels where there are any, else the word of the most trusted teacher, (B, K, 2), NaN where none is sure."""
        best, least = data["xy"], torch.tensor(SURE)
        unlabelled = torch.isnan(best).any(dim=-1)
        for j in range(data["teacher_xy"].shape[1]):
            trusted, word = data["trusted"][:, j], data["teacher_xy"][:, j, :, 0].to(best.dtype)
            better = unlabelled & (trusted > least) & torch.isfinite(word).all(dim=-1)
            best = torch.where(better[..., None], word, best)
            least = torch.where(better, trusted, least)
        return best

    def _mirror(self, column: Tensor, swap: Tensor) -> Tensor:
        """Swap left and right keypoints of the people that are mirrored."""
        return torch.where(swap.view(-1, *[1] * (column.ndim - 1)), column[:, self.flip], column)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The affine that applies `inner`, then `outer`."""
    moved = outer[:, :, :1] * inner[:, :1] + outer[:, :, 1:2] * inner[:, 1:]
    return torch.cat([moved[:, :, :2], moved[:, :, 2:] + outer[:, :, 2:]], dim=2)
