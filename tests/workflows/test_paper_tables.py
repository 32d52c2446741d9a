"""The tables from small made-up results."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from workflows import paper
from workflows.measuring import SHARED, Bench, Resampled, Student, of_grid
from workflows.paper_tables import BASES, ablation, both, difference, report, shared_out, table_1, table_5

STUDENT = Student("made", "made")


def exact(value: float) -> Resampled:
    """A figure that no picture could change."""
    return Resampled(value, np.full(40, value))


def known(
    here: str = "made", **figures: dict[str, float]
) -> dict[tuple[str, str, tuple[str, ...]], dict[str, Resampled]]:
    """What was measured: `coco`, `mpii` and `halpe`, with an underscore behind over shared keypoints."""
    return {
        (here, name.rstrip("_"), SHARED if name.endswith("_") else ()): {k: exact(v) for k, v in of.items()}
        for name, of in figures.items()
    }


@pytest.fixture
def here(tmp_path) -> Bench:
    coco = dict.fromkeys(("ap", "ap50", "ap75", "ar", "ar50", "ar75"), 0.25)
    measured = known(coco=coco, coco_=coco | {"ap": 0.4}, mpii={"pckh_0.5": 0.75, "pckh_0.1": 0.125},
                     halpe=dict.fromkeys(paper.TABLE_5_COLUMNS, 0.5))  # fmt: skip
    return Bench(dict.fromkeys(("coco", "mpii", "halpe"), tmp_path), tmp_path, measured)


def test_table_1_has_the_paper_s_rows_then_ours_with_the_average_of_both_test_sets(here, tmp_path):
    missing = of_grid(tmp_path, "coco_only-0")
    lines = list(
        table_1(here, [(STUDENT, "MPII", 16, ()), (STUDENT, "MPII*", 16, ("coco",)), (missing, "COCO", 17, ())])
    )
    assert (
        lines[4] == "| paper's t | MPII | 87.75 | 29.66 | 19.82 | 57.56 | 3.93 | 25.75 | 62.37 | 14.37 | 16 | 53.79 |"
    )
    other = " | ".join(["25.0 (25.0 to 25.0)"] * 5)
    mpii = "75.0 (75.0 to 75.0) | 12.5 (12.5 to 12.5)"
    assert lines[12] == f"| made | MPII | {mpii} | 25.0 (25.0 to 25.0) | {other} | 16 | 50.0 (50.0 to 50.0) |"
    assert lines[13] == f"| made | MPII* | {mpii} | 40.0 (40.0 to 40.0) | {other} | 16 | 57.5 (57.5 to 57.5) |"
    assert lines[14] == "| coco_only-0 | COCO | not run |"


def test_what_sharing_and_teachers_do_to_each_datasets_people_is_told_apart(tmp_path):
    trained = BASES["evening"]
    measured = {}
    for folder, ap in zip(trained, (0.1, 0.4, 0.3, 0.45), strict=True):
        card = of_grid(tmp_path, f"{folder}-0").card
        Path(card).parent.mkdir(parents=True)
        Path(card).touch()
        figures = {"ap": ap}
        measured |= known(card, coco=figures, coco_=figures, mpii={"pckh_0.5": ap}, mpii_={"pckh_0.5": ap})
    lines = list(shared_out(Bench(dict.fromkeys(("coco", "mpii"), tmp_path), tmp_path, measured), tmp_path, trained))
    assert [line.split(" | ")[0::2] for line in lines[2:6]] == [
        ["| COCO AP", "40.0 (40.0 to 40.0)", "-10.0 (-10.0 to -10.0)", "+15.0 (+15.0 to +15.0) |"],
        ["| MPII PCKh@.5", "10.0 (10.0 to 10.0)", "+20.0 (+20.0 to +20.0)", "+15.0 (+15.0 to +15.0) |"],
        ["| COCO* AP", "10.0 (10.0 to 10.0)", "+20.0 (+20.0 to +20.0)", "+15.0 (+15.0 to +15.0) |"],
        ["| MPII* PCKh@.5", "40.0 (40.0 to 40.0)", "-10.0 (-10.0 to -10.0)", "+15.0 (+15.0 to +15.0) |"],
    ]


def test_without_a_dataset_its_columns_stay_empty(here):
    del here.folders["mpii"]
    assert set(both(here, STUDENT)) == {"ap", "ap50", "ap75", "ar", "ar50", "ar75"}
    row = list(table_1(here, [(STUDENT, "unified", 21, ())]))[12]
    assert row.startswith("| made | unified | - | - | 25.0 (") and row.endswith("| 21 | - |")


def test_table_5_has_the_paper_s_rows_then_ours(here, tmp_path):
    lines = list(table_5(here, [STUDENT, of_grid(tmp_path, "unified-0")]))
    assert lines[4] == "| paper's t | 66.84 | 90.63 | 74.66 | 64.60 | 70.03 | 69.74 |"
    assert lines[6] == "| made | " + " | ".join(["50.0 (50.0 to 50.0)"] * 6) + " |"
    assert lines[7] == "| unified-0 | not run |"


def test_distillation_is_paired_by_seed():
    """Differences .02, .03 and .04: mean .03, deviation .01; Student's t with 2 degrees is 4.303: .03 +- .0248."""
    pairs = [({"ap": exact(no)}, {"ap": exact(yes)}) for no, yes in ((0.60, 0.62), (0.62, 0.65), (0.61, 0.65))]
    row = list(ablation("Table 2", {"ap": paper.TABLE_2["ap"]}, pairs))[4]
    assert row == (
        "| AP | 60.69 / 62.03 (+1.34) | 67.14 / 68.63 (+1.49) | 61.0 ± 1.0 | 64.0 ± 1.7 "
        "| +3.0 (+3.0 to +3.0) | +0.5 to +5.5 | beyond noise, as the paper's |"
    )


@pytest.mark.parametrize(
    ("name", "gain", "words"),
    [
        ("hip", -0.02, "beyond noise, as the paper's"),
        ("hip", 0.02, "beyond noise, against the paper's"),
        ("wrist", 0.02, "beyond noise"),  # the paper's t gains and its s loses
        ("hip", 0.0, "within noise"),
    ],
)
def test_a_difference_says_whether_the_paper_has_it(name, gain, words):
    pairs = [({name: exact(0.5)}, {name: exact(0.5 + gain)})] * 3
    assert list(ablation("Table 4", {name: paper.TABLE_4[name]}, pairs))[4].endswith(f" | {words} |")


@pytest.mark.parametrize(
    ("gains", "spread", "verdict"),
    [
        ((0.02, 0.03, 0.04), 0.0, "beyond noise"),
        ((-0.02, -0.03, -0.04), 0.0, "beyond noise"),
        ((-0.02, 0.03, 0.04), 0.0, "within noise"),  # another seed turns it
        ((0.02, 0.03, 0.04), 0.1, "within noise"),  # other pictures turn it
        ((0.02,), 0.0, "one seed"),
    ],
    ids=["gain", "loss", "seeds differ", "pictures differ", "one seed"],
)
def test_a_difference_counts_where_neither_seeds_nor_pictures_could_turn_it(gains, spread, verdict):
    resamples = np.linspace(-spread, spread, 41)
    yes = [Resampled(0.5 + gain, 0.5 + gain + resamples) for gain in gains]
    no = [Resampled(0.5, np.full(41, 0.5)) for _ in gains]
    assert difference(no, yes).verdict() == verdict


def reported(runs, *base: str) -> list[str]:
    """The report on students of these recipes, where no dataset is."""
    none = dict.fromkeys(("coco", "mpii", "halpe", "lsp"))
    return list(report(argparse.Namespace(runs=runs, out=runs, students=[], base=base, **none)))


def test_a_grid_that_was_not_run_says_so_in_every_table(tmp_path):
    lines = reported(tmp_path, "evening")
    tables = [line for line in lines if line.startswith("###")]
    assert [title.split(":")[0] for title in tables] == [f"### Table {number}" for number in range(1, 6)]
    ours = [line for line in lines if line.startswith("| ") and "not run" in line]
    assert len(ours) == 8 + 3 + 6 + 9 + 1  # rows of Table 1, figures of 2, 3 and 4, the unified student's row of 5


def test_students_of_one_dataset_stand_beside_the_unified_one_without_teachers_too(tmp_path):
    rows = [line for line in reported(tmp_path, "evening") if line.startswith("| labels_only-0")]
    assert rows == [f"| labels_only-0 | {on}, no teachers | not run |" for on in ("unified", "unified*")]


def test_the_papers_own_students_have_all_rows_and_each_their_tables_2_to_4(tmp_path):
    lines = reported(tmp_path, "paper_t", "paper_s")
    table_1 = [line.split(" | ")[:2] for line in lines[: lines.index("### Table 2: distillation no / yes, paper_t")]]
    ours = [f"| paper_{size}{end}-0" for size in "ts" for end in ("_mpii", "_coco", "_labels", "") for _ in "1*"]
    assert [name for name, *_ in table_1 if name.startswith("| paper_")] == ours
    tables = [line for line in lines if line.startswith("### Table") and line.endswith(("paper_t", "paper_s"))]
    assert [(line[10], line[-1]) for line in tables] == [(number, size) for size in "ts" for number in "234"]
    assert lines[-5:-3] == ["| paper_t-0 | not run |", "| paper_s-0 | not run |"]
