"""A student to ONNX and a card: the same outputs, half the bytes, and nothing that can be taken for another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")
onnx = pytest.importorskip("onnx", reason="needs the train extra")

from annotator.errors import FormatError, InputError
from annotator.files import file_sha256
from annotator.skeletons import UNION_21
from annotator.students import card as cards
from annotator.students.onnx import OnnxModel
from models import export, losses, onnx_file
from models.network import UnionPose
from models.preprocess import MEAN, STD
from models.recipe import load_recipe

SIZE_HW, SPLIT = (64, 64), 2.0


def finished_run(folder: Path, **more) -> Path:
    """What training leaves behind, with weights that nobody trained."""
    torch.manual_seed(0)
    network = UnionPose("tiny", SIZE_HW, 21, {}, split=SPLIT, locate=1.0)
    # As initialised, outputs are nearly flat; make them about as high as a trained network's.
    for layer in (network.head.cls_x, network.head.cls_y):
        torch.nn.init.normal_(layer.weight, std=0.05)
    folder.mkdir()
    saved = {"state_dict": network.state_dict(), "keypoints": list(UNION_21.keypoints)}
    torch.save(saved | {"size": "tiny", "size_hw": SIZE_HW, "split": SPLIT}, folder / "weights.pth")
    recipe = load_recipe("rtmpose_t", {"size_hw": SIZE_HW, "beta": losses.BETA})
    manifest = {"recipe": recipe, "init": "", "people": {"dots": 1600}}
    manifest |= {"weights_sha256": file_sha256(folder / "weights.pth")} | more
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return finished_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> dict[str, Path]:
    """Cards of the student with 32-bit and with 16-bit weights."""
    out = tmp_path_factory.mktemp("out")
    how = {"figures": {"OKS": ".5"}, "failures": ["small people"], "smooth_px": 3.0}
    return {name: export.export(run, out, name, half=name == "half", **how) for name in ("full", "half")}


def test_training_can_go_on_from_what_is_written_beside_a_student(run, tmp_path):
    export.export(run, tmp_path, "packed", checkpoint=True)
    (before, saved), (after, kept) = (export.load(path) for path in (run / "weights.pth", tmp_path / "packed.pth"))
    assert {name: kept[name] for name in kept if name != "state_dict"} == {
        name: saved[name] for name in saved if name != "state_dict"
    }
    for name, value in after.state_dict().items():
        torch.testing.assert_close(value, before.state_dict()[name], rtol=1e-3, atol=1e-6)
    export.pack(saved, tmp_path / "again.pth")
    assert (tmp_path / "again.pth").read_bytes() == (tmp_path / "packed.pth").read_bytes()
    assert (tmp_path / "packed.pth").stat().st_size < 0.6 * (run / "weights.pth").stat().st_size


def crops(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *SIZE_HW, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tolerance"), [("full", 1e-4), ("half", 0.05)])
def test_a_network_read_by_its_card_says_what_the_network_says(run, exported, name, tolerance):
    path = exported[name]
    student = OnnxModel(cards.load(path), path.with_suffix(".onnx"))
    network, _ = export.load(run / "weights.pth")
    mean, std = (torch.tensor(column).view(3, 1, 1) for column in (MEAN, STD))
    with torch.no_grad():
        wanted = network((torch.from_numpy(crops(3)).permute(0, 3, 1, 2) - mean) / std)
    for found, axis in zip(student.raw(crops(3)), wanted, strict=True):
        assert found.shape == axis.shape and axis.abs().max() > 2
        assert np.abs(found - axis.numpy()).max() < tolerance
    assert student.read(crops(3)).xy.shape == (3, 21, 2)


@pytest.mark.slow
def test_the_card_says_what_the_student_is(exported):
    card = cards.load(exported["full"])
    assert (card.name, card.role, card.default, card.figures) == ("full", "student", False, {"OKS": ".5"})
    assert card.failures == ("small people",)
    assert card.skeleton.keypoints == UNION_21.keypoints
    assert card.skeleton.definitions == UNION_21.definitions
    assert (card.input.size_hw, card.output.split, card.output.smooth_px) == (SIZE_HW, SPLIT, 3.0)
    assert (card.data, card.terms) == ("dots (1,600 people)", "research only: trained on dots (1,600 people)")
    assert card.recipe.startswith(
        "RTMPose head and map on CSPNeXt-tiny, 64x64, from scratch, 60 epochs, alpha 0.3, beta tinypose 0.45"
    )
    assert card.sha256 == file_sha256(exported["full"].with_suffix(".onnx"))


@pytest.mark.slow
def test_half_weights_take_half_the_bytes(run, exported):
    full, half = (exported[name].with_suffix(".onnx") for name in ("full", "half"))
    assert half.stat().st_size / full.stat().st_size == pytest.approx(0.5, abs=0.03)
    parameters = sum(p.numel() for p in export.load(run / "weights.pth")[0].parameters())
    assert full.stat().st_size == pytest.approx(4 * parameters, rel=0.05)
    kinds = {weight.data_type for weight in onnx.load(str(half)).graph.initializer if len(weight.raw_data) > 1000}
    # Where each bin of an axis lies among the map's cells is kept as whole numbers.
    assert kinds == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}


@pytest.mark.slow
def test_a_network_that_was_changed_is_refused(exported):
    path = exported["full"]
    changed = path.parent / "changed.onnx"
    changed.write_bytes(path.with_suffix(".onnx").read_bytes() + b"\0")
    card = cards.load(path)
    with pytest.raises(FormatError, match=rf"changed\.onnx: expected weights with sha256 {card.sha256[:12]}"):
        OnnxModel(card, changed)


def test_an_export_that_differs_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "write", lambda *_, **__: 0.5)
    with pytest.raises(InputError, match=r"made\.onnx: expected the network's own output, got one 0\.5 away"):
        export.export(run, tmp_path, "made")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "told"), [
    ("lite", "a network of size tiny, small, lite0, lite2, got lite"),
    ("small", "weights of the network as it is now, got another"),
])  # fmt: skip
def test_weights_of_another_network_are_not_read(run, tmp_path, size, told):
    saved = torch.load(run / "weights.pth", weights_only=True)
    torch.save(saved | {"size": size}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=rf"weights\.pth: expected {told}"):
        export.load(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["weights.pth", "manifest.json"])
def test_a_run_that_has_not_ended_is_not_exported(tmp_path, name):
    folder = finished_run(tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: expected the .* of a finished run, got no such file"):
        export.export(folder, tmp_path / "out", "made")
    assert not (tmp_path / "out").exists()


def test_the_recipe_says_where_the_weights_began_and_which(run):
    manifest = json.loads((run / "manifest.json").read_text())
    line = export.describe(manifest | {"init": "low/weights.pth"})
    assert "continued from other weights" in line and f"weights {manifest['weights_sha256'][:12]}" in line


def test_weights_that_16_bits_cannot_hold_stay_as_they_are(tmp_path):
    large, small = np.full((8, 8), 7e4, dtype=np.float32), np.full((8, 8), 1 / 3, dtype=np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Add", ["image", "large"], ["sum"]), helper.make_node("Mul", ["sum", "small"], ["out"])]
    weights = [onnx.numpy_helper.from_array(large, "large"), onnx.numpy_helper.from_array(small, "small")]
    shapes = [helper.make_tensor_value_info(name, kind, [8, 8]) for name in ("image", "out")]
    graph = helper.make_graph(nodes, "made", shapes[:1], shapes[1:], weights)
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    onnx_file.halve(path)
    # 16 bits hold 1/3 as 0.33325; 70,000 is beyond their 65,504.
    (found,) = onnx_file.run(path, image=np.zeros((8, 8), dtype=np.float32))
    assert found == pytest.approx(7e4 * 0.33325195, rel=1e-6)
