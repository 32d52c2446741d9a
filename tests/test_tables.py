from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.errors import StorageError, TableError
from annotator.images import Images
from annotator.people import People
from annotator.skeletons import COCO_17, LSP_14, MPII_16, UNION_21, Skeleton
from tests.builders import make_people, make_proposals

SKELETONS = st.sampled_from([COCO_17, MPII_16, LSP_14, UNION_21])


def images(n: int) -> Images:
    names = np.array([f"a:{i}" for i in range(n)], dtype=object)
    return Images(names, names, names, np.full(n, 640), np.full(n, -1), np.full(n, "{}", dtype=object))


@given(st.integers(0, 20), SKELETONS, st.integers(0, 2**31))
def test_table_survives_save_and_load(
    tmp_path_factory: pytest.TempPathFactory, n: int, skeleton: Skeleton, seed: int
) -> None:
    people = make_people(n, skeleton, seed)
    path = tmp_path_factory.mktemp("saved") / "table.parquet"
    for table in (people, make_proposals(people, seed), images(n)):
        table.save(path)
        assert type(table).load(path).equals(table)  # type: ignore[arg-type]


@given(st.integers(1, 20), SKELETONS, st.data())
def test_taking_apart_and_putting_together_changes_nothing(n: int, skeleton: Skeleton, data: st.DataObject) -> None:
    people = make_people(n, skeleton)
    cut = data.draw(st.integers(0, n))
    assert People.concat([people.take(slice(0, cut)), people.take(np.arange(cut, n))]).equals(people)
    order = np.array(data.draw(st.permutations(range(n))))
    assert people.take(order).take(np.argsort(order)).equals(people)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    assert people.take(mask).person_id.tolist() == people.person_id[mask].tolist()


def test_columns_cannot_be_written_into() -> None:
    people = make_people(2, COCO_17)
    with pytest.raises(ValueError, match="read-only"):
        people.xy[0, 0] = 0


def test_column_of_another_length_says_which_and_how_long() -> None:
    people = make_people(2, COCO_17)
    with pytest.raises(TableError, match=r"People\.v: expected shape \(2, 17\), got \(3, 17\)"):
        replace(people, v=np.zeros((3, 17)))
    with pytest.raises(TableError, match=r"Images\.width: expected shape \(2,\), got \(3,\)"):
        replace(images(2), width=np.zeros(3))


def test_tables_over_other_keypoints_are_not_put_together() -> None:
    with pytest.raises(TableError, match=r"People\.concat: expected tables of one skeleton, got 2"):
        People.concat([make_people(1, COCO_17), make_people(1, MPII_16, source="b")])


def test_equal_takes_nan_for_equal_and_a_number_for_another() -> None:
    people = make_people(3, COCO_17)
    assert people.equals(replace(people, area=people.area.copy()))
    assert not people.equals(replace(people, area=np.array([1.0, np.nan, np.nan])))
    assert not people.equals(people.align(UNION_21))


def test_rows_of_finds_each_image_and_says_minus_one_for_strangers() -> None:
    assert images(3).rows_of(np.array(["a:2", "b:0", "a:0"], dtype=object)).tolist() == [2, -1, 0]


def test_proposals_become_one_row_per_person_and_keypoint() -> None:
    proposals = make_proposals(make_people(2, MPII_16))
    rows = proposals.rows().to_pylist()
    assert len(rows) == 32
    assert [rows[0][name] for name in ("person_id", "image_id", "keypoint")] == ["made:0", "made:0", "right_ankle"]
    assert [rows[17][name] for name in ("person_id", "keypoint", "student")] == ["made:1", "right_knee", "made"]
    assert rows[17]["x"] == proposals.xy[1, 1, 0]
    assert {row["origin"] for row in rows} == {"proposed"}
    assert {row["kind"] for row in rows} <= {"labelled", "unlabelled"}


def test_100_000_people_are_sliced_saved_and_loaded_in_seconds(tmp_path: Path) -> None:
    """About 2 s on one core; a Python loop over people and keypoints would add as many for every column."""
    people = make_people(100_000, UNION_21)
    start = time.perf_counter()
    people.take(np.arange(0, 100_000, 2)).save(tmp_path / "half.parquet")
    people.save(tmp_path / "people.parquet")
    back = People.load(tmp_path / "people.parquet")
    people.align(UNION_21).take(people.v[:, 3] > 0)
    assert time.perf_counter() - start < 12
    assert back.equals(people)


def test_file_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    with pytest.raises(StorageError, match="expected a place to write"):
        make_people(1, COCO_17).save(tmp_path / "in_the_way" / "people.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in_the_way"]
