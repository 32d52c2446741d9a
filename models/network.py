"""The unified student: RTMPose (CSPNeXt backbone, RTMCC head) over the union skeleton, built from MMPose's parts.

RTMPose: Jiang et al., arXiv 2303.07399. `Preprocessor` turns people of a training set into an augmented batch with its
targets, `UnionPose` joins backbone, head and the paper's loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from models import openmm_compat

openmm_compat.prepare()

import mmpose.engine.hooks  # noqa: E402, F401  (registers the moving average)
from mmpose.models.backbones.cspnext import CSPNeXt  # noqa: E402
from mmpose.models.heads.coord_cls_heads.rtmcc_head import RTMCCHead  # noqa: E402

from models import augment, losses, targets  # noqa: E402

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STRIDE = 32
FORMS = ("simcc", "squared")
# deepen and widen factors of CSPNeXt, and its last stage's channels.
SIZES = {"tiny": (0.167, 0.375, 384), "small": (0.33, 0.5, 512)}


@MODELS.register_module()
class Preprocessor(BaseDataPreprocessor):
    """Augments a batch of people and renders its targets, on the model's device.

    Args:
        info: a training set's `set.json`.
        size_hw: the network's input.
        split: SimCC bins a pixel.
        augmentation: fields of `augment.Augmentation`.
        seed: with the step it fixes every random choice, so that a resumed run goes on as an unbroken one.
        min_score: a teacher less sure than this says nothing.
    """

    def __init__(
        self, info: dict[str, Any], size_hw: tuple[int, int], split: float = 2.0,
        augmentation: dict[str, Any] | None = None, seed: int = 0, min_score: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        self.info, self.size_hw, self.split, self.seed, self.min_score = info, tuple(size_hw), split, seed, min_score
        self.how = augment.Augmentation(**(augmentation or {}))
        self.flip = torch.tensor(info["flip"])
        self.label_weight = torch.tensor(info["label_weight"], dtype=torch.float32)
        self.step = 0
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Any]:
        """A batch of `PeopleSet` rows -> inputs (B, 3, H, W) and targets."""
        data = self.cast_data(data)
        how = self.how if training else augment.NONE
        rng = np.random.default_rng([self.seed, self.step, int(training)])
        stored = targets.transform(data["affine"].float(), _best_known(data).float()).cpu().numpy()
        affine, mirrored = augment.affines(stored, self.info["size_hw"], self.size_hw, self.info["context"], how, rng)
        pixels = augment.warp(data["crop"], affine, self.size_hw)
        if training:
            pixels = augment.recolour(pixels, how, rng)
        whole = _compose(torch.as_tensor(affine, dtype=torch.float32, device=pixels.device), data["affine"].float())
        swap = torch.as_tensor(mirrored, device=pixels.device)
        batch = {"inputs": (pixels - self.mean) / self.std, "affine": whole, "row": data["row"]}
        return batch | ({"targets": self._targets(data, whole, swap)} if training else {"truth": data})

    def _targets(self, data: dict[str, Tensor], affine: Tensor, swap: Tensor) -> dict[str, Any]:
        size_wh = self.size_hw[::-1]
        xy = self._mirror(targets.transform(affine, data["xy"].float()), swap)
        there = self._mirror(data["v"] > 0, swap) & targets.inside(xy, size_wh)
        one = torch.ones_like(xy[..., :1])
        labels = targets.render(xy[:, :, None], one * targets.SIGMA_PX, one * there[..., None], size_wh, self.split)
        weight = there * self.label_weight.to(xy.device)[data["dataset"].long()][:, None]
        teachers = {}
        zoom = targets.zoom(affine)[:, None]
        for j, teacher in enumerate(self.info["teachers"]):
            mean = self._mirror(targets.transform(affine, data["teacher_xy"][:, j].float()), swap)
            share = self._mirror(data["teacher_share"][:, j].float(), swap) * targets.inside(mean, size_wh)
            score = self._mirror(data["teacher_score"][:, j].float(), swap)
            width = self._mirror(data["teacher_sigma"][:, j].float(), swap) * zoom
            sigma = torch.sqrt(targets.SIGMA_PX**2 + width**2)[..., None].expand_as(share)
            sure = torch.where((score > self.min_score) & (share.sum(dim=-1) > 0.5), score, 0.0)
            teachers[teacher["name"]] = (targets.render(mean, sigma, share, size_wh, self.split), sure)
        return {"xy": xy, "labels": (labels, weight), "teachers": teachers}

    def _mirror(self, column: Tensor, swap: Tensor) -> Tensor:
        """Swap left and right keypoints of the people that are mirrored."""
        flipped = column[:, self.flip.to(column.device)]
        return torch.where(swap.view(-1, *[1] * (column.ndim - 1)), flipped, column)


def _best_known(data: dict[str, Tensor]) -> Tensor:
    """Labels where there are any, else a sure teacher's word, (B, K, 2), NaN elsewhere."""
    best = data["xy"]
    for j in range(data["teacher_xy"].shape[1]):
        sure = (data["teacher_score"][:, j] > 0.4)[..., None]
        word = torch.where(sure, data["teacher_xy"][:, j, :, 0].to(best.dtype), torch.nan)
        best = torch.where(torch.isnan(best), word, best)
    return best


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The affine that applies `inner`, then `outer`."""
    linear = outer[:, :, :2] @ inner[:, :, :2]
    return torch.cat([linear, outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]], dim=2)


class Locator(nn.Module):
    """A coarse map a keypoint from the last two stages, at a cell of 8 pixels; used in training only.

    RTMPose starts from a backbone that was trained on heatmaps, since from nothing the head's distributions stay at the
    mean pose for long. This trains both at once: the map tells the backbone where things are from the first step.
    """

    CELL = 8

    def __init__(self, channels: int, keypoints: int, width: int = 128) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(channels // 2, width, 1), nn.Conv2d(channels, width, 1)
        self.out = nn.Conv2d(width, keypoints * 4, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Maps (B, K, H / 8, W / 8) from features at strides 16 and 32."""
        mixed = self.fine(fine) + functional.interpolate(self.coarse(coarse), size=fine.shape[-2:])
        return functional.pixel_shuffle(self.out(functional.silu(mixed)), 2)


@MODELS.register_module()
class UnionPose(BaseModel):
    """Backbone, head and the paper's loss.

    Args:
        size: tiny or small.
        size_hw: the network's input, multiples of 32.
        keypoints: K of the union.
        alpha, beta: weights of eq. 8, beta by teacher name.
        form: `simcc` (KL, RTMPose's own) or `squared` (eq. 6 as written) for the labels.
        locate: weight of the coarse map's divergence beside the head's; 0 for none.
        amp: whether the backbone trains in bf16; the head's own layers and the losses stay in 32 bits.
        data_preprocessor: config of `Preprocessor`.
    """

    def __init__(
        self, size: str, size_hw: tuple[int, int], keypoints: int, beta: dict[str, float], alpha: float = losses.ALPHA,
        split: float = 2.0, form: str = "simcc", locate: float = 0.0, amp: bool = False,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(data_preprocessor=data_preprocessor)
        if form not in FORMS:
            raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
        deepen, widen, channels = SIZES[size]
        self.alpha, self.beta, self.split, self.form, self.locate = alpha, beta, split, form, locate
        self.amp = amp
        self.backbone = CSPNeXt(
            arch="P5", expand_ratio=0.5, deepen_factor=deepen, widen_factor=widen, out_indices=(3, 4),
            channel_attention=True, norm_cfg={"type": "BN"}, act_cfg={"type": "SiLU"},
        )  # fmt: skip
        height, width = size_hw
        self.head = RTMCCHead(
            in_channels=channels, out_channels=keypoints, input_size=(width, height),
            in_featuremap_size=(width // STRIDE, height // STRIDE), simcc_split_ratio=split,
            # The loss lives below, over labels and several teachers; the head's own is left empty.
            final_layer_kernel_size=7, loss={"type": nn.Identity},
            gau_cfg={"hidden_dims": 256, "s": 128, "expansion_factor": 2, "dropout_rate": 0.0, "drop_path": 0.0,
                     "act_fn": "SiLU", "use_rel_bias": False, "pos_enc": False},
        )  # fmt: skip

        self.locator = Locator(channels, keypoints) if locate else None

    def forward(self, inputs: Tensor, mode: str = "tensor", **batch: Any) -> Any:
        """mmengine's three modes: raw outputs, losses, or raw outputs with the batch for the evaluator."""
        if self.amp and mode == "loss":
            with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
                features = self.backbone(inputs)
            features = tuple(feature.float() for feature in features)
        else:
            features = self.backbone(inputs)
        predicted = self.head(features)
        if mode == "loss":
            maps = self.locator(*features) if self.locator else None
            return self.losses(predicted, maps, batch["targets"])
        return predicted if mode == "tensor" else [(predicted, batch)]

    def losses(
        self, predicted: tuple[Tensor, Tensor], maps: Tensor | None, wanted: dict[str, Any]
    ) -> dict[str, Tensor]:
        """`loss` is eq. 8 and is what is minimised; the others are its parts, for the progress line."""

        def apart(target: tuple[Tensor, Tensor]) -> Tensor:
            coarse = 0.0 if maps is None else self.locate * losses.map_divergence(maps, target)
            return losses.divergence(predicted, target) + coarse

        target, weight = wanted["labels"]
        squared = self.form == "squared"
        per_keypoint = losses.squared_distance(predicted, wanted["xy"], self.split) if squared else apart(target)
        labels = losses.conditional_keypoint_loss(per_keypoint, weight)
        teachers = {
            name: losses.distillation_loss(apart(mixture), sure)
            for name, (mixture, sure) in wanted["teachers"].items()
            if self.beta.get(name)
        }
        total = losses.total_loss(labels, teachers, self.alpha, self.beta)
        parts = {"labels": labels} | teachers
        return {"loss": total} | {name: part.detach() for name, part in parts.items()}
