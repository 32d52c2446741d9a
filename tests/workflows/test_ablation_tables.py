"""What teachers bring and learning curves, from small made-up results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from workflows.ablation_tables import ANSWERS, TEACHERS, gains, left_out, people, steps
from workflows.measuring import Bench, Resampled, of_grid


def exact(**values: float) -> dict[str, Resampled]:
    """Figures that no picture could change."""
    return {name: Resampled(value, np.full(40, value)) for name, value in values.items()}


@pytest.fixture
def here(tmp_path) -> Bench:
    """Two students that were trained, and what was measured of them."""
    known = {}
    for folder, shift, many in (("labels_only-0", 0.0, 64), ("unified-0", 0.1, 128)):
        card = Path(of_grid(tmp_path, folder).card)
        card.parent.mkdir(parents=True)
        card.touch()
        manifest = {"people": {"coco": many - 4, "mpii": 4}, "recipe": {"epochs": 3, "batch": 32}}
        (tmp_path / folder / "manifest.json").write_text(json.dumps(manifest))
        known[str(card), "mpii", ()] = exact(**{"pckh_0.5": 0.5 + shift, "upper_neck": 0.25 + shift, "head_top": 0.3})
        known[str(card), "coco", ()] = exact(ap=0.3)
        known[str(card), "lsp", ()] = exact(**{"pck_0.2": 0.6, "upper_neck": 0.7, "head_top": 0.8})
    return Bench(dict.fromkeys(("coco", "mpii", "lsp"), tmp_path), tmp_path, known)


def cell(value: float) -> str:
    return f"{value:.1f} ({value:.1f} to {value:.1f})"


def test_each_teacher_stands_beside_none(here, tmp_path):
    lines = list(gains(here, tmp_path, "teacher", TEACHERS))
    assert lines[0] == "### Teacher, seed 0"
    assert lines[4] == f"| none | {' | '.join(map(cell, (50, 30, 40, 25, 30)))} |"
    assert lines[5] == "| COCO's | not run |"
    gained = [(60, 10), (30, 0), (45, 5), (35, 10), (30, 0)]
    cells = [f"{cell(value)}; {more:+.1f} ({more:+.1f} to {more:+.1f})" for value, more in gained]
    assert lines[7] == f"| both | {' | '.join(cells)} |"


def test_without_the_first_row_nothing_is_gained_over_it(here, tmp_path):
    lines = list(gains(here, tmp_path, "answer", ANSWERS))
    assert lines[4:6] == ["| RTMPose's head alone | not run |",
                          f"| head and map | {' | '.join(map(cell, (60, 30, 45, 35, 30)))} |"]  # fmt: skip


def test_people_at_equal_steps_say_how_many_people_and_steps(here, tmp_path):
    lines = list(people(here, tmp_path))
    assert lines[4:6] == ["| x 1/4 | not run |", "| x 1/2 | not run |"]
    assert lines[6] == f"| x 1 | 128 | 12 | {' | '.join(map(cell, (60, 30, 45, 60)))} |"  # 3 epochs of 4 batches


def test_lsp_left_out_stands_beside_lsp_taught(here, tmp_path):
    lines = list(left_out(here, tmp_path, []))
    assert lines[4:6] == [f"| unified-0 | {' | '.join(map(cell, (60, 70, 80)))} |", "| no_lsp-0 | not run |"]


def test_steps_are_the_checks_of_a_run(tmp_path):
    (tmp_path / "run").mkdir()
    check = {"epoch": 1, "step": 1359, "check/coco/oks": 0.5, "check/mpii/oks": 0.625, "check/mpii/pckh": 0.75}
    rows = [{"epoch": 1, "step": 1359, "loss": 2.5}, check]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = list(steps([tmp_path / "run", tmp_path / "not there"]))
    assert lines[4:6] == ["| run | 1,359 | 0.500 | 0.625 | 75.0 |", ""]
    assert lines[6].startswith("The average of the weights, one look")
