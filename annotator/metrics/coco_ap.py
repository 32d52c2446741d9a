"""Average precision and recall over OKS thresholds, COCO's keypoint task, through pycocotools.

pycocotools matches predictions to people; its own summary is the figure. What it matched is kept as arrays, so that
the same figure for a resample of the images costs no second matching.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.metrics.bootstrap import image_weights
from annotator.people import BoolArray
from annotator.skeletons import FloatArray, IntArray

# In the order of pycocotools' summary. m: areas of 32^2 to 96^2 px, l: above.
AP_NAMES = ("ap", "ap50", "ap75", "apm", "apl", "ar", "ar50", "ar75", "arm", "arl")
_AT_50, _AT_75 = 0, 5  # rows of COCO's ten thresholds .5, .55 ... .95


@dataclass(frozen=True)
class _Range:
    """Predictions of one area range, best score first, for each of T thresholds.

    Precision peaks where a prediction is right, so its curve is wanted at those places alone.
    """

    counted: tuple[IntArray, ...]  # T arrays: image of each prediction that is not ignored
    right: tuple[IntArray, ...]  # T arrays: which of them are matched to a person
    people: FloatArray  # (n_images,) people that count

    def at(self, weights: FloatArray, recall_thresholds: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Precision averaged over recalls, and recall, both (T,), with each image counted `weights` times."""
        total = float(weights @ self.people)
        precisions, recalls = np.full((2, len(self.right)), np.nan if total == 0 else 0.0)
        cumulative: dict[int, FloatArray] = {}  # thresholds that count the same predictions share their sums
        for t, (image, right) in enumerate(zip(self.counted, self.right, strict=True)):
            if total > 0 and len(right):
                if id(image) not in cumulative:
                    cumulative[id(image)] = weights[image].cumsum()
                found = weights[image[right]].cumsum()
                precision = found / (cumulative[id(image)][right] + np.spacing(1))
                envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
                precisions[t] = envelope[np.searchsorted(found / total, recall_thresholds, side="left")].mean()
                recalls[t] = found[-1] / total
        return precisions, recalls


@dataclass(frozen=True)
class OksMatches:
    """What pycocotools matched, and its summary.

    Attributes:
        stats: AP_NAMES to pycocotools' own figures, in [0, 1], higher is better, NaN where no person is in the range.
        ranges: matches for areas all, medium and large.
        recall_thresholds: COCO's 101 recalls.
        n_images: images numbered.
    """

    stats: dict[str, float]
    ranges: tuple[_Range, ...]
    recall_thresholds: FloatArray
    n_images: int

    def resampled(self, weights: FloatArray) -> FloatArray:
        """The ten figures of AP_NAMES with image i counted weights[i] times, (10,)."""
        (ap, ar), (apm, arm), (apl, arl) = (r.at(weights, self.recall_thresholds) for r in self.ranges)
        return np.array([
            ap.mean(), ap[_AT_50], ap[_AT_75], apm.mean(), apl.mean(),
            ar.mean(), ar[_AT_50], ar[_AT_75], arm.mean(), arl.mean(),
        ])  # fmt: skip

    def bootstrap(self, rounds: int, seed: int) -> FloatArray:
        """Resamples by image of the ten figures, (rounds, 10)."""
        rows = [self.resampled(row) for weights in image_weights(self.n_images, rounds, seed) for row in weights]
        return np.array(rows).reshape(rounds, len(AP_NAMES))


def match_by_oks(
    truth_xy: FloatArray,
    v: NDArray[Any],
    area: FloatArray,
    bbox_xywh: FloatArray,
    image: IntArray,
    crowd: BoolArray | None = None,
    *,
    xy: FloatArray,
    score: FloatArray,
    predicted_image: IntArray,
    oks_sigmas: Any,
    n_images: int,
) -> OksMatches:
    """Run COCOeval on any subset of keypoints.

    As everywhere in COCO: at most 20 predictions an image, best scores first; people without a label are ignored; a
    predicted keypoint that is missing stands at (0, 0).

    Args:
        truth_xy: (N, K, 2) labels, pixels.
        v: (N, K) COCO's visibility.
        area: (N,) square pixels.
        bbox_xywh: (N, 4) pixels.
        image: (N,) image of each person, 0 to n_images - 1.
        crowd: (N,) regions of many people, in which no prediction is wrong; none where it is left out.
        xy: (P, K, 2) predictions, pixels.
        score: (P,) of each predicted person, higher is surer.
        predicted_image: (P,) image of each prediction.
        oks_sigmas: (K,) COCO's per-keypoint constants.
        n_images: number of images, those without people or predictions included.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(n_images)],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": _people(
                truth_xy, v, area, bbox_xywh, image, np.zeros(len(image)) if crowd is None else crowd
            ),
        }
        truth.createIndex()
        results = _results(xy, score, predicted_image)
        run = COCOeval(truth, truth.loadRes(results) if results else COCO(), "keypoints")
        run.params.kpt_oks_sigmas = np.asarray(oks_sigmas, dtype=np.float64)
        run.params.imgIds, run.params.catIds = list(range(n_images)), [1]
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = dict(zip(AP_NAMES, (float(s) if s > -1 else float("nan") for s in run.stats), strict=True))
    per_range = np.array(run.evalImgs, dtype=object).reshape(len(run.params.areaRng), n_images)
    ranges = tuple(_range(row, len(run.params.iouThrs)) for row in per_range)
    return OksMatches(stats, ranges, np.asarray(run.params.recThrs), n_images)


def _people(
    xy: FloatArray, v: NDArray[Any], area: FloatArray, bbox_xywh: FloatArray, image: IntArray, crowd: NDArray[Any]
) -> list[dict[str, Any]]:
    labelled = np.asarray(v) > 0
    keypoints = np.concatenate([np.where(labelled[..., None], xy, 0), np.asarray(v)[..., None]], axis=2)
    columns = zip(
        keypoints.reshape(len(xy), 3 * xy.shape[1]).tolist(), labelled.sum(axis=1).tolist(), np.asarray(area).tolist(),
        np.asarray(bbox_xywh).tolist(), np.asarray(image).tolist(), np.asarray(crowd, int).tolist(), strict=True,
    )  # fmt: skip
    # ids count from 1: pycocotools takes a match with id 0 for none.
    names = ("keypoints", "num_keypoints", "area", "bbox", "image_id", "iscrowd")
    return [{"id": i, "category_id": 1, **dict(zip(names, row, strict=True))} for i, row in enumerate(columns, start=1)]


def _results(xy: FloatArray, score: FloatArray, image: IntArray) -> list[dict[str, Any]]:
    there = np.isfinite(xy).all(axis=2, keepdims=True)
    keypoints = np.concatenate([np.where(there, xy, 0), there], axis=2).reshape(len(xy), 3 * xy.shape[1]).tolist()
    columns = zip(keypoints, np.asarray(score).tolist(), np.asarray(image).tolist(), strict=True)
    return [{"image_id": m, "category_id": 1, "keypoints": k, "score": s} for k, s, m in columns]


def _range(rows: NDArray[np.object_], thresholds: int) -> _Range:
    """Arrays of COCOeval's per-image records."""
    people = np.array([0.0 if e is None else np.count_nonzero(np.asarray(e["gtIgnore"]) == 0) for e in rows])
    there = [(i, e) for i, e in enumerate(rows) if e is not None]
    empty = np.zeros((thresholds, 0))
    matched = np.concatenate([empty, *(e["dtMatches"].reshape(thresholds, -1) for _, e in there)], axis=1) > 0
    ignored = np.concatenate([empty, *(e["dtIgnore"].reshape(thresholds, -1) for _, e in there)], axis=1) > 0
    score = np.concatenate([np.zeros(0), *(np.asarray(e["dtScores"]) for _, e in there)])
    image = np.repeat([i for i, _ in there], [len(e["dtScores"]) for _, e in there]).astype(np.int64)
    order = np.argsort(-score, kind="mergesort")  # pycocotools' own, so that equal scores stay in its order
    image, matched, ignored = image[order], matched[:, order], ignored[:, order]
    counted: list[IntArray] = []
    for t in range(thresholds):
        same = t > 0 and np.array_equal(ignored[t], ignored[t - 1])
        counted.append(counted[-1] if same else image[~ignored[t]])
    right = tuple(np.flatnonzero(matched[t][~ignored[t]]) for t in range(thresholds))
    return _Range(tuple(counted), right, people)
