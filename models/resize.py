"""Starting from other weights, also those of another resolution, so that training may begin on small crops.

The backbone does not know the resolution. The head does in three layers: one that mixes the cells of the feature map
(its weights are an image over those cells), and the two that spread a token over the bins of an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from annotator.errors import InputError, expected
from annotator.files import atomic_path
from models import lite
from models.dataset import same_keypoints
from models.preprocess import STD

STRIDE = 32
MAP, PROMPTED, DRAWN = "locator.", "prompts.", "drawn."
CELLS, AXES = "head.mlp.1.weight", ("head.cls_x.weight", "head.cls_y.weight")


def resize_head(
    state: dict[str, Tensor], from_hw: tuple[int, int], to_hw: tuple[int, int], like: dict[str, Tensor]
) -> dict[str, Tensor]:
    """State dict whose head fits `to_hw`; shapes are those of `like`.

    >>> weight = torch.arange(8.0).reshape(2, 4)  # 2 hidden dims, a map of 2 x 2 cells
    >>> bins = torch.ones(4, 2)
    >>> out = resize_head({CELLS: weight}, (64, 64), (128, 128), {CELLS: torch.zeros(2, 16)})
    >>> out[CELLS].shape, round(float(out[CELLS].sum()), 3) == round(float(weight.sum()), 3)
    (torch.Size([2, 16]), True)
    """
    out = dict(state)
    if from_hw == to_hw:
        return out
    if CELLS in out:
        weight = out[CELLS]
        cells = weight.reshape(len(weight), 1, from_hw[0] // STRIDE, from_hw[1] // STRIDE)
        size = (to_hw[0] // STRIDE, to_hw[1] // STRIDE)
        grown = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)
        # A cell now covers less of the picture: the sum over the map must stay.
        out[CELLS] = (grown * cells.shape[2] * cells.shape[3] / (size[0] * size[1])).reshape(len(weight), -1)
    for name in AXES:
        if name in out and out[name].shape != like[name].shape:
            out[name] = _bins(out[name], len(like[name]))
    return out


def _bins(weight: Tensor, count: int) -> Tensor:
    """Rows (bins, hidden) for another number of bins. Bin b lies at b / split: all count from the first pixel."""
    at = torch.arange(count) * (len(weight) / count)
    low = at.long()
    share = (at - low)[:, None]
    return weight[low] * (1 - share) + weight[(low + 1).clamp(max=len(weight) - 1)] * share


def starting_point(
    weights: Path, size_hw: tuple[int, int], own: dict[str, Tensor], out: Path, keypoints: Sequence[str]
) -> Path:
    """Write `out`, a checkpoint of other weights made to fit a network.

    mmengine initialises a network when training begins, so weights put into it before would be lost: it must load them.

    Args:
        weights: a run's `weights.pth`.
        size_hw, own: the network's input and its state dict.
        out: where to.
        keypoints: the network's.

    Raises:
        InputError: no weights, or those of another network or of other keypoints.
    """
    if not weights.is_file():
        raise InputError(expected("the weights of a finished run", "no such file", str(weights)))
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    same_keypoints(keypoints, saved["keypoints"], str(weights))
    state = resize_head(saved["state_dict"], tuple(saved["size_hw"]), tuple(size_hw), own)
    # A map starts anew where there is none, what draws teachers' maps always; prompts are learnt last (`tell.py`).
    state = {k: v for k, v in state.items() if not k.startswith((PROMPTED, DRAWN))}
    state = {k: v for k, v in own.items() if k.startswith((MAP, DRAWN))} | state
    if apart := other_shapes(state, own):
        raise InputError(expected("weights of the recipe's network", f"another {apart[0]}", str(weights)))
    with atomic_path(out) as temporary:
        torch.save({"state_dict": state}, temporary)
    return out


def other_shapes(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Names of weights that only one of two state dicts has, or that are of another shape.

    >>> other_shapes({"a": torch.zeros(2), "b": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(3)})
    ['b']
    """
    names = sorted(set(own) | set(state))
    return [k for k in names if k not in own or k not in state or own[k].shape != state[k].shape]


def imagenet(size: str, own: dict[str, Tensor], out: Path) -> Path:
    """Write `out`, a checkpoint of a network whose backbone knows ImageNet and whose rest is `own`.

    Raises:
        InputError: a size without such weights.
        MissingError: the package that carries them is not installed.
    """
    if size not in lite.FILES:
        raise InputError(expected(f"a recipe of size {' or '.join(lite.FILES)}", size, "imagenet"))
    known = {f"backbone.{name}": value for name, value in lite.imagenet_weights(size, STD).items()}
    with atomic_path(out) as temporary:
        torch.save({"state_dict": own | known}, temporary)
    return out
