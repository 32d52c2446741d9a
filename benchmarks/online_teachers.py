"""Cached teachers beside teachers that run in every step: the same people, augmentations and steps, in one run.

    python -m benchmarks.online_teachers --set SET --check CHECKSET --init RUN/weights.pth [--steps 60] [--batch 16]

One student is trained twice from the same weights, in turns. The cached teachers spoke once about each person's unmoved
crop and its mirror image; the on-line ones look at every augmented crop (ANNOTATOR_TEACHERS). Prints JSON: images a
second of the median step, figures on CHECKSET before and after, and by how much they differ, with a 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from annotator.errors import command_line
from annotator.metrics.bootstrap import interval
from annotator.skeletons import Skeleton
from annotator.students import registry
from annotator.students.onnx import OnnxModel
from annotator.training import mixtures
from models import hooks
from models.dataset import PeopleSet, as_it_is, read_info
from models.network import UnionPose
from models.preprocess import Preprocessor
from models.recipe import load_recipe, runner_config, with_weights
from models.resize import starting_point
from models.train import change

ROUNDS = 500
WARM_UP = 2  # steps that are not timed


class Pixels(Preprocessor):
    """The augmented crops alone."""

    def _targets(self, *_: Any) -> dict[str, Any]:
        return {}


class Online(Preprocessor):
    """Makes batches whose teachers have looked at the augmented crops, in their own resolution, without a mirror image.

    What they say of a crop is read and rendered as the cached words are.

    Args:
        nets: the training set's teachers, in its order.
        how: what `Preprocessor` takes.
    """

    def __init__(self, nets: Sequence[OnnxModel], **how: Any) -> None:
        super().__init__(**how)
        self.nets, self.seconds = nets, 0.0
        # With the same seed and step every augmentation is the same, in whatever resolution.
        self.pixels = {net.card.input.size_hw: Pixels(**how | {"size_hw": net.card.input.size_hw}) for net in nets}

    def _targets(self, data: dict[str, Tensor], affine: Tensor, swap: Tensor) -> dict[str, Any]:
        began = time.perf_counter()
        made = {}
        for size, pixels in self.pixels.items():
            pixels.step = self.step
            seen = pixels(data, training=True)
            crops = (seen["inputs"] * self.std + self.mean).clamp(0, 255).round().byte()
            made[size] = crops.permute(0, 2, 3, 1).contiguous().numpy(), seen["affine"].double().numpy()
        shown = [made[net.card.input.size_hw] for net in self.nets]
        words = [net.read(crops).to_picture(where) for net, (crops, where) in zip(self.nets, shown, strict=True)]
        said = mixtures(words, self.nets, skeleton_of(self.info), np.zeros(len(swap)))
        # A mirrored person's left is called right, as in the crop that was seen; people's own sides are the set's.
        columns = {name: torch.from_numpy(column) for name, column in said.items()}
        own = {name: self._own_sides(column, swap) for name, column in columns.items()}
        own["trusted"] = own["teacher_score"].float() * self.trust
        self.seconds += time.perf_counter() - began
        return super()._targets(data | own, affine, swap)

    def _own_sides(self, column: Tensor, swap: Tensor) -> Tensor:
        """Teachers' columns (N, T, K, ...) with left and right swapped for people who are mirrored."""
        return torch.stack([self._mirror(column[:, j], swap) for j in range(column.shape[1])], dim=1)


def skeleton_of(info: dict[str, Any]) -> Skeleton:
    """The keypoints of a set."""
    names, meanings, sigmas = (tuple(info[name]) for name in ("keypoints", "definitions", "oks_sigmas"))
    return Skeleton("set", names, meanings, (), sigmas, ("metainfo",) * len(names))


def teachers_of(info: dict[str, Any]) -> list[OnnxModel]:
    """A set's teachers, without their look at the mirror image; raises MissingError where one is not here."""
    known = {entry.card.name: entry for entry in registry.known()}
    entries = [known[teacher["name"]] for teacher in info["teachers"]]
    return [OnnxModel(entry.card.model_copy(update={"flip_test": False}), entry.weights) for entry in entries]


@dataclass
class Arm:
    """A student in training."""

    network: UnionPose
    optimiser: Any
    seconds: list[float] = field(default_factory=list)

    def step(self, people: dict[str, Tensor], number: int) -> None:
        """Augment, ask the teachers where they are on-line, and learn."""
        began = time.perf_counter()
        self.network.data_preprocessor.step = number
        batch = self.network.data_preprocessor(people, training=True)
        loss = self.network.losses(batch["inputs"], batch["targets"])["loss"]
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.seconds.append(time.perf_counter() - began)


def arm(recipe: dict[str, Any], given: argparse.Namespace, folder: Path, *, online: bool) -> Arm:
    """A student that starts from the given weights."""
    config = runner_config(recipe, given.set, None, folder)
    network = MODELS.build(config.model)
    names = read_info(given.set)["keypoints"]
    start = starting_point(given.init, recipe["size_hw"], network.state_dict(), folder / "init.pth", names)
    network.load_state_dict(torch.load(start, weights_only=True)["state_dict"])
    if online:
        how = config.model.data_preprocessor.to_dict()
        del how["type"]
        network.data_preprocessor = Online(teachers_of(how["info"]), **how)
    # Some hundred steps are too few to compile for.
    how = {"compiled": False, "keep_memory": recipe["keep_memory"]}
    hooks.hasten(network, recipe["size_hw"], folder / f"{online}.onnx", **how)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=given.lr, weight_decay=recipe["weight_decay"], fused=True)
    return Arm(network, optimiser)


def batches(people: PeopleSet, batch: int, seed: int) -> Iterator[dict[str, Tensor]]:
    """The set's people in an order of the seed, over and over."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(people))
        for start in range(0, len(people) - batch + 1, batch):
            yield people.batch(order[start : start + batch].tolist())


def check(network: UnionPose, people: PeopleSet) -> hooks.UnionMetric:
    """The metric with what a student says about all people of a set, unmoved."""
    metric = hooks.UnionMetric(people.info, network.split)
    network.eval()
    with torch.no_grad():
        for some in DataLoader(people, batch_size=32, collate_fn=as_it_is):
            batch = network.data_preprocessor(some, training=False)
            ((predicted, rest),) = network(batch.pop("inputs"), mode="predict", **batch)
            metric.process(None, [(predicted, rest)])
    network.train()
    return metric


def apart(one: hooks.UnionMetric, other: hooks.UnionMetric, seed: int) -> dict[str, list[float]]:
    """By how much each figure of one exceeds the other's, and a 95 % interval over people drawn anew.

    By person: a training set does not say which of its people share a picture.
    """
    rng, drawn = np.random.default_rng(seed), []
    for turn in range(ROUNDS + 1):
        everyone = np.arange(len(one.results))
        rows = rng.integers(0, len(everyone), len(everyone)) if turn else everyone
        a, b = (metric.compute_metrics([metric.results[row] for row in rows]) for metric in (one, other))
        drawn.append([a[name] - b[name] for name in a])
    low, high = interval(np.array(drawn[1:]))
    return {name: [round(float(v), 4) for v in row] for name, *row in zip(a, drawn[0], low, high, strict=True)}


def figures(metric: hooks.UnionMetric) -> dict[str, float]:
    """Rounded."""
    return {name: round(value, 4) for name, value in metric.compute_metrics(metric.results).items()}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train both, and say how fast and how well."""
    changes = {"batch": given.batch} | dict(map(change, given.set_recipe))
    recipe = with_weights(load_recipe(given.recipe, changes), given.set)
    arms = {name: arm(recipe, given, folder, online=name == "online") for name in ("cached", "online")}
    people, checked = PeopleSet(str(given.set)), PeopleSet(str(given.check))
    start = check(arms["cached"].network, checked)
    for number, some in zip(range(given.steps + WARM_UP), batches(people, given.batch, given.seed), strict=False):
        for one in arms.values():
            one.step(dict(some), number)
    ends = {name: check(one.network, checked) for name, one in arms.items()}
    seconds = {name: float(np.median(one.seconds[WARM_UP:])) for name, one in arms.items()}
    taught = arms["online"].network.data_preprocessor.seconds / sum(arms["online"].seconds)
    return {
        "recipe": given.recipe, "size_hw": recipe["size_hw"], "steps": given.steps + WARM_UP, "batch": given.batch,
        "lr": given.lr, "seed": given.seed, "threads": torch.get_num_threads(), "teachers": recipe["beta"],
        "images_per_s": {name: round(given.batch / s, 1) for name, s in seconds.items()},
        "cached_times_as_fast": round(seconds["online"] / seconds["cached"], 2),
        "share_of_an_online_step_for_teachers": round(taught, 2),
        "people_checked": len(checked), "start": figures(start),
        **{name: figures(metric) for name, metric in ends.items()},
        "cached_minus_online": apart(ends["cached"], ends["online"], given.seed),
    }  # fmt: skip


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True, help="training set")
    parser.add_argument("--check", type=Path, required=True, help="set to measure on")
    parser.add_argument("--init", type=Path, required=True, help="weights.pth to start from")
    parser.add_argument("--recipe", default="evening_low")
    parser.add_argument("--set-recipe", nargs="*", default=[], metavar="NAME=VALUE", help="change values of the recipe")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(given, Path(folder)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
