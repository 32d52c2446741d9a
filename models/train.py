"""Train a student.

    python -m models.train --recipe small --data SET --out RUN [--check CHECKSET] [--init WEIGHTS] [--set epochs=30]

A recipe is a file of `models/recipes`: plain values, inheriting by `_base_`. RUN receives the exact recipe, each start
with its git state, metrics and curves, mmengine's checkpoints, `weights.pth` (the averaged weights, a plain state dict)
and `manifest.json`. Run again after a kill, it goes on from the last checkpoint. `torchrun --nproc-per-node N -m
models.train ...` trains with N processes, whose batches add up to the recipe's. Lines that begin with `progress ` are
JSON, for whoever started this; an error is one line, and exit code 1.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import platform
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from annotator.errors import AnnotatorError, InputError, command_line, expected
from annotator.files import atomic_path, file_sha256, write_text
from models import dense, hooks, record
from models.dataset import read_info
from models.recipe import load_recipe, runner_config, with_weights
from models.resize import DRAWN, imagenet, starting_point

WEIGHTS = "weights.pth"
SHIPPED = Path(__file__).parent / "weights"


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that was written to its end: a file cut short has no list of its parts at the end."""
    whole = [path for path in out.glob("epoch_*.pth") if zipfile.is_zipfile(path)]
    return max(whole, key=_epoch, default=None)


def _epoch(checkpoint: Path | None) -> int:
    """How many epochs are done."""
    return int(checkpoint.stem.removeprefix("epoch_")) if checkpoint else 0


def averaged(runner: Runner) -> dict[str, torch.Tensor]:
    """The exponential moving average of the weights, or the weights themselves; what draws teachers' maps is done."""
    averages = [hook.ema_model.module for hook in runner.hooks if hasattr(hook, "ema_model")]
    network = averages[0] if averages else hooks.bare(runner)
    return {k: v.cpu() for k, v in network.state_dict().items() if not k.startswith(DRAWN)}


def train(recipe: dict[str, Any], data: Path, check: Path | None, out: Path, init: Path | None) -> dict[str, Any]:
    """Train, and return the manifest that is also written to `out`.

    Raises:
        InputError: `out` holds a run of another recipe, or data, teachers or weights that do not fit.
    """
    began = time.time()
    recipe = with_weights(recipe, data)
    config = runner_config(recipe, data, check, out)
    begun = {
        "data_sha256": file_sha256(data / "arrays.npz"), "init": str(init.resolve()) if init else "",
        "watch": dense.digests(recipe["watch"]),
    }  # fmt: skip
    last = last_checkpoint(out)
    _same_recipe(out / "recipe.json", recipe, last)
    if last:
        before = _first_start(out)
        _same_start(before, begun, out)
        if manifest := _finished(out):
            return manifest
        # Where a recipe leaves that open it is as on the machine where the run began.
        config.model.amp = before.get("amp", config.model.amp)
        config.resume, config.load_from = True, str(last)
    elif init or recipe["imagenet"]:
        config.load_from = str(_fitted(config, recipe, data, out / "init.pth", init))
    if config.launcher == "pytorch" and not torch.cuda.is_available():
        # mmengine joins processes by their GPUs; without any they are joined here, and it takes them as they are.
        torch.distributed.init_process_group("gloo")
        config.model_wrapper_cfg = {"type": "MMDistributedDataParallel", "device_ids": None}
    runner = Runner.from_cfg(config)
    start = {
        "epoch": _epoch(last), "data": str(data.resolve()), "check": str(check.resolve()) if check else "", **begun,
        "amp": config.model.amp, "processes": runner.world_size, "python": platform.python_version(),
        "torch": torch.__version__,
    }  # fmt: skip
    if runner.rank == 0:
        start = record.begin(out, start)
    # mmengine's own checkpoints hold its log buffers; they are ours, so they may be unpickled while resuming.
    arrays = [np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype]
    numbers = [type(np.dtype(kind)) for kind in ("float64", "int64")]
    safe = [getattr, mmengine.logging.history_buffer.HistoryBuffer, *arrays, *numbers]
    with torch.serialization.safe_globals(safe):
        try:
            runner.train()
        except AnnotatorError as error:
            # From a process that reads crops it comes with that one's traceback, its own line last.
            raise type(error)(str(error).strip().splitlines()[-1].removeprefix(f"{_named(error)}: ")) from error
    return {} if runner.rank else _finish(runner, recipe, start, out, began)


def _named(error: Exception) -> str:
    """An error's class as tracebacks name it."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _finish(runner: Runner, recipe: dict[str, Any], start: dict[str, Any], out: Path, began: float) -> dict[str, Any]:
    """Write the weights, and the manifest: what was trained, on whom, with what, and its last check."""
    people = runner.train_dataloader.dataset
    shape = {name: recipe[name] for name in ("size", "split")} | {"size_hw": tuple(recipe["size_hw"])}
    shape |= {name: people.info[name] for name in ("skeleton", "keypoints", "definitions") if name in people.info}
    with atomic_path(out / WEIGHTS) as temporary:
        torch.save({"state_dict": averaged(runner), **shape}, temporary)
    begun = {
        name: start[name] for name in ("data_sha256", "init", "watch", "amp", "git", "python", "torch", "processes")
    }
    # Of these weights: a run that was resumed without a set to check on holds checks of earlier ones.
    check = record.last_check(out / record.METRICS, recipe["epochs"])
    manifest = {
        "recipe": recipe, "people": people.count(), **begun, "check": check,
        "weights": WEIGHTS, "weights_sha256": file_sha256(out / WEIGHTS), "seconds": round(time.time() - began),
    }  # fmt: skip
    write_text(out / "manifest.json", json.dumps(manifest, indent=1))
    return manifest


def _fresh(config: Config, seed: int) -> dict[str, torch.Tensor]:
    """State dict of the recipe's network before any training, of a seed."""
    torch.manual_seed(seed)
    fresh = MODELS.build(config.model)
    fresh.init_weights()
    return fresh.state_dict()


def _fitted(config: Config, recipe: dict[str, Any], data: Path, out: Path, init: Path | None) -> Path:
    """A checkpoint of the weights that training begins with: other ones, or ImageNet's."""
    own = _fresh(config, recipe["seed"])
    if init is None:
        return imagenet(recipe["size"], own, out)
    return starting_point(init, recipe["size_hw"], own, out, read_info(data)["keypoints"])


def _finished(out: Path) -> dict[str, Any] | None:
    """The manifest of a run that came to its end before."""
    path = out / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _first_start(out: Path) -> dict[str, Any]:
    """The start that a run's checkpoints go back to; empty where none was kept."""
    return ([row for row in record.rows(out / record.STARTS) if not row["epoch"]] or [{}])[-1]


def _same_start(before: dict[str, Any], begun: dict[str, Any], out: Path) -> None:
    """A run goes on with the data, weights and teachers that it began with, to end where an unbroken one does."""
    for name, now in begun.items() if before else ():
        # Runs from before teachers could look do not name them.
        if (then := before.get(name, {})) != now:
            wanted = f"{name} {then or 'none'}, as the run that is there"
            raise InputError(expected(wanted, now or "none", str(out)))


def _same_recipe(path: Path, recipe: dict[str, Any], last: Path | None) -> None:
    """Keep the recipe beside its checkpoints; a run goes on only as it began."""
    now = json.loads(json.dumps(recipe))
    if not (last and path.is_file()):
        write_text(path, json.dumps(now, indent=1))
        return
    # A value that recipes had not yet was what all of them inherit.
    before = json.loads(json.dumps(load_recipe("rtmpose_t"))) | json.loads(path.read_text())
    for name in sorted(before):
        if before[name] != now.get(name):
            raise InputError(expected(f"{name} {before[name]}, as the run that is there", now.get(name), str(path)))


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="name in models/recipes, or a file")
    parser.add_argument("--data", type=Path, required=True, help="training set")
    parser.add_argument("--check", type=Path, help="set to measure on while training; nothing is fitted to it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", help="weights.pth to start from, or the name of a student that ships")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change values of the recipe")
    given = parser.parse_args()
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    recipe = load_recipe(given.recipe, dict(map(change, given.set)))
    manifest = train(recipe, given.data, given.check, given.out, weights(given.init) if given.init else None)
    if "seconds" in manifest:
        print("progress " + json.dumps({"done": True, "check": manifest["check"], "seconds": manifest["seconds"]}))
    return 0


def weights(named: str) -> Path:
    """The file of weights that are named: a path, or a student that ships.

    >>> weights("runs/a/weights.pth").as_posix(), weights("union21-s").name
    ('runs/a/weights.pth', 'union21-s.pth')
    """
    ships = SHIPPED / f"{named}.pth"
    return ships if ships.is_file() and not Path(named).is_file() else Path(named)


def change(pair: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is Python's, or text where it is no Python."""
    name, equals, value = pair.partition("=")
    if not equals:
        raise InputError(expected("NAME=VALUE", repr(pair), "--set"))
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    sys.exit(main())
