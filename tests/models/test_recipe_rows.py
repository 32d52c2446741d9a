"""The recipes of the paper's rows on training sets: what each becomes there, and where it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import FormatError, InputError
from annotator.skeletons import UNION_21
from annotator.students.cache import Cache
from annotator.training import write_set
from models.recipe import load_recipe, runner_config, with_weights
from tests.models.made import dot_teacher, two_datasets

# Teachers of the papers' training set with their weights, and of this project's.
PAPERS = {"rtmpose-m-coco": 0.45, "rtmpose-m-mpii": 0.25}
OURS = {"tinypose": 0.45, "tinypose_mpii16": 0.25}
# What a row's recipe becomes beside the teachers' weights: its people, and the weight of the labels.
ROWS = {"": (None, 0.3), "_labels": (None, 1.0), "_coco": (["coco"], 1.0), "_mpii": (["mpii"], 1.0)}
SIZES = {"paper_t": "tiny", "paper_s": "small"}


def names_only(folder: Path, datasets: list[str], beta: dict[str, float]) -> Path:
    """What a training set's `set.json` says of its datasets and teachers."""
    teachers = [{"name": name, "beta": weight} for name, weight in beta.items()]
    (folder / "set.json").write_text(json.dumps({"version": 1, "datasets": datasets, "teachers": teachers}))
    return folder


@pytest.fixture(scope="module")
def papers_set(tmp_path_factory) -> Path:
    """A small training set with the datasets and teachers of the paper's."""
    folder = tmp_path_factory.mktemp("papers")
    teachers = [dot_teacher(folder, name) for name in PAPERS]
    write_set(folder / "set", two_datasets(folder), teachers, UNION_21, Cache(None), beta=PAPERS)
    return folder / "set"


@pytest.mark.parametrize("end", ROWS)
@pytest.mark.parametrize("base", SIZES)
def test_every_row_of_the_paper_can_be_trained_on_its_training_set(papers_set, tmp_path, base, end):
    datasets, alpha = ROWS[end]
    recipe = with_weights(load_recipe(base + end, {"batch": 8}), papers_set)
    assert recipe["beta"] == (dict.fromkeys(PAPERS, 0.0) if end else PAPERS)
    assert (recipe["size"], recipe["datasets"], recipe["alpha"]) == (SIZES[base], datasets, alpha)
    config = runner_config(recipe, papers_set, papers_set, tmp_path)
    assert config.train_dataloader.dataset.datasets == datasets and config.model.beta == recipe["beta"]


@pytest.mark.parametrize("base", SIZES)
def test_the_papers_rows_differ_in_people_and_teachers_alone(base):
    unified = load_recipe(base)
    for end in ROWS:
        row = load_recipe(base + end)
        assert {name for name in row if row[name] != unified[name]} <= {"beta", "alpha", "datasets"}


@pytest.mark.parametrize(
    ("name", "there", "error"),
    [
        ("paper_t_mpii", ["coco"], r"expected datasets among coco, got mpii"),
        ("paper_s_coco", ["mpii"], r"expected datasets among mpii, got coco\*"),
        ("mpii_only", ["coco", "lsp"], r"expected datasets among coco, lsp, got mpii"),
        ("no_lsp", ["lsp"], r"expected datasets among lsp, got coco\*, mpii"),
    ],
)
def test_a_set_without_a_recipes_dataset_is_refused(tmp_path, name, there, error):
    with pytest.raises(FormatError, match=error):
        with_weights(load_recipe(name), names_only(tmp_path, there, PAPERS))


@pytest.mark.parametrize("name", ["paper_t", "paper_s", "coco_teacher", "mpii_teacher"])
def test_teachers_that_a_recipe_names_are_those_of_the_set(papers_set, tmp_path, name):
    beta = load_recipe(name)["beta"]
    others = {"dots": 0.5}
    recipe = with_weights(load_recipe(name), names_only(tmp_path, ["coco", "mpii"], others))
    assert recipe["beta"] == beta  # nothing of the set's own is added to what is named
    with pytest.raises(InputError, match=r"beta: expected a weight for each teacher of the set \(dots\)"):
        runner_config(recipe, tmp_path, None, tmp_path)


@pytest.mark.parametrize(
    ("name", "datasets"),
    [
        ("labels_only", None),
        ("coco_only", ["coco", "coco2017"]),
        ("mpii_only", ["mpii"]),
    ],
)
def test_rows_of_the_grid_are_on_this_projects_set_what_they_were_when_it_was_trained(tmp_path, name, datasets):
    ours = names_only(tmp_path, ["coco", "coco2017", "mpii", "lsp", "lspet"], OURS)
    recipe = with_weights(load_recipe(name), ours)
    assert (recipe["datasets"], recipe["beta"], recipe["alpha"]) == (datasets, dict.fromkeys(OURS, 0.0), 1.0)


def test_a_recipe_that_says_no_teachers_takes_any_sets(tmp_path):
    for beta in (PAPERS, OURS, {"dots": 1.0}, {}):
        names_only(tmp_path, ["coco", "mpii"], beta)
        assert with_weights(load_recipe("labels_only"), tmp_path)["beta"] == dict.fromkeys(beta, 0.0)
