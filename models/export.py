"""A trained student to ONNX and a card.

    python -m models.export --run RUN --out models/weights --name union21-t [--default] [--checkpoint]

Compares the ONNX file with the network on random pixels and stops if they differ. Figures are measured later, by
`annotator evaluate`, and written into the card with `--figure NAME=TEXT`; known failures, as `workflows.failures`
prints them, with `--failure TEXT ...`. An error is one line, and exit code 1.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor

from annotator.errors import InputError, command_line, expected
from annotator.files import atomic_path, file_sha256, read_bytes, write_text
from annotator.skeletons import resolve
from models import onnx_file
from models.network import SIZES, UnionPose
from models.preprocess import MEAN, STD
from models.resize import MAP, PROMPTED, other_shapes

# Logits of half-precision weights move by about 3e-2, and where known keypoints speak of noise by .15, which moves a
# fiftieth of an answer's mass at most; full precision must agree closely.
TOLERANCE = {False: 1e-3, True: 0.2}
# Names of the inputs that take known keypoints.
PROMPTS = ("prompt_xy", "prompt_given")


def load(weights: Path, *, prompt: bool | None = None) -> tuple[UnionPose, dict[str, Any]]:
    """The network of a `weights.pth`, and what is saved beside its weights.

    Args:
        weights: the file.
        prompt: whether with prompts, untrained ones where it has none; by default as it has them.

    Raises:
        InputError: no such file, weights of another network, or prompts for one that was trained without a map.
    """
    if not weights.is_file():
        raise InputError(expected("the weights of a finished run", "no such file", str(weights)))
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    state = saved["state_dict"]
    if prompt is None:
        prompt = any(name.startswith(PROMPTED) for name in state)
    if saved["size"] not in SIZES:
        raise InputError(expected(f"a network of size {', '.join(SIZES)}", saved["size"], str(weights)))
    mapped = any(name.startswith(MAP) for name in state)
    if prompt and not mapped:
        raise InputError(expected("a student that was trained with a map (locate > 0)", "one without", str(weights)))
    shape = (saved["size"], saved["size_hw"], len(saved["keypoints"]))
    model = UnionPose(*shape, beta={}, split=saved["split"], locate=float(mapped), prompt=prompt)
    state = {name: value for name, value in state.items() if prompt or not name.startswith(PROMPTED)}
    untrained = {name: value for name, value in model.state_dict().items() if name.startswith(PROMPTED)}
    state = state if any(name.startswith(PROMPTED) for name in state) else state | untrained
    if apart := other_shapes(state, model.state_dict()):
        raise InputError(expected("weights of the network as it is now", f"another {apart[0]}", str(weights)))
    model.load_state_dict(state)
    return model.eval(), saved


def export(
    run: Path, out: Path, name: str, *, half: bool = True, default: bool = False, figures: dict[str, str] | None = None,
    failures: Sequence[str] = (), smooth_px: float = 0.0, data: str = "", terms: str = "", checkpoint: bool = False,
) -> Path:  # fmt: skip
    """Write `out/NAME.onnx` and `out/NAME.toml` from a training run's folder; returns the card's path.

    Args:
        run: what `models.train` wrote.
        out, name: where, and what the student is called.
        half: keep the weights as 16-bit floats.
        default: mark it as the student that `annotator propose` takes.
        figures: what was measured, by name.
        failures: where it is known to go wrong, a line each.
        smooth_px: width of the window whose mass picks the peak.
        data: what it was trained on; by default what the run's manifest says.
        terms: under which terms it may be used; by default research, as its photographs' terms mostly allow no more.
        checkpoint: write `out/NAME.pth` too (`pack`).

    Raises:
        InputError: no finished run, or an ONNX file that does not say what the network says (nothing is written then).
    """
    model, saved = load(run / "weights.pth")
    manifest = json.loads(read_bytes(run / "manifest.json", "the manifest of a finished run"))
    path = out / f"{name}.onnx"
    with atomic_path(path) as temporary:
        beside = _examples(model, tuple(saved["size_hw"]))
        axes = ["simcc_x", "simcc_y"]
        apart = onnx_file.write(model, temporary, tuple(saved["size_hw"]), axes, half=half, beside=beside)
        if apart > TOLERANCE[half]:
            raise InputError(expected("the network's own output", f"one {apart:.2g} away", str(path)))
    card = {
        "name": name, "role": "student", "file": path.name, **keypoints(saved),
        "default": default, "sha256": file_sha256(path),
        "data": data or trained_on(manifest), "recipe": describe(manifest),
        "terms": terms or f"research only: trained on {trained_on(manifest)}",
        "input": {"name": "image", "size_hw": list(saved["size_hw"]), "mean": list(MEAN), "std": list(STD), "batch": 2},
        "crop": {"factor": 1.25},
        "output": {"kind": "simcc", "name_x": "simcc_x", "name_y": "simcc_y", "split": saved["split"],
                   "score": "mass", "smooth_px": smooth_px},
        "figures": figures or {}, "failures": list(failures),
    } | ({"prompts": {"name_xy": PROMPTS[0], "name_given": PROMPTS[1]}} if beside else {})  # fmt: skip
    if checkpoint:
        pack(saved, out / f"{name}.pth", half=half)
    write_text(out / f"{name}.toml", tomli_w.dumps(card))
    return out / f"{name}.toml"


def pack(saved: dict[str, Any], path: Path, *, half: bool = True) -> None:
    """Write weights from which training goes on: `models.train --init`, and `load`, read them as a run's `weights.pth`.

    Prompts are left out, being learnt last. Matrices are kept as 16-bit floats (`half`), statistics in full, and all of
    it is compressed, which torch reads as it is. The same weights make the same bytes.
    """
    fits = {
        name: half and v.ndim > 1 and float(v.abs().max()) < onnx_file.HALF_MAX
        for name, v in saved["state_dict"].items()
    }
    state = {
        name: value.half() if fits[name] else value
        for name, value in saved["state_dict"].items() if not name.startswith(PROMPTED)
    }  # fmt: skip
    whole = io.BytesIO()
    torch.save(saved | {"state_dict": state}, whole)
    with (
        zipfile.ZipFile(whole) as parts, atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w") as packed,
    ):  # fmt: skip
        for part in parts.infolist():
            packed.writestr(part, parts.read(part), zipfile.ZIP_DEFLATED, compresslevel=9)


def keypoints(saved: dict[str, Any]) -> dict[str, Any]:
    """The card's fields about keypoints: the union's name, theirs, and what the names alone do not say.

    >>> keypoints({"keypoints": ["nose"]})
    {'dataset': 'union21', 'keypoints': ['nose']}
    >>> saved = {"skeleton": "mine", "keypoints": ["neck", "pelvis"]}
    >>> keypoints(saved | {"definitions": ["clicked, the base of the neck", "midpoint of the hips"]})["definitions"]
    {'neck': 'clicked, the base of the neck'}
    """
    dataset, names = saved.get("skeleton", "union21"), saved["keypoints"]
    meant = dict(zip(names, saved.get("definitions", ()), strict=False))
    own = {name: what for name, what in meant.items() if resolve(dataset, name)[1] != what}
    return {"dataset": dataset, "keypoints": names} | ({"definitions": own} if own else {})


def _examples(model: UnionPose, size_hw: tuple[int, int]) -> dict[str, Tensor]:
    """Prompts for two people, half of them given; none for a network that takes none."""
    if model.prompts is None:
        return {}
    chance = torch.Generator().manual_seed(1)
    k = len(model.prompts.floor)
    xy = torch.rand(2, k, 2, generator=chance) * torch.tensor([size_hw[1], size_hw[0]])
    return dict(zip(PROMPTS, (xy, (torch.rand(2, k, generator=chance) < 0.5).float()), strict=True))


def trained_on(manifest: dict[str, Any]) -> str:
    """The training set's datasets.

    >>> trained_on({"people": {"coco": 4699, "mpii": 1509}})
    'coco (4,699 people), mpii (1,509 people)'
    """
    return ", ".join(f"{name} ({n:,} people)" for name, n in manifest.get("people", {}).items()) or "not recorded"


def describe(manifest: dict[str, Any]) -> str:
    """One line on how a student was trained."""
    recipe = manifest["recipe"]
    size = "x".join(map(str, recipe["size_hw"]))
    lite = recipe["size"].startswith("lite")
    backbone = f"EfficientNet-{recipe['size'].title()}" if lite else f"CSPNeXt-{recipe['size']}"
    teachers = ", ".join(f"{name} {beta}" for name, beta in recipe["beta"].items())
    fresh = "from ImageNet's weights" if recipe["imagenet"] else "from scratch"
    start = "continued from other weights" if manifest["init"] else fresh
    names, share = " and ".join(recipe.get("watch", ())), recipe.get("watch_share", 1.0)
    looked = f", {names} look at {share:.0%} of each batch" if names else ""
    told = f", then the prompts alone ({manifest['told']['passes']} looks at each person)" if "told" in manifest else ""
    head = "RTMPose head and map" if recipe["locate"] else "RTMPose head"
    return (
        f"{head} on {backbone}, {size}, {start}, {recipe['epochs']} epochs{looked}, alpha {recipe['alpha']}, "
        f"beta {teachers}, seed {recipe['seed']}{told}, weights {manifest['weights_sha256'][:12]}"
    )


@command_line
def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--full", action="store_true", help="keep 32-bit weights")
    parser.add_argument("--default", action="store_true", help="mark as the default student")
    parser.add_argument("--checkpoint", action="store_true", help="write NAME.pth too, for training to go on from")
    parser.add_argument("--smooth-px", type=float, default=0.0, help="width of the window whose mass picks the peak")
    parser.add_argument("--figure", nargs="*", default=[], metavar="NAME=TEXT")
    parser.add_argument("--failure", nargs="*", default=[], metavar="TEXT", help="where it is known to go wrong")
    parser.add_argument("--data", default="", help="what it was trained on, instead of what the run recorded")
    parser.add_argument("--terms", default="", help="terms of use")
    given = parser.parse_args()
    figures = dict(pair.split("=", 1) for pair in given.figure)
    how = {"half": not given.full, "default": given.default, "smooth_px": given.smooth_px}
    how |= {"checkpoint": given.checkpoint, "data": given.data, "terms": given.terms, "failures": given.failure}
    print(export(given.run, given.out, given.name, figures=figures, **how))
    return 0


if __name__ == "__main__":
    sys.exit(main())
