"""`annotator propose` on real photographs with real networks: every label stays, nothing asked for is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from annotator import formats
from annotator.cli import main
from annotator.people import People
from annotator.skeletons import UNION_21

pytestmark = pytest.mark.slow


def run(folder: Path, annotations: Path, images: Path, count: int, *more: str) -> tuple[COCO, People, list[str]]:
    """Propose for the first pictures of a file: what pycocotools loads, and the labels as they were read."""
    dataset = formats.read(annotations, images)
    names = dataset.images.file_name[:count].tolist()
    (folder / "list.txt").write_text("\n".join(names))
    arguments = ["--annotations", str(annotations), "--images", str(images), "--list", str(folder / "list.txt")]
    assert main(["propose", *arguments, "--out", str(folder / "out"), *more]) == 0
    loaded = COCO(str(folder / "out" / "annotations.json"))
    assert loaded.loadCats(1)[0]["keypoints"] == list(UNION_21.keypoints)
    return loaded, formats.restrict(dataset, names).people.project(UNION_21), names


def assert_labels_kept(loaded: COCO, table: People) -> list[set[str]]:
    """Every labelled point equals the input exactly; gives the names that each person has beyond its labels."""
    added = []
    entries = loaded.dataset["annotations"]
    assert [entry["annotator"]["person_id"] for entry in entries] == table.person_id.tolist()
    for row, entry in enumerate(entries):
        flat = np.reshape(entry["keypoints"], (21, 3))
        labelled = table.labelled[row]
        np.testing.assert_array_equal(flat[labelled, :2], table.xy[row, labelled])
        np.testing.assert_array_equal(flat[labelled, 2], table.v[row, labelled])
        origin = np.array(entry["annotator"]["origin"])
        np.testing.assert_array_equal(origin == "labelled", labelled)
        added.append({UNION_21.keypoints[k] for k in np.flatnonzero((flat[:, 2] > 0) & ~labelled)})
    return added


def near(table: People, entry: dict[str, Any], row: int) -> bool:
    """Whether what was added lies about the person: within its box, half as wide again on every side."""
    flat, (x, y, width, height) = np.reshape(entry["keypoints"], (21, 3)), table.bbox_xywh[row]
    added = flat[(flat[:, 2] > 0) & ~table.labelled[row], :2]
    low, high = np.array([x - width / 2, y - height / 2]), np.array([x + 1.5 * width, y + 1.5 * height])
    return bool(((added >= low) & (added <= high)).all())


def test_coco_people_get_four_more_keypoints(
    data: Path, teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(teachers))
    source = data / "coco/person_keypoints_test.json"
    loaded, table, _ = run(tmp_path, source, data / "coco/images", 25, "--student", "tinypose_mpii16")
    added = assert_labels_kept(loaded, table)
    assert all(names == {"pelvis", "thorax", "upper_neck", "head_top"} for names in added) and len(added) > 25
    by_id = {entry["id"]: entry for entry in json.loads(source.read_text())["annotations"]}
    for row, entry in enumerate(loaded.dataset["annotations"]):
        for field in set(by_id[entry["id"]]) - {"keypoints"}:
            assert json.dumps(entry[field]) == json.dumps(by_id[entry["id"]][field])
        assert near(table, entry, row)


def test_mpii_people_get_five_more_keypoints(
    data: Path, teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(teachers))
    source = data / "mpii/mpii_test.json"
    loaded, table, names = run(tmp_path, source, data / "mpii/images", 15, "--student", "tinypose")
    added = assert_labels_kept(loaded, table)
    assert all(names == {"nose", "left_eye", "right_eye", "left_ear", "right_ear"} for names in added)
    assert len(loaded.getImgIds()) == len(names) == 15 and len(added) >= 15
    assert all(near(table, entry, row) for row, entry in enumerate(loaded.dataset["annotations"]))


def test_fused_teachers_know_all_21_and_hidden_labels_stay_near(
    data: Path, teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(teachers))
    source, images = data / "mpii/mpii_test.json", data / "mpii/images"
    loaded, table, _ = run(tmp_path, source, images, 6, "--student", "teachers", "--hide", "all")
    off = []
    for row, entry in enumerate(loaded.dataset["annotations"]):
        flat = np.reshape(entry["keypoints"], (21, 3))
        assert entry["annotator"]["origin"] == ["proposed"] * 21 and (flat[:, 2] == 2).all()
        labelled = table.labelled[row]
        off.append(np.linalg.norm(flat[labelled, :2] - table.xy[row, labelled], axis=1) / table.scale_px()[row])
    assert np.median(np.concatenate(off)) < 0.05  # a fifth of a head
