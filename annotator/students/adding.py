"""Bringing in networks: a card with its weights, an MMPose model, or a teacher that is known by name and downloaded.

MMPose models are exported once, in the interpreter that has the `train` extra; from then on they are ONNX like all
others.
"""

from __future__ import annotations

import http.client
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import tomli_w

from annotator.errors import FormatError, InputError, MissingError, expected
from annotator.files import atomic_path, file_sha256, write_text
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
    if what.endswith((".toml", ".onnx")):
        return _copy(registry.locate(registry.card_beside(Path(what))))
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
    if Path(config).is_file():
        config = str(Path(config).resolve())
    more = ["--name", known.name, "--role", known.role, "--url", known.url] if known else []
    with tempfile.TemporaryDirectory() as folder:
        done = run_models("export_mmpose", [config, str(checkpoint.resolve()), "--out", folder, *more])
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            if "ModuleNotFoundError" in last:
                raise MissingError(
                    f"Exporting MMPose models needs the train extra: pip install 'annotator[train]' ({last})"
                )
            raise InputError(expected("an MMPose model that can be exported", last, str(checkpoint)))
        return _copy(registry.locate(Path(done.stdout.strip().splitlines()[-1])), known)


def download(card: Card, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a known teacher's checkpoint; OpenMMLab's file names carry the first eight digits of the digest.

    Raises:
        MissingError: it cannot be fetched from here.
        FormatError: what came is not what its name says.
    """
    path = folder / card.url.rsplit("/", 1)[-1]
    with path.open("wb") as file:
        for piece, total in _pieces(card, path.name):
            file.write(piece)
            if progress:
                progress(file.tell(), total)
    digits = re.search(r"-([0-9a-f]{8})_\d{8}\.", path.name)
    if digits and not file_sha256(path).startswith(digits[1]):
        raise FormatError(expected(f"a file whose sha256 begins with {digits[1]}", file_sha256(path)[:8], card.url))
    return path


def _pieces(card: Card, name: str) -> Iterator[tuple[bytes, int]]:
    """What a card's url answers, piece by piece, each with the size of the whole."""
    other = f"or fetch it elsewhere and run: annotator students add --mmpose {card.mmpose_config} {name}"
    try:
        with urllib.request.urlopen(card.url, timeout=30) as answer:
            total, got = int(answer.headers.get("Content-Length") or 0), 0
            while piece := answer.read(PIECE):
                got += len(piece)
                yield piece, total
        if got < total:
            raise OSError(f"{got} of {total} bytes")
    except (OSError, http.client.HTTPException) as error:  # a URLError is an OSError
        reason = getattr(error, "reason", error)
        raise MissingError(expected(f"a connection to {card.url} ({other})", reason, card.name)) from error


def _copy(entry: registry.Known, known: Card | None = None) -> Card:
    """A card and its weights into the user's folder under the card's name, once they have shown that they run.

    With `known`, what that card says of data, terms, figures, failures and trust goes with them.
    """
    network = OnnxModel(entry.card, entry.weights)
    network.check()
    target = registry.user_folder() / entry.card.name
    said = known.model_dump(include={"data", "terms", "figures", "failures", "trust", "mmpose_config"}) if known else {}
    # Adding never makes another name the default; and a copy hides the card of its name, which may be the default.
    said |= {"default": any(one.card.default for one in registry.known() if one.card.name == entry.card.name)}
    card = entry.card.model_copy(update={**said, "file": f"{entry.card.name}.onnx", "sha256": network.digest})
    with atomic_path(target.with_name(card.file)) as temporary:
        shutil.copyfile(entry.weights, temporary)
    write_text(target.with_name(f"{card.name}.toml"), tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card
