"""Which students and teachers are known here, by name.

Cards are looked for in this order: the project's `students/`, the user's folder (ANNOTATOR_STUDENTS, else
`~/.local/share/annotator/students`), and what ships (`models/weights`, `models/teachers`). Weights lie beside their
card, or in the user's folder, or in the folder that ANNOTATOR_TEACHERS names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from annotator.errors import InputError, MissingError, expected
from annotator.files import share
from annotator.skeletons import Skeleton
from annotator.students import card as cards
from annotator.students.base import PoseModel
from annotator.students.card import Card
from annotator.students.onnx import OnnxModel

DEFAULT, TEACHERS = cards.RESERVED


@dataclass(frozen=True)
class Known:
    """A card that was found, and where its weights are or should be."""

    card: Card
    card_path: Path
    weights: Path

    @property
    def here(self) -> bool:
        """Whether the weights are on this machine."""
        return self.weights.is_file()


def user_folder() -> Path:
    """Where `annotator students add` puts cards and weights."""
    return Path(os.environ.get("ANNOTATOR_STUDENTS") or Path.home() / ".local" / "share" / "annotator" / "students")


def known(project: Path | None = None) -> list[Known]:
    """All cards, each name once: the first found wins, or the first whose weights are here."""
    folders = [user_folder(), share("models", "weights"), share("models", "teachers")]
    found: dict[str, Known] = {}
    for folder in ([project / "students"] if project else []) + folders:
        for path in sorted(folder.glob("*.toml")):
            entry = locate(path)
            first = found.get(entry.card.name)
            if first is None or (entry.here and not first.here):
                found[entry.card.name] = entry
    return list(found.values())


def locate(card_path: Path) -> Known:
    """A card and its weights; raises FormatError where the card cannot be used."""
    card = cards.load(card_path)
    places = [card_path.parent, user_folder()]
    if teachers := os.environ.get("ANNOTATOR_TEACHERS"):
        places.append(Path(teachers))
    weights = next((p / card.file for p in places if (p / card.file).is_file()), places[-1] / card.file)
    return Known(card, card_path, weights)


def card_beside(path: Path) -> Path:
    """The card of a network: itself, or the file beside an ONNX file that has its name."""
    card = path.with_suffix(".toml")
    if not card.is_file():
        raise InputError(expected("a card" if path == card else "a card beside the network", "no such file", str(card)))
    return card


def resolve(name: str, skeleton: Skeleton, project: Path | None = None) -> PoseModel:
    """The model that `--student` names: `default`, `teachers`, a known name, or the path of a card or its network.

    Raises:
        InputError: nothing of that name is known; lists what is.
        MissingError: its weights are not on this machine.
    """
    entries = known(project)
    if name == TEACHERS:
        chosen = [entry for entry in entries if entry.card.role == "teacher" and entry.here]
        if not chosen:
            raise MissingError(expected("teachers' weights (set ANNOTATOR_TEACHERS)", "none", "--student teachers"))
    elif name == DEFAULT:
        chosen = [entry for entry in entries if entry.card.default][:1]
        if not chosen:
            raise MissingError(expected("a default student", "none", str(share("models", "weights"))))
    elif name.endswith((".toml", ".onnx")):
        chosen = [locate(card_beside(Path(name)))]
    else:
        chosen = [entry for entry in entries if entry.card.name == name]
    if not chosen:
        listed = ", ".join(sorted({DEFAULT, TEACHERS} | {entry.card.name for entry in entries}))
        raise InputError(expected(f"one of {listed}, or a card's path", repr(name), "--student"))
    networks = tuple(OnnxModel(entry.card, entry.weights) for entry in chosen)
    shared = {keypoint for net in networks for keypoint in _shared(net, skeleton)}
    if not shared:
        raise InputError(expected(f"a network with keypoints of {skeleton.name}", "none", f"--student {name}"))
    return PoseModel(name if name == TEACHERS else networks[0].card.name, networks, skeleton)


def _shared(net: OnnxModel, skeleton: Skeleton) -> list[str]:
    columns = net.skeleton.columns_of(skeleton)
    return [keypoint for keypoint, column in zip(skeleton.keypoints, columns, strict=True) if column >= 0]


def left_out(card: Card, skeleton: Skeleton) -> list[str]:
    """A network's keypoints that are none of a skeleton's, each with what it means where its name does not say it."""
    own = card.skeleton
    taken = set(own.columns_of(skeleton).tolist())
    return [
        name if meaning == name.replace("_", " ") else f"{name} ({meaning})"
        for k, (name, meaning) in enumerate(zip(own.keypoints, own.definitions, strict=True))
        if k not in taken
    ]
