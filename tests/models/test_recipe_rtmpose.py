"""The paper's recipes have the numbers of MMPose's own files, where the paper says nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from mmengine.config import Config

from annotator.errors import InputError
from models import augment, augment_mmpose, openmm_compat
from models.dataset import PeopleSet
from models.preprocess import Preprocessor
from models.recipe import load_recipe, runner_config

openmm_compat.prepare()

import mmpose
from mmpose.datasets.transforms.common_transforms import RandomBBoxTransform, RandomFlip, RandomHalfBody

CONFIGS = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/rtmpose/coco"
SIZES = ("t", "s")
BATCHES = 4  # steps an epoch: 16 people in batches of 4


def theirs(size: str) -> Config:
    return Config.fromfile(CONFIGS / f"rtmpose-{size}_8xb256-420e_coco-256x192.py")


def ours(size: str, dots_set: Path, tmp_path: Path) -> Config:
    recipe = load_recipe(f"paper_{size}", {"beta": {"dots": 0.45}, "batch": 4})
    return runner_config(recipe, dots_set, None, tmp_path)


def made(pipeline: list[dict[str, Any]], kind: type) -> Any:
    """MMPose's transform of a kind, as a pipeline has it."""
    (one,) = (step for step in pipeline if step["type"] == kind.__name__)
    return kind(**{name: value for name, value in one.items() if name != "type"})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", ["train_pipeline", "train_pipeline_stage2"])
def test_the_augmentation_has_the_numbers_of_rtmposes_pipeline(size, stage):
    recipe, pipeline = load_recipe(f"paper_{size}"), theirs(size)[stage]
    last = recipe["last_augmentation"] if stage.endswith("2") else {}
    how = augment.Augmentation(**recipe["augmentation"] | last)
    box, half, flip = (made(pipeline, kind) for kind in (RandomBBoxTransform, RandomHalfBody, RandomFlip))
    assert how.mmpose and how.flip == flip.prob
    assert (how.scale, how.rotate, how.rotate_share) == (tuple(box.scale_factor), box.rotate_factor, box.rotate_prob)
    assert (how.shift, augment_mmpose.SHIFTED, box.scale_prob) == (box.shift_factor, box.shift_prob, 1.0)
    assert (how.half_body, augment_mmpose.UPPER_FIRST, augment_mmpose.PADDING) == (
        half.prob, half.upper_prioritized_prob, half.padding
    )  # fmt: skip
    assert (augment_mmpose.FEWEST, *augment_mmpose.FEWEST_OF_HALF) == (
        half.min_total_keypoints, half.min_upper_keypoints, half.min_lower_keypoints
    )  # fmt: skip
    *_, pixels, _, _ = pipeline
    blur, median, hole = pixels["transforms"]
    assert (blur, median) == ({"type": "Blur", "p": how.blur}, {"type": "MedianBlur", "p": how.median})
    assert (hole["type"], hole["p"], hole["min_holes"], hole["max_holes"]) == ("CoarseDropout", how.hole, 1, 1)
    assert {(hole[f"min_{side}"], hole[f"max_{side}"]) for side in ("height", "width")} == {augment_mmpose.HOLE}
    # MMDetection's defaults; and nothing but RTMPose's.
    assert {"type": "mmdet.YOLOXHSVRandomAug"} in pipeline and how.hsv == (5, 30, 30)
    assert (how.colour, how.blank, how.paste, how.blend) == (0, 0, 0, 0)


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_the_lower_body_is_mmposes(dataset):
    info = Config.fromfile(CONFIGS.parents[2] / f"_base_/datasets/{dataset}.py").dataset_info.keypoint_info
    lower = augment_mmpose.lower_body([one["name"] for one in info.values()])
    assert lower.tolist() == [one["type"] == "lower" for one in info.values()]


@pytest.mark.parametrize("size", SIZES)
def test_optimiser_and_schedule_are_rtmposes_but_for_the_papers_warm_up(size, dots_set, tmp_path):
    here, there = ours(size, dots_set, tmp_path), theirs(size)
    steps, wanted = here.optim_wrapper, there.optim_wrapper
    assert {**steps.optimizer, "fused": None} == {**wanted.optimizer, "fused": None}
    assert (steps.paramwise_cfg, steps.clip_grad) == (wanted.paramwise_cfg, wanted.get("clip_grad"))
    assert here.train_cfg.max_epochs == there.train_cfg.max_epochs
    assert not here.model.amp and "Amp" not in wanted.type
    (warm, fall), (warm_up, cosine) = here.param_scheduler, there.param_scheduler
    assert {**warm_up, "start_factor": 1e-3} == warm
    assert fall["eta_min"] == cosine["eta_min"] == pytest.approx(2e-4)
    for name in ("begin", "end", "T_max"):
        assert fall[name] == cosine[name] * BATCHES
    assert (fall["by_epoch"], cosine["by_epoch"], cosine["convert_to_iter_based"]) == (False, True, True)


@pytest.mark.parametrize("size", SIZES)
def test_the_average_and_the_last_epochs_are_rtmposes(size, dots_set, tmp_path):
    here, there = ours(size, dots_set, tmp_path), theirs(size)
    averages = [
        [(hook["momentum"], hook["update_buffers"]) for hook in side.custom_hooks if hook["type"] == "EMAHook"]
        for side in (here, there)
    ]
    assert averages[0] == averages[1] == ([(0.0002, True)] if size == "s" else [])
    (switch,) = (hook for hook in there.custom_hooks if hook["type"] == "mmdet.PipelineSwitchHook")
    assert here.model.data_preprocessor.last_from == switch["switch_epoch"] * BATCHES


def test_both_of_the_papers_students_are_trained_alike_but_for_size_and_average():
    small, tiny = load_recipe("paper_s"), load_recipe("paper_t")
    assert {name for name in tiny if small[name] != tiny[name]} == {"size", "ema"}


def test_the_last_epochs_are_augmented_otherwise_whatever_came_before(dots_set):
    people = PeopleSet(str(dots_set))
    first, last = {"scale": (0.6, 1.4), "mmpose": True}, {"scale": (1, 1), "hole": 1.0}

    def at(step: int, *how: Any) -> torch.Tensor:
        prepare = Preprocessor(people.info, (64, 64), 2.0, *how[:1], last_augmentation=how[1], last_from=7)
        prepare.step = step
        return prepare(people.batch(list(range(8))), training=True)["inputs"]

    for step in (6, 7):
        assert torch.equal(at(step, first, last), at(step, first | last if step == 7 else first, None))
    assert not torch.equal(at(7, first, last), at(7, first, None))


def test_a_check_whose_crops_show_more_than_the_trainings_is_refused(dots_set, tmp_path):
    shutil.copytree(dots_set, tmp_path / "check")
    info = json.loads((dots_set / "set.json").read_text()) | {"context": 2.7, "size_hw": [576, 432]}
    (tmp_path / "check" / "set.json").write_text(json.dumps(info))
    recipe = load_recipe("rtmpose_t_low", {"beta": {"dots": 0.45}, "batch": 4})
    with pytest.raises(InputError, match=r"expected stored crops of context 1\.5, got 2\.7"):
        runner_config(recipe, dots_set, tmp_path / "check", tmp_path)


def test_an_augmentation_of_the_last_epochs_that_is_none_is_refused(dots_set, tmp_path):
    for last, message in (({"hol": 1.0}, "expected one of flip, .* got hol"), ({"hole": 2}, "expected a probability")):
        recipe = load_recipe("rtmpose_t_low", {"beta": {"dots": 0.45}, "batch": 4, "last_augmentation": last})
        with pytest.raises(InputError, match=message):
            runner_config(recipe, dots_set, None, tmp_path)
