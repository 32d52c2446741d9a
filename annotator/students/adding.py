"""Bringing in networks: a card with its weights, an MMPose model, or a teacher that is known by name and downloaded.

MMPose models are exported once, in the interpreter that has the `train` extra; from then on they are ONNX like all
others.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from annotator.errors import FormatError, InputError, MissingError, expected
from annotator.files import atomic_path, file_sha256
from annotator.students import registry
from annotator.students.card import Card
from annotator.students.interpreter import run_models
from annotator.students.onnx import OnnxModel

Progress = Callable[[int, int], None]
PIECE = 1 << 20


def add(what: str, progress: Progress | None = None) -> Card:
    """Add a network: the path of a card or of an ONNX file with a card beside it, or a known name with a download.

    Raises:
        InputError: no such card or name.
        MissingError: its weights cannot be had here; says how to bring them.
        FormatError: the weights are not what the card says.
    """
    path = Path(what)
    if path.suffix == ".onnx":
        path = path.with_suffix(".toml")
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(expected("a card beside the network", "no such file", str(path)))
        return _copy(registry.locate(path))
    entry = next((entry for entry in registry.known() if entry.card.name == what), None)
    if entry is None:
        listed = ", ".join(sorted(entry.card.name for entry in registry.known()))
        raise InputError(expected(f"a card's path or one of {listed}", repr(what), "students add"))
    if entry.here:
        return entry.card
    if not entry.card.url:
        raise MissingError(
            expected(f"weights of {what} (set ANNOTATOR_TEACHERS to their folder)", "none", "students add")
        )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = download(entry.card, Path(folder), progress)
        return add_mmpose(entry.card.mmpose_config, checkpoint, known=entry.card)


def add_mmpose(config: str, checkpoint: Path, *, known: Card | None = None) -> Card:
    """Export an MMPose top-down model, and add it.

    Args:
        config: a config file, or the name of one that comes with MMPose.
        checkpoint: its weights.
        known: the card of a teacher that ships without weights, whose name and role it gets.

    Raises:
        MissingError: the `train` extra is not installed.
        InputError: weights that do not fit, or a model that cannot be read as SimCC or heatmaps.
    """
    if not checkpoint.is_file():
        raise InputError(expected("a checkpoint", "no such file", str(checkpoint)))
    folder = registry.user_folder()
    more = ["--name", known.name, "--role", known.role, "--url", known.url] if known else []
    arguments = [config, str(checkpoint.resolve()), "--out", str(folder), *more]
    done = run_models("export_mmpose", arguments)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if "ModuleNotFoundError" in last:
            raise MissingError(
                f"Exporting MMPose models needs the train extra: pip install 'annotator[train]' ({last})"
            )
        raise InputError(expected("an MMPose model that can be exported", last, str(checkpoint)))
    return registry.locate(Path(done.stdout.strip().splitlines()[-1])).card


def download(card: Card, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a known teacher's checkpoint; OpenMMLab's file names carry the first eight digits of the digest.

    Raises:
        MissingError: it cannot be fetched from here.
        FormatError: what came is not what its name says.
    """
    path = folder / card.url.rsplit("/", 1)[-1]
    try:
        with urllib.request.urlopen(card.url, timeout=30) as answer, path.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            while piece := answer.read(PIECE):
                file.write(piece)
                if progress:
                    progress(file.tell(), total)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        other = f"or fetch it elsewhere and run: annotator students add --mmpose {card.mmpose_config} {path.name}"
        raise MissingError(expected(f"a connection to {card.url} ({other})", reason, card.name)) from error
    digits = re.search(r"-([0-9a-f]{8})_\d{8}\.", path.name)
    if digits and not file_sha256(path).startswith(digits[1]):
        raise FormatError(expected(f"a file whose sha256 begins with {digits[1]}", file_sha256(path)[:8], card.url))
    return path


def _copy(entry: registry.Known) -> Card:
    """A card and its weights into the user's folder, once they have shown that they run."""
    OnnxModel(entry.card, entry.weights).check()
    for source, name in ((entry.weights, entry.card.file), (entry.card_path, f"{entry.card.name}.toml")):
        with atomic_path(registry.user_folder() / name) as temporary:
            shutil.copyfile(source, temporary)
    return entry.card
