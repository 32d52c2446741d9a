"""All figures of a comparison, each with how many keypoints, people and images it rests on, and its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.evaluation.comparison import Comparison
from annotator.metrics.bootstrap import bootstrap_ratios, interval, sum_by_image
from annotator.metrics.coco_ap import AP_NAMES, OksMatches, match_by_oks
from annotator.metrics.oks import keypoint_similarity, oks
from annotator.metrics.pck import MPII_PARTS, in_mpii_mean, part_shares, pck_hits
from annotator.skeletons import FloatArray

# name -> (yardstick of Comparison, threshold)
PCK = {"pckh_0.5": ("head_px", 0.5), "pckh_0.1": ("head_px", 0.1), "pck_0.2": ("torso_px", 0.2)}
CONVENTIONS = {
    "mean_oks": "over people who have a prediction; a labelled keypoint without one has similarity 0",
    "ap": "COCOeval with the compared keypoints and their sigmas; people without a prediction are missed",
    "pckh": "head size .75 * |head_top - upper_neck|, which stands in for .6 of the head box's diagonal; "
    "the mean leaves out pelvis and thorax; people without a prediction are missed",
    "pck_0.2": "torso |left_shoulder - right_hip|; people without a prediction are missed",
    "interval": "percentile 95 %, images resampled",
}


@dataclass(frozen=True)
class Figure:
    """One figure in [0, 1], its 95 % interval, and what it was counted on; NaN where nothing was."""

    value: float
    low: float
    high: float
    keypoints: int
    people: int
    images: int

    def as_json(self) -> dict[str, float | int | None]:
        """Plain values, null for NaN."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Figures:
    """`summary` by name, `parts` of MPII's table by body part, `per_keypoint` by keypoint and name."""

    summary: dict[str, Figure]
    parts: dict[str, Figure]
    per_keypoint: dict[str, dict[str, Figure]]

    def as_json(self) -> dict[str, Any]:
        """Nested plain values."""
        return {
            "summary": {name: figure.as_json() for name, figure in self.summary.items()},
            "parts": {name: figure.as_json() for name, figure in self.parts.items()},
            "per_keypoint": {
                keypoint: {name: figure.as_json() for name, figure in row.items()}
                for keypoint, row in self.per_keypoint.items()
            },
        }


@dataclass(frozen=True)
class _Block:
    """Ratios to be counted: one row a person, one column a ratio."""

    up: NDArray[Any]  # (N, C)
    down: NDArray[Any]  # (N, C)
    keypoints: NDArray[Any]  # (N, C) what the ratio rests on; `down` itself where keypoints are counted


@dataclass(frozen=True)
class _Counted:
    """C ratios with their resamples, and how many keypoints, people and images each rests on."""

    value: FloatArray  # (C,)
    samples: FloatArray  # (rounds, C)
    counts: FloatArray  # (3, C)

    def take(self, columns: slice) -> _Counted:
        return _Counted(self.value[columns], self.samples[:, columns], self.counts[:, columns])

    def figures(self) -> Iterator[Figure]:
        for value, (low, high), counts in zip(self.value, interval(self.samples).T, self.counts.T, strict=True):
            yield Figure(float(value), float(low), float(high), *(int(n) for n in counts))


def figures(comparison: Comparison, *, rounds: int = 1000, seed: int = 0) -> Figures:
    """Mean OKS, AP and AR, PCKh@.5 and @.1 with MPII's parts, PCK@.2, and all but AP per keypoint.

    Args:
        comparison: what to count on.
        rounds: resamples of the images for the intervals; 0 gives none (NaN).
        seed: of the resampling.
    """
    names = comparison.skeleton.keypoints
    counted = _count(comparison, _blocks(comparison), rounds, seed)
    summary = {"mean_oks": next(counted["mean_oks"].figures()), **_ap(comparison, rounds, seed)}
    summary |= {metric: next(counted[f"{metric} mean"].figures()) for metric in PCK}
    columns = {metric: list(counted[metric].figures()) for metric in ("similarity", *PCK)}
    per_keypoint = {name: {metric: row[k] for metric, row in columns.items()} for k, name in enumerate(names)}
    return Figures(summary, _parts(comparison, counted["pckh_0.5"]), per_keypoint)


def _blocks(comparison: Comparison) -> dict[str, _Block]:
    """What each figure counts, person by person."""
    points, labelled = (comparison.xy, comparison.truth_xy), comparison.v > 0
    sigmas, matched = np.array(comparison.skeleton.oks_sigmas), labelled & comparison.matched[:, None]
    each = np.nan_to_num(oks(*points, comparison.v, comparison.scale_px, sigmas))[:, None]
    near = np.nan_to_num(keypoint_similarity(*points, comparison.scale_px, sigmas))
    people = np.asarray(matched.any(axis=1, keepdims=True))
    blocks = {
        "mean_oks": _Block(each * people, people, matched.sum(axis=1, keepdims=True)),
        "similarity": _Block(near * matched, matched, matched),
    }
    for metric, (yardstick, threshold) in PCK.items():
        hits, counted = pck_hits(*points, labelled, getattr(comparison, yardstick), threshold)
        in_mean = in_mpii_mean(comparison.skeleton) if yardstick == "head_px" else np.ones(labelled.shape[1], bool)
        right, n = (x[:, in_mean].sum(axis=1, keepdims=True) for x in (hits, counted))
        blocks |= {metric: _Block(hits, counted, counted), f"{metric} mean": _Block(right, n, n)}
    return blocks


def _count(comparison: Comparison, blocks: dict[str, _Block], rounds: int, seed: int) -> dict[str, _Counted]:
    """Count all blocks at once, on the same drawn images."""
    up, down, keypoints = (
        np.concatenate([getattr(block, name) for block in blocks.values()], axis=1, dtype=np.float64)
        for name in ("up", "down", "keypoints")
    )
    image, n_images, total = comparison.image, comparison.n_images, down.sum(axis=0)
    images = (sum_by_image(down, image, n_images) > 0).sum(axis=0)
    whole = _Counted(
        np.where(total > 0, up.sum(axis=0) / np.where(total > 0, total, 1), np.nan),
        bootstrap_ratios(up, down, image, n_images, rounds, seed),
        np.stack([keypoints.sum(axis=0), (down > 0).sum(axis=0), images]),
    )
    ends = np.cumsum([block.up.shape[1] for block in blocks.values()]).tolist()
    return {name: whole.take(slice(a, b)) for name, a, b in zip(blocks, [0, *ends], ends, strict=False)}


def _parts(comparison: Comparison, each: _Counted) -> dict[str, Figure]:
    """MPII's body parts from the shares of keypoints; a part rests on the people of its better labelled side."""
    skeleton, out = comparison.skeleton, {}
    values, samples = part_shares(each.value, skeleton), part_shares(each.samples, skeleton)
    for part, value in values.items():
        if not np.isnan(value):
            keypoints, people, images = each.counts[:, skeleton.indices(MPII_PARTS[part])]
            low, high = interval(samples[part])
            counts = (int(keypoints.sum()), int(people.max()), int(images.max()))
            out[part] = Figure(float(value), float(low), float(high), *counts)
    return out


def _ap(comparison: Comparison, rounds: int, seed: int) -> dict[str, Figure]:
    """AP and AR, counted on the people with a compared label."""
    matches = oks_matches(comparison)
    low, high = interval(matches.bootstrap(rounds, seed))
    labelled = comparison.v > 0
    people = labelled.any(axis=1)
    of = {"m": (comparison.area >= 32**2) & (comparison.area <= 96**2), "l": comparison.area >= 96**2}
    out = {}
    for i, name in enumerate(AP_NAMES):
        who = people & of.get(name[-1], True)
        keypoints, images = int(labelled[who].sum()), len(np.unique(comparison.image[who]))
        out[name] = Figure(matches.stats[name], float(low[i]), float(high[i]), keypoints, int(who.sum()), images)
    return out


def oks_matches(comparison: Comparison) -> OksMatches:
    """COCOeval's matches of a comparison; crowd regions take part as people without labels."""
    d = comparison.detections
    crowd = np.concatenate([np.zeros(len(comparison.v), bool), np.ones(len(d.crowd_image), bool)])
    nowhere = np.full((len(d.crowd_image), *comparison.truth_xy.shape[1:]), np.nan)
    return match_by_oks(
        np.concatenate([comparison.truth_xy, nowhere]),
        np.concatenate([comparison.v, np.zeros((len(nowhere), comparison.v.shape[1]), np.uint8)]),
        np.concatenate([comparison.area, d.crowd_area]),
        np.concatenate([comparison.bbox_xywh, d.crowd_xywh]),
        np.concatenate([comparison.image, d.crowd_image]),
        crowd,
        xy=d.xy,
        score=d.score,
        predicted_image=d.image,
        oks_sigmas=comparison.skeleton.oks_sigmas,
        n_images=comparison.n_images,
    )
