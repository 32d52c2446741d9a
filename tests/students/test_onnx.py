"""Any ONNX network with a card: from a spot in a photograph to its place in the photograph's own pixels."""

from __future__ import annotations

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.errors import FormatError, MissingError
from annotator.images import Images
from annotator.people import People, people
from annotator.skeletons import COCO_17, UNION_21
from annotator.students import base, registry
from annotator.students import card as cards
from annotator.students.base import PoseModel, readouts
from annotator.students.cache import Cache
from annotator.students.onnx import OnnxModel, chosen_providers
from annotator.students.readout import Readout
from tests import networks
from tests.conftest import ROOT
from tests.networks import SIZE

HEATMAP = {"kind": "heatmap", "name": "heatmap", "stride": 4.0}
SIMCC = {"kind": "simcc", "name_x": "simcc_x", "name_y": "simcc_y", "beta": 10.0}
SPOT, SIGMA = (151.3, 97.6), 9.0
BOX = (100.0, 40.0, 90.0, 120.0)


def network(folder: Path, kind: str, **fields: Any) -> OnnxModel:
    """One of the networks of `networks`, by name."""
    path = folder / "bright.onnx"
    if kind == "simcc":
        networks.bright_simcc(path)
        output: dict[str, Any] = SIMCC
    else:
        layout, tap = ("NHWC" if "last" in kind else "NCHW"), (0 if "corner" in kind else None)
        networks.bright_heatmap(path, layout, tap)
        # cell j is the mean of pixels 4 j .. 4 j + 3, or pixel 4 j alone; the mirror image's cells lie 0 or .75 further
        output = HEATMAP | {"layout": layout, "offset_px": 1.5 if tap is None else 0.0}
        output["flip_shift"] = 0.0 if tap is None else 0.75
        fields["input"] = {"layout": layout} | fields.get("input", {})
    return opened(networks.write_card(path, output, **fields))


def opened(card_path: Path) -> OnnxModel:
    card = cards.load(card_path)
    return OnnxModel(card, card_path.parent / card.file)


def scene(folder: Path, pixel_origin: int = 0, spot: tuple[float, float] = SPOT) -> tuple[Images, People]:
    """A photograph with one bright spot, and a person whose box holds it, counted from `pixel_origin`."""
    Image.fromarray(networks.blob((240, 320), spot, SIGMA)).save(folder / "a.png")
    images = Images(
        image_id=np.array(["a"], dtype=object),
        path=np.array([str(folder / "a.png")], dtype=object),
        file_name=np.array(["a.png"], dtype=object),
        width=np.array([320]),
        height=np.array([240]),
        record=np.array([""], dtype=object),
    )
    table = people(
        COCO_17,
        person_id=["a:1"],
        image_id=["a"],
        source="a",
        xy=np.zeros((1, 17, 2)),
        v=np.zeros((1, 17)),
        bbox_xywh=np.array([BOX]) + np.array([pixel_origin, pixel_origin, 0, 0]),
        pixel_origin=pixel_origin,
    )
    return images, table


@pytest.mark.parametrize("flip_test", [False, True], ids=["plain", "with mirror image"])
@pytest.mark.parametrize("pixel_origin", [0, 1])
@pytest.mark.parametrize("kind", ["mean first", "mean last", "corner first", "corner last", "simcc"])
def test_a_spot_in_a_photograph_is_found_in_its_own_pixels(
    tmp_path: Path, kind: str, pixel_origin: int, flip_test: bool
) -> None:
    (word,), unreadable = readouts(
        [network(tmp_path, kind, flip_test=flip_test)], *scene(tmp_path, pixel_origin), Cache(None)
    )
    assert unreadable == {}
    # box grown to 150 px for 64 crop pixels: a crop pixel is 2.3 px
    np.testing.assert_allclose(word.xy[0], np.tile(np.array(SPOT) + pixel_origin, (17, 1)), atol=0.3)
    assert np.isfinite(word.flip).all() == flip_test
    assert np.nan_to_num(word.flip).max() < 0.7


def test_a_networks_known_bias_is_added_in_crop_pixels(tmp_path: Path) -> None:
    scene_ = scene(tmp_path)
    (plain,), _ = readouts([network(tmp_path, "mean first")], *scene_, Cache(None))
    biased = network(tmp_path, "mean first", keypoint_offset_px={"nose": [2.0, -4.0]})
    (word,), _ = readouts([biased], *scene_, Cache(None))
    # the crop is 1.25 * 120 = 150 px high at 64 pixels: 2.34375 px each
    np.testing.assert_allclose(word.xy[0, 0] - plain.xy[0, 0], [2 * 2.34375, -4 * 2.34375], atol=1e-3)
    np.testing.assert_array_equal(word.xy[0, 1:], plain.xy[0, 1:])


def test_spread_is_in_pixels_of_the_photograph(tmp_path: Path) -> None:
    (word,), _ = readouts([network(tmp_path, "mean first", flip_test=False)], *scene(tmp_path), Cache(None))
    assert word.spread[0, 0] == pytest.approx(np.sqrt(2) * SIGMA, rel=0.1)  # sigma 9 px on either axis


def crops(n: int, seed: int = 0, size_hw: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size_hw, 3), dtype=np.uint8)


def same(a: Readout, b: Readout) -> bool:
    return a.pack().tobytes() == b.pack().tobytes()


def assert_alone_is_together(model: OnnxModel, n: int) -> None:
    """A person's word, bit for bit, alone, among others, in another order, and with several threads at once."""
    pixels = crops(n, size_hw=model.card.input.size_hw)
    packed = model.read(pixels).pack()
    for rows in ([0], [n - 1], list(range(n))[::-1], list(range(1, n))):
        assert model.read(pixels[rows]).pack().tobytes() == packed[rows].tobytes(), rows
    with ThreadPoolExecutor(4) as pool:
        each = list(pool.map(lambda row: model.read(pixels[[row]]).pack(), range(3)))
    assert np.concatenate(each).tobytes() == packed[:3].tobytes()


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("kind", ["mean first", "mean last", "simcc"])
def test_a_word_depends_neither_on_the_others_in_the_batch_nor_on_threads(
    tmp_path: Path, kind: str, batch: int
) -> None:
    assert_alone_is_together(network(tmp_path, kind, input={"batch": batch}), 7)


def test_memory_does_not_grow_by_the_maps_of_a_shards_people(tmp_path: Path) -> None:
    model = network(tmp_path, "mean last", input={"batch": 2})

    def peak(n: int) -> int:
        pixels = crops(n)
        tracemalloc.start()
        try:
            model.read(pixels)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # opens the network
    # A person's 17 maps of 16 x 12 cells and what reads them are tens of kB, what is read 1.4 kB.
    assert peak(42) < 2 * peak(2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tinypose", "tinypose_mpii16", "efficientpose2", "simplepose"])
def test_a_teachers_word_depends_neither_on_the_others_in_the_batch_nor_on_threads(teachers: Path, name: str) -> None:
    card = cards.load(ROOT / f"models/teachers/{name}.toml")
    assert_alone_is_together(OnnxModel(card, teachers / card.file), card.input.batch + 2)


@pytest.mark.parametrize("card_path", sorted(ROOT.glob("models/weights/*.toml")), ids=lambda path: path.stem)
def test_a_shipped_students_word_depends_neither_on_the_others_in_the_batch_nor_on_threads(card_path: Path) -> None:
    model = opened(card_path)
    model.check()
    assert_alone_is_together(model, model.card.input.batch + 2)


def test_the_pixels_a_network_gets_are_normalised_rgb_in_its_own_layout(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    pixels = crops(2)
    for layout, shape in (("NCHW", ["n", 3, *SIZE]), ("NHWC", ["n", *SIZE, 3])):
        echo = [onnx.helper.make_node("Identity", ["image"], ["heatmap"])]
        path = networks.save(tmp_path / f"{layout}.onnx", echo, {}, shape, {"heatmap": shape})
        how = {"layout": layout, "mean": [1.0, 2.0, 3.0], "std": [2.0, 4.0, 5.0]}
        keypoints = {"keypoints": ["nose", "left_eye", "right_eye"]}
        model = opened(networks.write_card(path, HEATMAP | {"layout": layout, "stride": 1.0}, input=how, **keypoints))
        wanted = (pixels - np.array([1.0, 2, 3])) / np.array([2.0, 4, 5])
        (found,) = model.raw(pixels)
        np.testing.assert_allclose(found if layout == "NHWC" else found.transpose(0, 2, 3, 1), wanted, rtol=1e-6)


def test_a_model_can_be_sent_to_another_process(tmp_path: Path) -> None:
    model = network(tmp_path, "simcc")
    before = model.read(crops(2))
    assert same(pickle.loads(pickle.dumps(model)).read(crops(2)), before)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output": HEATMAP | {"name": "maps"}}, "expected an input or output 'maps', got ['heatmap', 'image']"),
        ({"input": {"name": "pixels"}}, "expected an input or output 'pixels', got ['heatmap', 'image']"),
        ({"keypoints": ["nose"]}, "expected maps of 1 keypoints for 3 crops, got shapes [(3, 17, 16, 12)]"),
        ({"output": HEATMAP | {"layout": "NHWC"}}, "expected maps of 17 keypoints for 3 crops, got shapes [(3, 17"),
        ({"output": SIMCC | {"name_x": "heatmap", "name_y": "heatmap"}}, "expected axes of 17 keypoints for 3 crops"),
        ({"output": HEATMAP | {"stride": 2.0}},
         "expected maps of about 32 and 24 cells (stride 2 of card bright), got 16 and 12"),
        ({"output": HEATMAP | {"stride": 5.0}}, "expected maps of about 12.8 and 9.6 cells (stride 5 of card bright)"),
        ({"input": {"size_hw": [48, 64]}}, "expected a network that takes (3, 3, 48, 64), got"),
        ({"input": {"layout": "NHWC"}}, "expected a network that takes (3, 64, 48, 3), got"),
    ],
    ids=["output", "input", "keypoints", "layout", "kind", "fine", "coarse", "size", "input layout"],
)  # fmt: skip
def test_a_card_that_does_not_fit_its_network_is_one_line(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = networks.bright_heatmap(tmp_path / "bright.onnx")
    assert_refused(opened(networks.write_card(path, **{"output": HEATMAP} | fields)), message)


def assert_refused(model: OnnxModel, message: str) -> None:
    for run in (model.check, lambda: model.read(crops(1, size_hw=model.card.input.size_hw))):
        with pytest.raises(FormatError) as error:
            run()
        assert str(error.value).startswith(f"{model.path}: {message}") and "\n" not in str(error.value)


@pytest.mark.parametrize(("split", "bins"), [(1, "48 and 64"), (3, "144 and 192")])
def test_bins_of_another_width_than_the_cards_are_one_line(tmp_path: Path, split: int, bins: str) -> None:
    path = networks.bright_simcc(tmp_path / "bright.onnx")
    model = opened(networks.write_card(path, SIMCC | {"split": split}))
    assert_refused(model, f"expected axes of {bins} bins (split {split} of card bright), got 96 and 128")


def test_maps_whose_size_the_network_leaves_open_are_measured_when_they_come(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    path = networks.bright_heatmap(tmp_path / "bright.onnx")
    network = onnx.load(str(path))
    for axis, size in zip((2, 3), ("h", "w"), strict=True):
        network.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = size
    onnx.save(network, str(path))
    opened(networks.write_card(path, HEATMAP)).check()
    assert_refused(opened(networks.write_card(path, HEATMAP | {"stride": 2.0})), "expected maps of about 32 and 24")


@pytest.mark.parametrize("side", [64, 61, 67], ids=["both borders", "padded", "cut"])
def test_cells_on_both_borders_and_padded_maps_fit_their_stride(tmp_path: Path, side: int) -> None:
    stride = 63 / 15 if side == 64 else 4.0  # 16 cells, the outer ones on the crop's first and last pixel
    model = network(tmp_path, "mean first")
    spec = model.card.input.model_copy(update={"size_hw": (side, 48)})
    output = model.card.output.model_copy(update={"stride": stride})
    card = model.card.model_copy(update={"input": spec, "output": output})
    OnnxModel(card, model.path)._check_shapes([(3, 17, 16, 12)], 3)


@pytest.mark.slow
@pytest.mark.parametrize("card_path", sorted(ROOT.glob("models/teachers/*.toml")), ids=lambda path: path.stem)
def test_a_shipped_teachers_card_fits_its_network(
    card_path: Path, teachers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(teachers))
    entry = registry.locate(card_path)
    if not entry.here:
        pytest.skip("its weights are not on this machine")
    OnnxModel(entry.card, entry.weights).check()


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07"], ids=["empty", "text", "half a header"])
def test_what_is_no_onnx_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    card_path = networks.write_card(tmp_path / "bright.onnx", HEATMAP)
    (tmp_path / "bright.onnx").write_bytes(content)
    with pytest.raises(FormatError) as error:
        opened(card_path).check()
    assert str(error.value).startswith(f"{tmp_path}/bright.onnx: expected an ONNX network, got ")
    assert "\n" not in str(error.value)


def test_weights_other_than_the_cards_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path, "mean first")
    card = model.card.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(FormatError, match="expected weights with sha256 000000000000, got "):
        OnnxModel(card, model.path)


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"url": "https://host/a.pth"}, r"get them with: annotator students add bright"),
        ({"role": "teacher"}, r"set ANNOTATOR_TEACHERS to their folder"),
        ({}, r"bright\.onnx belongs beside its card"),
    ],
    ids=["download", "teacher", "student"],
)
def test_missing_weights_say_how_to_get_them(tmp_path: Path, fields: dict[str, Any], mend: str) -> None:
    card_path = networks.write_card(tmp_path / "bright.onnx", HEATMAP, **fields)
    with pytest.raises(MissingError, match=rf"expected weights of bright \({mend}\), got no such file"):
        opened(card_path)


def test_a_model_is_over_the_skeleton_it_is_asked_for(tmp_path: Path) -> None:
    images, table = scene(tmp_path)
    model = PoseModel("bright", (network(tmp_path, "mean first"),), UNION_21)
    proposals, unreadable = model.predict(images, table.project(UNION_21), Cache(None))
    known = UNION_21.indices(COCO_17.keypoints)
    assert unreadable == {} and proposals.student == "bright"
    np.testing.assert_allclose(proposals.xy[0, known], np.tile(SPOT, (17, 1)), atol=0.3)
    assert np.isnan(np.delete(proposals.xy[0], known, axis=0)).all()


def test_pixels_of_no_more_photographs_are_held_than_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = scene(tmp_path)
    five = replace(images.take(np.zeros(5, dtype=int)), image_id=np.array([*"abcde"], dtype=object))
    monkeypatch.setattr(base._Pictures, "HELD", 2 * 240 * 320 * 3 - 1)  # less than two of them
    picture, held = base._Pictures(five), []
    for image_id in five.image_id:
        assert picture.digest(image_id) and picture.pixels(image_id) is not None
        held.append(len(picture._pixels))
    assert held == [1, 2, 1, 2, 1]


def test_a_word_is_the_same_when_the_photograph_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, table = scene(tmp_path)
    twice = People.concat([table, replace(table, person_id=np.array(["a:2"], dtype=object))])
    nets = [network(tmp_path, "mean first"), network(tmp_path, "mean first")]
    held = readouts(nets, images, twice, Cache(None))[0]
    monkeypatch.setattr(base._Pictures, "HELD", -1)
    assert all(same(a, b) for a, b in zip(readouts(nets, images, twice, Cache(None))[0], held, strict=True))


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        pytest.param(None, ["CPUExecutionProvider"], id="not set"),
        pytest.param("", ["CPUExecutionProvider"], id="empty"),
        pytest.param("Fast, CPUExecutionProvider", ["Fast", "CPUExecutionProvider"], id="two"),
    ],
)
def test_networks_run_on_the_providers_that_are_named(monkeypatch, named, chosen):
    monkeypatch.delenv("ANNOTATOR_PROVIDERS", raising=False)
    if named is not None:
        monkeypatch.setenv("ANNOTATOR_PROVIDERS", named)
    assert chosen_providers(["Fast", "CPUExecutionProvider"]) == chosen


def test_a_provider_that_is_not_there_is_named_with_those_that_are(monkeypatch):
    monkeypatch.setenv("ANNOTATOR_PROVIDERS", "Slow")
    with pytest.raises(MissingError, match="ANNOTATOR_PROVIDERS: expected one of Fast, CPU, got Slow"):
        chosen_providers(["Fast", "CPU"])
