"""Train the prompts of a finished student, and nothing else.

    python -m models.tell --run RUN --data SET --out OUT

What the head makes of a picture does not depend on prompts, so each person's tokens are computed once for each of a few
augmentations; prompts are then drawn anew for them in every epoch, thousands a second. First the prompts learn poses
alone, without pictures: where known keypoints put the others. With nothing known the student stays what it was, to the
last bit. OUT is a run's folder like RUN: `models.export` takes it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession  # noqa: TID253 (this is not imported by the core)
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, default_collate

from annotator.errors import AnnotatorError, InputError, expected
from annotator.files import atomic_path, file_sha256, read_bytes, write_text
from models import losses, onnx_file
from models.dataset import PeopleSet
from models.export import load
from models.network import UnionPose
from models.preprocess import Preprocessor
from models.prompts import Giving, draw, split_given
from models.train import WEIGHTS

BATCH = 64
POSES = 6000  # steps on poses alone
LEARNING_RATE = 1e-3
EVERY = 100


class Looking(nn.Module):
    """What of a student does not depend on prompts: pixels -> tokens."""

    def __init__(self, network: UnionPose) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.head

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, hidden)."""
        return self.head.tokens(self.backbone(pixels)[-1])


def words(looking: InferenceSession, people: PeopleSet, prepare: Preprocessor) -> dict[str, Tensor]:
    """The head's tokens (N, K, hidden) for one augmentation of each person, known points (N, K, 2), and the targets."""
    kept: dict[str, list[Tensor]] = {}
    for step, rows in enumerate(DataLoader(range(len(people)), batch_size=BATCH)):
        prepare.step = step
        made = prepare(default_collate([people[int(row)] for row in rows]), training=True)
        tokens = looking.run(None, {"image": made["inputs"].numpy()})[0]
        columns = {"tokens": torch.from_numpy(tokens), "known": made["known"]}
        for name, (mixture, weight) in {"labels": made["targets"]["labels"], **made["targets"]["teachers"]}.items():
            columns |= {f"{name}.x": mixture[0], f"{name}.y": mixture[1], f"{name}.weight": weight}
        for name, column in columns.items():
            kept.setdefault(name, []).append(column.half() if name != "known" else column)
        if step % 20 == 0:
            print("progress " + json.dumps({"looked_at": (step + 1) * BATCH, "of": len(people)}), flush=True)
    return {name: torch.cat(columns) for name, columns in kept.items()}


def learn_poses(network: UnionPose, known: Tensor, flip: Tensor, rng: np.random.Generator) -> None:
    """Fit where known keypoints put the others, on poses alone."""
    rest = network.prompts.rest
    optimizer = torch.optim.AdamW(rest.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, POSES)
    for step in range(POSES):
        wanted = known[torch.as_tensor(rng.integers(0, len(known), 4 * BATCH))]
        there = torch.isfinite(wanted).all(dim=-1)
        guess = network.prompts.expected(*split_given(draw(wanted, flip, network.prompts.size_wh, Giving(), rng)))
        error = functional.smooth_l1_loss(guess, torch.nan_to_num(wanted), reduction="none", beta=4.0).sum(dim=-1)
        loss = (error * there).sum() / there.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print("progress " + json.dumps({"pose_step": step, "of": POSES, "loss": float(loss.detach())}), flush=True)


def learn_tokens(
    network: UnionPose, seen: dict[str, Tensor], beta: dict[str, float], flip: Tensor, epochs: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Fit the prompts to what the head makes of them and of each person's own tokens (eq. 8, as in training)."""
    told = [p for name, p in network.prompts.named_parameters() if name != "unknown"]
    optimizer = torch.optim.AdamW(told, lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    steps = len(seen["known"]) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * epochs)
    for epoch in range(epochs):
        order, sums = torch.as_tensor(rng.permutation(len(seen["known"]))), []
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            some = {name: column[rows].float() for name, column in seen.items()}
            given = draw(some["known"], flip, network.prompts.size_wh, Giving(), rng)
            axes = network.head.axes(some["tokens"] + network.prompts(*split_given(given)))

            def divergence(name: str, some: dict[str, Tensor] = some, axes: Any = axes) -> Tensor:
                apart = losses.divergence(axes, (some[f"{name}.x"], some[f"{name}.y"]))
                return losses.conditional_keypoint_loss(apart, some[f"{name}.weight"])

            loss = losses.total_loss(divergence("labels"), {t: divergence(t) for t in beta}, network.alpha, beta)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(told, 5.0)
            optimizer.step()
            schedule.step()
            sums.append(float(loss.detach()))
            if (step + 1) % EVERY == 0:
                mean = round(float(np.mean(sums[-EVERY:])), 5)
                print("progress " + json.dumps({"epoch": epoch + 1, "step": step + 1, "loss": mean}), flush=True)


def tell(run: Path, data: Path, out: Path, passes: int, epochs: int, seed: int) -> dict[str, Any]:
    """Train the prompts of `run`'s student on the people of `data`; returns the manifest that is written to `out`."""
    began = time.time()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network, saved = load(run / WEIGHTS)
    if network.prompts is None:
        raise InputError(expected("a student that takes prompts (prompt = True)", "one without", str(run)))
    manifest = json.loads(read_bytes(run / "manifest.json", "the manifest of a finished run"))
    recipe = manifest["recipe"]
    people = PeopleSet(str(data))
    # onnxruntime looks several times as fast as torch on a processor.
    onnx_file.write(Looking(network), out / "looking.onnx", saved["size_hw"], ["tokens"])
    looking = InferenceSession(str(out / "looking.onnx"), providers=["CPUExecutionProvider"])
    parts = []
    for one in range(passes):
        prepare = Preprocessor(people.info, saved["size_hw"], saved["split"], recipe["augmentation"], seed + 1 + one,
                               prompt=True)  # fmt: skip
        parts.append(words(looking, people, prepare))
    seen = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    rng, flip = np.random.default_rng(seed), torch.tensor(people.info["flip"])
    learn_poses(network, seen["known"], flip, rng)
    learn_tokens(network, seen, {name: b for name, b in recipe["beta"].items() if b}, flip, epochs, rng)
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    with atomic_path(out / WEIGHTS) as temporary:
        torch.save(saved | {"state_dict": state}, temporary)
    manifest |= {
        "weights_sha256": file_sha256(out / WEIGHTS),
        "told": {"from": manifest["weights_sha256"], "passes": passes, "epochs": epochs, "seed": seed,
                 "seconds": round(time.time() - began)},
    }  # fmt: skip
    write_text(out / "manifest.json", json.dumps(manifest, indent=1))
    return dict(manifest)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="training set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--passes", type=int, default=1, help="augmentations of each person")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        manifest = tell(given.run, given.data, given.out, given.passes, given.epochs, given.seed)
    except AnnotatorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("progress " + json.dumps({"done": True, **manifest["told"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
