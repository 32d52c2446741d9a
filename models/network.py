"""The unified student: RTMPose (backbone, RTMCC head) over the union skeleton, built from MMPose's parts.

RTMPose: Jiang et al., arXiv 2303.07399. `UnionPose` joins a backbone, the head, prompts and the paper's loss.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from models import openmm_compat

openmm_compat.prepare()

import mmpose.engine.hooks  # noqa: E402, F401  (registers the moving average)
from mmpose.models.backbones.cspnext import CSPNeXt  # noqa: E402
from mmpose.models.heads.coord_cls_heads.rtmcc_head import RTMCCHead  # noqa: E402

from models import lite, losses  # noqa: E402
from models.prompts import Prompts  # noqa: E402

STRIDE = 32
FORMS = ("simcc", "squared")
# Deepen and widen factors of CSPNeXt, RTMPose's own backbone.
CSPNEXT = {"tiny": (0.167, 0.375), "small": (0.33, 0.5)}
HIDDEN = 256


class Locator(nn.Module):
    """A coarse map a keypoint from the last two stages, at a cell of 8 pixels; for training, and for prompts.

    RTMPose starts from a backbone that was trained on heatmaps, since from nothing the head's distributions stay at the
    mean pose for long. This trains both at once: the map tells the backbone where things are from the first step.
    """

    CELL = 8

    def __init__(self, channels: tuple[int, int], keypoints: int, width: int = 128) -> None:
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(many, width, 1) for many in channels)
        self.out = nn.Conv2d(width, keypoints * 4, 3, padding=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Maps (B, K, H / 8, W / 8) from features at strides 16 and 32."""
        mixed = self.fine(fine) + functional.interpolate(self.coarse(coarse), size=fine.shape[-2:])
        return functional.pixel_shuffle(self.out(functional.silu(mixed)), 2)


def backbone(size: str, frozen: int = 0) -> tuple[nn.Module, tuple[int, int]]:
    """A backbone whose outputs lie at strides 16 and 32, and the channels of both.

    Args:
        size: tiny or small (CSPNeXt), or lite (EfficientNet-Lite0).
        frozen: stages of lite that are not trained.
    """
    if size == "lite":
        return lite.EfficientNetLite(frozen), lite.CHANNELS
    deepen, widen = CSPNEXT[size]
    net = CSPNeXt(
        arch="P5", expand_ratio=0.5, deepen_factor=deepen, widen_factor=widen, out_indices=(3, 4),
        channel_attention=True, norm_cfg={"type": "BN"}, act_cfg={"type": "SiLU"},
    )  # fmt: skip
    return net, (int(512 * widen), int(1024 * widen))


class Head(RTMCCHead):
    """RTMPose's head in two steps, with a learned vector of each keypoint's own beside its token."""

    def __init__(self, channels: int, keypoints: int, size_wh: tuple[int, int], split: float) -> None:
        super().__init__(
            in_channels=channels, out_channels=keypoints, input_size=size_wh,
            in_featuremap_size=(size_wh[0] // STRIDE, size_wh[1] // STRIDE), simcc_split_ratio=split,
            # The loss is UnionPose's, over labels and several teachers; the head's own is left empty.
            final_layer_kernel_size=7, loss={"type": nn.Identity},
            gau_cfg={"hidden_dims": HIDDEN, "s": 128, "expansion_factor": 2, "dropout_rate": 0.0, "drop_path": 0.0,
                     "act_fn": "SiLU", "use_rel_bias": False, "pos_enc": False},
        )  # fmt: skip
        self.own = nn.Parameter(torch.zeros(keypoints, HIDDEN))

    def tokens(self, features: Tensor) -> Tensor:
        """One token a keypoint, (N, K, HIDDEN), from features at stride 32."""
        return self.mlp(self.final_layer(features).flatten(2)) + self.own

    def axes(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, looked at together -> raw distributions (N, K, W * split) and (N, K, H * split)."""
        mixed = self.gau(tokens)
        return self.cls_x(mixed), self.cls_y(mixed)


@MODELS.register_module()
class UnionPose(BaseModel):
    """Backbone, head and the paper's loss.

    Args:
        size: tiny, small or lite.
        size_hw: the network's input, multiples of 32.
        keypoints: K of the union.
        alpha, beta: weights of eq. 8, beta by teacher name.
        form: `simcc` (KL, RTMPose's own) or `squared` (eq. 6 as written) for the labels.
        locate: weight of the coarse map's divergence beside the head's; 0 for none.
        prompt: whether it takes known keypoints beside the picture; it keeps its coarse map then.
        frozen: stages of a lite backbone that are not trained.
        amp: whether the backbone trains in bf16; the head's own layers and the losses stay in 32 bits.
        data_preprocessor: config of `Preprocessor`.
    """

    def __init__(
        self, size: str, size_hw: tuple[int, int], keypoints: int, beta: dict[str, float], alpha: float = losses.ALPHA,
        split: float = 2.0, form: str = "simcc", locate: float = 0.0, prompt: bool = False, frozen: int = 0,
        amp: bool = False, data_preprocessor: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(data_preprocessor=data_preprocessor)
        if form not in FORMS:
            raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
        self.alpha, self.beta, self.split, self.form, self.locate = alpha, beta, split, form, locate
        self.amp = amp
        self.backbone, channels = backbone(size, frozen)
        size_wh = (size_hw[1], size_hw[0])
        self.head = Head(channels[1], keypoints, size_wh, split)
        self.locator = Locator(channels, keypoints) if locate or prompt else None
        self.prompts = Prompts(keypoints, size_wh, split, Locator.CELL) if prompt else None

    def forward(
        self, inputs: Tensor, prompt_xy: Tensor | None = None, prompt_given: Tensor | None = None,
        mode: str = "tensor", **batch: Any,
    ) -> Any:  # fmt: skip
        """mmengine's three modes: raw outputs, losses, or raw outputs with the batch for the evaluator.

        Args:
            inputs: normalised pixels (N, 3, H, W).
            prompt_xy, prompt_given: places of known keypoints (N, K, 2) in crop pixels, and 1 or 0, (N, K).
            mode: tensor, loss or predict.
            batch: the rest of what `Preprocessor` makes.
        """
        if mode == "loss":
            return self.losses(inputs, batch["targets"])
        features = self.backbone(inputs)
        predicted = self.head.axes(self.head.tokens(features[-1]))
        if self.prompts is not None and prompt_xy is not None and prompt_given is not None:
            predicted = self.prompts(predicted, self.locator(*features), prompt_xy, prompt_given)
        return predicted if mode == "tensor" else [(predicted, batch)]

    def losses(self, inputs: Tensor, wanted: dict[str, Any]) -> dict[str, Tensor]:
        """`loss` is eq. 8 and is what is minimised; the others are its parts, for the progress line.

        Args:
            inputs: normalised pixels (N, 3, H, W).
            wanted: targets of the labels and of each teacher.
        """
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            features = self.backbone(inputs)
        features = tuple(feature.float() for feature in features)
        maps = self.locator(*features) if self.locator and self.locate else None
        return self.compare(self.head.axes(self.head.tokens(features[-1])), maps, wanted)

    def compare(
        self, predicted: tuple[Tensor, Tensor], maps: Tensor | None, wanted: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Eq. 8 of one pass through the head (and the coarse map beside it): `loss`, and its parts by name."""

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
