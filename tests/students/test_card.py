"""Cards: all that ship can be used, and a bad one is refused in one line that names file and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from annotator.errors import FormatError
from annotator.skeletons import HALPE_26, UNION_21
from annotator.students import card
from annotator.students.card import Heatmap
from tests.conftest import ROOT

SHIPPED = sorted([*ROOT.glob("models/teachers/*.toml"), *ROOT.glob("models/weights/*.toml")])
GOOD: dict[str, Any] = {
    "name": "mine",
    "role": "student",
    "file": "mine.onnx",
    "dataset": "lsp14",
    "keypoints": ["neck", "head_top", "left_hip"],
    "input": {"name": "image", "size_hw": [64, 48]},
    "output": {"kind": "heatmap", "name": "maps", "stride": 4},
}
SIMCC = {"kind": "simcc", "name_x": "x", "name_y": "y"}


def written(path: Path, changed: dict[str, Any]) -> Path:
    """GOOD with some values changed; dots lead into tables, None takes a value away."""
    document = {name: dict(value) if isinstance(value, dict) else value for name, value in GOOD.items()}
    for pointer, value in changed.items():
        *tables, name = pointer.split(".")
        table = document
        for step in tables:
            table = table.setdefault(step, {})
        if value is None:
            del table[name]
        else:
            table[name] = value
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_card_that_ships_loads_and_serves_the_union(path: Path) -> None:
    loaded = card.load(path)
    assert (loaded.skeleton.columns_of(UNION_21) >= 0).sum() == len(loaded.keypoints)
    assert loaded.data and loaded.terms and loaded.recipe
    assert bool(loaded.url) == bool(loaded.mmpose_config)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_maps_of_the_mirror_image_are_moved_by_what_stride_and_offset_ask(path: Path) -> None:
    loaded = card.load(path)
    if isinstance(loaded.output, Heatmap) and loaded.flip_test:
        # cell j is crop pixel s j + o, its mirror image W - 1 - (s j + o); reversing W / s cells leaves this shift
        shift = 1 - (1 + 2 * loaded.output.offset_px) / loaded.output.stride
        assert loaded.output.flip_shift == pytest.approx(shift)


def test_there_are_cards_for_the_papers_teachers() -> None:
    assert {"rtmpose-m-coco", "rtmpose-m-mpii", "tinypose", "tinypose_mpii16"} <= {
        p.name for p in map(card.load, SHIPPED)
    }


def test_what_a_card_leaves_out_has_defaults(tmp_path: Path) -> None:
    loaded = card.load(written(tmp_path / "mine.toml", {}))
    assert (loaded.crop.factor, loaded.flip_test, loaded.default, loaded.input.layout) == (1.25, True, False, "NCHW")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input.name": None}, "input.name: expected a value, got nothing"),
        ({"output": None}, "output: expected a value, got nothing"),
        ({"colour": "red"}, "colour: expected no such field, got 'red'"),
        ({"crop.factr": 1.5}, "crop.factr: expected no such field, got 1.5"),
        ({"crop.factor": 0.0}, "crop.factor: expected greater than 0, got 0.0"),
        ({"crop.factor": float("inf")}, "crop.factor: expected a finite number, got inf"),
        ({"input.size_hw": [64, 0]}, "input.size_hw.1: expected greater than 0, got 0"),
        ({"input.size_hw": [64]}, "input.size_hw.1: expected a value, got nothing"),
        ({"input.std": [1.0, 0.0, 1.0]}, "input.std.1: expected greater than 0, got 0.0"),
        ({"input.layout": "CHWN"}, "input.layout: expected 'NCHW' or 'NHWC', got 'CHWN'"),
        ({"input.batch": 0}, "input.batch: expected greater than 0, got 0"),
        ({"failures": "small people"}, "failures: expected "),
        ({"role": "coach"}, "role: expected 'student' or 'teacher', got 'coach'"),
        ({"output.kind": "regression"}, "output: expected "),
        ({"output.stride": -4}, "output.heatmap.stride: expected greater than 0, got -4"),
        ({"output.dark_kernel": 4}, "output.heatmap.dark_kernel: expected an odd number of cells, got 4"),
        ({"output.flip_shift": 1.5}, "output.heatmap.flip_shift: expected less than or equal to 1, got 1.5"),
        ({"output": SIMCC | {"split": 1.5}}, "output.simcc.split: expected a valid integer"),
        ({"trust.left_hip": -1.0}, "trust.left_hip: expected greater than or equal to 0, got -1.0"),
        ({"definitions.nose": "a red one"}, "definitions: expected one of the card's keypoints, got 'nose'"),
        ({"trust.nose": 0.5}, "trust: expected one of the card's keypoints, got 'nose'"),
        ({"keypoint_offset_px.nose": [0.0, 1.0]}, "keypoint_offset_px: expected one of the card's keypoints, got"),
        ({"keypoints": ["neck", "neck"]}, "keypoints: expected distinct keypoints, got ['neck', 'neck']"),
        ({"keypoints": ["head_top", "crown"]}, "keypoints: expected distinct keypoints, got ['head_top', 'crown']"),
        ({"keypoints": []}, "keypoints: expected "),
        ({"name": "../mine"}, "name: expected a name of letters, digits and . _ + - without a suffix, got '../mine'"),
        ({"name": "mine.toml"}, "name: expected a name of letters"),
        ({"name": "teachers"}, "name: expected a name other than default and teachers, got 'teachers'"),
        ({"file": "../mine.onnx"}, "file: expected a file in the card's folder, got '../mine.onnx'"),
        ({"file": "/mine.onnx"}, "file: expected a file in the card's folder, got '/mine.onnx'"),
        ({"url": "ftp://a/b.pth"}, "url: expected "),
        ({"sha256": "abc"}, "sha256: expected "),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_bad_card_is_one_line_with_file_and_field(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "mine.toml", changed)
    with pytest.raises(FormatError) as error:
        card.load(path)
    assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "expected a card in TOML, got Invalid value"),
        (b"\xff", "expected a card in TOML, got 'utf-8' codec can't decode"),
        (b"", "name: expected a value, got nothing"),
    ],
    ids=["cut short", "not text", "empty"],
)
def test_what_is_no_card_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(FormatError, match=f"mine.toml: {message}"):
        card.load(tmp_path / "mine.toml")


def test_a_folder_and_a_missing_file_are_no_cards(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a card \(a file\), got a directory"):
        card.load(tmp_path)
    with pytest.raises(FormatError, match="expected a card, got no such file"):
        card.load(tmp_path / "nothing.toml")


def test_trust_and_offsets_take_the_datasets_own_spelling(tmp_path: Path) -> None:
    loaded = card.load(written(tmp_path / "mine.toml", {"trust.head_top": 0.5, "trust.neck": 0.25}))
    assert loaded.by_keypoint(loaded.trust) == {"crown": 0.5, "neck": 0.25}  # LSP's head_top is our crown


def test_known_failures_are_lines_in_their_order(tmp_path: Path) -> None:
    lines = ["wrists: 20 % miss", "small: mean OKS .5"]
    assert card.load(written(tmp_path / "mine.toml", {"failures": lines})).failures == tuple(lines)
    assert card.load(written(tmp_path / "b.toml", {})).failures == ()


def test_a_keypoint_of_another_dataset_keeps_its_meaning(tmp_path: Path) -> None:
    crown = HALPE_26.definitions[HALPE_26.index("head")]
    plain = {"dataset": "mine", "keypoints": ["head", "left_hip"]}
    skeleton = card.load(written(tmp_path / "mine.toml", plain | {"definitions.head": crown})).skeleton
    assert skeleton.columns_of(HALPE_26)[HALPE_26.indices(["head", "left_hip", "nose"])].tolist() == [0, 1, -1]
    assert card.load(written(tmp_path / "b.toml", plain)).skeleton.columns_of(HALPE_26)[HALPE_26.index("head")] == -1


def test_weights_are_those_the_card_names(tmp_path: Path) -> None:
    weights = tmp_path / "mine.onnx"
    weights.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2's example
    named = card.load(written(tmp_path / "mine.toml", {"sha256": digest}))
    assert card.check_weights(named, weights) == digest
    weights.write_bytes(b"abcd")
    with pytest.raises(FormatError, match=r"mine\.onnx: expected weights with sha256 ba7816bf8f01, got 88d4266fd4e6"):
        card.check_weights(named, weights)
    unpinned = card.load(written(tmp_path / "b.toml", {}))
    assert card.check_weights(unpinned, weights).startswith("88d4266fd4e6")
