"""Whose prediction is it: by id where the file has ids, else the nearest in the same picture."""

from __future__ import annotations

import json

import numpy as np

from annotator.errors import InputError, expected
from annotator.evaluation.predictions import Predictions
from annotator.metrics.oks import oks
from annotator.people import ORIGIN, BoolArray, People
from annotator.skeletons import IntArray
from annotator.tables import StrArray

EVALUATES = ("labelled", "control")


def evaluable(people: People) -> BoolArray:
    """(N, K) labels that came with a dataset or were placed blind; nothing that a model had a hand in.

    A file that `annotator` wrote names the origin of every point in its records, and is held to it.
    """
    truth = np.isin(people.origin, [ORIGIN[word] for word in EVALUATES])
    for row in [row for row, text in enumerate(people.record) if '"annotator"' in text]:
        block = json.loads(people.record[row]).get("annotator")
        words = block.get("origin") if isinstance(block, dict) else None
        if isinstance(words, list) and len(words) == len(people.skeleton):
            truth[row] &= np.isin(words, EVALUATES)
    return np.asarray(truth & people.labelled)


def bare(ids: StrArray) -> StrArray:
    """Ids without their dataset's name: `coco:139` and `139` are the same picture.

    >>> bare(np.array(["coco:139", "139"], dtype=object)).tolist()
    ['139', '139']
    """
    return np.array([text.split(":", 1)[-1] for text in ids], dtype=object)


def match(predictions: Predictions, truth: People) -> IntArray:
    """Row of each truth person's prediction, (N,), -1 where there is none.

    By person_id where the file has it, else by record id and image; a results list has neither, and there the pair of
    greatest OKS in an image is taken first, then the next among those left.

    Raises:
        InputError: two predictions of one person.
    """
    if (predictions.person_id != "").any():
        return _join(predictions.person_id, truth.person_id)
    ours, theirs = bare(predictions.image_id), bare(truth.image_id)
    if (predictions.record_id != "").any():
        keys = [f"{image} {record}" for image, record in zip(ours, predictions.record_id, strict=True)]
        wanted = [f"{image} {person}" for image, person in zip(theirs, bare(truth.person_id), strict=True)]
        return _join(np.array(keys, dtype=object), np.array(wanted, dtype=object))
    return _nearest(predictions, truth, ours, theirs)


def _join(ours: StrArray, theirs: StrArray) -> IntArray:
    row = {name: i for i, name in enumerate(ours)}
    if len(row) != len(ours):
        twice = next(name for i, name in enumerate(ours) if row[name] != i)
        raise InputError(expected("one prediction a person", f"two of {twice or 'a person without id'}", "predictions"))
    return np.array([row.get(name, -1) for name in theirs], dtype=np.int64)


def _nearest(predictions: Predictions, truth: People, our_image: StrArray, their_image: StrArray) -> IntArray:
    """Match by OKS within images, the best pair first."""
    prediction, person = _pairs(our_image, their_image)
    columns = predictions.skeleton.columns_of(truth.skeleton)
    both, sigmas, scale = columns >= 0, np.array(truth.skeleton.oks_sigmas), truth.scale_px()
    v = np.where(evaluable(truth), truth.v, 0)[:, both]
    xy, labels = predictions.xy[:, columns[both]], truth.xy[:, both]
    near = oks(xy[prediction], labels[person], v[person], scale[person], sigmas[both])
    out = np.full(len(truth), -1, dtype=np.int64)
    taken: set[int] = set()
    order = np.argsort(-np.nan_to_num(near), kind="stable")
    for p, t in zip(prediction[order].tolist(), person[order].tolist(), strict=True):
        if out[t] < 0 and p not in taken:
            out[t] = p
            taken.add(p)
    return out


def _pairs(our_image: StrArray, their_image: StrArray) -> tuple[IntArray, IntArray]:
    """All pairs of a prediction and a person in one image, as row numbers of each."""
    code = {name: i for i, name in enumerate(dict.fromkeys(their_image))}
    ours = np.array([code.get(name, -1) for name in our_image], dtype=np.int64)
    theirs = np.array([code[name] for name in their_image], dtype=np.int64)
    by_image = np.argsort(theirs, kind="stable")
    first = np.searchsorted(theirs[by_image], ours, side="left")
    count = np.searchsorted(theirs[by_image], ours, side="right") - first
    prediction = np.repeat(np.arange(len(ours)), count)
    nth = np.arange(len(prediction)) - np.repeat(count.cumsum() - count, count)
    return prediction, by_image[np.repeat(first, count) + nth]
