from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.errors import SkeletonError
from annotator.skeletons import (
    COCO_17,
    COCO_SIGMAS,
    HALPE_26,
    LSP_14,
    MPII_16,
    SKELETONS,
    UNION_21,
    Skeleton,
    check_alias,
    from_metainfo,
    make,
    resolve,
    union,
)

ALL = list(SKELETONS.values())
SETS = st.lists(st.sampled_from(ALL), min_size=1, max_size=5, unique=True)


def key(skeleton: Skeleton) -> set[tuple[str, str]]:
    return set(zip(skeleton.keypoints, skeleton.definitions, strict=True))


def test_coco_and_mpii_together_have_21_keypoints() -> None:
    assert UNION_21.keypoints[:17] == COCO_17.keypoints
    assert UNION_21.keypoints[17:] == ("pelvis", "thorax", "upper_neck", "head_top")
    assert len(set(UNION_21.keypoints) - set(COCO_17.keypoints)) == 4
    assert len(set(UNION_21.keypoints) - set(MPII_16.keypoints)) == 5


@given(SETS)
def test_union_holds_every_keypoint_of_every_part_once(parts: list[Skeleton]) -> None:
    joint = union(*parts)
    assert len(joint) == len(set.union(*map(key, parts)))
    for part in parts:
        renamed = [f"{part.name}_{name}" if (name, d) not in key(joint) else name for name, d in
                   zip(part.keypoints, part.definitions, strict=True)]  # fmt: skip
        assert set(renamed) <= set(joint.keypoints)


@given(SETS)
def test_union_with_itself_or_in_another_order_has_the_same_keypoints(parts: list[Skeleton]) -> None:
    assert union(*parts, *parts).keypoints == union(*parts).keypoints
    assert {d for _, d in key(union(*parts))} == {d for _, d in key(union(*reversed(parts)))}


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_flip_is_its_own_inverse_and_swaps_sides(skeleton: Skeleton) -> None:
    assert (skeleton.flip[skeleton.flip] == np.arange(len(skeleton))).all()
    for name, mirror in zip(skeleton.keypoints, skeleton.flip, strict=True):
        other = skeleton.keypoints[mirror]
        assert (name == other) == (not name.startswith(("left", "right")))
        assert other.replace("left", "right") == name.replace("left", "right")


@pytest.mark.parametrize("skeleton", ALL, ids=lambda s: s.name)
def test_edges_join_known_keypoints_and_no_pair_twice(skeleton: Skeleton) -> None:
    pairs = [frozenset(pair) for pair in skeleton.edge_indices.tolist()]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)


def test_sigmas_are_cocos_where_coco_measured_them_and_say_so() -> None:
    from pycocotools.cocoeval import Params

    assert list(COCO_17.oks_sigmas) == pytest.approx(list(Params(iouType="keypoints").kpt_oks_sigmas))
    assert set(COCO_17.sigma_origins) == {"coco"}
    assert UNION_21.sigma_origins[17:] == ("placeholder",) * 4
    assert set(UNION_21.oks_sigmas[17:]) == {0.026}
    assert min(COCO_SIGMAS.values()) == 0.025


@pytest.mark.parametrize(
    ("dataset", "name", "target"),
    [
        ("lsp14", "neck", "upper_neck"),
        ("lsp14", "head_top", "head_top"),
        ("halpe26", "neck", "upper_neck"),
        ("halpe26", "head", "head_top"),
        ("aic", "Head top", "head_top"),
        ("crowdpose", "head", "head_top"),
        ("coco17", "nose", "left_eye"),
    ],
)
def test_alias_whose_definition_differs_is_refused(dataset: str, name: str, target: str) -> None:
    with pytest.raises(SkeletonError, match=f"{dataset}.{name}: expected"):
        check_alias(dataset, name, target)


@pytest.mark.parametrize(
    ("dataset", "name", "target"),
    [
        ("posetrack18", "head_bottom", "upper_neck"),
        ("halpe26", "hip", "pelvis"),
        ("h36m", "root", "pelvis"),
        ("aic", "Right Shoulder", "right_shoulder"),
        ("any", "left-knee", "left_knee"),
    ],
)
def test_alias_of_the_same_point_is_taken(dataset: str, name: str, target: str) -> None:
    check_alias(dataset, name, target)
    assert resolve(dataset, name)[0] == target


def test_lsps_head_and_neck_stay_apart_from_mpiis() -> None:
    joint = union(MPII_16, LSP_14)
    assert set(joint.keypoints) - set(MPII_16.keypoints) == {"neck", "crown"}
    assert (joint.columns_of(LSP_14) >= 0).all()
    assert MPII_16.columns_of(LSP_14)[-2:].tolist() == [-1, -1]


def test_one_name_with_two_meanings_is_prefixed_with_its_dataset() -> None:
    joint = union(LSP_14, HALPE_26)
    assert "neck" in joint.keypoints
    assert "halpe26_neck" in joint.keypoints
    assert "pelvis" in joint.keypoints


def test_metainfo_of_mmpose_gives_the_same_skeleton() -> None:
    names = ["nose", "left_eye", "right_eye", "head_bottom"]
    info = {
        "dataset_name": "toy",
        "keypoint_info": {i: {"name": name, "id": i} for i, name in enumerate(names)},
        "skeleton_info": {0: {"link": ("nose", "head_bottom"), "id": 0}},
        "sigmas": [0.026, 0.025, 0.3, 0.026],
    }
    skeleton = from_metainfo(info)
    assert skeleton.keypoints == ("nose", "left_eye", "right_eye", "upper_neck")
    assert skeleton.edges == (("nose", "upper_neck"),)
    assert skeleton.oks_sigmas == (0.026, 0.025, 0.3, 0.026)
    assert skeleton.sigma_origins == ("coco", "coco", "metainfo", "placeholder")


def test_mmposes_own_metainfo_is_read() -> None:
    config = pytest.importorskip("mmengine.config").Config
    mmpose = pytest.importorskip("importlib.util").find_spec("mmpose")
    if mmpose is None:
        pytest.skip("needs mmpose, which the train extra installs")
    folder = f"{mmpose.submodule_search_locations[0]}/.mim/configs/_base_/datasets"
    coco = from_metainfo(config.fromfile(f"{folder}/coco.py").dataset_info)
    assert coco.keypoints == COCO_17.keypoints
    assert coco.oks_sigmas == pytest.approx(COCO_17.oks_sigmas)
    mpii = from_metainfo(config.fromfile(f"{folder}/mpii.py").dataset_info)
    assert union(coco, mpii).keypoints == UNION_21.keypoints
    assert union(coco, mpii).definitions == UNION_21.definitions


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make("x", ["nose", "nose"]), r"x: expected distinct keypoint names, got \['nose', 'nose'\]"),
        (lambda: make("x", ["root", "pelvis"]), "x: expected distinct keypoint names"),
        (lambda: Skeleton("x", ("a",), (), (), (0.1,), ("coco",)), "x: expected 1 definitions, got 0"),
        (lambda: COCO_17.index("tail"), "nose, left_eye, .*: expected a keypoint of coco17, got 'tail'"),
    ],
    ids=["name twice", "alias twice", "columns that differ", "unknown name"],
)
def test_skeleton_that_does_not_fit_says_why(build: object, message: str) -> None:
    with pytest.raises(SkeletonError, match=message):
        build()  # type: ignore[operator]
