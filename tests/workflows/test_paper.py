"""The paper's numbers: whole, and in agreement with each other where its tables repeat themselves."""

from __future__ import annotations

import pytest

from workflows import paper

NO_YES = {"2": paper.TABLE_2, "3": paper.TABLE_3, "4": paper.TABLE_4}


def test_table_1_has_four_trainings_of_both_students_with_every_figure():
    assert list(paper.TABLE_1) == [(s, on) for s in "ts" for on in ("MPII", "MPII*", "COCO*", "unified")]
    assert {len(values) for values in paper.TABLE_1.values()} == {len(paper.TABLE_1_COLUMNS)}


@pytest.mark.parametrize("row", paper.TABLE_1.values(), ids=map(" ".join, paper.TABLE_1))
def test_average_is_that_of_pckh_and_ap(row):
    of = dict(zip(paper.TABLE_1_COLUMNS, row, strict=True))
    assert of["avg"] == pytest.approx((of["pckh_0.5"] + of["ap"]) / 2, abs=0.0051)


@pytest.mark.parametrize("table", NO_YES.values(), ids=[f"table {number}" for number in NO_YES])
def test_every_figure_has_no_and_yes_of_both_students(table):
    assert all(list(of) == ["t", "s"] and all(len(pair) == 2 for pair in of.values()) for of in table.values())


@pytest.mark.parametrize("student", ["t", "s"])
def test_tables_repeat_each_other(student):
    unified = dict(zip(paper.TABLE_1_COLUMNS, paper.TABLE_1[student, "unified"], strict=True))
    for table, names in ((paper.TABLE_2, ("pckh_0.5", "ap", "avg")), (paper.TABLE_3, ("ap", "ap50", "ap75", "ar")),
                         (paper.TABLE_4, ("pckh_0.5", "pckh_0.1"))):  # fmt: skip
        assert [table[name][student][1] for name in names] == [unified[name] for name in names]
    assert paper.TABLE_2["ap"][student] == paper.TABLE_3["ap"][student]
    assert paper.TABLE_2["pckh_0.5"][student] == paper.TABLE_4["pckh_0.5"][student]


def test_table_5_has_every_figure_of_both_students():
    assert {name: len(values) for name, values in paper.TABLE_5.items()} == dict.fromkeys("ts", 6)
    assert len(paper.TABLE_5_COLUMNS) == 6
