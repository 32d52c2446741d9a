"""Skeletons: ordered keypoint names with flip pairs, edges, OKS sigmas, and where each definition comes from.

Names alone do not make two keypoints the same. MPII's `head_top` is the end of a head rectangle, LSP's is a click on
the crown; so every keypoint carries a *definition*, and `union` joins two keypoints only where both agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.errors import SkeletonError, expected

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# COCO measured these on 5,000 people annotated twice (cocodataset.org/#keypoints-eval).
COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
# MMPose's dataset metainfo gives .026 to every keypoint nobody measured: a placeholder, not a measurement.
PLACEHOLDER_SIGMA = 0.026

# What a keypoint with a plain name means, unless its dataset says otherwise.
DEFINITIONS = {
    "pelvis": "midpoint of the hips",
    "thorax": "midpoint of the shoulders",
    "upper_neck": "lower end of the head rectangle",
    "head_top": "upper end of the head rectangle",
}
# Datasets whose keypoint of that name is another point of the body. `union` keeps them apart.
OWN_DEFINITIONS = {
    ("lsp14", "neck"): "clicked, often at the base of the throat",
    ("lsp14", "crown"): "clicked, the crown of the head",
    ("halpe26", "head"): "clicked, the crown of the head",
    ("halpe26", "neck"): "clicked, the base of the neck",
    ("crowdpose", "top_head"): "clicked, the crown of the head",
    ("crowdpose", "neck"): "clicked, the base of the neck",
    ("aic", "head_top"): "clicked, the crown of the head",
    ("aic", "neck"): "clicked, the base of the neck",
}
# Other spellings of one and the same definition: (dataset or "*", name there) -> our name.
ALIASES = {
    ("*", "head_bottom"): "upper_neck",
    ("*", "root"): "pelvis",
    ("halpe26", "hip"): "pelvis",
    ("lsp14", "head_top"): "crown",
    ("crowdpose", "head"): "top_head",
}


@dataclass(frozen=True)
class Skeleton:
    """Ordered keypoints of one dataset, or of a union of several.

    Attributes:
        name: short name, e.g. `coco17`.
        keypoints: K names in the order of the dataset's arrays.
        definitions: K sentences; two keypoints are the same only if name and definition agree.
        edges: pairs of keypoint names to draw.
        oks_sigmas: K of COCO's per-keypoint constants (fractions of the person's scale).
        sigma_origins: K words, `coco` (measured), `placeholder` (MMPose's .026) or `metainfo`.
    """

    name: str
    keypoints: tuple[str, ...]
    definitions: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    oks_sigmas: tuple[float, ...]
    sigma_origins: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.keypoints)) != len(self.keypoints):
            raise SkeletonError(expected("distinct keypoint names", list(self.keypoints), self.name))
        for column in ("definitions", "oks_sigmas", "sigma_origins"):
            if len(getattr(self, column)) != len(self.keypoints):
                raise SkeletonError(expected(f"{len(self.keypoints)} {column}", len(getattr(self, column)), self.name))

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def flip(self) -> IntArray:
        """Index of each keypoint's mirror image, (K,): `xy[:, skeleton.flip]` swaps left and right."""
        return np.array([self.index(name) for name in map(self._mirror, self.keypoints)])

    @cached_property
    def edge_indices(self) -> IntArray:
        """Edges as index pairs, (E, 2)."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.edges], dtype=np.int64).reshape(-1, 2)

    def _mirror(self, name: str) -> str:
        other = (
            "right" + name[4:] if name.startswith("left") else "left" + name[5:] if name.startswith("right") else name
        )
        return other if other in self.keypoints else name

    def index(self, name: str) -> int:
        """Position of a keypoint; raises SkeletonError naming the known ones."""
        try:
            return self.keypoints.index(name)
        except ValueError:
            raise SkeletonError(expected(f"a keypoint of {self.name}", repr(name), ", ".join(self.keypoints))) from None

    def indices(self, names: Iterable[str]) -> IntArray:
        """Positions of several keypoints."""
        return np.array([self.index(name) for name in names], dtype=np.int64)

    def columns_of(self, other: Skeleton) -> IntArray:
        """For each keypoint of `other`, its column here, or -1 where this one lacks it (by name and definition)."""
        here = {key: i for i, key in enumerate(zip(self.keypoints, self.definitions, strict=True))}

        def place(name: str, definition: str) -> int:
            # `union` prefixes the later of two keypoints of one name with its dataset.
            names = (name, f"{other.name}_{name}", name.removeprefix(f"{self.name}_"))
            return next((here[known, definition] for known in names if (known, definition) in here), -1)

        return np.array([place(*key) for key in zip(other.keypoints, other.definitions, strict=True)], dtype=np.int64)


def _sigma(name: str) -> tuple[float, str]:
    part = name.removeprefix("left_").removeprefix("right_")
    return (COCO_SIGMAS[part], "coco") if part in COCO_SIGMAS else (PLACEHOLDER_SIGMA, "placeholder")


def resolve(dataset: str, name: str) -> tuple[str, str]:
    """Our name and the definition of a dataset's keypoint.

    >>> resolve("posetrack18", "head_bottom")
    ('upper_neck', 'lower end of the head rectangle')
    >>> resolve("lsp14", "neck")
    ('neck', 'clicked, often at the base of the throat')
    """
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    plain = ALIASES.get((dataset, plain), ALIASES.get(("*", plain), plain))
    return plain, OWN_DEFINITIONS.get((dataset, plain), DEFINITIONS.get(plain, plain.replace("_", " ")))


def check_alias(dataset: str, name: str, target: str) -> None:
    """Raise SkeletonError if a dataset's keypoint is not, by definition, our keypoint `target`.

    >>> check_alias("lsp14", "neck", "upper_neck")
    Traceback (most recent call last):
    annotator.errors.SkeletonError: lsp14.neck: expected lower end of the head rectangle (upper_neck), got clicked, ...
    """
    _, definition = resolve(dataset, name)
    wanted = DEFINITIONS.get(target, target.replace("_", " "))
    if definition != wanted:
        raise SkeletonError(expected(f"{wanted} ({target})", definition, f"{dataset}.{name}"))


def make(name: str, keypoints: Iterable[str], edges: Iterable[tuple[str, str]] = ()) -> Skeleton:
    """Skeleton from a dataset's own keypoint names; aliases are resolved, sigmas looked up."""
    resolved = [resolve(name, keypoint) for keypoint in keypoints]
    names = {keypoint: resolve(name, keypoint)[0] for pair in edges for keypoint in pair}
    sigmas = [_sigma(keypoint) for keypoint, _ in resolved]
    return Skeleton(
        name,
        tuple(keypoint for keypoint, _ in resolved),
        tuple(definition for _, definition in resolved),
        tuple((names[a], names[b]) for a, b in edges),
        tuple(sigma for sigma, _ in sigmas),
        tuple(origin for _, origin in sigmas),
    )


def from_metainfo(metainfo: Mapping[str, Any]) -> Skeleton:
    """Skeleton from MMPose's dataset metainfo (`dataset_name`, `keypoint_info`, `skeleton_info`, `sigmas`)."""
    info = metainfo["keypoint_info"]
    names = [info[i]["name"] for i in sorted(info)]
    edges = [tuple(entry["link"]) for entry in metainfo.get("skeleton_info", {}).values()]
    skeleton = make(str(metainfo["dataset_name"]), names, edges)
    sigmas = tuple(float(sigma) for sigma in metainfo.get("sigmas", skeleton.oks_sigmas))
    origins = tuple(
        origin if sigma == ours else "metainfo"
        for origin, ours, sigma in zip(skeleton.sigma_origins, skeleton.oks_sigmas, sigmas, strict=True)
    )
    return Skeleton(skeleton.name, skeleton.keypoints, skeleton.definitions, skeleton.edges, sigmas, origins)


def union(*skeletons: Skeleton, name: str | None = None) -> Skeleton:
    """All keypoints of all skeletons, each once, in order of appearance.

    Two keypoints of one name but different definitions both stay; the later one is prefixed with its dataset.
    """
    rows: dict[str, tuple[str, float, str]] = {}
    edges: list[tuple[str, str]] = []
    for skeleton in skeletons:
        renamed = {}
        for i, keypoint in enumerate(skeleton.keypoints):
            definition = skeleton.definitions[i]
            known = rows.get(keypoint)
            label = keypoint if known is None or known[0] == definition else f"{skeleton.name}_{keypoint}"
            rows.setdefault(label, (definition, skeleton.oks_sigmas[i], skeleton.sigma_origins[i]))
            renamed[keypoint] = label
        drawn = {frozenset(edge) for edge in edges}
        edges += [e for a, b in skeleton.edges if frozenset(e := (renamed[a], renamed[b])) not in drawn]
    definitions, sigmas, origins = zip(*rows.values(), strict=True)
    return Skeleton(
        name or "+".join(s.name for s in skeletons), tuple(rows), definitions, tuple(edges), sigmas, origins
    )


def _both(*parts: str) -> list[str]:
    return [f"{side}_{part}" for part in parts for side in ("left", "right")]


_LIMBS = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
_FACE = [("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear")]
_TRUNK = [("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
          ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")]  # fmt: skip
_AXIS = [("pelvis", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top")]
_COCO = ["nose", *_both("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")]

COCO_17 = make("coco17", _COCO, [*_LIMBS, *_TRUNK, *_FACE])
MPII_16 = make(
    "mpii16",
    ["right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax", "upper_neck",
     "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"],
    [*_LIMBS, *_TRUNK, *_AXIS],
)  # fmt: skip
HALPE_26 = make(
    "halpe26",
    [*_COCO, "head", "neck", "hip", *_both("big_toe", "small_toe", "heel")],
    [*_LIMBS, *_TRUNK, *_FACE, ("head", "neck"), ("neck", "hip")]
    + [(f"{side}_ankle", f"{side}_{part}") for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")],
)
LSP_14 = make(
    "lsp14",
    ["right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
     "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"],
    [*_LIMBS, *_TRUNK, ("neck", "head_top")],
)  # fmt: skip
UNION_21 = union(COCO_17, MPII_16, name="union21")
SKELETONS = {s.name: s for s in (COCO_17, MPII_16, HALPE_26, LSP_14, UNION_21)}
