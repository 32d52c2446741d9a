"""Teachers that look at augmented crops: what they see, and what a student learns from it."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from torch.nn import functional

from annotator import training
from annotator.errors import AnnotatorError, FormatError, InputError, MissingError
from annotator.files import file_sha256
from models import dense, losses, train
from models.dataset import PeopleSet
from models.network import UnionPose
from models.preprocess import Preprocessor
from models.recipe import load_recipe, runner_config
from tests import networks
from tests.students.test_onnx import HEATMAP

CPU, SIZE_HW = torch.device("cpu"), (128, 96)
FITTING = {"batch": 4, "beta": {"dots": 0.45}}
SIMCC = {"kind": "simcc", "name_x": "x", "name_y": "y"}


@pytest.fixture(autouse=True, scope="module")
def seeing(tmp_path_factory):
    """`red`: 17 maps of how red a crop is; the others are not fit to look."""
    folder = tmp_path_factory.mktemp("students")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANNOTATOR_STUDENTS", str(folder))
        networks.write_card(networks.bright_heatmap(folder / "red.onnx"), HEATMAP, role="teacher")
        networks.write_card(folder / "gone.onnx", HEATMAP, role="teacher")
        networks.write_card(networks.bright_heatmap(folder / "axes.onnx"), SIMCC, role="teacher")
        networks.write_card(networks.bright_heatmap(folder / "others.onnx"), HEATMAP, role="teacher", sha256="0" * 64)
        networks.write_card(networks.bright_heatmap(folder / "fewer.onnx", k=3), HEATMAP, role="teacher")
        networks.write_card(networks.bright_heatmap(folder / "last.onnx", layout="NHWC"), HEATMAP, role="teacher",
                            input={"layout": "NHWC"})  # fmt: skip
        yield folder


@pytest.mark.parametrize("size_hw", [(64, 48), (128, 96)], ids=["its-own-size", "another-size"])
def test_watchers_see_what_their_networks_say_of_the_pixels(size_hw):
    pixels = 255 * torch.rand(3, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    seen = dense.Watchers(["red", "red"], CPU)(pixels)
    own = functional.interpolate(pixels, (64, 48), mode="bilinear", align_corners=False)
    red = functional.avg_pool2d(own[:, :1] / 255, 4)
    assert seen.shape == (3, dense.maps(["red", "red"]), 16, 12) == (3, 34, 16, 12)
    assert torch.allclose(seen, red.expand(-1, 34, -1, -1), atol=1e-5) and not seen.requires_grad


@pytest.mark.parametrize("name", ["blue", "axes", "last"], ids=["unknown", "without-maps", "channels-last"])
def test_who_draws_no_maps_is_no_watcher(name):
    with pytest.raises(InputError, match=rf"watch: expected teachers with heatmaps, of .*red.*, got {name}"):
        dense.maps(["red", name])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("gone", MissingError, r"watch gone: expected gone\.onnx \(set ANNOTATOR_TEACHERS\), got no such file"),
        ("others", FormatError, "expected weights with sha256 000000000000, got"),
        ("fewer", InputError, r"watch fewer: expected maps of 17 keypoints for 2 crops, got \(2, 3, 16, 12\)"),
    ],
)
def test_who_cannot_look_is_refused_before_a_run_begins(dots_set, tmp_path, name, error, message):
    recipe = load_recipe("rtmpose_t_low", FITTING | {"watch": (name,)})
    with pytest.raises(error, match=message):
        train.train(recipe, dots_set, None, tmp_path / "run", None)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"watch": "red"}, "watch: expected a list of teachers, got 'red'"),
        (
            {"watch": ("red",), "watch_share": 0.2},
            "watch_share: expected a share up to 1 of 4 people, one at least, got",
        ),
        ({"watch": ("red",), "watch_share": 1.5}, "watch_share: expected a share up to 1 of 4 people, .*, got 1.5"),
        (
            {"watch": ("red",), "size_hw": (96, 96)},
            "red: expected a teacher whose crops have the shape of 96 x 96, got",
        ),
        ({"augmentation": {"blend": 0.1}}, r"augmentation blend: expected teachers that look .*, got none"),
        ({"last_augmentation": {"blend": 0.1}}, r"augmentation blend: expected teachers that look .*, got none"),
        ({"augmentation": {"hole": 2.0}, "last_augmentation": {"hole": 0.5}}, "hole: expected a probability, got 2.0"),
        ({"epochs": 3, "last_epochs": 3}, "last_epochs: expected fewer than 3 epochs, got 3"),
        ({"augmentation": {"blank": 5}}, "augmentation blank: expected a probability, got 5"),
        ({"augmentation": {"belnd": 0.1}}, "augmentation: expected one of flip, scale, .*, got belnd"),
    ],
    ids=[
        "text",
        "nobody",
        "too-many",
        "shape",
        "nobody-looks",
        "nobody-looks-at-last",
        "hidden-by-the-last",
        "only-last",
        "no-probability",
        "no-augmentation",
    ],
)
def test_a_recipe_whose_teachers_have_nothing_to_look_at_is_refused(dots_set, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        runner_config(load_recipe("rtmpose_t_low", FITTING | changes), dots_set, None, tmp_path)


def prepared(dots_set, *, known: bool = False, **augmentation):
    """A batch of all 16 people, the first half of them watched."""
    people = PeopleSet(str(dots_set))
    still = {"flip": 0, "scale": (1, 1), "rotate": 0, "shift": 0, "half_body": 0, "colour": 0, "blank": 0}
    how = (people.info, SIZE_HW, 2.0, still | augmentation)
    return Preprocessor(*how, known=known, watch=["red"], watch_share=0.5)(people.batch(list(range(16))), training=True)


def test_of_blended_people_maps_alone_speak(dots_set):
    plain, mixed = prepared(dots_set), prepared(dots_set, blend=1.0)
    assert torch.equal(plain["inputs"][8:], mixed["inputs"][8:])
    assert not torch.isclose(plain["inputs"][:8], mixed["inputs"][:8]).all(dim=(1, 2, 3)).any()
    pairs = zip(
        *([one["targets"]["labels"], one["targets"]["teachers"]["dots"]] for one in (plain, mixed)), strict=True
    )
    for (_, alone), (_, weight) in pairs:
        assert alone[:8].any() and not weight[:8].any() and torch.equal(alone[8:], weight[8:])
    assert plain["targets"]["maps"].shape == mixed["targets"]["maps"].shape == (8, 17, 16, 12)
    assert not torch.equal(plain["targets"]["maps"], mixed["targets"]["maps"])


def test_prompts_are_never_learnt_from_blended_people(dots_set):
    assert torch.equal(prepared(dots_set, known=True)["inputs"], prepared(dots_set, known=True, blend=1.0)["inputs"])


def student(**how) -> UnionPose:
    torch.manual_seed(0)
    network = UnionPose("tiny", SIZE_HW, 21, {"dots": 0.45}, **{"locate": 1.0, "watched": 17, "dense": 0.5} | how)
    network.init_weights()
    return network


def test_a_student_draws_nothing_at_first_and_learns_what_was_seen(dots_set):
    batch, network = prepared(dots_set), student().train()
    optimiser, far = torch.optim.AdamW(network.parameters(), lr=2e-3), []
    for step in range(12):
        parts = network(batch["inputs"], mode="loss", targets=batch["targets"])
        optimiser.zero_grad()
        parts["loss"].backward()
        if not step:
            whole = 0.3 * parts["labels"] + 0.7 * 0.45 * parts["dots"] + 0.5 * parts["seen"]
            assert parts["loss"].item() == pytest.approx(whole.item(), rel=1e-5)
            assert network.drawn.out.weight.grad.any()
        optimiser.step()
        far.append(parts["seen"].item())
    seen = batch["targets"]["maps"]
    assert far[0] == pytest.approx(seen.square().sum(dim=(2, 3)).mean().item(), rel=1e-4)
    assert far[-1] < 0.8 * far[0]


def test_maps_of_other_sizes_are_compared_where_the_teacher_s_cells_are():
    drawn, seen = torch.ones(2, 3, 32, 24), torch.zeros(2, 3, 16, 12)
    assert losses.map_distance(drawn, seen) == 16 * 12


def test_only_a_student_with_a_map_draws():
    with pytest.raises(InputError, match="watch: expected a student with a map"):
        student(locate=0.0)


def test_a_recipe_names_its_watchers(dots_set, tmp_path):
    changes = FITTING | {"watch": ("red", "red"), "dense": 0.3, "watch_share": 0.5}
    model = runner_config(load_recipe("rtmpose_t_low", changes), dots_set, None, tmp_path).model
    assert (model.watched, model.dense) == (34, 0.3)
    assert (model.data_preprocessor.watch, model.data_preprocessor.watch_share) == (("red", "red"), 0.5)


@pytest.mark.slow
def test_what_draws_is_gone_from_the_weights_and_a_run_goes_on_with_it(dots_set, tmp_path, seeing, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    small = ["compiled=False", "batch=8", "size_hw=(128,96)", "epochs=3", "warm_up_steps=2", "beta={'dots':0.45}"]
    networks.write_card(networks.bright_heatmap(seeing / "own.onnx"), HEATMAP, role="teacher")
    command = ["--recipe", "rtmpose_t_low", "--data", str(dots_set), "--set", *small, "watch=('own',)", "dense=0.2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    lines = list(training.run([*command, "--out", str(whole)]))
    assert lines[-2]["seen"] < lines[0]["seen"]
    state = torch.load(whole / "weights.pth", weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith("drawn.")]
    # As after a kill between the second epoch and the third.
    cut.mkdir()
    for name in ("recipe.json", "starts.jsonl", "epoch_2.pth"):
        (cut / name).write_bytes((whole / name).read_bytes())
    assert json.loads((cut / "recipe.json").read_text())["watch"] == ["own"]
    list(training.run([*command, "--out", str(cut)]))
    again = torch.load(cut / "weights.pth", weights_only=True)["state_dict"]
    assert all(np.allclose(value, again[name], atol=1e-6) for name, value in state.items())
    # Teachers that are others by now are named, and the run stays as it is.
    digest = file_sha256(seeing / "own.onnx")
    assert json.loads((cut / "manifest.json").read_text())["watch"] == {"own": digest}
    networks.bright_heatmap(seeing / "own.onnx", tap=1)
    with pytest.raises(AnnotatorError, match=rf"cut: expected watch {{'own': '{digest}'}}, as the run that is there"):
        list(training.run([*command, "--out", str(cut)]))
