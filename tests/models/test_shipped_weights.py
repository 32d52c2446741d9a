"""The weights that ship beside the students: training goes on from them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

data = pytest.importorskip("skimage.data", reason="needs the demo extra")

from annotator.skeletons import UNION_21
from annotator.students import card as cards
from annotator.students import crop
from annotator.students.onnx import OnnxModel
from models import resize, train
from models.export import TOLERANCE, load
from models.network import UnionPose
from models.preprocess import MEAN, STD

STUDENTS = [path.stem for path in sorted(train.SHIPPED.glob("*.toml"))]
# Of the photograph's woman, with room about her.
BOX = np.array([[60.0, 0.0, 380.0, 500.0]])


def seen(size_hw: tuple[int, int]) -> np.ndarray:
    """A crop of a packaged photograph, (1, H, W, 3)."""
    return crop.cut(data.astronaut(), crop.affines(BOX, size_hw, 1.25)[0], size_hw)[None]


def normal(pixels: np.ndarray) -> torch.Tensor:
    """Pixels as the network takes them."""
    return torch.from_numpy(((pixels - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)).float()


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_ships_with_the_weights_that_it_was_made_of(name):
    card = cards.load(train.SHIPPED / f"{name}.toml")
    network, saved = load(train.weights(name))
    assert list(saved["keypoints"]) == list(UNION_21.keypoints) and tuple(saved["size_hw"]) == card.input.size_hw
    pixels = seen(card.input.size_hw)
    nothing = np.full((1, 21, 2), np.nan)
    exported = OnnxModel(card, train.SHIPPED / card.file).raw(pixels, nothing)
    with torch.no_grad():
        own = network(normal(pixels))
    for axis, from_onnx in zip(own, exported, strict=True):
        assert np.abs(axis.numpy() - from_onnx).max() < TOLERANCE[True]
        assert np.ptp(from_onnx) > 10  # It sees somebody: flat axes would agree, too.


@pytest.mark.parametrize("name", STUDENTS)
def test_training_starts_from_a_student_that_ships_by_its_name(name, tmp_path):
    network, saved = load(train.weights(name))
    torch.manual_seed(1)
    fresh = UnionPose(saved["size"], saved["size_hw"], 21, {}, split=saved["split"], locate=1.0)
    fresh.init_weights()
    start = resize.starting_point(
        train.weights(name), saved["size_hw"], fresh.state_dict(), tmp_path / "init.pth", UNION_21.keypoints
    )
    fresh.load_state_dict(torch.load(start, weights_only=True)["state_dict"])
    pixels = normal(seen(tuple(saved["size_hw"])))
    with torch.no_grad():
        for before, after in zip(network(pixels), fresh.eval()(pixels), strict=True):
            torch.testing.assert_close(after, before)


def test_what_ships_stays_under_forty_megabytes():
    assert 10e6 < sum(path.stat().st_size for path in train.SHIPPED.iterdir()) < 40e6
