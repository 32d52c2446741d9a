"""The datasets' own files: read whole, and written back equal to the last byte of every number and key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from annotator import formats
from annotator.derived import head_size

# file, folder of pictures, format, people, keypoints
JSON_FILES = [
    ("samples/aic/test_aic.json", "samples/aic", "coco", 9, 14),
    ("samples/coco_wholebody/test_coco_wholebody.json", "samples/halpe", "coco", 14, 17),
    ("samples/crowdpose/test_crowdpose.json", "samples/crowdpose", "coco", 5, 14),
    ("samples/halpe/test_halpe.json", "samples/halpe", "halpe", 14, 26),
    ("samples/halpe/test_coco_same_people.json", "samples/halpe", "coco", 14, 17),
    ("samples/mpii/test_mpii.json", "samples/mpii", "mpii", 5, 16),
    ("samples/ochuman/test_ochuman.json", "samples/ochuman", "coco", 5, 17),
    ("coco/person_keypoints_train.json", "coco/images", "coco", 4699, 17),
    ("coco/person_keypoints_train2017_128.json", "coco/images", "coco", 370, 17),
    ("coco/person_keypoints_calibrate.json", "coco/images", "coco", 332, 17),
    ("coco/person_keypoints_choose.json", "coco/images", "coco", 263, 17),
    ("coco/person_keypoints_test.json", "coco/images", "coco", 705, 17),
    ("mpii/mpii_train.json", "mpii/images", "mpii", 1509, 16),
    ("mpii/mpii_calibrate.json", "mpii/images", "mpii", 232, 16),
    ("mpii/mpii_choose.json", "mpii/images", "mpii", 158, 16),
    ("mpii/mpii_test.json", "mpii/images", "mpii", 416, 16),
]


@pytest.mark.parametrize(
    ("file", "root", "format_", "people", "keypoints"), JSON_FILES, ids=[row[0] for row in JSON_FILES]
)
def test_file_is_read_whole_and_written_back_equal(
    data: Path, tmp_path: Path, file: str, root: str, format_: str, people: int, keypoints: int
) -> None:
    dataset = formats.read(data / file, data / root)
    assert (dataset.format, dataset.problems) == (format_, ())
    assert dataset.people.v.shape == (people, keypoints)
    formats.write(tmp_path / "back.json", dataset, format_)
    # dumped again, so that 1 and 1.0, and the order of keys, count
    assert json.dumps(json.loads((tmp_path / "back.json").read_bytes())) == json.dumps(
        json.loads((data / file).read_bytes())
    )


@pytest.mark.parametrize(("name", "people", "occluded"), [("lsp", 2000, 2044), ("lspet", 3925, 0)])
def test_lsp_is_read_and_written_back_equal(data: Path, tmp_path: Path, name: str, people: int, occluded: int) -> None:
    dataset = formats.read(data / name / "joints.mat", data / name / "images")
    assert set(dataset.people.source) == {name}
    assert len(dataset.people) == people
    assert (dataset.people.v == 1).sum() == occluded  # LSP flags 2,044 of 28,000 as occluded; LSP extended flags none
    assert dataset.people.labelled.all()
    assert len(dataset.problems) == (name == "lspet")  # 6,075 pictures are not there: one line, not 6,075
    formats.write(tmp_path / "joints.mat", dataset, "lsp")
    back = scipy.io.loadmat(tmp_path / "joints.mat")["joints"]
    np.testing.assert_array_equal(back, scipy.io.loadmat(data / name / "joints.mat")["joints"])


def test_halpe_labels_agree_with_cocos_of_the_same_people(data: Path) -> None:
    folder = data / "samples/halpe"
    halpe = formats.read(folder / "test_halpe.json", folder).people
    coco = formats.read(folder / "test_coco_same_people.json", folder, source="halpe").people
    shared = halpe.project(coco.skeleton)
    rows = [list(coco.person_id).index(name) for name in shared.person_id]
    np.testing.assert_array_equal(shared.v, coco.take(rows).v)
    np.testing.assert_array_equal(shared.xy, coco.take(rows).xy)


def test_mpiis_box_covers_the_person_as_its_rule_states(data: Path) -> None:
    """The figures of `mpii.box_of_scale`, whose scale is MPII's own in 1,033 of the train split's people."""
    table = formats.read(data / "mpii/mpii_train.json", data / "mpii/images").people
    table = table.take(np.array(["x_scale_from_joints" not in json.loads(text) for text in table.record]))
    assert len(table) == 1033
    low, size = table.bbox_xywh[:, None, :2], table.bbox_xywh[:, None, 2:]

    def inside(grown: float, down: float | np.ndarray = 0.0) -> np.ndarray:
        start = low - size * (grown - 1) / 2
        start[..., 1] += down
        return ((table.xy >= start) & (table.xy <= start + grown * size)).all(axis=2)[table.labelled]

    assert inside(1.0).mean() == pytest.approx(0.966, abs=0.0005)
    assert inside(1.25).mean() == pytest.approx(0.998, abs=0.0005)
    shifted = inside(1.0, 15 / 200 * size[..., 1])  # HRNet's loader: 15 x scale pixels downwards
    assert inside(1.0).mean() - shifted.mean() == pytest.approx(0.0075, abs=0.0005)
    assert np.nanmedian(size[:, 0, 1] / head_size(table.xy, table.skeleton)) > 5  # a box of bodies, not of heads
