"""Training as `annotator` starts it: another process, progress lines, a kill, a resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator import training
from annotator.errors import AnnotatorError, FormatError, InputError, MissingError
from annotator.files import file_sha256
from tests.conftest import ROOT

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import dataset, record, train
from models.recipe import load_recipe

pytestmark = pytest.mark.slow

SMALL = ["compiled=False", "batch=4", "size_hw=(64,64)", "epochs=3", "warm_up_steps=2", "beta={'dots':0.45}"]


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """One thread, so that runs are equal to the last digit; and bytecode, without which MMPose is slow to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


def arguments(data: Path, out: Path, *more: str, changes: tuple[str, ...] = ()) -> list[str]:
    return ["--recipe", "rtmpose_t_low", "--data", str(data), "--out", str(out), *more, "--set", *SMALL, *changes]


def weights(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "weights.pth", weights_only=True)


def kept(folder: Path) -> list[dict[str, Any]]:
    """A run's metrics without what a clock says."""
    clock = ("images_per_s", "eta_s")
    rows = record.rows(folder / record.METRICS)
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


@pytest.fixture(scope="module")
def unbroken(dots_set, tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """A run of three epochs, and its progress lines."""
    out = tmp_path_factory.mktemp("unbroken")
    return out, list(training.run(arguments(dots_set, out, "--check", str(dots_set))))


def test_progress_says_loss_parts_speed_and_time_left(unbroken):
    *lines, end = unbroken[1]
    # 16 people in batches of 4: an epoch has 4 steps, and ends with a line.
    assert [(line["epoch"], line["step"], line["steps"]) for line in lines] == [(1, 4, 12), (2, 8, 12), (3, 12, 12)]
    for line in lines:
        assert line["loss"] == pytest.approx(0.3 * line["labels"] + 0.7 * 0.45 * line["dots"], abs=1e-4)
        assert line["images_per_s"] > 0 and line["eta_s"] >= 0
    assert (lines[-1]["eta_s"], end["done"]) == (0, True)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(end["check"]) == {"check/coco/oks", "check/mpii/oks", "check/mpii/pckh"}


def test_a_run_leaves_weights_and_a_manifest_that_names_them(unbroken, dots_set):
    out, lines = unbroken
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["weights_sha256"] == file_sha256(out / manifest["weights"])
    assert manifest["data_sha256"] == file_sha256(dots_set / "arrays.npz")
    assert manifest["people"] == {"coco": 8, "mpii": 8}
    assert manifest["recipe"] == json.loads((out / "recipe.json").read_text())
    assert manifest["recipe"]["epochs"] == 3 and manifest["check"] == lines[-1]["check"]
    saved = weights(out)
    assert (saved["size"], saved["size_hw"], saved["split"], len(saved["keypoints"])) == ("tiny", (64, 64), 4.0, 21)


def test_a_run_keeps_how_it_began_its_metrics_and_their_curves(unbroken, dots_set):
    out, (*lines, end) = unbroken
    windows = [row for row in record.rows(out / record.METRICS) if "loss" in row]
    checks = [row for row in kept(out) if "loss" not in row]
    assert windows == lines
    assert [(row["epoch"], row["step"]) for row in checks] == [(1, 4), (2, 8), (3, 12)]
    assert checks[-1] == {"epoch": 3, "step": 12} | end["check"]
    (start,) = record.rows(out / record.STARTS)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (start["epoch"], start["data"], start["git"]) == (0, str(dots_set), manifest["git"])
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_saved_is_the_moving_average(unbroken):
    out, _ = unbroken
    # mmengine's checkpoint holds the average as the model's weights, and the weights themselves as the average's.
    checkpoint = torch.load(out / "epoch_3.pth", weights_only=False)
    saved, name = weights(out)["state_dict"], "head.cls_x.weight"
    assert torch.equal(saved[name], checkpoint["state_dict"][name])
    assert not torch.equal(saved[name], checkpoint["ema_state_dict"][f"module.{name}"])
    assert all(torch.equal(saved[key], value) for key, value in checkpoint["state_dict"].items())


def test_a_killed_run_goes_on_as_if_nothing_had_been(unbroken, dots_set, tmp_path):
    command = [sys.executable, "-m", "models.train", *arguments(dots_set, tmp_path, "--check", str(dots_set))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        for line in process.stdout:
            if line.startswith("progress ") and json.loads(line.removeprefix("progress "))["epoch"] == 2:
                # The second epoch's last step is done, its checkpoint at best half written.
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "epoch_1.pth").is_file() and not (tmp_path / "manifest.json").exists()
    *lines, _ = training.run(arguments(dots_set, tmp_path, "--check", str(dots_set)))
    assert 1 < lines[0]["epoch"] <= lines[-1]["epoch"] == 3
    before = {line["step"]: line for line in unbroken[1][:-1]}
    for line in lines:
        parts = {name: line[name] for name in ("loss", "labels", "dots", "lr")}
        assert parts == {name: before[line["step"]][name] for name in parts}
    resumed, straight = weights(tmp_path)["state_dict"], weights(unbroken[0])["state_dict"]
    for name, value in straight.items():
        assert torch.allclose(resumed[name].double(), value.double(), atol=1e-6), name
    # Nothing is there twice, nothing is missing, and all of it is as in the unbroken run.
    for row, wanted in zip(kept(tmp_path), kept(unbroken[0]), strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)
    assert [row["epoch"] for row in record.rows(tmp_path / record.STARTS)] == [0, lines[0]["epoch"] - 1]


@pytest.mark.parametrize("epoch", [2, 3], ids=["half-way", "at-the-end"])
def test_a_run_stopped_between_a_checkpoint_and_its_check_makes_up_for_it(unbroken, dots_set, tmp_path, epoch):
    out, lines = unbroken
    for name in ("recipe.json", f"epoch_{epoch}.pth"):
        shutil.copy(out / name, tmp_path / name)
    # One line of losses and one of the check an epoch; of the last one's check only half was written.
    written = (out / record.METRICS).read_text().splitlines(keepends=True)[: 2 * epoch]
    (tmp_path / record.METRICS).write_text("".join(written)[:-20])
    *_, end = training.run(arguments(dots_set, tmp_path, "--check", str(dots_set)))
    assert end["done"] and end["check"] == pytest.approx(lines[-1]["check"], abs=1e-6)
    for row, wanted in zip(kept(tmp_path), kept(out), strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)
    before, after = weights(out)["state_dict"], weights(tmp_path)["state_dict"]
    assert all(torch.allclose(before[name].double(), value.double(), atol=1e-6) for name, value in after.items())


def test_a_finished_run_that_is_run_again_changes_nothing(unbroken, dots_set):
    out, _ = unbroken
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    manifest = json.loads((out / "manifest.json").read_text())
    assert train.train(manifest["recipe"], dots_set, dots_set, out, None) == manifest
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir()}


def test_a_run_of_another_recipe_is_not_continued(unbroken, dots_set):
    out, _ = unbroken
    other = json.loads((out / "recipe.json").read_text()) | {"epochs": 4}
    with pytest.raises(InputError, match=r"recipe\.json: expected epochs 3, as the run that is there, got 4"):
        train.train(other, dots_set, None, out, None)


def test_a_run_is_not_continued_on_other_people_or_from_other_weights(unbroken, dots_set, tmp_path):
    out, _ = unbroken
    recipe = json.loads((out / "recipe.json").read_text())
    shutil.copytree(dots_set, tmp_path / "set")
    with np.load(dots_set / "arrays.npz") as arrays:
        np.savez(tmp_path / "set" / "arrays.npz", **dict(arrays) | {"v": arrays["v"][::-1]})
    with pytest.raises(InputError, match=r"expected data_sha256 \w+, as the run that is there, got \w+$"):
        train.train(recipe, tmp_path / "set", None, out, None)
    with pytest.raises(InputError, match="expected init none, as the run that is there, got "):
        train.train(recipe, dots_set, None, out, out / "weights.pth")


def test_training_starts_from_the_weights_it_is_given(unbroken, dots_set, tmp_path):
    more = ("--init", str(unbroken[0] / "weights.pth"))
    # Hardly a step: what comes out is what went in, at another resolution.
    changes = ("lr=1e-9", "epochs=1", "size_hw=(128,96)", "datasets=['mpii']")
    list(training.run(arguments(dots_set, tmp_path, *more, changes=changes)))
    before, after = weights(unbroken[0])["state_dict"], weights(tmp_path)["state_dict"]
    for name in (
        "backbone.stage4.0.conv.weight",
        "head.final_layer.weight",
        "head.gau.uv.weight",
        "locator.out.weight",
    ):
        assert torch.allclose(after[name], before[name], atol=1e-5), name
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["init"], manifest["people"]) == (more[1], {"mpii": 8})


def test_paths_are_relative_to_where_one_is_and_a_models_folder_there_is_not_ours(dots_set, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise RuntimeError('somebody else')\n")
    monkeypatch.chdir(tmp_path)
    Path("set").symlink_to(dots_set)
    lines = training.run(arguments(Path("set"), Path("run")))
    assert next(lines)["epoch"] == 1
    # Whoever stops reading stops the training.
    lines.close()
    assert Path("run/recipe.json").is_file() and not Path("run/manifest.json").exists()


def test_what_cannot_be_trained_is_refused_in_one_line(dots_set, tmp_path):
    wanted = r"models\.train: expected training to end, got exit code 1 \(--set: expected one of alpha, .*, got epoch\)"
    with pytest.raises(AnnotatorError, match=wanted) as caught:
        list(training.run(arguments(dots_set, tmp_path / "run", changes=("epoch=3",))))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_interpreter_that_is_not_there_is_named(dots_set, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_TRAIN_PYTHON", str(tmp_path / "python"))
    with pytest.raises(
        MissingError, match=r"expected a Python interpreter \(ANNOTATOR_TRAIN_PYTHON\), got No such file"
    ):
        list(training.run(arguments(dots_set, tmp_path / "run")))


def test_a_run_whose_crops_are_read_by_others_goes_on_in_its_last_epochs_too(dots_set, tmp_path, monkeypatch):
    """As the paper's do: no average, another augmentation at the end, more crops than are held."""
    monkeypatch.setattr(dataset, "DECODED_BYTES", 0)
    changes = {"compiled": False, "batch": 4, "size_hw": (64, 64), "epochs": 2, "warm_up_steps": 2, "ema": 0.0,
               "beta": {"dots": 0.45}, "last_epochs": 1, "last_augmentation": {"rotate": 0.0}}  # fmt: skip
    recipe, whole, cut = load_recipe("rtmpose_t_low", changes), tmp_path / "whole", tmp_path / "cut"
    train.train(recipe, dots_set, None, whole, None)
    cut.mkdir()
    for name in ("recipe.json", "starts.jsonl", "metrics.jsonl", "epoch_1.pth"):
        shutil.copy(whole / name, cut / name)
    train.train(recipe, dots_set, None, cut, None)
    assert [row["epoch"] for row in record.rows(cut / record.STARTS)] == [0, 1]
    again = weights(cut)["state_dict"]
    for name, value in weights(whole)["state_dict"].items():
        assert torch.allclose(again[name].double(), value.double(), atol=1e-6), name


def test_a_run_keeps_the_precision_of_the_machine_where_it_began(dots_set, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changes = {"compiled": False, "batch": 4, "size_hw": (64, 64), "epochs": 2, "warm_up_steps": 2,
               "beta": {"dots": 0.45}}  # fmt: skip
    recipe, whole, cut = load_recipe("rtmpose_t_low", changes), tmp_path / "whole", tmp_path / "cut"
    cut.mkdir()
    for knows in (True, False):
        # The second machine would not choose bf16 by itself.
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda knows=knows: {"avx512_bf16": knows})
        manifest = train.train(recipe, dots_set, None, whole if knows else cut, None)
        assert manifest["amp"] is True
        for name in ("recipe.json", "starts.jsonl", "metrics.jsonl", "epoch_1.pth") if knows else ():
            shutil.copy(whole / name, cut / name)
    again = weights(cut)["state_dict"]
    for name, value in weights(whole)["state_dict"].items():
        assert torch.allclose(again[name].double(), value.double(), atol=1e-6), name


def test_a_crop_that_cannot_be_read_is_one_line_also_from_another_process(dots_set, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "DECODED_BYTES", 0)
    shutil.copytree(dots_set, tmp_path / "set")
    with (tmp_path / "set" / "crops.bin").open("r+b") as file:
        file.write(bytes(2000))
    changes = {"compiled": False, "batch": 4, "size_hw": (64, 64), "epochs": 1, "beta": {"dots": 0.45}}
    with pytest.raises(FormatError, match=r"^\S*crops\.bin: expected a crop of .* got no picture$"):
        train.train(load_recipe("rtmpose_t_low", changes), tmp_path / "set", None, tmp_path / "run", None)


def test_an_interpreter_without_the_extra_is_told_what_to_install(dots_set, tmp_path, monkeypatch):
    bare = tmp_path / "python"
    bare.write_text(f"#!/bin/sh\nexec {sys.executable} -S -I -c 'import mmengine'\n")
    bare.chmod(0o755)
    monkeypatch.setenv("ANNOTATOR_TRAIN_PYTHON", str(bare))
    with pytest.raises(MissingError, match=r"pip install 'annotator\[train\]' \(ModuleNotFoundError: .*mmengine"):
        list(training.run(arguments(dots_set, tmp_path / "run")))


@pytest.mark.parametrize("recipe", ["paper_t", "paper_s"])
def test_two_processes_train_the_papers_students_together(dots_set, tmp_path, recipe):
    # Of its two epochs the last one is augmented as the paper's last thirty are.
    changes = (*SMALL, "epochs=2", "batch=4", "last_epochs=1")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launch, "models.train", "--recipe", recipe, "--data", str(dots_set), "--check", str(dots_set),
               "--out", str(tmp_path), "--set", *changes]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line.removeprefix("progress ") for line in done.stdout.splitlines() if line.startswith("progress ")]
    lines, manifest = [json.loads(line) for line in said], json.loads((tmp_path / "manifest.json").read_text())
    # Only one of them speaks; 16 people in batches of 2 for each of two are 4 steps an epoch.
    assert [line.get("step") for line in lines] == [4, 8, None]
    assert (manifest["processes"], sum(manifest["people"].values())) == (2, 16)
    assert manifest["check"] == lines[-1]["check"]
