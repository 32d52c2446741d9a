"""Writes a training set to disk, runs `python -m models.train` on it, and reads its progress lines and manifest back.

Training is another process and may be another interpreter (ANNOTATOR_TRAIN_PYTHON): nothing here imports torch.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.errors import AnnotatorError, MissingError, TableError, expected
from annotator.files import atomic_path, write_json
from annotator.formats.dataset import Problem, write_problems
from annotator.images import Images, read_pixels
from annotator.people import ORIGIN, People
from annotator.skeletons import FloatArray, Skeleton
from annotator.students import crop
from annotator.students.base import readouts
from annotator.students.cache import Cache
from annotator.students.interpreter import environment, interpreter
from annotator.students.onnx import OnnxModel
from annotator.students.readout import Readout

VERSION = 1
# The stored crop shows 1.25 boxes times this, so that augmentation finds real pixels beyond the network's crop.
# Of another context it has another size, and a box as many pixels: 2.7 holds nearly all that RTMPose can show
# (1.25 boxes times 1.4, turned, shifted by .16), in 3.2 times the pixels.
CONTEXT, FACTOR, STORED_HW = 1.5, 1.25, (320, 240)
JPEG_QUALITY = 90
# Origins that train (design: labels and what a reviewer placed).
TRAINS = ("labelled", "accepted", "corrected", "control")
SHARD = 64


@dataclass(frozen=True)
class Part:
    """One dataset of a training set.

    Attributes:
        name: e.g. `coco`.
        images, people: its tables, people over any skeleton; what the union lacks is left out.
        label_weight: how far its labels are trusted, 1 for a careful dataset.
        problems: what its file holds that could not be read.
    """

    name: str
    images: Images
    people: People
    label_weight: float = 1.0
    problems: tuple[Problem, ...] = ()


def write_set(
    folder: Path, parts: Sequence[Part], teachers: Sequence[OnnxModel], skeleton: Skeleton, cache: Cache,
    progress: Callable[[int], None] = lambda _: None, beta: Mapping[str, float] | None = None,
    context: float = CONTEXT, size_hw: tuple[int, int] | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Write a training set that `models.dataset.PeopleSet` reads; returns how many people are in it, and how many not.

    People whose picture cannot be read are left out, and `problems.jsonl` beside the set says which and why; the parts'
    own problems come first in it.

    Teachers run once per person (what `cache` holds is not run again). Of each word is kept: up to two peaks in picture
    pixels with their shares, a score, and a width from how far the mirror image's word was away.

    Args:
        folder: made if need be; written whole or not at all, `set.json` last.
        parts: the datasets of one epoch.
        teachers: networks whose words are distilled.
        skeleton: the student's keypoints.
        cache: predictions made before.
        progress: called with the number of people done since the last call.
        beta: weight of each teacher's loss by its name, for recipes that leave it to the set.
        context: how many times the stored crop is wider than 1.25 boxes.
        size_hw: the stored crop's; None for as many pixels a box as STORED_HW has. A student that sees more pixels of
            1.25 boxes than that is trained on softer crops than it will be asked about.

    Raises:
        TableError: nobody to train on.
    """
    columns: list[dict[str, FloatArray]] = []
    offsets = [0]
    size_hw = size_hw or _stored_hw(context)
    problems = [problem for part in parts for problem in part.problems]
    left_out = 0
    with atomic_path(folder / "crops.bin") as temporary, temporary.open("wb") as crops:
        for index, part in enumerate(parts):
            for start in range(0, len(part.people), SHARD):
                people = part.people.take(slice(start, start + SHARD)).project(skeleton)
                rows, jpegs, affine, unreadable = _crops(part.images, people, context, size_hw)
                problems += unreadable
                left_out += len(people) - len(rows)
                progress(len(people))
                people = people.take(rows)
                for jpeg in jpegs:
                    crops.write(jpeg)
                    offsets.append(offsets[-1] + len(jpeg))
                # One that takes prompts would repeat the labels it is told: a teacher says what it sees.
                words, _ = readouts(teachers, part.images, people.hide(list(skeleton.keypoints)), cache)
                columns.append(_columns(people, index, affine, words, teachers, skeleton))
        if len(offsets) == 1:
            found = f"none ({left_out} whose picture cannot be read)" if left_out else "none"
            raise TableError(expected("people to train on", found, str(folder)))
        # A set that was here before must not be taken for whole while its files are replaced.
        (folder / "set.json").unlink(missing_ok=True)
    arrays = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    with atomic_path(folder / "arrays.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, offset=np.array(offsets, dtype=np.int64), **arrays)  # type: ignore[arg-type]
    write_problems(folder / "problems.jsonl", problems)
    people_of = [int((arrays["dataset"] == index).sum()) for index in range(len(parts))]
    write_json(folder / "set.json", _names(parts, people_of, teachers, skeleton, beta or {}, context, size_hw))
    return len(arrays["dataset"]), left_out


def _names(
    parts: Sequence[Part],
    people_of: list[int],
    teachers: Sequence[OnnxModel],
    skeleton: Skeleton,
    beta: Mapping[str, float],
    context: float,
    size_hw: tuple[int, int],
) -> dict[str, Any]:
    """What `set.json` says."""
    taught: list[dict[str, Any]] = [
        {"name": net.card.name, "sha256": net.digest, "trust": net.card.trust_over(skeleton)} for net in teachers
    ]
    return {
        "version": VERSION,
        "skeleton": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "definitions": list(skeleton.definitions),
        "oks_sigmas": list(skeleton.oks_sigmas),
        "flip": skeleton.flip.tolist(),
        "size_hw": list(size_hw),
        "context": context,
        "datasets": [part.name for part in parts],
        "label_weight": [part.label_weight for part in parts],
        "people": people_of,
        "teachers": [one | ({"beta": beta[one["name"]]} if one["name"] in beta else {}) for one in taught],
    }


def _stored_hw(context: float) -> tuple[int, int]:
    """Size of a stored crop.

    >>> _stored_hw(CONTEXT), _stored_hw(2.7)
    ((320, 240), (576, 432))
    """
    height, width = (round(side * context / CONTEXT) for side in STORED_HW)
    return height, width


def _crops(
    images: Images, people: People, context: float, size_hw: tuple[int, int]
) -> tuple[list[int], list[bytes], FloatArray, list[Problem]]:
    """Stored crops as JPEG for the people whose picture can be read, their rows and affines, and why others cannot."""
    path = dict(zip(images.image_id, images.path, strict=True))
    box = people.bbox_xywh.copy()
    box[:, :2] -= people.pixel_origin[:, None]
    affine = crop.affines(box, size_hw, FACTOR * context)
    rows, jpegs, last = [], [], ""
    pixels: NDArray[np.uint8] | None = None
    unreadable: dict[str, str] = {}
    for i, image_id in enumerate(people.image_id):
        if image_id != last:
            last = image_id
            try:
                pixels = read_pixels(Path(path[image_id]))
            except AnnotatorError as error:
                pixels, unreadable[image_id] = None, str(error)
        if pixels is not None:
            bgr = crop.cut(pixels, affine[i], size_hw)[..., ::-1]
            rows.append(i)
            jpegs.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    return rows, jpegs, affine[rows], _left_out(people, unreadable)


def _left_out(people: People, unreadable: dict[str, str]) -> list[Problem]:
    problems = []
    for image_id, error in unreadable.items():
        path, _, what = error.partition(": expected ")
        wanted, _, got = what.partition(", got ")
        who = [str(name) for name in people.person_id[people.image_id == image_id]]
        problems.append(Problem(path, image_id, wanted, f"{got}; {len(who)} people left out", who))
    return problems


def _columns(
    people: People,
    dataset: int,
    affine: FloatArray,
    words: list[Readout],
    teachers: Sequence[OnnxModel],
    skeleton: Skeleton,
) -> dict[str, Any]:
    n = len(people)
    origin = people.pixel_origin[:, None, None].astype(np.float64)
    trains = np.isin(people.origin, [ORIGIN[word] for word in TRAINS])
    out: dict[str, Any] = {
        "dataset": np.full(n, dataset, dtype=np.int16),
        "affine": affine.astype(np.float32),
        "xy": np.where(trains[..., None], people.xy - origin, np.nan).astype(np.float32),
        "v": np.where(trains, people.v, 0).astype(np.uint8),
        "scale_px": people.scale_px().astype(np.float32),
    }
    return out | mixtures(words, teachers, skeleton, people.pixel_origin)


def mixtures(
    words: Sequence[Readout], teachers: Sequence[OnnxModel], skeleton: Skeleton, pixel_origin: NDArray[Any]
) -> dict[str, Any]:
    """Teachers' words in picture pixels as a set keeps them, (N, teachers, K, ...) over the skeleton.

    Of each word up to two peaks in pixel indices (`teacher_xy`), their shares, a score, and a width.
    """
    origin = pixel_origin[:, None, None, None].astype(np.float64)
    kept: dict[str, list[FloatArray]] = {"xy": [], "share": [], "score": [], "sigma": []}
    for net, word in zip(teachers, words, strict=True):
        k = net.skeleton.columns_of(skeleton)
        known = k >= 0
        xy = np.stack([word.xy, word.second_xy], axis=2)[:, k] - origin
        kept["xy"].append(np.where(known[:, None, None], xy, np.nan))
        shares = np.stack([1 - word.second_share, word.second_share], axis=2)[:, k]
        kept["share"].append(np.where(known[:, None], shares, 0))
        kept["score"].append(np.where(known, word.score[:, k], 0))
        kept["sigma"].append(np.where(known, np.nan_to_num(word.flip[:, k]) / 2, 0))
    out = {}
    for name, columns in kept.items():
        shape = (len(pixel_origin), 0, len(skeleton), *{"xy": (2, 2), "share": (2,)}.get(name, ()))
        stacked = np.stack(columns, axis=1) if columns else np.zeros(shape)
        out[f"teacher_{name}"] = stacked.astype(np.float32)
    return out


def run(arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run `python -m models.train ARGUMENTS` and yield its progress lines as they come.

    The training ends when the iterator is closed before its end; run again, it goes on.

    Raises:
        MissingError: the interpreter is not there, or lacks the `train` extra.
        AnnotatorError: training stopped with an error; the message ends with its last line.
    """
    # -P: a folder `models` in the current folder is somebody else's; and relative paths stay what they are.
    command = [interpreter(), "-P", "-m", "models.train", *arguments]
    with _started(command) as process:
        last = ""
        try:
            for line in process.stdout or ():
                if line.startswith("progress "):
                    yield json.loads(line.removeprefix("progress "))
                last = line.strip() or last
        except BaseException:  # GeneratorExit too: with nobody reading, training would block on its output
            process.terminate()
            raise
    if process.returncode:
        if "No module named" in last:
            raise MissingError(f"Training needs the train extra: pip install 'annotator[train]' ({last})")
        raise AnnotatorError(expected("training to end", f"exit code {process.returncode} ({last})", "models.train"))


def _started(command: list[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    except OSError as error:
        wanted = "a Python interpreter (ANNOTATOR_TRAIN_PYTHON)"
        raise MissingError(expected(wanted, error.strerror, command[0])) from error
