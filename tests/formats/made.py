"""Generated datasets that a format can hold without loss, and the pictures they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from annotator.formats.dataset import Dataset
from annotator.formats.mpii import box_of_scale
from annotator.images import Images
from annotator.people import box_of_keypoints, people
from annotator.skeletons import COCO_17, HALPE_26, LSP_14, MPII_16, UNION_21, Skeleton, make, union

SIZE = (640, 480)
PICTURES = 4
# Nothing like it is known: two keypoints called neck that differ by definition, and a name of its own.
STRANGE = union(LSP_14, HALPE_26, make("custom", ["left_horn", "right_horn", "tail"]), name="strange")


@dataclass(frozen=True)
class Spec:
    """What a format can hold: its skeletons, values of v, and how it names things."""

    skeletons: tuple[Skeleton, ...]
    v: tuple[int, ...] = (0, 1, 2)
    file_name: Callable[[int], str] = "{}.png".format
    image_id: Callable[[int], str] = "{}.png".format
    person_id: Callable[[int, int, int], str] = "{0}".format  # of person, of picture, in picture
    one_a_picture: bool = False
    boxes: str = "given"  # or "scale" (MPII's rule), "keypoints"
    pixel_origin: int = 0


SPECS = {
    "coco": Spec(
        (COCO_17, UNION_21, MPII_16, LSP_14, HALPE_26, STRANGE),
        image_id=lambda i: str(139 + 7 * i),
        person_id=lambda n, i, j: str(230831 + 3 * n),
    ),
    "mpii": Spec((MPII_16,), boxes="scale", pixel_origin=1),
    "mpii_mat": Spec((MPII_16,), boxes="scale", pixel_origin=1),
    "halpe": Spec((HALPE_26,), image_id=lambda i: str(i + 1), person_id=lambda n, i, j: str(n + 1)),
    "lsp": Spec(
        (LSP_14,),
        v=(0, 2),
        file_name=lambda i: f"im{i + 1:05d}.jpg",
        image_id=lambda i: f"im{i + 1:05d}.jpg",
        person_id=lambda n, i, j: str(i),
        one_a_picture=True,
        boxes="keypoints",
    ),
    "yolo": Spec(
        (COCO_17, UNION_21, MPII_16, LSP_14, HALPE_26, STRANGE),
        image_id=str,
        person_id=lambda n, i, j: f"{i}:{j}",
    ),
}


def pictures(root: Path, names: list[str]) -> Path:
    """A folder of black pictures."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", SIZE).save(root / name)
    return root


def folder(root: Path, name: str) -> Path:
    """The pictures that datasets of a format name."""
    return pictures(root, [SPECS[name].file_name(i) for i in range(PICTURES)])


def datasets(name: str, root: Path) -> st.SearchStrategy[Dataset]:
    """Datasets, read from nowhere, that the format holds without loss."""
    spec = SPECS[name]
    shares = st.integers(1, 1) if spec.one_a_picture else st.integers(1, 3)
    return st.builds(
        _dataset,
        st.just(spec),
        st.just(root),
        st.sampled_from(spec.skeletons),
        st.lists(shares, min_size=0, max_size=PICTURES),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0, 1, 4, 15]),
    )


def _dataset(spec: Spec, root: Path, skeleton: Skeleton, shares: list[int], seed: int, decimals: int) -> Dataset:
    rng = np.random.default_rng(seed)
    picture = np.repeat(np.arange(len(shares)), shares)
    place = np.concatenate([np.arange(share) for share in shares]) if shares else np.zeros(0)
    n, k = len(picture), len(skeleton)
    xy = rng.uniform(-20, 500, (n, k, 2)).round(decimals)
    v = rng.choice(spec.v, (n, k))
    v[:, int(rng.integers(k))] = 2
    names = [spec.file_name(i) for i in range(len(shares))]
    table = people(
        skeleton,
        person_id=[
            "made:" + spec.person_id(i, int(p), int(j)) for i, (p, j) in enumerate(zip(picture, place, strict=True))
        ],
        image_id=["made:" + spec.image_id(int(p)) for p in picture],
        source="made",
        xy=xy,
        v=v,
        bbox_xywh=_boxes(spec, rng, np.where((v > 0)[..., None], xy, np.nan)),
        bbox_given=spec.boxes == "given",
        pixel_origin=spec.pixel_origin,
    )
    if spec.file_name(0) == "0.png" and spec.image_id(0).isdigit() and spec.image_id(0) != "0":  # COCO and Halpe
        area = np.where(rng.random(n) < 0.5, np.nan, 0.3 * table.bbox_xywh[:, 2] * table.bbox_xywh[:, 3])
        table = replace(table, area=area)
    images = Images(
        image_id=np.array(["made:" + spec.image_id(i) for i in range(len(shares))], dtype=object),
        path=np.array([str(root / name) for name in names], dtype=object),
        file_name=np.array(names, dtype=object),
        width=np.full(len(shares), SIZE[0]),
        height=np.full(len(shares), SIZE[1]),
        record=np.full(len(shares), "", dtype=object),
    )
    return Dataset("made", Path("nowhere"), images, table)


def _boxes(spec: Spec, rng: np.random.Generator, xy: Any) -> Any:
    n = len(xy)
    if spec.boxes == "keypoints":
        return box_of_keypoints(xy)
    if spec.boxes == "scale":  # eighths, so that centre +- half a width is exact
        return box_of_scale(rng.integers(800, 3200, (n, 2)) / 8, rng.integers(4, 32, n) / 8)
    return np.concatenate([rng.uniform(-10, 300, (n, 2)), rng.uniform(11, 300, (n, 2))], axis=1)
