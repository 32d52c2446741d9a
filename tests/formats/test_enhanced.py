"""`annotations.json`: labels to the last bit, every guess told from them, all fields of the source."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from annotator import formats
from annotator.errors import TableError, UsageError
from annotator.formats import coco, enhanced, mpii
from annotator.formats.dataset import Dataset
from annotator.images import Images
from annotator.people import ORIGIN
from annotator.proposals import Proposals
from annotator.skeletons import COCO_17, UNION_21
from tests.builders import make_people, make_proposals
from tests.formats.made import pictures
from tests.formats.test_coco import document

KEYPOINTS = list(UNION_21.keypoints)


def proposals_for(*datasets: Dataset) -> Proposals:
    """Proposals for all 21 keypoints; pelvis by rule, neck released, the rest proposed."""
    out = Proposals.concat([make_proposals(dataset.people.project(UNION_21)) for dataset in datasets])
    origin = out.origin.copy()
    origin[:, KEYPOINTS.index("pelvis")] = ORIGIN["derived"]
    origin[:, KEYPOINTS.index("upper_neck")] = ORIGIN["released"]
    return replace(out, origin=origin, radius90=np.full(out.score.shape, 12.34567))


@pytest.fixture
def one(tmp_path: Path) -> Dataset:
    """The two people of test_coco, with a dog and crowds between them."""
    pictures(tmp_path, ["a.png"])
    (tmp_path / "a.json").write_text(json.dumps(document()))
    return coco.read(tmp_path / "a.json", tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Dataset:
    """Two MPII people of one picture; no ids, no box, no size, pixels counted from 1."""
    pictures(tmp_path, ["a.png"])
    record = {"image": "a.png", "joints": [[k + 0.5, 100.25] for k in range(16)], "joints_vis": [1] * 8 + [0] * 8}
    (tmp_path / "b.json").write_text(json.dumps([{**record, "center": [50.0, 60.0], "scale": 1.0, "mood": 1}] * 2))
    return mpii.read(tmp_path / "b.json", tmp_path)


def triples(annotation: dict[str, Any]) -> dict[str, list[Any]]:
    flat = annotation["keypoints"]
    return {name: flat[3 * k : 3 * k + 3] for k, name in enumerate(KEYPOINTS)}


def test_record_keeps_its_place_its_id_and_its_fields(one: Dataset) -> None:
    out = enhanced.annotations([one], proposals_for(one))
    assert [a["id"] for a in out["annotations"]] == [1, 2, 3, 4, 5]
    source, person = document()["annotations"][1], out["annotations"][1]
    for key in ("category_id", "image_id", "iscrowd", "bbox", "segmentation", "mood", "area"):
        assert json.dumps(person[key]) == json.dumps(source[key])
    assert out["annotations"][2] == document()["annotations"][2]  # the dog
    assert out["annotations"][0]["keypoints"] == [0] * 63  # the crowd
    assert [c["name"] for c in out["categories"]] == ["person", "dog"]
    assert out["categories"][0]["keypoints"] == KEYPOINTS
    assert out["info"]["year"] == 2017


def test_labels_are_the_sources_numbers_and_guesses_are_marked(one: Dataset) -> None:
    person = enhanced.annotations([one], proposals_for(one))["annotations"][1]
    source, block = document()["annotations"][1]["keypoints"], person["annotator"]
    for k in range(17):
        point = person["keypoints"][3 * k : 3 * k + 3]
        if k % 3:  # labelled, v = 1 or 2
            assert json.dumps(point) == json.dumps(source[3 * k : 3 * k + 3])
            assert block["origin"][k] == "labelled"
        else:
            assert (point[2], block["origin"][k]) == (2, "proposed")
    assert block["origin"][17:] == ["derived", "proposed", "released", "proposed"]
    assert person["num_keypoints"] == 11  # of 17 keypoints, 6 (v = 0) are unlabelled; guesses do not count
    assert block["radius90"] == [12.3457] * 21
    assert block["p_present"] == [None] * 21  # NaN, which JSON does not have
    assert (block["source"], block["person_id"], block["pixel_origin"]) == ("coco", "coco:2", 0)


@pytest.mark.parametrize(
    ("points", "written"),
    [
        ("labelled", {"labelled"}),
        ("human", {"labelled", "accepted", "rejected"}),
        ("released", {"labelled", "accepted", "rejected", "released", "derived"}),
        ("proposed", {"labelled", "accepted", "rejected", "released", "derived", "proposed"}),
    ],
)
def test_each_level_writes_down_to_its_origin(one: Dataset, points: str, written: set[str]) -> None:
    table = one.people.align(UNION_21)
    xy, v, origin = table.xy.copy(), table.v.copy(), table.origin.copy()
    thorax, crown = KEYPOINTS.index("thorax"), KEYPOINTS.index("head_top")
    xy[:, thorax], v[:, thorax], origin[:, thorax] = (3, 4), 1, ORIGIN["accepted"]
    origin[:, crown] = ORIGIN["rejected"]
    decided = replace(one, people=replace(table, xy=xy, v=v, origin=origin))
    person = enhanced.annotations([decided], proposals_for(one), points)["annotations"][1]
    words = person["annotator"]["origin"]
    assert set(words) - {"none"} == written
    for name, (x, y, seen) in triples(person).items():
        left_out = words[KEYPOINTS.index(name)] in ("none", "rejected")
        assert (seen == 0) == left_out
        assert not left_out or (x, y) == (0, 0)
    assert person["num_keypoints"] == 11 + (points != "labelled")


def test_corrected_label_keeps_the_old_one(one: Dataset) -> None:
    table = one.people
    xy, origin = table.xy.copy(), table.origin.copy()
    xy[0, 1], origin[0, 1] = (300, 301.5), ORIGIN["corrected"]
    corrected = replace(one, people=replace(table, xy=xy, origin=origin))
    person = enhanced.annotations([corrected], proposals_for(one))["annotations"][1]
    assert triples(person)["left_eye"] == [300, 301.5, 1]
    assert person["annotator"]["previous"] == {"left_eye": [101, 50.5, 1]}
    labelled = enhanced.annotations([corrected], proposals_for(one), "labelled")["annotations"][1]
    assert triples(labelled)["left_eye"] == [101, 50.5, 1]  # what the dataset said
    assert labelled["annotator"]["origin"][1] == "labelled"


def test_previous_label_survives_another_export(one: Dataset, tmp_path: Path) -> None:
    table = one.people
    xy, origin = table.xy.copy(), table.origin.copy()
    xy[0, 1], origin[0, 1] = (300, 301.5), ORIGIN["corrected"]
    corrected = replace(one, people=replace(table, xy=xy, origin=origin))
    enhanced.write(tmp_path / "out.json", [corrected], proposals_for(one))
    again = formats.read(tmp_path / "out.json", tmp_path)
    for points, now in (("human", [300, 301.5, 1]), ("labelled", [101, 50.5, 1])):
        person = enhanced.annotations([again], proposals_for(one), points)["annotations"][1]
        assert triples(person)["left_eye"] == now
        assert person["annotator"].get("previous", {}) == ({"left_eye": [101, 50.5, 1]} if points == "human" else {})


def test_computed_box_is_known_as_such_when_read_again(two: Dataset, tmp_path: Path) -> None:
    enhanced.write(tmp_path / "out.json", [two], proposals_for(two))
    back = formats.read(tmp_path / "out.json", tmp_path, source="mpii").people
    assert not back.bbox_given.any()
    assert np.isnan(back.area).all()
    assert set(back.pixel_origin) == {1}
    np.testing.assert_array_equal(back.xy, two.people.project(UNION_21).xy)


def test_mpii_person_gets_an_id_a_box_and_an_area(two: Dataset) -> None:
    out = enhanced.annotations([two], proposals_for(two))
    first, second = out["annotations"]
    assert (first["id"], second["id"]) == (1, 2)  # index + 1: pycocotools takes 0 for "unmatched"
    assert out["images"] == [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}]
    assert first["mood"] == 1
    assert first["joints"][0] == [0.5, 100.25]
    assert first["bbox"] == [-25, -40, 150, 200]  # 200 high, 150 wide, around (50, 60)
    assert first["area"] == pytest.approx(0.53 * 150 * 200)
    assert first["annotator"]["pixel_origin"] == 1
    assert first["annotator"]["bbox_given"] is False
    assert triples(first)["right_ankle"] == [0.5, 100.25, 2]  # MPII's own convention
    assert first["num_keypoints"] == 8


def test_several_sources_count_pixels_from_0_and_share_no_id(one: Dataset, two: Dataset) -> None:
    out = enhanced.annotations([one, two], proposals_for(one, two))
    ids = [a["id"] for a in out["annotations"]]
    assert ids[:5] == [1, 2, 3, 4, 5]
    assert len(set(ids)) == 7
    assert len({image["id"] for image in out["images"]}) == 3
    person = out["annotations"][5]
    assert triples(person)["right_ankle"] == [-0.5, 99.25, 2]
    assert person["bbox"] == [-26, -41, 150, 200]
    assert person["joints"][0] == [0.5, 100.25]  # the source's own field is not touched
    assert person["annotator"]["pixel_origin"] == 0
    assert out["info"]["annotator"]["pixels"].startswith("x and y of keypoints and bbox count pixels from 0")
    assert [s["source"] for s in out["info"]["annotator"]["sources"]] == ["coco", "mpii"]


def test_id_that_is_taken_is_replaced_and_kept(one: Dataset, tmp_path: Path) -> None:
    other = coco.read(one.path, tmp_path, "other")
    out = enhanced.annotations([one, other], proposals_for(one, other))
    assert [a["id"] for a in out["annotations"]] == list(range(1, 11))
    assert [a.get("source_id") for a in out["annotations"]] == [None] * 5 + [1, 2, 3, 4, 5]
    assert [i["id"] for i in out["images"]] == [5, 6, 7, 8]
    assert {a["image_id"] for a in out["annotations"][5:]} == {7}
    assert [c["id"] for c in out["categories"]] == [1, 2, 3]
    assert out["annotations"][7]["category_id"] == 3  # the other file's dog


def test_keypoints_that_the_union_lacks_pass_through(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["keypoints"] = ["nose", "Tail", "left_horn"]
    for i in (1, 3):
        content["annotations"][i]["keypoints"] = [1, 2, 2, 3.5, 4, 1, 0, 0, 0]
    pictures(tmp_path, ["a.png"])
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = coco.read(tmp_path / "a.json", tmp_path)
    for table in (dataset.people, dataset.people.project(UNION_21)):
        out = enhanced.annotations([replace(dataset, people=table)], proposals_for(dataset))
        assert out["annotations"][1]["annotator"]["source_keypoints"] == {"tail": [3.5, 4, 1]}


def test_people_without_proposals_are_written_with_their_labels(one: Dataset) -> None:
    out = enhanced.annotations([one], proposals_for(one).take([1]))
    words = out["annotations"][1]["annotator"]["origin"]
    assert words == ["labelled" if k % 3 and k < 17 else "none" for k in range(21)]
    assert out["annotations"][1]["annotator"]["score"] == [None] * 21
    assert "proposed" in out["annotations"][3]["annotator"]["origin"]


def test_reading_it_again_finds_the_labels_alone(one: Dataset, tmp_path: Path) -> None:
    enhanced.write(tmp_path / "out.json", [one], proposals_for(one))
    back = formats.read(tmp_path / "out.json", tmp_path).people
    before = one.people.align(UNION_21)
    for name in ("person_id", "xy", "v", "origin", "bbox_xywh", "area"):
        np.testing.assert_array_equal(getattr(back, name), getattr(before, name))
    again = formats.read(tmp_path / "out.json", tmp_path)
    renewed = enhanced.annotations([again], proposals_for(one))
    assert renewed["annotations"] == json.loads((tmp_path / "out.json").read_text())["annotations"]


def test_written_file_is_the_document_and_the_same_bytes_each_time(one: Dataset, two: Dataset, tmp_path: Path) -> None:
    for name in ("x.json", "y.json"):
        enhanced.write(tmp_path / name, [one, two], proposals_for(one, two))
    assert json.loads((tmp_path / "x.json").read_text()) == enhanced.annotations([one, two], proposals_for(one, two))
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()


def test_what_does_not_fit_is_refused(one: Dataset) -> None:
    with pytest.raises(UsageError, match="--points: expected one of labelled, human, released, proposed, got 'all'"):
        enhanced.annotations([one], proposals_for(one), "all")
    with pytest.raises(TableError, match="expected datasets with different people, got the same person twice"):
        enhanced.annotations([one, one], proposals_for(one))
    stranger = replace(proposals_for(one), person_id=np.array(["coco:2", "coco:99"], dtype=object))
    with pytest.raises(TableError, match="expected proposals for people of the datasets, got coco:99"):
        enhanced.annotations([one], stranger)


@pytest.mark.parametrize(
    ("file", "root", "added"),
    [("coco/person_keypoints_test.json", "coco/images", 4), ("mpii/mpii_test.json", "mpii/images", 5)],
    ids=["coco", "mpii"],
)
def test_pycocotools_loads_it_and_every_label_equals_the_input(
    data: Path, tmp_path: Path, file: str, root: str, added: int, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = formats.read(data / file, data / root)
    enhanced.write(tmp_path / "annotations.json", [dataset], proposals_for(dataset))
    loaded = COCO(str(tmp_path / "annotations.json"))
    assert len(loaded.getAnnIds()) == len(dataset.people)
    assert len(loaded.getImgIds()) == len(dataset.images)
    columns = UNION_21.columns_of(dataset.people.skeleton)
    assert len(UNION_21) - len(columns) == added
    skeleton, numbers = formats.FORMATS[dataset.format].triples(dataset)  # type: ignore[misc]
    assert skeleton == dataset.people.skeleton
    for annotation, text, labelled in zip(
        loaded.dataset["annotations"], dataset.people.record, dataset.people.labelled, strict=True
    ):
        source = json.loads(text)
        ours = ("keypoints", "num_keypoints")
        assert {key: annotation[key] for key in source if key not in ours} == {
            key: value for key, value in source.items() if key not in ours
        }
        for point, column, there in zip(numbers(source), columns, labelled, strict=True):
            written = annotation["keypoints"][3 * column : 3 * column + 3]
            assert json.dumps(written) == json.dumps(point) if there else written[2] == 2
            assert (annotation["annotator"]["origin"][column] == "labelled") == there
        assert annotation["num_keypoints"] == labelled.sum()


@pytest.mark.slow
def test_time_does_not_grow_with_the_square_of_the_people(tmp_path: Path) -> None:
    """20,000 people through read and write take some 10 s on one core; anything quadratic would take many minutes."""
    table = make_people(20_000, COCO_17, source="coco")
    table = replace(table, image_id=np.array([f"coco:{i // 200}" for i in range(len(table))], dtype=object))
    names = [f"{i}.png" for i in range(100)]
    pictures(tmp_path, names)
    images = Images(
        image_id=np.array([f"coco:{i}" for i in range(100)], dtype=object), path=np.array(names, dtype=object),
        file_name=np.array(names, dtype=object), width=np.full(100, 640), height=np.full(100, 480),
        record=np.full(100, "", dtype=object),
    )  # fmt: skip
    start = time.perf_counter()
    coco.write(tmp_path / "a.json", Dataset("made", Path("a.json"), images, table))
    dataset = formats.read(tmp_path / "a.json", tmp_path)
    enhanced.write(tmp_path / "out.json", [dataset], proposals_for(dataset))
    assert len(formats.read(tmp_path / "out.json", tmp_path).people) == 20_000
    assert time.perf_counter() - start < 90
