"""Lets MMPose 1.3.2 import on mmcv-lite, without compiled operators, without torchvision and without mmdet.

Call `prepare()` before the first `import mmpose`. What is replaced:
- `mmcv._ext`: compiled operators, which only EDPose and deformable DEKR need; any use of them raises.
- `mmdet.utils`: `ConfigType` and `reduce_mean`, which rtmo_head imports whether mmdet is there or not.
- `torchvision.transforms.ToPILImage`: imported by a visualiser that is not used here.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
import warnings
from typing import Any


class _Absent(types.ModuleType):
    """A module whose every attribute exists and raises when called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise RuntimeError(f"{self.__name__}.{name}: expected mmcv with compiled operators, got mmcv-lite")

        return refuse


def _module(name: str, kind: type[types.ModuleType] = types.ModuleType, **attributes: object) -> types.ModuleType:
    module = kind(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    for key, value in attributes.items():
        setattr(module, key, value)
    return module


def _missing(name: str) -> bool:
    return name not in sys.modules and importlib.util.find_spec(name) is None


def prepare() -> None:
    """Put the stand-ins in place; modules that are really installed stay untouched."""
    warnings.filterwarnings("ignore", message=".*pkg_resources is deprecated.*")
    # mmcv-lite says so on each import, of an operator that it does not have.
    warnings.filterwarnings("ignore", message=".*MultiScaleDeformableAttention.*", category=ImportWarning)
    import mmcv  # noqa: F401

    if _missing("mmcv._ext"):
        sys.modules["mmcv._ext"] = _module("mmcv._ext", _Absent)
    if _missing("mmdet"):
        utils = _module("mmdet.utils", ConfigType=dict, reduce_mean=lambda tensor: tensor)
        sys.modules["mmdet"] = _module("mmdet", utils=utils)
        sys.modules["mmdet.utils"] = utils
    if _missing("torchvision"):
        transforms = _module("torchvision.transforms", ToPILImage=type("ToPILImage", (), {}))
        sys.modules["torchvision"] = _module("torchvision", transforms=transforms, __version__="absent")
        sys.modules["torchvision.transforms"] = transforms
