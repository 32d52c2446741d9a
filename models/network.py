"""The unified student: RTMPose (backbone, RTMCC head) over the union skeleton, built from MMPose's parts.

RTMPose: Jiang et al., arXiv 2303.07399. `UnionPose` joins a backbone, the head, the map, prompts and the paper's loss.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from annotator.errors import InputError, expected
from models import openmm_compat

openmm_compat.prepare()

from mmpose.models.backbones.cspnext import CSPNeXt  # noqa: E402
from mmpose.models.heads.coord_cls_heads.rtmcc_head import RTMCCHead  # noqa: E402

from models import lite, locator, losses  # noqa: E402
from models.prompts import Prompts  # noqa: E402

STRIDE = 32
FORMS = ("simcc", "squared")
# Deepen and widen factors of CSPNeXt, RTMPose's own backbone.
CSPNEXT = {"tiny": (0.167, 0.375), "small": (0.33, 0.5)}
SIZES = (*CSPNEXT, *lite.STAGES)
HIDDEN = 256


def backbone(size: str, frozen: int = 0) -> tuple[nn.Module, tuple[int, int, int]]:
    """A backbone whose outputs lie at strides 8, 16 and 32, and their channels.

    Args:
        size: tiny or small (CSPNeXt), lite0 or lite2 (EfficientNet-Lite).
        frozen: stages of an EfficientNet-Lite that are not trained.

    Raises:
        InputError: another size, or more frozen stages than can be.
    """
    if size not in SIZES:
        raise InputError(expected(f"one of {', '.join(SIZES)}", size, "size"))
    if size in lite.STAGES:
        return lite.EfficientNetLite(size, frozen), lite.channels(size)
    deepen, widen = CSPNEXT[size]
    net = CSPNeXt(
        arch="P5", expand_ratio=0.5, deepen_factor=deepen, widen_factor=widen, out_indices=(2, 3, 4),
        channel_attention=True, norm_cfg={"type": "BN"}, act_cfg={"type": "SiLU"},
    )  # fmt: skip
    return net, (int(256 * widen), int(512 * widen), int(1024 * widen))


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
    """Backbone, head, map and the paper's loss.

    Args:
        size: tiny, small, lite0 or lite2.
        size_hw: the network's input, multiples of 32.
        keypoints: K of the union.
        alpha, beta: weights of eq. 8, beta by teacher name.
        form: `simcc` (KL, RTMPose's own) or `squared` (eq. 6 as written) for the labels.
        locate: weight of the map's own divergence beside that of the answer; 0 for RTMPose's head alone, without a map.
        prompt: whether it takes known keypoints beside the picture, which needs the map.
        watched: how many maps teachers draw of each crop, which it learns to draw beside its own; needs the map.
        dense: weight of their distance.
        frozen: stages of an EfficientNet-Lite that are not trained.
        amp: whether the backbone trains in bf16; all that follows stays in 32 bits.
        data_preprocessor: config of `Preprocessor`.

    Raises:
        InputError: another size or form, more frozen stages than can be, or a split or teachers that a map cannot do.
    """

    def __init__(
        self, size: str, size_hw: tuple[int, int], keypoints: int, beta: dict[str, float], alpha: float = losses.ALPHA,
        split: float = 2.0, form: str = "simcc", locate: float = 0.0, prompt: bool = False, frozen: int = 0,
        amp: bool = False, watched: int = 0, dense: float = 0.0, data_preprocessor: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(data_preprocessor=data_preprocessor)
        if form not in FORMS:
            raise InputError(expected(f"one of {', '.join(FORMS)}", repr(form), "form"))
        self.alpha, self.beta, self.split, self.form, self.locate = alpha, beta, split, form, locate
        self.amp = amp
        self.backbone, channels = backbone(size, frozen)
        # Depthwise convolutions are several times as fast where a pixel's channels lie together; from the start, so
        # that they do in an average of the weights, too.
        self.backbone.to(memory_format=torch.channels_last)
        size_wh = (size_hw[1], size_hw[0])
        self.head = Head(channels[-1], keypoints, size_wh, split)
        self.locator = locator.Locator(channels, keypoints) if locate or prompt else None
        self.prompts = Prompts(keypoints, size_wh, split, locator.CELL) if prompt else None
        if self.locator is not None and split * locator.CELL % 1:
            raise InputError(expected(f"a whole number of bins in {locator.CELL} pixels", f"split {split}", "the map"))
        if watched and self.locator is None:
            raise InputError(expected("a student with a map (locate > 0)", "one without", "watch"))
        self.dense = dense
        self.drawn = locator.Drawn(watched) if watched else None

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
        predicted, maps = self.look(inputs)
        if self.prompts is not None and prompt_xy is not None and prompt_given is not None:
            predicted = self.prompts(predicted, maps, prompt_xy, prompt_given)
        return predicted if mode == "tensor" else [(predicted, batch)]

    def look(self, inputs: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """What the picture alone says: raw axes (N, K, bins), and the map (N, K, H / CELL, W / CELL) within them."""
        axes, maps, _ = self._look(inputs)
        return axes, maps

    def _look(self, inputs: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor | None, Tensor | None]:
        """As `look`, and what maps are drawn from."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp and self.training):
            features = self.backbone(inputs)
        features = tuple(feature.float() for feature in features)
        axes = self.head.axes(self.head.tokens(features[-1]))
        if self.locator is None:
            return axes, None, None
        maps, around = self.locator(*features)
        return locator.fused(axes, maps), maps, around

    def losses(self, inputs: Tensor, wanted: dict[str, Any]) -> dict[str, Tensor]:
        """`loss` is eq. 8 and is what is minimised; the others are its parts, for the progress line.

        Args:
            inputs: normalised pixels (N, 3, H, W).
            wanted: targets of the labels and of each teacher.
        """
        predicted, maps, around = self._look(inputs)
        parts = self.compare(predicted, maps, wanted)
        if self.drawn is None or around is None:
            return parts
        far = losses.map_distance(self.drawn(around[: len(wanted["maps"])]), wanted["maps"])
        return parts | {"loss": parts["loss"] + self.dense * far, "seen": far.detach()}

    def compare(
        self, predicted: tuple[Tensor, Tensor], maps: Tensor | None, wanted: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Eq. 8 of one answer (and of the map in it by itself): `loss`, and its parts by name."""

        def apart(target: tuple[Tensor, Tensor]) -> Tensor:
            alone = 0.0 if maps is None else self.locate * losses.map_divergence(maps, target)
            return losses.divergence(predicted, target) + alone

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
