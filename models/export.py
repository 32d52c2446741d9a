"""A trained student to ONNX and a card.

    python -m models.export --run RUN --out models/weights --name union21-t [--default]

Compares the ONNX file with the network on random pixels and stops if they differ. Figures are measured later, by
`annotator evaluate`, and written into the card with `--figure NAME=TEXT`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import tomli_w
import torch

from annotator.files import file_sha256, write_text
from models import onnx_file
from models.network import MEAN, STD, UnionPose

# Logits of half-precision weights move by about 2e-2, far below what moves a peak; full precision must agree closely.
TOLERANCE = {False: 1e-3, True: 0.1}
TERMS = "research only: trained on COCO, MPII, LSP and LSP extended photographs, whose terms allow research"


def load(weights: Path) -> tuple[UnionPose, dict[str, Any]]:
    """The network of a `weights.pth`, and what is saved beside its weights."""
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    model = UnionPose(saved["size"], saved["size_hw"], len(saved["keypoints"]), beta={}, split=saved["split"])
    model.load_state_dict({k: v for k, v in saved["state_dict"].items() if not k.startswith("locator.")})
    return model.eval(), saved


def export(
    run: Path, out: Path, name: str, *, half: bool = True, default: bool = False, figures: dict[str, str] | None = None,
    smooth_px: float = 0.0,
) -> Path:  # fmt: skip
    """Write `out/NAME.onnx` and `out/NAME.toml` from a training run's folder; returns the card's path.

    Raises:
        ValueError: the ONNX file does not say what the network says.
    """
    model, saved = load(run / "weights.pth")
    manifest = json.loads((run / "manifest.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.onnx"
    apart = onnx_file.write(model, path, tuple(saved["size_hw"]), ["simcc_x", "simcc_y"], half=half)
    if apart > TOLERANCE[half]:
        raise ValueError(f"{path}: expected the network's own output, got one {apart:.2g} away")
    card = {
        "name": name, "role": "student", "file": path.name, "dataset": "union21", "keypoints": saved["keypoints"],
        "default": default, "sha256": file_sha256(path),
        "data": "COCO train (1,524 images), MPII train, LSP's first half, LSP extended; see docs/results.md",
        "terms": TERMS, "recipe": describe(manifest),
        "input": {"name": "image", "size_hw": list(saved["size_hw"]), "mean": list(MEAN), "std": list(STD), "batch": 2},
        "crop": {"factor": 1.25},
        "output": {"kind": "simcc", "name_x": "simcc_x", "name_y": "simcc_y", "split": saved["split"],
                   "score": "mass", "smooth_px": smooth_px},
        "figures": figures or {},
    }  # fmt: skip
    write_text(out / f"{name}.toml", tomli_w.dumps(card))
    return out / f"{name}.toml"


def describe(manifest: dict[str, Any]) -> str:
    """One line on how a student was trained."""
    recipe = manifest["recipe"]
    size = "x".join(map(str, recipe["size_hw"]))
    teachers = ", ".join(f"{name} {beta}" for name, beta in recipe["beta"].items())
    start = "continued from other weights" if manifest["init"] else "from scratch"
    return (
        f"RTMPose {recipe['size']} {size}, {start}, {recipe['epochs']} epochs, alpha {recipe['alpha']}, "
        f"beta {teachers}, seed {recipe['seed']}, weights {manifest['weights_sha256'][:12]}"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--full", action="store_true", help="keep 32-bit weights")
    parser.add_argument("--default", action="store_true", help="mark as the default student")
    parser.add_argument("--smooth-px", type=float, default=0.0, help="width of the window whose mass picks the peak")
    parser.add_argument("--figure", nargs="*", default=[], metavar="NAME=TEXT")
    given = parser.parse_args()
    figures = dict(pair.split("=", 1) for pair in given.figure)
    print(
        export(
            given.run,
            given.out,
            given.name,
            half=not given.full,
            default=given.default,
            figures=figures,
            smooth_px=given.smooth_px,
        )  # fmt: skip
    )


if __name__ == "__main__":
    main()
