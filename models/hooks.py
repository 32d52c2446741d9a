"""What mmengine's Runner does not bring: the step of the augmentation, progress and metrics, the evaluator."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner
from torch import nn

from annotator.students import crop, simcc
from models import curves, memory, record
from models.dataset import PeopleSet
from models.preprocess import Preprocessor


def bare(runner: Runner) -> nn.Module:
    """The network itself, also where several processes train it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class StepHook(Hook):
    """Tells the preprocessor which step it is: with the seed, that fixes every random choice."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Before each batch."""
        bare(runner).data_preprocessor.step = runner.iter


@HOOKS.register_module()
class KeepHook(Hook):
    """Keeps decoded crops on the accelerator that trains, so that a step sends it nothing but numbers."""

    def before_train(self, runner: Runner) -> None:
        """Send them once."""
        keep(runner.train_dataloader.dataset, bare(runner).data_preprocessor)


def keep(people: PeopleSet, prepare: Preprocessor) -> None:
    """As `KeepHook`, where there is an accelerator and room."""
    if prepare.device.type != "cpu" and people.crops is not None and people.crops.nbytes < room(prepare.device):
        prepare.crops = torch.from_numpy(people.crops).to(prepare.device)
        people.with_crops = False


def room(device: torch.device) -> int:
    """Bytes of an accelerator's memory that crops may take: half of what is free, the rest is for training."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else sys.maxsize


@HOOKS.register_module()
class HastenHook(Hook):
    """What makes steps faster and changes nothing but rounding and how memory is held, once the weights are there.

    Args:
        size_hw: the network's input.
        compiled: whether to compile the backbone, unless its frozen stages run as ONNX.
        keep_memory: whether a processor's memory is kept from step to step.
    """

    def __init__(self, size_hw: tuple[int, int], *, compiled: bool, keep_memory: bool) -> None:
        self.size_hw, self.how = tuple(size_hw), {"compiled": compiled, "keep_memory": keep_memory}

    def before_train(self, runner: Runner) -> None:
        """After the checkpoint is loaded."""
        path = Path(runner.work_dir) / f"frozen-{runner.rank}.onnx"
        hasten(bare(runner), self.size_hw, path, **self.how)

    def before_val(self, runner: Runner) -> None:
        """A check is too short to be worth compiling."""
        torch.compiler.set_stance("force_eager")

    def after_val(self, runner: Runner) -> None:
        """Back to training."""
        torch.compiler.set_stance("default")


def hasten(network: nn.Module, size_hw: tuple[int, int], path: Path, *, compiled: bool, keep_memory: bool) -> None:
    """As `HastenHook`; frozen stages are kept in `path` as ONNX."""
    device = next(network.parameters()).device.type
    if device == "cuda":
        # Products of what stays in 32 bits are rounded to TF32, as convolutions are anyway.
        torch.set_float32_matmul_precision("high")
    elif device == "cpu" and keep_memory:
        memory.keep_freed()
    if getattr(network.backbone, "frozen", 0) and device == "cpu":
        network.backbone.hasten(tuple(size_hw), path)
    elif compiled:
        # Only the backbone, in place: names in checkpoints stay, and the head's small layers would not gain.
        network.backbone.compile()


@HOOKS.register_module()
class ProgressHook(Hook):
    """One line of JSON after `progress `: step, loss and its parts, images a second, seconds to go.

    The run's folder keeps the same lines, and the checks, in `metrics.jsonl`, and their curves.

    Args:
        interval: steps between lines; the end of an epoch has one too.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Forget what will be done again, make up for a check that a kill prevented, and start the clock."""
        self.metrics = Path(runner.work_dir) / record.METRICS
        if runner.rank == 0:
            record.cut(self.metrics, runner.iter)
        if self._lacks_check(runner):
            runner.val_loop.run()
        self.began, self.first, self.seen, self.sums = time.monotonic(), runner.iter, 0, {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add up, and print every `interval` steps and at the end of an epoch."""
        self.seen += len(data_batch["row"]) * runner.world_size
        for name, value in outputs.items():
            self.sums.setdefault(name, []).append(value.detach())
        if (runner.iter + 1) % self.interval and not self.end_of_epoch(runner.train_dataloader, batch_idx):
            return
        # Reading them waits until all steps are done, so it comes before the clock.
        means = {name: round(float(torch.stack(values).mean()), 5) for name, values in self.sums.items()}
        elapsed = time.monotonic() - self.began
        done = runner.iter + 1 - self.first
        line = {
            "epoch": runner.epoch + 1,
            "step": runner.iter + 1,
            "steps": runner.max_iters,
            "lr": round(runner.optim_wrapper.get_lr()["lr"][0], 8),
            "images_per_s": round(self.seen / elapsed, 1),
            "eta_s": round((runner.max_iters - runner.iter - 1) * elapsed / done),
        } | means
        self.sums = {}
        if runner.rank == 0:
            print("progress " + json.dumps(line), flush=True)
            record.append(self.metrics, line)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep what the check found."""
        if runner.rank == 0:
            record.append(self.metrics, {"epoch": runner.epoch, "step": runner.iter} | (metrics or {}))
            curves.draw(self.metrics.parent)

    def after_train(self, runner: Runner) -> None:
        """The curves of the whole run."""
        if runner.rank == 0 and record.rows(self.metrics):
            curves.draw(self.metrics.parent)

    def _lacks_check(self, runner: Runner) -> bool:
        """Whether the last epoch ended with a checkpoint, but not with the check that was due."""
        loop = runner.train_loop
        due = (
            runner.val_loop is not None
            and runner.epoch
            and (runner.epoch % loop.val_interval == 0 or runner.epoch == loop.max_epochs)
        )
        # All processes check together or none does; the first one's file counts.
        lacks = [bool(due and runner.epoch not in {row["epoch"] for row in record.checks(self.metrics)})]
        dist.broadcast_object_list(lacks)
        return lacks[0]


@METRICS.register_module()
class UnionMetric(BaseMetric):
    """Mean OKS, and PCK@.5 of the head's axis where both its ends are labelled, on a training set used as a check.

    Skeletons without upper neck and head top have no PCK.

    Args:
        info: the training set's `set.json`.
        split: SimCC bins a pixel.
    """

    default_prefix = "check"

    def __init__(self, info: dict[str, Any], split: float = 2.0) -> None:
        super().__init__()
        self.info, self.split = info, split

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Errors of one batch in picture pixels."""
        (raw_x, raw_y), batch = data_samples[0]
        word = simcc.decode(raw_x.float().cpu().numpy(), raw_y.float().cpu().numpy(), self.split)
        xy = crop.apply(crop.invert(batch["affine"].double().cpu().numpy()), word.xy)
        truth = {name: column.cpu().numpy() for name, column in batch["truth"].items() if name != "crop"}
        error = np.linalg.norm(xy - truth["xy"], axis=2)
        self.results += list(zip(truth["dataset"], error, truth["v"], truth["scale_px"], truth["xy"], strict=True))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """By dataset: mean OKS of people with at least 8 labels, PCKh@.5 where the head's axis is labelled."""
        dataset, error, v, scale, xy = (np.stack(column) for column in zip(*results, strict=True))
        sigma = 2 * np.array(self.info["oks_sigmas"])
        per_keypoint = np.exp(-(error**2) / (2 * (sigma * scale[:, None]) ** 2))
        oks = np.where(v > 0, per_keypoint, 0).sum(1) / np.maximum((v > 0).sum(1), 1)
        head = self._heads(xy)
        hit = np.where(v > 0, error < 0.5 * head[:, None], np.nan)
        out = {}
        for i, name in enumerate(self.info["datasets"]):
            rows = dataset == i
            if (many := rows & ((v > 0).sum(1) >= 8)).any():
                out[f"{name}/oks"] = float(oks[many].mean())
            if (heads := rows & (head > 0)).any():
                out[f"{name}/pckh"] = float(np.nanmean(hit[heads]))
        return out

    def _heads(self, xy: np.ndarray) -> np.ndarray:
        """Head sizes (N,), .75 of the way from upper neck to head top; NaN where one of them is unlabelled."""
        names = self.info["keypoints"]
        if not {"upper_neck", "head_top"} <= set(names):
            return np.full(len(xy), np.nan)
        return 0.75 * np.linalg.norm(xy[:, names.index("upper_neck")] - xy[:, names.index("head_top")], axis=1)
