"""Recipes, and what mmengine makes of them."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from annotator.errors import InputError, expected
from models import augment, dataset, dense, lite, losses

RECIPES = Path(__file__).parent / "recipes"
WORKERS = 8  # of each training process, at most


def load_recipe(name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A recipe's values with those it inherits, and `changes` on top.

    Raises:
        InputError: no such recipe, or a value that the recipes it inherits from do not have.
    """
    path = Path(name) if name.endswith(".py") else RECIPES / f"{name}.py"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.py")))
        raise InputError(expected(f"one of {known}, or a file that ends in .py", repr(name), "--recipe"))
    values = {k: v for k, v in runpy.run_path(str(path)).items() if not k.startswith("__")}
    base = values.pop("_base_", None)
    recipe = _changed(load_recipe(base), values, str(path)) if base else values
    return _changed(recipe, changes or {}, "--set")


def _changed(recipe: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    if unknown := sorted(set(changes) - set(recipe)):
        raise InputError(expected(f"one of {', '.join(sorted(recipe))}", ", ".join(unknown), where))
    return recipe | changes


def with_weights(recipe: dict[str, Any], data: Path) -> dict[str, Any]:
    """A recipe with what it leaves to the training set: its teachers' weights, and the datasets that patterns fit.

    A beta of None stands for the weights that the set's file gave its teachers, or the paper's; {} for 0, whoever they
    are.

    Raises:
        FormatError: no such set, or one without a dataset that the recipe asks for.
    """
    info = dataset.read_info(data)
    there, beta, datasets = info["teachers"], recipe["beta"], recipe["datasets"]
    if beta is None:
        known = {one["name"]: one.get("beta", losses.BETA.get(one["name"])) for one in there}
        beta = {name: weight for name, weight in known.items() if weight is not None}
    elif not beta:
        beta = {one["name"]: 0.0 for one in there}
    if datasets is not None:
        datasets = dataset.fitting(datasets, info["datasets"])
    return recipe | {"beta": beta, "datasets": datasets}


def runner_config(recipe: dict[str, Any], data: Path, check: Path | None, out: Path) -> Config:
    """mmengine's configuration of a recipe whose teachers have weights (`with_weights`).

    Raises:
        InputError: teachers without a weight or weights without a teacher, fewer people than a batch, a batch that
            processes cannot share, teachers that cannot look, an augmentation that is none, a check of other keypoints
            or crops.
    """
    # What the configuration names registers itself.
    from models import hooks, network, preprocess, steps  # noqa: F401

    info = dataset.read_info(data)
    _check_teachers(info, recipe["beta"])
    _check_watch(recipe)
    _check_augmentation(recipe)
    which = {"subset": recipe["subset"], "datasets": recipe["datasets"]}
    people = len(dataset.chosen(dataset.read_arrays(data, info)["dataset"], info["datasets"], **which))
    share, batches = _shared(recipe, people, data)
    half = recipe["epochs"] // 2
    average = {"type": "EMAHook", "ema_type": "Average", "momentum": recipe["ema"], "update_buffers": True}
    return Config({
        "model": _model(recipe, info, batches),
        "work_dir": str(out),
        "train_dataloader": _loader(data, share, _workers(people, info), shuffle=True, drop_last=True, **which),
        "launcher": "pytorch" if "LOCAL_RANK" in os.environ else "none",
        "train_cfg": {"by_epoch": True, "max_epochs": recipe["epochs"], "val_interval": max(recipe["epochs"] // 10, 1)},
        "optim_wrapper": {
            "type": "QuietOptimWrapper", "constructor": "FewGroups",
            "optimizer": {"type": "AdamW", "lr": recipe["lr"], "weight_decay": recipe["weight_decay"],
                          "fused": True},
            "paramwise_cfg": {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True},
            "clip_grad": {"max_norm": recipe["clip"]} if recipe["clip"] else None,
        },
        # The paper: linear warm-up from a thousandth, then a cosine over the second half.
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": recipe["warm_up_steps"]},
            {"type": "CosineAnnealingLR", "eta_min": recipe["lr"] * recipe["lr_end"], "begin": half * batches,
             "end": recipe["epochs"] * batches, "T_max": (recipe["epochs"] - half) * batches, "by_epoch": False},
        ],
        "custom_hooks": [
            {"type": "StepHook"},
            {"type": "KeepHook"},
            {"type": "HastenHook", **{name: recipe[name] for name in ("size_hw", "compiled", "keep_memory")}},
            {"type": "ProgressHook"},
            *([average] if recipe["ema"] else []),
        ],
        "default_hooks": {
            "runtime_info": {"type": "QuietInfoHook"},
            "checkpoint": {"type": "CheckpointHook", "interval": max(recipe["epochs"] // 20, 1), "max_keep_ckpts": 2},
            "logger": {"type": "LoggerHook", "interval": 10**9},
        },
        "randomness": {"seed": recipe["seed"]},
        # cuDNN's search for the fastest convolutions can take most of a minute; no faster steps were seen after it.
        "env_cfg": {"cudnn_benchmark": False},
        "default_scope": "mmengine",
        "log_level": "WARNING",
        **_checking(recipe, info, check),
    })  # fmt: skip


def _checking(recipe: dict[str, Any], info: dict[str, Any], check: Path | None) -> dict[str, Any]:
    """What measures the student on a check set while it trains, if there is one."""
    if check is None:
        return {}
    theirs = dataset.read_info(check)
    dataset.same_keypoints(info["keypoints"], theirs["keypoints"], str(check))
    workers = _workers(sum(theirs["people"]), theirs)
    if theirs["context"] != info["context"]:
        raise InputError(expected(f"stored crops of context {info['context']}", theirs["context"], str(check)))
    return {
        "val_dataloader": _loader(check, recipe["batch"] // _world(), workers, shuffle=False), "val_cfg": {},
        "val_evaluator": {"type": "UnionMetric", "split": recipe["split"], "info": theirs},
    }  # fmt: skip


def _model(recipe: dict[str, Any], info: dict[str, Any], batches: int) -> dict[str, Any]:
    """The network with its preprocessor, of an epoch's steps."""
    preprocessor = {
        "type": "Preprocessor", "info": info, "size_hw": recipe["size_hw"], "split": recipe["split"],
        "augmentation": recipe["augmentation"], "seed": recipe["seed"], "watch": recipe["watch"],
        "watch_share": recipe["watch_share"], "last_augmentation": recipe["last_augmentation"],
        "last_from": (recipe["epochs"] - recipe["last_epochs"]) * batches,
    }  # fmt: skip
    return {
        "type": "UnionPose", "size": recipe["size"], "size_hw": recipe["size_hw"], "split": recipe["split"],
        "keypoints": len(info["keypoints"]), "alpha": recipe["alpha"], "beta": recipe["beta"], "form": recipe["form"],
        "locate": recipe["locate"], "frozen": recipe["frozen"],
        "amp": _amp(recipe["amp"], recipe["size"]), "watched": dense.maps(recipe["watch"]), "dense": recipe["dense"],
        "data_preprocessor": preprocessor,
    }  # fmt: skip


def _loader(
    folder: Path, batch: int, workers: int, *, shuffle: bool, drop_last: bool = False, **which: Any
) -> dict[str, Any]:
    return {
        "batch_size": batch, "num_workers": workers, "persistent_workers": workers > 0, "drop_last": drop_last,
        # A batch of wide crops is a hundred megabytes of shared memory.
        **({"prefetch_factor": 1} if workers else {}),
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
        "dataset": {"type": "PeopleSet", "folder": str(folder), **which},
        "collate_fn": {"type": "as_it_is"},
    }  # fmt: skip


def _workers(people: int, info: dict[str, Any]) -> int:
    """Processes that decode crops beside each that trains, where there are too many to hold them decoded."""
    processors = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 0 if dataset.held(people, info) else min(max(processors, 1), WORKERS)


def _world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _check_teachers(info: dict[str, Any], beta: dict[str, float]) -> None:
    there = {teacher["name"] for teacher in info["teachers"]}
    if there != set(beta):
        taught, weighed = (", ".join(sorted(names)) or "none" for names in (there, beta))
        raise InputError(expected(f"a weight for each teacher of the set ({taught})", weighed, "beta"))


def _shared(recipe: dict[str, Any], people: int, data: Path) -> tuple[int, int]:
    """A process's part of a batch, which under torchrun is the sum over processes, and steps an epoch."""
    world = _world()
    if recipe["batch"] % world:
        raise InputError(expected(f"a batch that {world} processes can share", recipe["batch"], "batch"))
    batch, looked_at = recipe["batch"] // world, recipe["watch_share"]
    if recipe["watch"] and not (0 < looked_at <= 1 and int(batch * looked_at)):
        raise InputError(expected(f"a share up to 1 of {batch} people, one at least", looked_at, "watch_share"))
    batches = -(-people // world) // batch
    if not batches:
        raise InputError(expected(f"at least a batch of {recipe['batch']} people", people, str(data)))
    return batch, batches


def _check_watch(recipe: dict[str, Any]) -> None:
    """Whether teachers that look can, and are there where only they speak."""
    names = recipe["watch"]
    if isinstance(names, str):
        raise InputError(expected("a list of teachers", repr(names), "watch"))
    for entry in dense.teachers(names):
        height, width = entry.card.input.size_hw
        if height * recipe["size_hw"][1] != width * recipe["size_hw"][0]:
            wanted, found = (f"{h} x {w}" for h, w in (recipe["size_hw"], (height, width)))
            raise InputError(expected(f"a teacher whose crops have the shape of {wanted}", found, entry.card.name))


def _check_augmentation(recipe: dict[str, Any]) -> None:
    """Whether that of the first epochs and that of the last are some, and who is blended is looked at."""
    last = recipe["augmentation"] | recipe["last_augmentation"]
    for how in (recipe["augmentation"], last):
        augment.check(how)
        if how.get("blend") and not recipe["watch"]:
            raise InputError(expected("teachers that look at blended people (watch)", "none", "augmentation blend"))
    if not 0 <= recipe["last_epochs"] < recipe["epochs"]:
        raise InputError(expected(f"fewer than {recipe['epochs']} epochs", recipe["last_epochs"], "last_epochs"))


def _amp(wanted: bool | None, size: str) -> bool:
    """Whether to train the backbone in bf16: as told, else where that is faster.

    On a processor that has instructions for it CSPNeXt is; EfficientNet-Lite, mostly depthwise convolutions, is slower.
    """
    if wanted is not None:
        return wanted
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return size not in lite.STAGES and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
