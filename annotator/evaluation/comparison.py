"""Predictions joined with truth, keypoint by keypoint: what the figures are counted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.derived import head_size
from annotator.errors import InputError, expected
from annotator.evaluation.matching import bare, evaluable, match
from annotator.evaluation.predictions import Predictions
from annotator.formats.dataset import Dataset
from annotator.metrics.pck import torso_size
from annotator.people import BoolArray, CodeArray, People
from annotator.skeletons import FloatArray, IntArray, Skeleton


@dataclass(frozen=True)
class Detections:
    """All P predictions, those of nobody in the truth included, and C crowd regions: what AP needs besides people.

    Attributes:
        xy: (P, K, 2) pixels.
        score: (P,) of the person.
        image, crowd_image: numbers of their images.
        crowd_xywh, crowd_area: (C, 4), (C,) regions in which AP counts no prediction as wrong.
    """

    xy: FloatArray
    score: FloatArray
    image: IntArray
    crowd_xywh: FloatArray
    crowd_area: FloatArray
    crowd_image: IntArray


@dataclass(frozen=True)
class Comparison:
    """N people of the truth with their predictions, over the K keypoints that both sides have.

    Attributes:
        skeleton: names the K keypoints.
        truth_xy, v: (N, K, 2), (N, K) labels; v is 0 where a label does not evaluate this prediction.
        xy: (N, K, 2) predictions of the same people, NaN where there is none.
        matched: (N,) whether the person has a prediction.
        image: (N,) number of each person's image.
        n_images: images with a person or a prediction.
        scale_px, area, head_px, torso_px: (N,) yardsticks from the labels, NaN where unknown.
        bbox_xywh: (N, 4) of the truth.
        detections: what AP needs besides.
        counts: how many people fell where.
        left_out: keypoints that only one side has.
    """

    skeleton: Skeleton
    truth_xy: FloatArray
    v: CodeArray
    xy: FloatArray
    matched: BoolArray
    image: IntArray
    n_images: int
    scale_px: FloatArray
    area: FloatArray
    head_px: FloatArray
    torso_px: FloatArray
    bbox_xywh: FloatArray
    detections: Detections
    counts: dict[str, int]
    left_out: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        """Who and what was compared, as plain values."""
        skeleton = self.skeleton
        columns = zip(skeleton.keypoints, skeleton.oks_sigmas, skeleton.sigma_origins, strict=True)
        return {
            "people": self.counts,
            "keypoints": list(skeleton.keypoints),
            "left_out": self.left_out,
            "oks_sigmas": {name: {"sigma": sigma, "origin": origin} for name, sigma, origin in columns},
        }


def compare(
    predictions: Predictions, dataset: Dataset, *, min_keypoints: int = 0, min_area: float = 0,
    keypoints: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    """Join predictions and truth.

    People of the truth with fewer than `min_keypoints` labels, or an area of `min_area` square pixels or less, leave
    together with their prediction. All others stay, with a prediction or without. Where `keypoints` are named, only
    these are compared; who stays, and the yardsticks, still rest on all labels.

    Raises:
        InputError: nothing is left to compare.
        SkeletonError: the truth has no keypoint of such a name.
    """
    truth, usable, row = dataset.people, evaluable(dataset.people), match(predictions, dataset.people)
    has, area = row >= 0, np.where(dataset.people.area > 0, dataset.people.area, dataset.people.scale_px() ** 2)
    kept = (usable.sum(axis=1) >= min_keypoints) & (area > min_area)
    columns = predictions.skeleton.columns_of(truth.skeleton)
    if keypoints:
        columns[np.setdiff1d(np.arange(len(columns)), truth.skeleton.indices(keypoints))] = -1
    asked = np.where(has[:, None], _rows(predictions.asked, row)[:, columns], True) & (columns >= 0)
    counted = usable & asked & kept[:, None]
    compared = np.flatnonzero((counted & has[:, None]).any(axis=0))
    if not len(compared):
        raise InputError(_nothing(truth, has, usable & kept[:, None], columns >= 0))
    xy = _in_truth_pixels(predictions, truth, row)[:, columns[compared]]
    silent = has & ~(kept & counted[:, compared].any(axis=1))
    left, seen = (
        _leaving(predictions, row, kept, silent, columns[compared]),
        np.where(usable[..., None], truth.xy, np.nan),
    )
    image, n_images, detections = _detections(predictions, dataset, row, kept, left, xy, columns[compared])
    return Comparison(
        _part(truth.skeleton, compared),
        truth_xy=seen[kept][:, compared],
        v=np.where(counted, truth.v, 0)[kept][:, compared].astype(np.uint8),
        xy=np.where(has[:, None, None], _rows(xy, row), np.nan)[kept],
        matched=has[kept],
        image=image,
        n_images=n_images,
        scale_px=truth.scale_px()[kept],
        area=area[kept],
        head_px=head_size(seen, truth.skeleton)[kept],
        torso_px=torso_size(seen, truth.skeleton)[kept],
        bbox_xywh=truth.bbox_xywh[kept],
        detections=detections,
        counts={
            "truth": len(truth),
            "left_out_by_filters": int((~kept).sum()),
            "with_prediction": int((has & kept).sum()),
            "without_prediction": int((~has & kept).sum()),
            "predictions": len(predictions),
            "predictions_of_nobody": len(predictions) - len(np.unique(row[has])),
        },
        left_out={
            "only_in_truth": _names(truth.skeleton, usable, compared),
            "only_in_predictions": _names(predictions.skeleton, predictions.asked, columns[compared]),
        },
    )


def _rows(values: NDArray[Any], row: IntArray) -> NDArray[Any]:
    """values[row], also where there are no values at all to take (row is then -1 everywhere)."""
    return values[row] if len(values) else np.zeros((len(row), *values.shape[1:]), dtype=values.dtype)


def _names(skeleton: Skeleton, used: BoolArray, compared: IntArray) -> list[str]:
    return [skeleton.keypoints[k] for k in np.setdiff1d(np.flatnonzero(used.any(axis=0)), compared)]


def _part(skeleton: Skeleton, columns: IntArray) -> Skeleton:
    names = [skeleton.keypoints[k] for k in columns]
    return Skeleton(
        skeleton.name,
        tuple(names),
        tuple(skeleton.definitions[k] for k in columns),
        tuple((a, b) for a, b in skeleton.edges if a in names and b in names),
        tuple(skeleton.oks_sigmas[k] for k in columns),
        tuple(skeleton.sigma_origins[k] for k in columns),
    )


def _nothing(truth: People, has: BoolArray, usable: BoolArray, shared: BoolArray) -> str:
    """Why there is nothing to compare, as an error."""
    if not len(truth):
        return expected("people whose pictures are there (--images DIR)", "none", "truth")
    if not has.any():
        return expected(f"predictions of people like {truth.person_id[0]}", "none of the truth's people", "predictions")
    if not usable.any():
        return expected("people with labels of origin labelled or control within the filters", "none", "truth")
    if not (usable & shared).any():
        return expected(f"keypoints of {truth.skeleton.name}", "none of them", "predictions")
    hint = "keypoints the model was not shown (annotator propose --hide all), or --also-labelled"
    return expected(hint, "only labelled ones", "predictions")


def _in_truth_pixels(predictions: Predictions, truth: People, row: IntArray) -> FloatArray:
    """Predictions in the pixels of their person's source; NaN where nothing was asked."""
    has, xy = row >= 0, np.where(predictions.asked[..., None], predictions.xy, np.nan)
    shift = truth.pixel_origin[has] - predictions.pixel_origin[row[has]]
    xy[row[has]] += np.where(np.isnan(shift), 0.0, shift)[:, None, None]
    return xy


def _leaving(
    predictions: Predictions, row: IntArray, kept: BoolArray, silent: BoolArray, columns: IntArray
) -> BoolArray:
    """(P,) predictions that AP must not see: of people left out, or about none of the compared labels.

    COCO ignores a person without labels only where a prediction lies in the person's box; a prediction that was asked
    for other keypoints alone would have no place there and count as wrong.
    """
    asked = predictions.asked[:, columns]
    left = np.asarray(~asked.any(axis=1))
    left[row[(row >= 0) & ~kept]] = True
    mute = row[silent & kept]
    left[mute[~asked[mute].all(axis=1)]] = True
    return left


def _detections(
    predictions: Predictions, dataset: Dataset, row: IntArray, kept: BoolArray, left: BoolArray, xy: FloatArray,
    columns: IntArray,
) -> tuple[IntArray, int, Detections]:  # fmt: skip
    """Number the images that hold a person or a prediction; predictions on other pictures than the truth's leave."""
    truth, names = dataset.people, bare(dataset.images.image_id)
    number = {name: i for i, name in enumerate(names)}
    predicted = np.array([number.get(name, -1) for name in bare(predictions.image_id)], dtype=np.int64)
    person = np.array([number[name] for name in bare(truth.image_id)], dtype=np.int64)
    predicted[row[row >= 0]] = person[row >= 0]
    stays = ~left & (predicted >= 0)
    crowds = _crowds(dataset)
    crowd = np.array([number.get(str(record["image_id"]), -1) for record in crowds], dtype=np.int64)
    used = np.unique(np.concatenate([person[kept], predicted[stays]]))
    compact = np.full(len(names) + 1, -1)
    compact[used] = np.arange(len(used))
    inside = compact[crowd] >= 0
    return compact[person[kept]], len(used), Detections(
        xy=xy[stays],
        score=_person_score(predictions, columns)[stays],
        image=compact[predicted[stays]],
        crowd_xywh=np.array([record["bbox"] for record in crowds], dtype=np.float64).reshape(-1, 4)[inside],
        crowd_area=np.array([record["area"] for record in crowds], dtype=np.float64)[inside],
        crowd_image=compact[crowd][inside],
    )  # fmt: skip


def _crowds(dataset: Dataset) -> list[dict[str, Any]]:
    """Crowd regions of a COCO file, which its reader passes through."""
    passed = [entry["record"] for entry in dataset.rest.get("annotations") or []]
    return [r for r in passed if r.get("iscrowd") == 1 and r.get("area") and len(r.get("bbox") or []) == 4]


def _person_score(predictions: Predictions, columns: IntArray) -> FloatArray:
    """Score of each person for AP: the file's own, else the mean of the compared keypoints' scores."""
    there = predictions.asked[:, columns] & np.isfinite(predictions.xy[:, columns]).all(axis=2)
    total = np.where(there, np.nan_to_num(predictions.score[:, columns]), 0.0).sum(axis=1)
    mean = total / np.maximum(there.sum(axis=1), 1)
    return np.asarray(np.where(np.isnan(predictions.person_score), mean, predictions.person_score))
