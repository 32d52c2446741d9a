"""Train a student.

    python -m models.train --recipe tiny --data SET --out RUN [--check CHECKSET] [--init WEIGHTS] [--set epochs=30]

A recipe is a file of `models/recipes`: plain values, inheriting by `_base_`. RUN receives the exact recipe, mmengine's
checkpoints, `weights.pth` (the averaged weights, a plain state dict) and `manifest.json`. Run again after a kill, it
goes on from the last checkpoint. Lines that begin with `progress ` are JSON, for whoever started this.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import platform
import runpy
import subprocess
import time
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner, find_latest_checkpoint

from annotator.files import file_sha256
from models import dataset, hooks, network  # noqa: F401  (they register themselves)
from models.resize import resize_head

RECIPES = Path(__file__).parent / "recipes"


def load_recipe(name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A recipe's values with those it inherits, and `changes` on top.

    Raises:
        ValueError: a change names a value that no recipe has.
    """
    path = Path(name) if name.endswith(".py") else RECIPES / f"{name}.py"
    values = {k: v for k, v in runpy.run_path(str(path)).items() if not k.startswith("__")}
    base = values.pop("_base_", None)
    recipe = (load_recipe(base) if base else {}) | values
    unknown = set(changes or {}) - set(recipe)
    if unknown:
        raise ValueError(f"--set: expected one of {', '.join(sorted(recipe))}, got {', '.join(sorted(unknown))}")
    return recipe | (changes or {})


def runner_config(recipe: dict[str, Any], data: Path, check: Path | None, out: Path) -> Config:
    """mmengine's configuration of a recipe."""
    info = json.loads((data / "set.json").read_text())
    steps = -(-sum(info["people"]) // recipe["batch"])
    half = recipe["epochs"] // 2
    preprocessor = {
        "type": "Preprocessor", "info": info, "size_hw": recipe["size_hw"], "split": recipe["split"],
        "augmentation": recipe["augmentation"], "seed": recipe["seed"],
    }  # fmt: skip
    model = {
        "type": "UnionPose", "size": recipe["size"], "size_hw": recipe["size_hw"], "split": recipe["split"],
        "keypoints": len(info["keypoints"]), "alpha": recipe["alpha"], "beta": recipe["beta"], "form": recipe["form"], "locate": recipe["locate"],
        "data_preprocessor": preprocessor,
    }  # fmt: skip
    checking = {} if check is None else {
        "val_dataloader": _loader(check, recipe["batch"], shuffle=False),
        "val_cfg": {},
        "val_evaluator": {"type": "UnionMetric", "split": recipe["split"],
                          "info": json.loads((check / "set.json").read_text())},
    }  # fmt: skip
    return Config({
        "model": model,
        "work_dir": str(out),
        "train_dataloader": _loader(data, recipe["batch"], shuffle=True, drop_last=True),
        "train_cfg": {"by_epoch": True, "max_epochs": recipe["epochs"], "val_interval": max(recipe["epochs"] // 10, 1)},
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": recipe["lr"], "weight_decay": recipe["weight_decay"]},
            "paramwise_cfg": {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True},
            "clip_grad": {"max_norm": 5.0},
        },
        # The paper: linear warm-up from a thousandth, then a cosine over the second half.
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": recipe["warm_up_steps"]},
            {"type": "CosineAnnealingLR", "eta_min": recipe["lr"] * 0.02, "begin": half * steps,
             "end": recipe["epochs"] * steps, "T_max": (recipe["epochs"] - half) * steps, "by_epoch": False},
        ],
        "custom_hooks": [
            {"type": "StepHook"}, {"type": "ProgressHook"},
            {"type": "EMAHook", "ema_type": "mmpose.ExpMomentumEMA", "momentum": recipe["ema"], "update_buffers": True},
        ],
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2},
            "logger": {"type": "LoggerHook", "interval": 10**9},
        },
        "randomness": {"seed": recipe["seed"]},
        "default_scope": "mmengine",
        "log_level": "WARNING",
        **checking,
    })  # fmt: skip


def _loader(folder: Path, batch: int, *, shuffle: bool, drop_last: bool = False) -> dict[str, Any]:
    return {
        "batch_size": batch, "num_workers": 0, "drop_last": drop_last,
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
        "dataset": {"type": "PeopleSet", "folder": str(folder)},
        "collate_fn": {"type": "default_collate"},
    }  # fmt: skip


def initialise(model: network.UnionPose, weights: Path, size_hw: tuple[int, int]) -> None:
    """Start from other weights; a head made for another resolution is interpolated."""
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    model.load_state_dict(resize_head(saved["state_dict"], tuple(saved["size_hw"]), tuple(size_hw), model.state_dict()))


def averaged(runner: Runner) -> dict[str, torch.Tensor]:
    """The exponential moving average of the weights, or the weights themselves."""
    for hook in runner.hooks:
        if hasattr(hook, "ema_model"):
            return {k: v.cpu() for k, v in hook.ema_model.module.state_dict().items()}
    return {k: v.cpu() for k, v in runner.model.state_dict().items()}


def train(recipe: dict[str, Any], data: Path, check: Path | None, out: Path, init: Path | None) -> dict[str, Any]:
    """Train, and return the manifest that is also written to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(recipe, indent=1))
    began = time.time()
    config = runner_config(recipe, data, check, out)
    last = find_latest_checkpoint(str(out))
    config.resume, config.load_from = bool(last), last
    runner = Runner.from_cfg(config)
    if init and not last:
        initialise(runner.model, init, recipe["size_hw"])
    if recipe["compiled"]:
        # Only the backbone, in place: names in checkpoints stay, and the head's small layers would not gain.
        runner.model.backbone.compile()
    # mmengine's own checkpoints hold its log buffers; they are ours, so they may be unpickled while resuming.
    arrays = [np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype]
    numbers = [type(np.dtype(kind)) for kind in ("float64", "int64")]
    safe = [getattr, mmengine.logging.history_buffer.HistoryBuffer, *arrays, *numbers]
    with torch.serialization.safe_globals(safe):
        runner.train()
    weights = out / "weights.pth"
    keypoints = runner.train_dataloader.dataset.info["keypoints"]
    shape = {name: recipe[name] for name in ("size", "split")} | {"size_hw": tuple(recipe["size_hw"])}
    torch.save({"state_dict": averaged(runner), "keypoints": keypoints, **shape}, weights)
    manifest = {
        "recipe": recipe, "data_sha256": file_sha256(data / "arrays.npz"), "init": str(init) if init else "",
        "weights": weights.name, "weights_sha256": file_sha256(weights), "seconds": round(time.time() - began),
        "git": _git(), "python": platform.python_version(), "torch": torch.__version__,
        "check": _last_check(runner),
    }  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return manifest


def _last_check(runner: Runner) -> dict[str, float]:
    scalars = runner.message_hub.log_scalars
    return {k.removeprefix("val/"): float(v.current()) for k, v in scalars.items() if k.startswith("val/check")}


def _git() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parent)  # fmt: skip
    return done.stdout.strip() or "not a checkout"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="name in models/recipes, or a file")
    parser.add_argument("--data", type=Path, required=True, help="training set")
    parser.add_argument("--check", type=Path, help="set to measure on while training; nothing is fitted to it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="weights.pth to start from")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change values of the recipe")
    given = parser.parse_args()
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    changes = {name: ast.literal_eval(value) for name, value in (pair.split("=", 1) for pair in given.set)}
    manifest = train(load_recipe(given.recipe, changes), given.data, given.check, given.out, given.init)
    print("progress " + json.dumps({"done": True, "check": manifest["check"], "seconds": manifest["seconds"]}))


if __name__ == "__main__":
    main()
