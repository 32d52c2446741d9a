"""Figures against truth: arrays in, arrays out. Nothing here loads, matches or prints.

`oks` COCO's similarity, `pck` correct keypoints by a body-sized yardstick, `coco_ap` AP and AR through pycocotools,
`bootstrap` intervals by image. Everywhere xy is (N, K, 2) pixels with NaN where there is no point, and a labelled
keypoint without a prediction counts as wrong.
"""

from __future__ import annotations

from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.metrics.coco_ap import OksMatches, match_by_oks
from annotator.metrics.oks import keypoint_similarity, mean_oks, oks
from annotator.metrics.pck import MPII_PARTS, mpii_parts, part_shares, pck, pck_hits, torso_size

__all__ = [
    "MPII_PARTS",
    "OksMatches",
    "bootstrap_ratios",
    "interval",
    "keypoint_similarity",
    "match_by_oks",
    "mean_oks",
    "mpii_parts",
    "oks",
    "part_shares",
    "pck",
    "pck_hits",
    "torso_size",
]
