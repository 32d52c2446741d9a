"""A network's ONNX file says the same in torch as in onnxruntime, for any number of crops."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
helper = pytest.importorskip("onnx", reason="needs the train extra").helper

import onnxruntime

from annotator.errors import InputError
from models.onnx_net import OnnxNet
from tests import networks

RNG = np.random.default_rng(0)
KERNEL, EACH, BIAS = RNG.normal(size=(4, 3, 3, 3)), RNG.normal(size=(3, 1, 3, 3)), RNG.normal(size=4)
SHUFFLE = [
    helper.make_node("Conv", ["image", "w"], ["four"], pads=[1, 1, 1, 1]),
    helper.make_node("Reshape", ["four", "groups"], ["apart"]),
    helper.make_node("Transpose", ["apart"], ["turned"], perm=[0, 2, 1, 3, 4]),
    helper.make_node("Reshape", ["turned", "flat"], ["mixed"]),
    helper.make_node("Split", ["mixed", "halves"], ["one", "two"], axis=1),
    helper.make_node("Relu", ["one"], ["some"]),
    helper.make_node("Concat", ["two", "some", "image"], ["out"], axis=1),
]
CASES = {
    "convolution with bias, stride and dilation": (
        [helper.make_node("Conv", ["image", "w", "b"], ["out"], strides=[2, 1], dilations=[1, 2], pads=[1, 2, 1, 2])],
        {"w": KERNEL, "b": BIAS},
    ),
    "each channel by itself, padded more after than before": (
        [helper.make_node("Conv", ["image", "w"], ["out"], strides=[2, 2], group=3, pads=[0, 0, 1, 1])],
        {"w": EACH},
    ),
    "channels shuffled, split and joined": (
        SHUFFLE,
        {"w": KERNEL, "groups": np.array([0, 2, 2, 8, 8]), "flat": np.array([0, -1, 8, 8]), "halves": np.array([1, 3])},
    ),
    "nearest neighbours": (
        [helper.make_node("Resize", ["image", "", "s"], ["out"], mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")],
        {"s": np.array([1, 1, 2, 4], np.float32)},
    ),
    "linear between corners, to a size": (
        [helper.make_node("Resize", ["image", "", "", "size"], ["out"], mode="linear",
                          coordinate_transformation_mode="align_corners")],
        {"size": np.array([1, 3, 12, 16])},
    ),
    "a gate": (
        [helper.make_node("Sigmoid", ["image"], ["gate"]), helper.make_node("Mul", ["image", "gate"], ["some"]),
         helper.make_node("Clip", ["some", "low", "high"], ["less"]), helper.make_node("Add", ["less", "b"], ["out"])],
        {"low": np.array(-0.2, np.float32), "high": np.array(1.0, np.float32), "b": RNG.normal(size=(3, 1, 1))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_torch_says_what_onnxruntime_says(tmp_path, case):
    nodes, constants = CASES[case]
    path = networks.save(tmp_path / "net.onnx", nodes, constants, ["n", 3, 8, 8], {"out": ["n", None, None, None]})
    pixels = RNG.normal(size=(3, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # Sizes to resize to are for one crop.
    wanted = np.concatenate([session.run(None, {"image": one[None]})[0] for one in pixels])
    said = OnnxNet(path, "out")(torch.from_numpy(pixels))
    assert said.shape == wanted.shape and np.abs(said.numpy() - wanted).max() < 1e-5


def test_its_weights_move_with_it_and_are_not_trained(tmp_path):
    nodes, constants = CASES["each channel by itself, padded more after than before"]
    path = networks.save(tmp_path / "n.onnx", nodes, constants, ["n", 3, 8, 8], {"out": ["n", 3, 4, 4]})
    net = OnnxNet(path, "out")
    assert not list(net.parameters())
    assert net.half()(torch.zeros(1, 3, 8, 8, dtype=torch.float16)).dtype == torch.float16


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Tanh", ["image"], ["out"]), "expected one of Conv .*, Resize, Relu, .*, got Tanh"),
        (helper.make_node("Conv", ["image", "w"], ["out"], auto_pad="SAME_UPPER"), "expected one of Conv .*, got Conv"),
        (helper.make_node("Resize", ["image", "", "s"], ["out"], mode="linear"),
         "expected a Resize to the nearest pixel, floor, or linear between corners, got linear half_pixel floor"),
        (helper.make_node("Resize", ["image", "", "s"], ["out"], coordinate_transformation_mode="asymmetric"),
         "expected a Resize to the nearest pixel, .*, got nearest asymmetric round_prefer_floor"),
    ],
    ids=["operation", "padding", "resize", "rounding"],
)  # fmt: skip
def test_an_operation_that_is_not_known_is_refused(tmp_path, node, message):
    constants = {"s": np.array([1, 1, 2, 2], np.float32), "w": KERNEL}
    path = networks.save(tmp_path / "net.onnx", [node], constants, ["n", 3, 8, 8], {"out": ["n", 3, None, None]})
    with pytest.raises(InputError, match=rf"net\.onnx: {message}"):
        OnnxNet(path, "out")


def test_any_output_can_be_asked_for_also_one_that_is_worked_on(tmp_path):
    size = ["n", 3, 8, 8]
    nodes = [helper.make_node("Relu", ["image"], ["one"]), helper.make_node("Add", ["one", "one"], ["two"])]
    path = networks.save(tmp_path / "net.onnx", nodes, {}, size, {"two": size, "one": size})
    pixels = torch.randn(2, 3, 8, 8)
    assert torch.equal(OnnxNet(path, "one")(pixels), pixels.relu())
    assert torch.equal(OnnxNet(path, "two")(pixels), 2 * pixels.relu())
    with pytest.raises(InputError, match=r"net\.onnx: expected an output three, got two, one"):
        OnnxNet(path, "three")


@pytest.mark.parametrize("name", ["tinypose", "tinypose_mpii16"])
def test_the_teachers_of_longer_say_the_same(name, teachers):
    path = next(teachers.glob(f"{name}_256x192.onnx"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels, output = RNG.normal(size=(2, 3, 256, 192)).astype(np.float32), session.get_outputs()[0].name
    with torch.no_grad():
        said = OnnxNet(path, output)(torch.from_numpy(pixels)).numpy()
    wanted = [session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in pixels]
    assert np.abs(said - np.concatenate(wanted)).max() < 1e-5
