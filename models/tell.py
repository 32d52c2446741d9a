"""Train the prompts of a finished student, and nothing else.

    python -m models.tell --run RUN --data SET --check CHECKSET --out OUT

A student looks once at each person under a few augmentations; what it sees is kept. Then the prior learns where all
other keypoints put one, from the student's own places (so it knows how far to trust them) and from known ones given at
random; then, on people whom the prior has not seen (the student has), how much the prior and the picture's evidence
each count; last, on CHECKSET's people, whom neither has seen, how bold each keypoint may be. With nothing known the
student stays what it was, to the last bit. OUT is a run's folder like RUN: `models.export` takes it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession  # noqa: TID253 (this is not imported by the core)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from annotator.errors import command_line
from annotator.files import atomic_path, file_sha256, read_bytes, write_text
from models import augment, losses, onnx_file, targets
from models.dataset import PeopleSet, same_keypoints
from models.export import load
from models.network import UnionPose
from models.preprocess import Preprocessor
from models.prompts import Giving, Prompts, draw, split_given
from models.train import WEIGHTS

BATCH = 64
PEOPLE, LEFT_OUT = 192, 4  # of a step of the prior's
POSES, LEARNING_RATE = 8000, 1e-3  # the prior's steps; all people count alike: odd poses are what it has to know
WEIGHED, EPOCHS, WEIGHING_RATE = 1000, 9, 0.05  # people, whom the prior does not see, and epochs of the last part
# What each keypoint's trust may be raised by (a power of e), and how near in crop pixels a place is as good as right.
BOLD, NEAR_PX = (0.0, 0.5, 1.0, 1.5, 2.0), 8.0
DRAWS = 8  # of what is given, of each person that is asked how bold
EVERY = 100


class Looking(nn.Module):
    """What of a student does not depend on prompts: pixels -> axes and the map."""

    def __init__(self, network: UnionPose) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> both axes (N, K, bins), maps (N, K, H / cell, W / cell)."""
        axes, maps = self.network.look(pixels)
        return *axes, maps


@torch.no_grad()
def look(
    looking: InferenceSession, people: PeopleSet, order: np.ndarray, prepare: Preprocessor, prompts: Prompts, *,
    whole: bool,
) -> dict[str, Tensor]:  # fmt: skip
    """One augmentation of each person: `known`, `placed` (N, K, 2) and `sure` (N, K), all in crop pixels.

    Args:
        looking: `Looking`, as a file that onnxruntime runs.
        people, order: whom to look at: places in the set.
        prepare: augments them, and says what is known.
        prompts: reads the axes.
        whole: whether to keep the network's own words too, `x`, `y` and `maps`.
    """
    kept: dict[str, list[Tensor]] = {}
    for rows in DataLoader(order, batch_size=BATCH):
        prepare.step += 1
        made = prepare(people.batch(rows.tolist()), training=True)
        x, y, maps = map(torch.from_numpy, looking.run(None, {"image": made["inputs"].numpy()}))
        placed, sure = prompts.places((x, y))
        columns = {"known": made["known"], "placed": placed, "sure": sure}
        columns |= {"x": x.half(), "y": y.half(), "maps": maps.half()} if whole else {}
        for name, column in columns.items():
            kept.setdefault(name, []).append(column)
        if prepare.step % 20 == 0:
            print("progress " + json.dumps({"looked_at": BATCH * prepare.step, "seed": prepare.seed}), flush=True)
    return {name: torch.cat(columns) for name, columns in kept.items()}


def trusted(info: dict[str, Any], beta: dict[str, float]) -> dict[str, Any]:
    """A training set's `set.json` in which teachers that did not teach the student say nothing.

    >>> trusted({"teachers": [{"name": "a", "trust": [0.9]}, {"name": "b"}]}, {"a": 0.0, "b": 0.25})
    {'teachers': [{'name': 'a', 'trust': 0.0}, {'name': 'b'}]}
    """
    return info | {"teachers": [one if beta.get(one["name"]) else one | {"trust": 0.0} for one in info["teachers"]]}


def held_out(people: int, held: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of people for the prior, and of `held` others.

    >>> learnt, weighed = held_out(5, held=2, seed=0)
    >>> len(weighed), sorted([*learnt.tolist(), *weighed.tolist()])
    (2, [0, 1, 2, 3, 4])
    """
    order = np.random.default_rng(seed).permutation(people)
    return order[held:], order[:held]


def session(network: UnionPose, size_hw: tuple[int, int]) -> InferenceSession:
    """`Looking` in onnxruntime, which looks several times as fast as torch on a processor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "looking.onnx"
        onnx_file.write(Looking(network), path, size_hw, ["x", "y", "maps"])
        return InferenceSession(str(path), providers=["CPUExecutionProvider"])


def look_often(
    looking: InferenceSession, people: PeopleSet, order: np.ndarray, prepare: list[Preprocessor], prompts: Prompts, *,
    whole: bool,
) -> dict[str, Tensor]:  # fmt: skip
    """As `look`, one augmentation each a preprocessor."""
    parts = [look(looking, people, order, one, prompts, whole=whole) for one in prepare]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def learn_prior(network: UnionPose, seen: dict[str, Tensor], flip: Tensor, rng: np.random.Generator) -> None:
    """Fit where all others put a keypoint to where it is (negative log likelihood), of those that are not given."""
    prompts = network.prompts
    optimizer = torch.optim.AdamW(prompts.prior.parameters(), lr=LEARNING_RATE, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=POSES, pct_start=0.05)
    middle, chance = torch.tensor(prompts.size_wh) / 2, torch.Generator().manual_seed(int(rng.integers(2**31)))
    sums = []
    for step in range(POSES):
        rows = torch.as_tensor(rng.integers(0, len(seen["known"]), PEOPLE))
        known, placed, sure = (seen[name][rows] for name in ("known", "placed", "sure"))
        xy, given = split_given(draw(known, placed, flip, prompts.size_wh, Giving(), rng))
        # People lean and are near or far: known and seen places alike.
        turn = _turned(len(rows), rng)
        known, placed, xy = ((points - middle) @ turn + middle for points in (known, placed, xy))
        wanted = torch.isfinite(known).all(dim=-1) * (1 - given)
        left = torch.multinomial(wanted + 1e-6, LEFT_OUT, replacement=True, generator=chance)
        counted = torch.gather(wanted, 1, left)
        there = torch.gather(torch.nan_to_num(known), 1, left[..., None].expand(-1, -1, 2))[:, :, None]
        places = torch.where(given[..., None] > 0, xy, placed)
        mixture = prompts.prior(places, given, torch.where(given > 0, given, sure), left)
        loss = -(prompts.prior.log_density(mixture, there)[..., 0] * counted).sum() / counted.sum().clamp_min(1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(prompts.prior.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        sums.append(float(loss.detach()))
        _progress("prior_step", step, POSES, sums)


def _turned(n: int, rng: np.random.Generator) -> Tensor:
    """Small turns and zooms (N, 2, 2)."""
    angle, zoom = rng.normal(0, 0.1, n), np.exp(rng.uniform(-0.1, 0.1, n))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    return torch.as_tensor(np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1), dtype=torch.float32)


def weigh(network: UnionPose, seen: dict[str, Tensor], flip: Tensor, rng: np.random.Generator) -> None:
    """Fit how much prior and evidence count (divergence of the axes from known places, of those that are not given)."""
    prompts, n = network.prompts, len(seen["x"])
    counting = [prompts.log_trust, prompts.log_sharp, prompts.floor]
    total = n // BATCH * EPOCHS
    optimizer = torch.optim.Adam(counting, lr=WEIGHING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    sums = []
    for step in range(total):
        rows = torch.as_tensor(rng.integers(0, n, BATCH))
        known = seen["known"][rows]
        given = draw(known, seen["placed"][rows], flip, prompts.size_wh, Giving(), rng)
        axes = (seen["x"][rows].float(), seen["y"][rows].float())
        told = prompts(axes, seen["maps"][rows].float(), *split_given(given))
        wanted = torch.isfinite(known).all(dim=-1) & torch.isnan(given).any(dim=-1)
        share = wanted[..., None].float()
        width = torch.full_like(share, targets.SIGMA_PX)
        bells = targets.render(known[:, :, None], width, share, prompts.size_wh, prompts.split)
        loss = losses.conditional_keypoint_loss(losses.divergence(told, bells), share[..., 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        sums.append(float(loss.detach()))
        _progress("weighing_step", step, total, sums)


@torch.no_grad()
def embolden(network: UnionPose, seen: dict[str, Tensor], flip: Tensor, rng: np.random.Generator) -> None:
    """Raise each keypoint's trust in the prior by the step of BOLD that places most of what is not given rightly.

    Likelihood alone leaves it too low: it fears most to be surely wrong, while a reviewer sees places.
    """
    prompts, fitted = network.prompts, network.prompts.log_trust.clone()
    given = draw(seen["known"], seen["placed"], flip, prompts.size_wh, Giving(), rng)
    wanted = torch.isfinite(seen["known"]).all(dim=-1) & torch.isnan(given).any(dim=-1)
    right = []
    for more in BOLD:
        prompts.log_trust.copy_(fitted + more)
        told = []
        for rows in torch.arange(len(given)).split(BATCH):
            axes = (seen["x"][rows].float(), seen["y"][rows].float())
            told.append(prompts.places(prompts(axes, seen["maps"][rows].float(), *split_given(given[rows])))[0])
        off = (torch.cat(told) - torch.nan_to_num(seen["known"])).norm(dim=-1)
        right.append((torch.exp(-0.5 * (off / NEAR_PX) ** 2) * wanted).sum(dim=0) / wanted.sum(dim=0).clamp_min(1))
    best = torch.tensor(BOLD)[torch.stack(right).argmax(dim=0)]
    prompts.log_trust.copy_(fitted + best)
    print("progress " + json.dumps({"bold": best.tolist()}), flush=True)


def _progress(name: str, step: int, total: int, sums: list[float]) -> None:
    if (step + 1) % EVERY == 0 or step + 1 == total:
        mean = round(float(np.mean(sums[-EVERY:])), 5)
        print("progress " + json.dumps({name: step + 1, "of": total, "loss": mean}), flush=True)


def people_of(folder: Path, saved: dict[str, Any], **which: Any) -> PeopleSet:
    """A set's people.

    Raises:
        InputError: a set of other keypoints than the student's.
    """
    people = PeopleSet(str(folder), **which)
    same_keypoints(saved["keypoints"], people.info["keypoints"], str(folder))
    return people


def tell(run: Path, data: Path, out: Path, passes: int, seed: int, check: Path | None = None) -> dict[str, Any]:
    """Train the prompts of `run`'s student on the people of `data`; returns the manifest that is written to `out`.

    How bold each keypoint may be is asked of the people of `check`, or of those that the prior has not seen.

    Raises:
        InputError: no finished run, one that was trained without a map, or a set of other keypoints.
    """
    began = time.time()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network, saved = load(run / WEIGHTS, prompt=True)
    manifest = json.loads(read_bytes(run / "manifest.json", "the manifest of a finished run"))
    recipe = manifest["recipe"]
    # Those that the student was trained on: one that has not seen a dataset is not told of it either.
    people = people_of(data, saved, subset=recipe["subset"], datasets=recipe["datasets"])
    strangers = people_of(check, saved) if check else None
    shape, looking = (saved["size_hw"], saved["split"]), session(network, saved["size_hw"])
    how = (trusted(people.info, recipe["beta"]), *shape, recipe["augmentation"])
    prepare = [Preprocessor(*how, seed + 1 + one, known=True) for one in range(passes)]
    # A prior is surer of people whom it knows; how far to trust it is asked of others.
    learnt, weighed = held_out(len(people), min(WEIGHED, len(people) // 2), seed)
    several = look_often(looking, people, learnt, prepare, network.prompts, whole=False)
    asked = whole = look_often(looking, people, weighed, prepare, network.prompts, whole=True)
    if strangers:
        # Unmoved, as `propose` will see them.
        how = (trusted(strangers.info, recipe["beta"]), *shape, asdict(augment.NONE))
        everyone, unmoved = np.arange(len(strangers)), Preprocessor(*how, seed, known=True)
        once = look(looking, strangers, everyone, unmoved, network.prompts, whole=True)
        asked = {name: column.repeat(DRAWS, *[1] * (column.ndim - 1)) for name, column in once.items()}
    rng, flip = np.random.default_rng(seed), torch.tensor(people.info["flip"])
    learn_prior(network, several, flip, rng)
    weigh(network, whole, flip, rng)
    embolden(network, asked, flip, np.random.default_rng([seed, 1]))
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    with atomic_path(out / WEIGHTS) as temporary:
        torch.save(saved | {"state_dict": state}, temporary)
    manifest |= {
        "weights_sha256": file_sha256(out / WEIGHTS),
        "told": {"from": manifest["weights_sha256"], "data_sha256": file_sha256(data / "arrays.npz"),
                 "check_sha256": file_sha256(check / "arrays.npz") if check else "", "passes": passes, "seed": seed,
                 "seconds": round(time.time() - began)},
    }  # fmt: skip
    write_text(out / "manifest.json", json.dumps(manifest, indent=1))
    return dict(manifest)


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="training set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", type=Path, help="set of people that the student has not seen")
    parser.add_argument("--passes", type=int, default=2, help="augmentations of each person")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    manifest = tell(given.run, given.data, given.out, given.passes, given.seed, given.check)
    print("progress " + json.dumps({"done": True, **manifest["told"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
