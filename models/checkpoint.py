"""Weights out of a checkpoint that somebody else saved, without running any code that may be in it.

A checkpoint of mmengine holds training history and dataset metadata beside the weights: objects of many classes, which
`torch.load(weights_only=True)` refuses and `weights_only=False` would trust. Here only tensors are made; everything
else becomes an object without a meaning.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TENSORS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class Nothing:
    """What stands in a checkpoint for an object of any other class."""

    def __new__(cls, *_: object, **__: object) -> Nothing:
        """Take whatever the class was made of."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget it."""

    def __setitem__(self, key: object, value: object) -> None:
        """Forget it."""

    def append(self, value: object) -> None:
        """Forget it."""

    def extend(self, values: object) -> None:
        """Forget them."""


class Unpickler(pickle.Unpickler):
    """Finds nothing but what tensors are made of; torch finds their storages itself."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name, if it is one of TENSORS."""
        return super().find_class(module, name) if (module, name) in TENSORS else Nothing


def load(file: io.BufferedIOBase, **how: Any) -> Any:
    """As `pickle.load`; torch takes this module for `pickle`."""
    return Unpickler(file, **how).load()


def weights(path: Path) -> dict[str, Tensor]:
    """A checkpoint's weights by name: its `state_dict`, or itself where it is one.

    Raises:
        ValueError: no checkpoint of torch, or one without weights.
    """
    import models.checkpoint as this

    try:
        saved = torch.load(path, map_location="cpu", pickle_module=this, weights_only=False)
    except Exception as error:  # zipfile, pickle and torch raise all kinds on other files
        reason = (str(error).split("\n")[0] or type(error).__name__)[:200]
        raise ValueError(f"{path}: expected a checkpoint of torch, got {reason}") from error
    state = saved.get("state_dict", saved) if isinstance(saved, dict) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: expected a checkpoint with weights, got none")
    return tensors
