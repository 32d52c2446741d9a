from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from annotator import formats
from annotator.errors import InputError
from annotator.formats import lsp
from annotator.people import ORIGIN
from tests.formats.made import pictures


def joints(flag: list[int]) -> np.ndarray:
    """(14, 3, 3): x 1..14, y 21..34 for everybody; one flag a person."""
    one = np.stack([np.arange(1.0, 15), np.arange(21.0, 35), np.zeros(14)], axis=1)
    out = np.repeat(one[..., None], 3, axis=2)
    out[:, 2] = flag
    return out


def test_third_row_of_lsp_says_occluded(tmp_path: Path) -> None:
    pictures(tmp_path, ["im0001.jpg", "im0003.jpg"])
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints([1, 0, 0]).transpose(1, 0, 2)})
    table = lsp.read(tmp_path / "joints.mat", tmp_path).people
    assert table.v.tolist() == [[1] * 14, [2] * 14]
    assert list(table.person_id) == ["lsp:0", "lsp:2"]
    assert list(table.image_id) == ["lsp:im0001.jpg", "lsp:im0003.jpg"]
    assert table.xy[0, 13].tolist() == [14, 34]
    # extent 13 x 13, widened by a tenth of it on every side
    np.testing.assert_allclose(table.bbox_xywh[0], [1 - 1.3, 21 - 1.3, 15.6, 15.6])
    assert not table.bbox_given.any()


def test_third_column_of_lsp_extended_says_labelled(tmp_path: Path) -> None:
    pictures(tmp_path, ["im00001.jpg", "im00002.jpg", "im00003.jpg"])
    flags = joints([1, 1, 1])
    flags[3, 2, 0] = 0
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": flags})
    table = lsp.read(tmp_path / "joints.mat", tmp_path).people
    assert table.v[0].tolist() == [2, 2, 2, 0] + [2] * 10
    assert set(table.source) == {"lspet"}


def test_people_left_out_by_a_list_stay_in_the_file(tmp_path: Path) -> None:
    pictures(tmp_path, ["im00001.jpg", "im00002.jpg"])
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints([1, 1, 1])})
    dataset = formats.restrict(lsp.read(tmp_path / "joints.mat", tmp_path), ["im00002.jpg"])
    assert list(dataset.people.person_id) == ["lspet:1"]
    formats.write(tmp_path / "b.mat", dataset, "lsp")
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "b.mat")["joints"], joints([1, 1, 1]))


def test_unlabelled_keypoint_has_no_place_in_lsp(tmp_path: Path) -> None:
    pictures(tmp_path, ["im0001.jpg"])
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints([0, 0, 0]).transpose(1, 0, 2)})
    dataset = lsp.read(tmp_path / "joints.mat", tmp_path)
    with pytest.raises(InputError, match="expected people with all 14 keypoints labelled, got others"):
        formats.write(tmp_path / "b.mat", replace(dataset, people=dataset.people.hide(["crown"])), "lsp")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["im00001.jpg", "im00001.jpg"], "expected one person a picture, got pictures with several"),
        (["im00001.jpg", "cat.jpg"], "expected pictures named im0001.jpg and so on, got cat.jpg"),
    ],
)
def test_people_that_do_not_fit_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    pictures(tmp_path, ["im00001.jpg", "im00002.jpg"])
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints([1, 1, 1])})
    dataset = lsp.read(tmp_path / "joints.mat", tmp_path)
    images = replace(dataset.images, file_name=np.array(names, dtype=object))
    with pytest.raises(InputError, match=message):
        formats.write(tmp_path / "b.mat", replace(dataset, images=images), "lsp")


def test_same_people_are_the_same_bytes(tmp_path: Path) -> None:
    pictures(tmp_path, ["im00001.jpg"])
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints([1, 1, 1])})
    dataset = lsp.read(tmp_path / "joints.mat", tmp_path)
    assert ORIGIN["labelled"] in dataset.people.origin
    for name in ("b.mat", "c.mat"):
        formats.write(tmp_path / name, dataset, "lsp")
    assert (tmp_path / "b.mat").read_bytes() == (tmp_path / "c.mat").read_bytes()
    assert b"Created" not in (tmp_path / "b.mat").read_bytes()[:116]


@pytest.mark.slow
def test_pixels_count_nearer_to_0_than_to_1(data: Path, teachers: Path) -> None:
    """A network trained on COCO, whose pixels count from 0, against the limbs of LSP's training half."""
    from annotator.students import base, cache, card
    from annotator.students.onnx import OnnxModel

    known = card.load(Path(__file__).parents[2] / "models/teachers/tinypose.toml")
    network = OnnxModel(known, teachers / known.file)
    dataset = lsp.read(data / "lsp/joints.mat", data / "lsp/images")
    table = dataset.people.take(np.arange(0, 1000, 5))
    (words,), _ = base.readouts([network], dataset.images, table, cache.Cache(None))
    limbs = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist", "knee", "ankle")]
    there, here = network.skeleton.indices(limbs), table.skeleton.indices(limbs)
    off = table.xy[:, here] - words.xy[:, there]
    near = (np.linalg.norm(off, axis=2) < 0.12 * table.scale_px()[:, None]) & (words.score[:, there] > 0.3)
    # left and right cancel what the network or the convention of a joint may be off; 1 would be MATLAB's origin
    assert 0 < off[near][:, 0].mean() < 0.5
