"""Images a second of a training step here, beside MMPose's own pipeline for the same network, in one run.

    python -m benchmarks.training_speed --set SET --annotations ANN --images DIR [--networks lite0 tiny] [--no-amp]

Both train at 256 x 192 on COCO's people, on an accelerator if there is one, in turns; speeds are medians of all turns.
Ours has its crops in memory and cached teachers; MMPose's is its RTMPose-t configuration as it ships, on DIR's
photographs, with its own number of workers or with none, whichever is faster. What of its pipeline is not installed is
left out and named; it trains in 32 bits. Each has a process of its own, since ours changes how its process holds
memory. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from models import export_mmpose, hooks, lite
from models.recipe import load_recipe, runner_config, with_weights

THEIRS = "rtmpose-t_8xb256-420e_coco-256x192"
RECIPES = {"lite0": "evening", "lite2": "small", "tiny": "rtmpose_t"}
# The methods of a side that are timed.
WHAT = ("data", "step")
# What of ours can be switched off, values of recipes.
SWITCHES = ("amp", "compiled", "keep_memory")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Side:
    """One way to train: batches, and a model with its optimiser."""

    loader: Iterable[Any]
    model: Any
    optimiser: Any

    def data(self, batch: Any) -> None:
        """The data side of a step."""
        self.model.data_preprocessor(batch, True)

    def step(self, batch: Any) -> None:
        """A whole step."""
        self.model.train_step(batch, self.optimiser)


def ours(name: str, data: Path, batch: int, folder: Path, changes: dict[str, Any]) -> tuple[Side, list[str]]:
    """A recipe's training on COCO's people of a set, with all that `models.train` does to make steps fast.

    It lacks nothing of its pipeline. Its loss is over the union's 21 keypoints and the set's teachers; the map, which
    MMPose lacks, is left out.
    """
    same = {"batch": batch, "datasets": ["coco"], "locate": 0.0}
    recipe = with_weights(load_recipe(RECIPES[name], changes | same), data)
    config = runner_config(recipe, data, None, folder)
    model = MODELS.build(config.model).train().to(DEVICE)
    how = {switch: recipe[switch] for switch in ("compiled", "keep_memory")}
    hooks.hasten(model, recipe["size_hw"], folder / f"{name}.onnx", **how)
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    hooks.keep(loader.dataset, model.data_preprocessor)
    return Side(loader, model, build_optim_wrapper(model, config.optim_wrapper)), []


def theirs(name: str, annotations: Path, images: Path, batch: int, steps: int, workers: int) -> tuple[Side, list[str]]:
    """MMPose's training on as many people of the file as the steps take, and what of its pipeline is left out.

    Its own loss over COCO's 17 keypoints. For `lite0` and `lite2` that EfficientNet-Lite is the backbone, with the
    same stages frozen. Ours trains its backbone in bf16 where that is faster (`recipe.amp`); MMPose's configuration
    does not.
    """
    shipped = export_mmpose.find_config(THEIRS)
    config = Config.fromfile(str(shipped))
    init_default_scope("mmpose")
    model, left_out = export_mmpose.without_mmdet(config), []
    if name in lite.STAGES:
        model["head"]["in_channels"] = lite.channels(name)[-1]
    estimator = MODELS.build(model)
    if name in lite.STAGES:
        estimator.backbone = lite.EfficientNetLite(name, load_recipe(RECIPES[name])["frozen"])
    estimator.to(DEVICE)
    pipeline = []
    for transform in config.train_pipeline:
        # MMPose has mmdet's colour augmentation itself.
        transform["type"] = transform["type"].removeprefix("mmdet.")
        if transform["type"] == "Albumentation" and find_spec("albumentations") is None:
            left_out.append(f"Albumentation ({', '.join(one['type'] for one in transform['transforms'])})")
        else:
            pipeline.append(transform.to_dict())
    loader = config.train_dataloader.to_dict()
    people = {"ann_file": str(annotations), "data_prefix": {"img": str(images)}, "data_root": "",
              "indices": batch * steps, "pipeline": pipeline,
              "metainfo": {"from_file": str(shipped.parents[3] / "_base_" / "datasets" / "coco.py")}}  # fmt: skip
    loader |= {"batch_size": batch, "num_workers": workers, "persistent_workers": workers > 0, "drop_last": True,
               "dataset": loader["dataset"] | people}  # fmt: skip
    wrapper = build_optim_wrapper(estimator, config.optim_wrapper)
    return Side(Runner.build_dataloader(loader, seed=0), estimator.train(), wrapper), left_out


def images_per_s(side: Side, do: Callable[[Any], None], steps: int, batch: int) -> float:
    """Speed of some steps, from asking for the first batch to the end of the last."""
    _finish()
    began = time.perf_counter()
    for number, people in enumerate(islice(side.loader, steps)):
        if hasattr(side.model.data_preprocessor, "step"):
            side.model.data_preprocessor.step = number
        do(people)
    _finish()
    return steps * batch / (time.perf_counter() - began)


def _finish() -> None:
    """Wait until an accelerator has done what it was handed."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Process:
    """A process that holds one side and does nothing until it is asked; raises what `build` raises."""

    def __init__(self, build: Callable[..., tuple[Side, list[str]]], *how: Any) -> None:
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        try:
            self.left_out: list[str] = self.pool.submit(_build, build, how).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()

    def turn(self, steps: int, batch: int) -> dict[str, float]:
        """Images a second of some steps: the data side alone, which warms files and workers, then whole steps."""
        return {what: self.pool.submit(_time, what, steps, batch).result() for what in WHAT}


# In such a process: the side that it holds.
_held: list[Side] = []


def _build(build: Callable[..., tuple[Side, list[str]]], how: Sequence[Any]) -> list[str]:
    """Make the side that this process holds; what its pipeline lacks."""
    # What libraries and compilers print goes elsewhere than the result.
    os.dup2(2, 1)
    cv2.setNumThreads(0)
    MMLogger.get_current_instance().setLevel("ERROR")
    side, left_out = build(*how)
    _held[:] = [side]
    return left_out


def _time(what: str, steps: int, batch: int) -> float:
    """`images_per_s` of the side that this process holds."""
    return images_per_s(_held[0], getattr(_held[0], what), steps, batch)


def compare(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both sides of one network; the first turn warms files, workers and compiled code."""
    changes = switched(given)
    asked: dict[str, Sequence[Any]] = {"ours": (ours, name, given.set, given.batch, folder, changes)}
    for workers in sorted({given.workers, 0}):
        people = (given.annotations, given.images, given.batch, given.steps, workers)
        asked[f"mmpose, {workers} workers"] = (theirs, name, *people)
    with ExitStack() as opened:
        sides = {title: opened.enter_context(closing(Process(*how))) for title, how in asked.items()}
        turns = [
            {title: side.turn(given.steps if number else 1, given.batch) for title, side in sides.items()}
            for number in range(given.repeat + 1)
        ][1:]
        left_out = sorted({part for side in sides.values() for part in side.left_out})
    return {
        **{title: {f"{what}_images_per_s": _short(median(turn[title][what] for turn in turns)) for what in WHAT}
           for title in sides},
        "ratio": {what: _ratio(turns, what) for what in WHAT}, "left_out_of_mmpose": left_out,
    }  # fmt: skip


def switched(given: argparse.Namespace) -> dict[str, bool]:
    """What of our recipes was changed."""
    return {name: getattr(given, name) for name in SWITCHES if getattr(given, name) is not None}


def _ratio(turns: list[dict[str, dict[str, float]]], what: str) -> dict[str, float]:
    """Ours beside the faster of MMPose's in the same turn, since the machine's speed varies."""
    ratios = [
        turn["ours"][what] / max(speed[what] for title, speed in turn.items() if title != "ours") for turn in turns
    ]
    return {"median": _short(median(ratios)), "least": _short(min(ratios)), "most": _short(max(ratios))}


def _short(value: float) -> float:
    """Three digits.

    >>> _short(1234.5), _short(0.012345)
    (1230.0, 0.0123)
    """
    return float(f"{value:.3g}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="training set with people of `coco`")
    parser.add_argument("--annotations", type=Path, required=True, help="COCO keypoints of the same people")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=["lite0", "tiny"], choices=list(RECIPES))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    asked = Config.fromfile(str(export_mmpose.find_config(THEIRS))).train_dataloader.num_workers
    parser.add_argument("--workers", type=int, default=asked, help="MMPose's, as its configuration says")
    for switch in SWITCHES:
        flag = f"--{switch.replace('_', '-')}"
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help="of ours; else as the recipe says")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = {name: compare(name, given, Path(folder)) for name in given.networks}
    shape = {name: getattr(given, name) for name in ("batch", "steps", "repeat")} | switched(given)
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    print(json.dumps({"device": device, "threads": torch.get_num_threads(), **shape, **result}, indent=1))


if __name__ == "__main__":
    main()
