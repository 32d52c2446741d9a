"""Generated tables for tests: people of any skeleton, proposals for them."""

from __future__ import annotations

import numpy as np

from annotator.people import ORIGIN, People, box_of_keypoints, people
from annotator.proposals import KIND, Proposals
from annotator.skeletons import Skeleton


def make_people(n: int, skeleton: Skeleton, seed: int = 0, *, source: str = "made") -> People:
    """N people on 640 x 480 pictures, two a picture, about a fifth of their keypoints unlabelled (never all)."""
    rng = np.random.default_rng(seed)
    k = len(skeleton)
    centre = rng.uniform((150, 120), (490, 360), (n, 1, 2))
    xy = (centre + rng.normal(0, 40, (n, k, 2))).round(2)
    v = rng.choice([0, 1, 2], (n, k), p=[0.2, 0.2, 0.6])
    v[:, 0] = 2
    xy[v == 0] = np.nan
    return people(
        skeleton,
        person_id=[f"{source}:{i}" for i in range(n)],
        image_id=[f"{source}:{i // 2}" for i in range(n)],
        source=source,
        xy=xy,
        v=v,
        bbox_xywh=box_of_keypoints(xy),
    )


def make_proposals(table: People, seed: int = 0, *, error_px: float = 5.0) -> Proposals:
    """Proposals for every keypoint, about `error_px` from the labels, spread in proportion to the error made."""
    rng = np.random.default_rng(seed)
    n, k = table.v.shape
    offset = rng.normal(0, error_px, (n, k, 2))
    centre = table.bbox_xywh[:, None, :2] + table.bbox_xywh[:, None, 2:] / 2
    xy = np.where(table.labelled[..., None], table.xy, centre) + offset
    nothing = np.full((n, k), np.nan)
    missing = np.where(table.in_schema, KIND["unlabelled"], KIND["not_in_schema"])
    return Proposals(
        table.skeleton,
        "made",
        person_id=table.person_id,
        image_id=table.image_id,
        scale_px=table.scale_px(),
        xy=xy,
        score=rng.uniform(0.2, 1, (n, k)),
        p_present=nothing,
        expected_error_px=nothing,
        radius50=nothing,
        radius80=nothing,
        radius90=nothing,
        radius95=nothing,
        spread_px=np.linalg.norm(offset, axis=2) + 1,
        entropy=rng.uniform(1, 4, (n, k)),
        peaks=np.ones((n, k)),
        disagreement_px=np.linalg.norm(offset, axis=2) / 2,
        origin=np.full((n, k), ORIGIN["proposed"]),
        kind=np.where(table.labelled, KIND["labelled"], missing),
        calibrated=np.zeros((n, k)),
    )
