from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.errors import SkeletonError, TableError
from annotator.people import ORIGIN, box_of_keypoints, people
from annotator.skeletons import COCO_17, HALPE_26, LSP_14, MPII_16, UNION_21, Skeleton, union
from tests.builders import make_people

SKELETONS = st.sampled_from([COCO_17, MPII_16, LSP_14, HALPE_26])


def one(**columns: Any) -> Any:
    """A person with a nose at (10, 20) and a left eye that is unlabelled."""
    given_ = {"person_id": ["a:1"], "image_id": ["a:9"], "source": "a", "bbox_xywh": [[0, 0, 30, 40]]}
    return people(COCO_17, **{**given_, "xy": np.full((1, 17, 2), [10, 20]), "v": [[2, 0, *[1] * 15]], **columns})  # type: ignore[arg-type]


def test_unlabelled_point_is_nan_and_has_no_origin_whatever_stood_there() -> None:
    table = one()
    assert table.xy[0, 0].tolist() == [10, 20]
    assert np.isnan(table.xy[0, 1]).all()
    assert table.origin[0, :2].tolist() == [ORIGIN["labelled"], ORIGIN["none"]]
    assert table.labelled.sum() == 16


def test_scale_is_the_root_of_the_area_or_of_its_usual_part_of_the_box() -> None:
    assert one(area=400.0).scale_px().tolist() == [20]
    assert one().scale_px() == pytest.approx([(0.53 * 30 * 40) ** 0.5])
    assert one(area=0.0).scale_px() == pytest.approx([(0.53 * 30 * 40) ** 0.5])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"xy": np.full((1, 17, 2), [np.nan, 20])},
         r"People a:1: nose: expected v > 0 exactly where xy is finite, got v 2"),
        ({"v": [[3, *[0] * 16]]}, r"People\.v: expected v of 0, 1 or 2, got 3"),
        ({"bbox_xywh": [[0, 0, 0, 40]]}, r"People\.bbox_xywh: expected boxes with positive width and height, got o.*"),
        ({"bbox_xywh": [[0, np.nan, 3, 40]]}, r"People\.bbox_xywh: expected boxes with positive width"),
    ],
    ids=["label at NaN", "v of 3", "empty box", "box at NaN"],
)  # fmt: skip
def test_table_that_contradicts_itself_says_where(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        one(**columns)


def test_point_without_a_label_is_refused() -> None:
    xy = one().xy.copy()
    xy[0, 1] = 5
    with pytest.raises(TableError, match=r"People a:1: left_eye: expected v > 0 exactly where xy is finite, got v 0"):
        replace(one(), xy=xy)


def test_id_used_twice_is_named() -> None:
    table = make_people(3, COCO_17)
    with pytest.raises(TableError, match=r"People\.person_id: expected unique ids, got made:1 twice"):
        table.take([0, 1, 1])


@given(SKELETONS, SKELETONS, st.integers(0, 2**31))
def test_aligning_to_a_union_and_projecting_back_is_the_identity(a: Skeleton, b: Skeleton, seed: int) -> None:
    table = make_people(3, a, seed)
    both = union(b, a) if a != b else union(a)
    wide = table.align(both)
    assert wide.labelled.sum() == table.labelled.sum()
    assert wide.project(a).equals(table)
    outside = both.columns_of(a)
    assert not np.delete(wide.in_schema, outside, axis=1).any()  # never labelled there: not in its schema


@given(SKELETONS, st.integers(0, 2**31))
def test_align_to_the_same_keypoints_changes_nothing(skeleton: Skeleton, seed: int) -> None:
    table = make_people(3, skeleton, seed)
    assert table.align(skeleton).equals(table)


def test_align_refuses_to_lose_a_label_and_project_does_not() -> None:
    table = make_people(5, MPII_16)
    with pytest.raises(TableError, match=r"People\.align: expected a skeleton with pelvis, thorax, .*, got coco17"):
        table.align(COCO_17)
    assert table.project(COCO_17).skeleton == COCO_17


def test_align_keeps_keypoints_of_one_name_and_two_meanings_apart() -> None:
    lsp = make_people(3, LSP_14)
    both = union(MPII_16, LSP_14)
    assert both.keypoints[16:] == ("neck", "crown")
    assert not lsp.align(both).labelled[:, both.indices(["upper_neck", "head_top"])].any()


def test_hidden_keypoints_are_unlabelled_and_still_in_the_schema() -> None:
    table = make_people(4, COCO_17)
    hidden = table.hide(["nose", "left_hip"])
    assert not hidden.labelled[:, [0, 11]].any()
    assert hidden.in_schema.all()
    assert (hidden.origin[:, [0, 11]] == ORIGIN["none"]).all()
    rest = np.delete(np.arange(17), [0, 11])
    assert np.array_equal(hidden.xy[:, rest], table.xy[:, rest], equal_nan=True)
    assert table.labelled[:, 0].all()  # the table itself is as it was
    with pytest.raises(SkeletonError, match="expected a keypoint of coco17, got 'tail'"):
        table.hide(["tail"])


def test_box_of_keypoints_is_their_extent_and_a_tenth() -> None:
    xy = np.array(
        [[[10, 20], [50, 40], [np.nan, np.nan]], [[5, 5], [np.nan, np.nan], [np.nan, np.nan]], [[np.nan] * 2] * 3]
    )
    # 40 x 20 px, a tenth of 40 on every side; one point: 1 px on every side; nothing: NaN
    wanted = [[6, 16, 48, 28], [4, 4, 2, 2], [np.nan] * 4]
    np.testing.assert_array_equal(box_of_keypoints(xy), wanted)


def test_nobody_is_a_table_too() -> None:
    table = make_people(2, COCO_17).take([])
    assert len(table) == 0
    assert table.align(UNION_21).scale_px().shape == (0,)
