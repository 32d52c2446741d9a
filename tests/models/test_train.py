"""Recipes, and what they become: values that are inherited, refused, scheduled."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from annotator.errors import InputError
from models import losses, train
from models.recipe import RECIPES, load_recipe, runner_config, with_weights

NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))
FITTING = {"beta": {"dots": 0.45}, "batch": 4}


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_every_value(name):
    recipe = load_recipe(name)
    assert set(recipe) == set(load_recipe("rtmpose_t"))
    assert json.loads(json.dumps(recipe)).keys() == recipe.keys()
    # Whole cells of the last feature map; upright, as the stored crops (4 : 3) or narrower.
    height, width = recipe["size_hw"]
    assert (height % 32, width % 32) == (0, 0)
    assert 4 / 3 <= height / width <= 3 / 2


def test_a_recipe_inherits_what_it_does_not_say():
    low, full = load_recipe("rtmpose_t_low"), load_recipe("rtmpose_t")
    assert {name for name in full if low[name] != full[name]} == {"size_hw", "split"}


def test_the_papers_weights_are_the_defaults():
    assert load_recipe("rtmpose_t")["alpha"] == 0.30
    assert losses.BETA == {"tinypose": 0.45, "tinypose_mpii16": 0.25}
    assert load_recipe("paper_t")["beta"] == {"rtmpose-m-coco": 0.45, "rtmpose-m-mpii": 0.25}


@pytest.mark.parametrize(
    ("told", "teachers", "beta"),
    [
        (None, [{"name": "dots", "beta": 0.6}, {"name": "tinypose", "beta": 0.1}], {"dots": 0.6, "tinypose": 0.1}),
        (None, [{"name": "tinypose_mpii16"}, {"name": "dots"}], {"tinypose_mpii16": 0.25}),
        (None, [], {}),
        ({"dots": 0.2}, [{"name": "dots", "beta": 0.6}], {"dots": 0.2}),
        ({}, [{"name": "dots", "beta": 0.6}, {"name": "tinypose"}], {"dots": 0.0, "tinypose": 0.0}),
        ({}, [], {}),
    ],
    ids=["as-the-set-says", "the-papers-where-it-does-not", "no-teachers", "the-recipe-comes-first", "none-is-heard",
         "none-to-hear"],
)  # fmt: skip
def test_teachers_weights_come_from_the_recipe_or_the_set(tmp_path, told, teachers, beta):
    (tmp_path / "set.json").write_text(json.dumps({"version": 1, "teachers": teachers, "datasets": []}))
    recipe = {"datasets": None, "epochs": 3}
    assert with_weights(recipe | {"beta": told}, tmp_path) == recipe | {"beta": beta}


def test_a_file_of_ones_own_is_a_recipe(tmp_path):
    (tmp_path / "mine.py").write_text("_base_ = 'rtmpose_t_low'\nepochs = 3\n")
    recipe = load_recipe(str(tmp_path / "mine.py"), {"batch": 8})
    assert (recipe["epochs"], recipe["batch"], recipe["size_hw"]) == (3, 8, (128, 96))


def test_a_value_that_is_no_recipes_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("_base_ = 'rtmpose_t'\nepoch = 3\n")
    with pytest.raises(InputError, match=r"mine\.py: expected one of alpha, .*, got epoch"):
        load_recipe(str(tmp_path / "mine.py"))
    with pytest.raises(InputError, match=r"--set: expected one of alpha, .*, got batches, epoch"):
        load_recipe("rtmpose_t", {"epoch": 3, "batches": 1})


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=f"--recipe: expected one of {', '.join(NAMES)}, or a file .*, got 'large'"):
        load_recipe("large")


def config(dots_set, tmp_path, **changes):
    return runner_config(load_recipe("rtmpose_t_low", FITTING | changes), dots_set, None, tmp_path)


def test_the_schedule_ends_with_the_last_step(dots_set, tmp_path):
    # 16 people in batches of 5: 3 whole batches an epoch, 30 steps in 10 epochs, the cosine over the second half.
    warm_up, cosine = config(dots_set, tmp_path, batch=5, epochs=10, warm_up_steps=4).param_scheduler
    assert (warm_up["begin"], warm_up["end"], warm_up["start_factor"]) == (0, 4, 1e-3)
    assert (cosine["begin"], cosine["end"], cosine["T_max"]) == (15, 30, 15)


@pytest.mark.parametrize(("epochs", "checkpoint", "check"), [(3, 1, 1), (76, 3, 7)])
def test_long_runs_save_and_check_now_and_then(dots_set, tmp_path, epochs, checkpoint, check):
    made = config(dots_set, tmp_path, batch=5, epochs=epochs)
    assert made.default_hooks.checkpoint.interval == checkpoint
    assert made.train_cfg.val_interval == check


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 17}, "expected at least a batch of 17 people, got 16"),
        ({"batch": 9, "datasets": ["mpii"]}, "expected at least a batch of 9 people, got 8"),
        ({"beta": {}}, r"beta: expected a weight for each teacher of the set \(dots\), got none"),
        ({"beta": {"dots": 1, "more": 1}}, r"beta: expected a weight for each teacher .*\(dots\), got dots, more"),
    ],
    ids=["few-people", "few-people-of-a-dataset", "teacher-without-weight", "weight-without-teacher"],
)
def test_a_recipe_that_does_not_fit_the_set_is_refused(dots_set, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        config(dots_set, tmp_path, **changes)


def test_a_check_of_other_keypoints_is_refused(dots_set, tmp_path):
    shutil.copytree(dots_set, tmp_path / "check")
    info = json.loads((dots_set / "set.json").read_text())
    info["keypoints"] = info["keypoints"][::-1]
    (tmp_path / "check" / "set.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"expected the keypoints nose, left_eye, .* got head_top, upper_neck"):
        runner_config(load_recipe("rtmpose_t_low", FITTING), dots_set, tmp_path / "check", tmp_path)


def test_processes_that_cannot_share_a_batch_are_refused(dots_set, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="batch: expected a batch that 3 processes can share, got 4"):
        config(dots_set, tmp_path, batch=4)


@pytest.mark.parametrize(
    ("told", "size", "card", "processor", "on"),
    [
        (True, "lite0", None, {}, True),
        (False, "tiny", True, {"avx512_bf16": True}, False),
        (None, "lite0", True, {}, True),
        (None, "tiny", False, {"avx512_bf16": True}, False),
        (None, "tiny", None, {"avx512_bf16": True}, True),
        (None, "tiny", None, {"avx512_bf16": False}, False),
        # Another architecture does not say.
        (None, "tiny", None, {}, False),
        (None, "lite0", None, {"avx512_bf16": True}, False),
    ],
)
def test_mixed_precision_is_as_told_or_where_it_is_faster(
    dots_set, tmp_path, monkeypatch, told, size, card, processor, on
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: card)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert config(dots_set, tmp_path, amp=told, size=size).model.amp is on


def test_the_last_checkpoint_is_the_last_whole_one(tmp_path):
    assert train.last_checkpoint(tmp_path) is None
    for epoch in (2, 9, 10):
        torch.save({"epoch": epoch}, tmp_path / f"epoch_{epoch}.pth")
    assert train.last_checkpoint(tmp_path) == tmp_path / "epoch_10.pth"
    whole = (tmp_path / "epoch_10.pth").read_bytes()
    for share in (0.0, 0.5, 0.99):
        (tmp_path / "epoch_10.pth").write_bytes(whole[: int(share * len(whole))])
        assert not zipfile.is_zipfile(tmp_path / "epoch_10.pth")
        assert train.last_checkpoint(tmp_path) == tmp_path / "epoch_9.pth"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("epochs=3", ("epochs", 3)),
        ("size_hw=(64,64)", ("size_hw", (64, 64))),
        ("form=squared", ("form", "squared")),
        ("beta={'dots': .4}", ("beta", {"dots": 0.4})),
    ],
)
def test_a_change_is_python_or_else_text(text, pair):
    assert train.change(text) == pair


def test_a_change_without_a_value_is_refused():
    with pytest.raises(InputError, match="--set: expected NAME=VALUE, got 'epochs'"):
        train.change("epochs")
