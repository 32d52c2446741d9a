"""The grid of ablations: equal steps, differences in one thing only, and one student trained and exported."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import InputError
from tests.models.made import written

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models.recipe import RECIPES, load_recipe
from workflows.ablations import BUDGET, GRID, changes_of, chosen_rows, export, grid, people_of
from workflows.paper_tables import BASES

# The datasets of the real training set, and how many people each has.
PEOPLE = {"coco": 4699, "coco2017": 370, "mpii": 1509, "lsp": 1000, "lspet": 3925}
IDS = [row.folder for row in GRID]


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """A training set with the real one's counts, and nothing in it."""
    folder, n = tmp_path_factory.mktemp("set"), sum(PEOPLE.values())
    of = np.repeat(np.arange(len(PEOPLE)), list(PEOPLE.values()))
    np.savez_compressed(folder / "arrays.npz", dataset=of, offset=np.zeros(n + 1, dtype=np.int64))
    (folder / "crops.bin").touch()
    info = {"version": 1, "datasets": list(PEOPLE), "people": list(PEOPLE.values())}
    (folder / "set.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize("row", GRID, ids=IDS)
def test_steps_are_those_of_two_epochs_of_everybody_to_half_an_epoch(real, row):
    an_epoch = people_of(row, real, {}) // 32
    steps = changes_of(row, real, {}, None)["epochs"] * an_epoch
    assert abs(steps - 718) <= an_epoch / 2  # 11,503 people are 359 batches of 32


def test_rows_see_the_people_that_their_names_say(real):
    seen = {row.name: people_of(row, real, {}) for row in GRID}
    assert seen == {
        "unified": 11503, "labels_only": 11503, "coco_teacher": 11503, "mpii_teacher": 11503, "coco_only": 5069,
        "mpii_only": 1509, "no_lsp": 6578, "quarter": 2876, "half": 5752, "head_alone": 11503,
        "watched": 11503,
    }  # fmt: skip


@pytest.mark.parametrize("row", GRID, ids=IDS)
def test_a_row_differs_from_the_unified_student_in_what_it_is_about_alone(real, row):
    def recipe(one):
        return load_recipe(one.recipe, changes_of(one, real, {}, None))

    differing = {name for name, value in recipe(row).items() if value != recipe(GRID[0])[name]}
    about = {"labels_only": {"alpha", "beta"}, "coco_only": {"alpha", "beta", "datasets"}, "no_lsp": {"datasets"},
             "mpii_only": {"alpha", "beta", "datasets"}, "coco_teacher": {"beta"}, "mpii_teacher": {"beta"},
             "quarter": {"subset"}, "half": {"subset"}, "head_alone": {"locate"}, "unified": set(),
             "watched": {"watch", "watch_share", "dense"}}  # fmt: skip
    assert differing - {"epochs", "seed"} == about[row.name]


def test_the_ablation_of_distillation_has_three_seeds_of_each():
    seeds = {name: sorted(row.seed for row in GRID if row.name == name) for name in ("unified", "labels_only")}
    assert seeds == {"unified": [0, 1, 2], "labels_only": [0, 1, 2]}


def test_rows_are_chosen_by_name_or_with_a_seed_in_the_grid_s_order():
    assert [row.folder for row in chosen_rows(["half", "unified"])] == ["unified-0", "unified-1", "unified-2", "half-0"]
    assert [row.folder for row in chosen_rows(["unified-2"])] == ["unified-2"]
    assert chosen_rows([]) == list(GRID)
    with pytest.raises(InputError, match="got unifed"):
        chosen_rows(["unifed"])


@pytest.mark.parametrize("base", BASES)
def test_the_paper_s_tables_ask_for_students_that_can_be_trained(base):
    """Rows of the grid, or recipes."""
    recipes = {path.stem for path in RECIPES.glob("*.py")}
    assert set(BASES[base]) <= ({row.name for row in GRID} if base == "evening" else recipes)


def test_fewer_people_than_a_batch_are_refused(real):
    with pytest.raises(InputError, match="expected at least a batch of 32 people, got 12"):
        changes_of(GRID[0], real, {"subset": 1000}, None)


@pytest.mark.slow
def test_a_student_is_trained_within_the_budget_and_exported_once(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # MMPose is slow to import without
    data = written(tmp_path)
    tiny = ["size='tiny'", "imagenet=False", "frozen=0", "compiled=False", "batch=4", "beta={'dots':.5}"]
    given = argparse.Namespace(set=data, check=data, out=tmp_path / "grid", only=["unified-1"], steps=1, change=tiny)
    grid(given)
    run = tmp_path / "grid" / "unified-1"
    made = json.loads((run / "manifest.json").read_text())
    assert {name: made["recipe"][name] for name in BUDGET} == json.loads(json.dumps(BUDGET))
    assert (made["recipe"]["seed"], made["recipe"]["epochs"]) == (1, 1)
    assert (run / "student" / "unified-1.onnx").is_file() and (run / "student" / "unified-1.toml").is_file()
    before = (run / "student" / "unified-1.onnx").stat().st_mtime_ns
    assert export(run, "unified-1") == run / "student" / "unified-1.toml"
    assert (run / "student" / "unified-1.onnx").stat().st_mtime_ns == before
