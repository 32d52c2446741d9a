from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator import formats
from annotator.formats import coco
from annotator.people import ORIGIN
from annotator.skeletons import COCO_17, HALPE_26, LSP_14, MPII_16, UNION_21, union
from tests.formats.made import pictures

LABELS = [x for k in range(17) for x in (100 + k, 50.5, k % 3)]  # v 0, 1, 2, 0, 1, 2, ...


def document(**extra: Any) -> dict[str, Any]:
    """A crowd, a dog, two people with fields of their own, another crowd."""
    person = {"category_id": 1, "image_id": 5, "iscrowd": 0, "bbox": [1, 2.5, 30, 40], "segmentation": [[1, 2, 3.0]]}
    return {
        "info": {"year": 2017},
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "iscrowd": 1, "segmentation": {"counts": "x"}},
            {**person, "keypoints": LABELS, "id": 2, "mood": {"glad": True, "how": 1.0}, "area": 600.25},
            {"id": 3, "image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1]},
            {"keypoints": LABELS, **person, "id": 4, "area": 1200},
            {"id": 5, "image_id": 5, "category_id": 1, "iscrowd": 1},
        ],
        "images": [
            {"license": 3, "file_name": "a.png", "id": 5}, {"file_name": "a.png", "id": 6, "height": 480, "width": 640},
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints), "skeleton": [[16, 14], [99, 1]]},
            {"id": 2, "name": "dog"},
        ],
        "licenses": [],
        **extra,
    }  # fmt: skip


def read(tmp_path: Path, content: dict[str, Any]) -> Any:
    pictures(tmp_path, ["a.png"])
    (tmp_path / "a.json").write_text(json.dumps(content))
    return coco.read(tmp_path / "a.json", tmp_path)


def test_what_we_do_not_know_comes_back_at_its_place(tmp_path: Path) -> None:
    dataset = read(tmp_path, document(strange=[1, 2.0]))
    coco.write(tmp_path / "b.json", dataset)
    # json.dumps tells 1 from 1.0 and one order of keys from another
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


def test_visibility_is_read_as_it_is(tmp_path: Path) -> None:
    table = read(tmp_path, document()).people
    assert list(table.person_id) == ["coco:2", "coco:4"]
    assert table.v[0].tolist() == [k % 3 for k in range(17)]
    assert np.isnan(table.xy[0, 0]).all()  # v = 0: no point, whatever numbers stand there
    assert table.xy[0, 1].tolist() == [101, 50.5]
    assert table.origin[0, :3].tolist() == [ORIGIN["none"], ORIGIN["labelled"], ORIGIN["labelled"]]


def test_area_of_the_box_is_no_segment_area(tmp_path: Path) -> None:
    content = document()
    for i in (1, 3):
        del content["annotations"][i]["segmentation"]
    assert np.array_equal(read(tmp_path, content).people.area, [600.25, np.nan], equal_nan=True)  # 1200 = 30 x 40
    assert read(tmp_path, document()).people.area.tolist() == [600.25, 1200]


def test_corrected_label_is_patched_into_the_record(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    xy, v = dataset.people.xy.copy(), dataset.people.v.copy()
    xy[0, 0], v[0, 0] = (7.5, 8), 1
    xy[0, 2], v[0, 2] = np.nan, 0
    origin = np.where(v > 0, ORIGIN["labelled"], 0)
    changed = replace(dataset, people=replace(dataset.people, xy=xy, v=v, origin=origin))
    coco.write(tmp_path / "b.json", changed)
    wanted = document()
    wanted["annotations"][1]["keypoints"] = [7.5, 8.0, 1, *LABELS[3:6], 0, 0, 0, *LABELS[9:]]
    assert json.loads((tmp_path / "b.json").read_text()) == wanted


def test_people_over_other_keypoints_get_a_category_of_their_own(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    coco.write(tmp_path / "b.json", replace(dataset, people=dataset.people.align(UNION_21)))
    written = json.loads((tmp_path / "b.json").read_text())
    assert [c["name"] for c in written["categories"]] == ["dog", "person"]
    assert written["annotations"][1]["keypoints"] == LABELS + [0] * 12
    assert written["annotations"][1]["mood"] == {"glad": True, "how": 1.0}
    assert coco.read(tmp_path / "b.json", tmp_path).people.equals(
        replace(
            dataset.people.align(UNION_21), in_schema=np.ones((2, 21), dtype=bool), record=_records(tmp_path / "b.json")
        )
    )


def _records(path: Path) -> Any:
    written = json.loads(path.read_text())["annotations"]
    return np.array([json.dumps(record, ensure_ascii=False) for record in (written[1], written[3])], dtype=object)


def test_pixels_of_mpii_are_brought_to_cocos_origin(tmp_path: Path) -> None:
    dataset = read(tmp_path, document())
    one = replace(dataset, format="mpii", people=replace(dataset.people, pixel_origin=np.ones(2)), rest={})
    coco.write(tmp_path / "b.json", one)
    back = coco.read(tmp_path / "b.json", tmp_path).people
    np.testing.assert_array_equal(back.xy, dataset.people.xy - 1)
    np.testing.assert_array_equal(back.bbox_xywh, dataset.people.bbox_xywh - [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("names", "skeleton"),
    [
        (COCO_17.keypoints, COCO_17),
        (MPII_16.keypoints, MPII_16),
        (UNION_21.keypoints, UNION_21),
        ((*HALPE_26.keypoints[:17], "head", "neck", "hip", *HALPE_26.keypoints[20:]), HALPE_26),
        ((*LSP_14.keypoints[:12], "neck", "head_top"), LSP_14),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_known_list_of_keypoints_is_ours(names: tuple[str, ...], skeleton: Any) -> None:
    assert coco.skeleton_of({"keypoints": list(names)}, "x") == skeleton


@pytest.mark.parametrize(
    ("names", "dataset"),
    [(["Head top", "Neck"], "aic"), (["head", "neck"], "crowdpose"), (["top_head", "neck"], "crowdpose")],
)
def test_head_of_another_dataset_is_not_mpiis(names: list[str], dataset: str) -> None:
    limbs = [
        f"{side} {part}"
        for side in ("Right", "Left")
        for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
    ]
    skeleton = coco.skeleton_of({"keypoints": limbs + names}, "x")
    assert skeleton.name == dataset
    assert skeleton.keypoints[0] == "right_shoulder"
    assert "clicked, the crown of the head" in skeleton.definitions
    # twelve limbs are COCO's; head and neck are nobody's
    assert (UNION_21.columns_of(skeleton) >= 0).tolist() == [True] * 12 + [False] * 2


def test_unknown_names_are_kept_as_keypoints(tmp_path: Path) -> None:
    content = document()
    content["categories"][0] |= {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    for i in (1, 3):
        content["annotations"][i]["keypoints"] = [1, 2, 2, 3, 4, 1]
    table = read(tmp_path, content).people
    assert table.skeleton.keypoints == ("nose", "tail")
    assert table.skeleton.edges == (("nose", "tail"),)
    assert table.xy[0].tolist() == [[1, 2], [3, 4]]


def test_categories_with_different_keypoints_share_one_table(tmp_path: Path) -> None:
    content = document()
    content["categories"][1]["keypoints"] = ["nose", "tail"]
    content["annotations"][2] |= {"keypoints": [1, 2, 2, 3, 4, 1]}
    table = read(tmp_path, content).people
    assert table.skeleton.keypoints == (*COCO_17.keypoints, "tail")
    assert table.in_schema[1].tolist() == [True] + [False] * 16 + [True]
    assert table.in_schema[0].tolist() == [True] * 17 + [False]


def test_what_a_model_placed_is_no_label_when_read_again(tmp_path: Path) -> None:
    content = document()
    words = ["none", "proposed", "labelled", "none", "corrected", "released", "rejected", *["derived"] * 10]
    content["annotations"][1]["annotator"] = {"origin": words, "pixel_origin": 1}
    content["annotations"][1]["keypoints"] = [5, 6, 2] * 17
    dataset = read(tmp_path, content)
    assert np.flatnonzero(dataset.people.labelled[0]).tolist() == [2, 4]
    origins = [ORIGIN[word] for word in ("none", "none", "labelled", "none", "corrected", "none", "rejected", "none")]
    assert dataset.people.origin[0, :8].tolist() == origins
    assert dataset.people.pixel_origin.tolist() == [1, 0]
    coco.write(tmp_path / "b.json", dataset)
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


def test_restricted_to_pictures_keeps_what_belongs_to_them(tmp_path: Path) -> None:
    content = document()
    content["images"][1]["file_name"] = "b.png"
    content["annotations"][1]["image_id"] = content["annotations"][4]["image_id"] = 6
    pictures(tmp_path, ["b.png"])
    dataset = formats.restrict(read(tmp_path, content), ["a.png", "typo.png"])
    assert [str(p) for p in dataset.problems] == [
        f"{tmp_path}/a.json: list: expected a picture of this file, got typo.png"
    ]
    coco.write(tmp_path / "b.json", dataset)
    written = json.loads((tmp_path / "b.json").read_text())
    assert [a["id"] for a in written["annotations"]] == [1, 3, 4]
    assert [i["id"] for i in written["images"]] == [5]


def test_definitions_survive_in_a_category(tmp_path: Path) -> None:
    both = union(MPII_16, LSP_14)
    from annotator.formats.cocowrite import category

    record = json.loads(json.dumps(category(both)))
    assert coco.skeleton_of(record, "x") == both
