"""From annotation files to a round: labels to the last bit, points by rule, proposals, and what was set aside."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from annotator import formats, rounds
from annotator.errors import InputError
from annotator.rounds import How
from annotator.skeletons import COCO_17, MPII_16, UNION_21
from annotator.store import tasks
from annotator.store.project import Project
from annotator.students import registry
from tests import networks, scenes
from tests.formats.made import SPECS, datasets, folder
from tests.formats.test_roundtrip import place
from tests.scenes import OUTPUTS, annotations, files, origins, points, rows, spoil

OF_MPII_ALONE = ("pelvis", "thorax", "upper_neck", "head_top")
OF_COCO_ALONE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def propose(source: tuple[Path, Path], out: Path, student: Path, **how: Any) -> rounds.Proposed:
    return rounds.propose(*source, out, How(str(student), **how))


@pytest.fixture(scope="module", params=formats.FORMATS)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, folder(tmp_path_factory.mktemp(request.param), request.param)


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_labels_of_every_format_are_written_as_they_were_read(
    named: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, tiny_student: Path, data: st.DataObject
) -> None:
    name, root = named
    made = data.draw(datasets(name, root))
    assume(len(made.people) > 0)
    out, path = tmp_path_factory.mktemp("out"), place(tmp_path_factory.mktemp("in"), name)
    formats.write(path, made, name)
    rounds.propose(path, root, out, How(str(tiny_student)), format=name)
    source = tomllib.loads((out / "annotator.toml").read_text())["sources"][0]["name"]
    table = formats.read(path, root, name, source=source).people.project(UNION_21)
    written = annotations(out)
    assert [entry["annotator"]["person_id"] for entry in written] == table.person_id.tolist()
    for row, entry in enumerate(written):
        found = points(entry)
        for k, keypoint in enumerate(UNION_21.keypoints):
            if table.v[row, k]:
                assert found[keypoint] == (*table.xy[row, k].tolist(), table.v[row, k], "labelled")
            else:
                assert found[keypoint][3] != "labelled"
        assert entry["num_keypoints"] == table.labelled[row].sum()
        assert entry["annotator"]["pixel_origin"] == table.pixel_origin[row] == SPECS[name].pixel_origin


def test_a_coco_person_gets_the_four_keypoints_that_coco_lacks(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    propose(coco, tmp_path / "out", tiny_student)
    for entry, source in zip(
        annotations(tmp_path / "out"), json.loads(coco[0].read_text())["annotations"], strict=True
    ):
        placed = [name for name, (*_, word) in points(entry).items() if word in ("proposed", "derived")]
        assert tuple(placed) == OF_MPII_ALONE
        assert origins(entry)["labelled"] == source["num_keypoints"] == entry["num_keypoints"]
        assert all(v == 2 and (x, y) != (0, 0) for x, y, v, word in points(entry).values() if word == "proposed")
        assert entry["mood"] == source["mood"] and entry["id"] == source["id"]


def test_an_mpii_person_gets_the_five_keypoints_that_mpii_lacks(
    mpii: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    propose(mpii, tmp_path / "out", tiny_student)
    for entry in annotations(tmp_path / "out"):
        placed = [name for name, (*_, word) in points(entry).items() if word == "proposed"]
        assert tuple(placed) == OF_COCO_ALONE and origins(entry)["derived"] == 0


def test_pelvis_and_thorax_are_exact_midpoints_where_their_parents_are_labelled(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    propose(coco, tmp_path / "out", tiny_student)
    kept, derived = rows(tmp_path / "out"), 0
    for entry in annotations(tmp_path / "out"):
        found = points(entry)
        for name, part in (("pelvis", "hip"), ("thorax", "shoulder")):
            left, right = found[f"left_{part}"], found[f"right_{part}"]
            row = kept[entry["annotator"]["person_id"], name]
            if left[2] and right[2]:
                derived += 1
                assert found[name] == ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2, 2, "derived")
                assert (row["origin"], row["score"], row["x"]) == ("derived", 1, (left[0] + right[0]) / 2)
                assert np.isnan([row["spread_px"], row["entropy"], row["peaks"], row["disagreement_px"]]).all()
            else:
                assert found[name][3] == row["origin"] == "proposed" and row["spread_px"] > 0
    assert derived >= 8  # both, of the first person of each of four pictures


def test_what_could_be_labelled_and_is_not_is_told_from_what_the_dataset_never_labels(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    propose(coco, tmp_path / "out", tiny_student)
    kept = rows(tmp_path / "out")
    for entry in annotations(tmp_path / "out"):
        for name, (x, y, v, word) in points(entry).items():
            row = kept[entry["annotator"]["person_id"], name]
            missing = "not_in_schema" if name in OF_MPII_ALONE else "unlabelled"
            assert row["kind"] == ("labelled" if word == "labelled" else missing)
            if row["kind"] == "unlabelled":  # the model's word stays out of the annotation file, and is kept
                assert (x, y, v, word) == (0, 0, 0, "none") and np.isfinite([row["x"], row["y"]]).all()


def test_named_keypoints_are_hidden_and_always_written(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    made = propose(coco, tmp_path / "out", tiny_student, hide=("nose", "left_hip"))
    plain = propose(coco, tmp_path / "plain", tiny_student)
    assert made.people.equals(plain.people)  # the labels themselves are all there
    kept, before = rows(tmp_path / "out"), rows(tmp_path / "plain")
    for entry in annotations(tmp_path / "out"):
        found, person = points(entry), entry["annotator"]["person_id"]
        for name in ("nose", "left_hip"):
            assert found[name][2:] == (2, "proposed") and kept[person, name]["kind"] == "hidden"
        assert found["pelvis"][3] == "proposed"  # its rule needs both hips
        for name in UNION_21.keypoints:  # the model says the same, told or not
            assert kept[person, name]["x"] == before[person, name]["x"] or before[person, name]["origin"] == "derived"


@pytest.mark.parametrize("source", ["coco", "mpii"])
def test_with_all_hidden_pixels_and_box_alone_speak(
    source: str, tmp_path: Path, tiny_student: Path, request: pytest.FixtureRequest
) -> None:
    made = propose(request.getfixturevalue(source), tmp_path / "out", tiny_student, hide=("all",))
    assert {row["kind"] for row in rows(tmp_path / "out").values()} == {"hidden"}
    assert all(origins(entry) == {"proposed": 21} for entry in annotations(tmp_path / "out"))
    summary = made.summary()
    assert summary["labelled"] == 0 and summary["hidden"] == int(made.people.labelled.sum()) > 0
    assert f"{summary['hidden']:,} hidden and replaced by proposals" in made.lines()[0]


def test_the_file_is_valid_coco(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path) -> None:
    propose(coco, tmp_path / "out", tiny_student)
    loaded = COCO(str(tmp_path / "out" / "annotations.json"))
    assert loaded.loadCats(1)[0]["keypoints"] == list(UNION_21.keypoints)
    assert len(loaded.getAnnIds()) == 12 and len(loaded.getImgIds()) == 4


def test_a_round_says_what_made_it(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path) -> None:
    made = propose(coco, tmp_path / "out", tiny_student, hide=("nose",))
    digest = registry.resolve(str(tiny_student), UNION_21).networks[0].digest
    assert tomllib.loads((made.folder / "round.toml").read_text()) == {
        "number": 1, "student": "tiny", "networks": [{"name": "tiny", "sha256": digest}], "hidden": ["nose"],
        "people": 12, "set_aside": 0, "calibrated": "none",
    }  # fmt: skip
    columns = pq.read_schema(made.folder / "proposals.parquet").names
    said = """person_id, image_id, keypoint, x, y, score, p_present, expected_error_px, radius50, radius80, radius90,
        radius95, scale_px, origin, kind, spread_px, entropy, peaks, disagreement_px, student, calibrated"""
    assert set(columns) == {name.strip() for name in said.split(",")}
    assert {(row["student"], row["calibrated"]) for row in rows(tmp_path / "out").values()} == {("tiny", "none")}


def test_people_of_pictures_that_cannot_be_read_keep_their_labels(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    whole = propose(coco, tmp_path / "whole", tiny_student)
    for i, how in enumerate(("cut short", "text", "empty")):
        spoil(coco[1] / f"{i:06d}.png", how)
    made = propose(coco, tmp_path / "out", tiny_student)
    assert (len(made.people), len(made.proposals)) == (12, 3)
    problems = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert [problem["file"] for problem in problems] == [str(coco[1] / f"{i:06d}.png") for i in range(3)]
    assert [problem["pointer"] for problem in problems] == ["coco:139", "coco:140", "coco:141"]
    assert all(problem["expected"] in ("a picture", "a whole picture") for problem in problems)
    assert problems[1]["found"] == "no picture that Pillow knows; 3 people without proposals"
    assert problems[1]["record"] == [f"coco:{1000 + 7 * i}" for i in (3, 4, 5)]
    written, before = annotations(tmp_path / "out"), annotations(tmp_path / "whole")
    for entry, other in zip(written[:9], before[:9], strict=True):
        labels = {name: point for name, point in points(other).items() if point[3] == "labelled"}
        assert {name: point for name, point in points(entry).items() if point[2]} == labels
        assert origins(entry)["proposed"] == 0
    assert written[9:] == before[9:] and len(whole.problems) == 0


def test_no_picture_at_all_that_can_be_read_still_keeps_the_labels(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    for path in coco[1].iterdir():
        spoil(path, "text")
    made = propose(coco, tmp_path / "out", tiny_student)
    assert (len(made.proposals), len(made.problems), len(annotations(tmp_path / "out"))) == (0, 4, 12)


def test_the_result_does_not_depend_on_workers_or_on_what_was_kept(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source", 60, 3)  # 180 people: three shards
    made = [propose(source, tmp_path / f"out{n}", tiny_student, workers=n) for n in (1, 2, 5)]
    for other in ("out2", "out5"):
        for name in OUTPUTS:
            assert (tmp_path / other / name).read_bytes() == (tmp_path / "out1" / name).read_bytes(), name
    assert made[0].proposals.equals(made[2].proposals)
    before = files(tmp_path / "out1")
    propose(source, tmp_path / "out1", tiny_student)
    assert files(tmp_path / "out1") == before  # from the cache
    shutil.rmtree(tmp_path / "out1" / "cache")
    propose(source, tmp_path / "out1", tiny_student)
    assert files(tmp_path / "out1") == before  # without it


def test_shards_hold_whole_pictures_and_everybody_once(tmp_path: Path) -> None:
    table = formats.read(*scenes.coco(tmp_path, 50, 5)).people
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    for people in (table, mixed, table.take([0]), table.take([])):
        shards = rounds._shards(people)
        everybody = np.concatenate([*shards, np.zeros(0, dtype=int)])
        assert sorted(everybody.tolist()) == list(range(len(people)))
        pictures = [set(people.image_id[rows]) for rows in shards]
        assert sum(map(len, pictures)) == len(set(people.image_id))
        assert all(rounds.SHARD <= len(rows) < rounds.SHARD + 5 for rows in shards[:-1])


def test_proposals_keep_the_order_of_the_people(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source", 30, 3)
    document = json.loads(source[0].read_text())
    np.random.default_rng(0).shuffle(document["annotations"])
    source[0].write_text(json.dumps(document))
    made = propose(source, tmp_path / "out", tiny_student)
    assert made.proposals.person_id.tolist() == made.people.person_id.tolist()
    assert [entry["id"] for entry in annotations(tmp_path / "out")] == [a["id"] for a in document["annotations"]]


def test_progress_is_told_to_its_end(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path) -> None:
    told: list[tuple[int, int]] = []
    rounds.propose(*coco, tmp_path / "out", How(str(tiny_student)), progress=lambda *step: told.append(step))
    assert told[-1] == (12, 12)


def test_a_run_that_is_interrupted_goes_on_from_what_is_kept(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source", 60, 3)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rounds.propose(*source, tmp_path / "out", How(str(tiny_student)), progress=stop)
    assert not (tmp_path / "out" / "annotations.json").exists()
    propose(source, tmp_path / "out", tiny_student)
    propose(source, tmp_path / "undisturbed", tiny_student)
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def test_another_student_makes_another_round(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path) -> None:
    propose(coco, tmp_path / "out", tiny_student)
    before = rows(tmp_path / "out")
    propose(coco, tmp_path / "out", networks.random_student(tmp_path / "two", seed=1, name="two"))
    after = rows(tmp_path / "out")
    assert {row["student"] for row in after.values()} == {"two"}
    assert sum(after[key]["x"] == before[key]["x"] for key in before if before[key]["origin"] == "proposed") < 10


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (How("nobody"), r"^--student: expected one of default, .*, got 'nobody'$"),
        (How(hide=("nose", "tail")), r"expected a keypoint of union21, got 'tail'$"),
        (How(accept_risk=0.1), r"^--accept-risk: expected proposals calibrated on their own dataset"),
    ],
    ids=["student", "keypoint", "release"],
)  # fmt: skip
def test_a_request_that_cannot_be_met_leaves_nothing_behind(
    coco: tuple[Path, Path], tmp_path: Path, students: Path, how: How, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        rounds.propose(*coco, tmp_path / "out", how)
    assert not (tmp_path / "out").exists()


def test_nobody_to_propose_for_is_said(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source")
    document = json.loads(source[0].read_text())
    source[0].write_text(json.dumps(document | {"annotations": []}))
    with pytest.raises(InputError, match="expected people with a usable box, got none"):
        propose(source, tmp_path / "out", tiny_student)


def test_a_teacher_without_a_keypoint_proposes_what_it_knows(coco: tuple[Path, Path], tmp_path: Path) -> None:
    path = networks.bright_heatmap(tmp_path / "net" / "mpii.onnx", k=16)
    output = {"kind": "heatmap", "name": "heatmap", "stride": 4}
    card = networks.write_card(path, output, dataset="mpii16", keypoints=list(MPII_16.keypoints))
    propose(coco, tmp_path / "out", card)
    kept = rows(tmp_path / "out")
    assert all(np.isnan(kept[person, name]["x"]) == (name in OF_COCO_ALONE) for person, name in kept)
    assert len(COCO_17) + len(OF_MPII_ALONE) == 21


def test_a_round_that_went_out_to_reviewers_is_not_replaced_by_another(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    propose(coco, tmp_path / "p", tiny_student)
    with Project.open(tmp_path / "p") as project:
        tasks.open_round(project, 1, unlock=False)
        tasks.put_tasks(project, 1, [("key", "image", 0, "{}")])
    before = files(tmp_path / "p")
    with pytest.raises(InputError, match=r"round\.toml: expected the hidden of the round that went out to reviewers"):
        propose(coco, tmp_path / "p", tiny_student, hide=("nose",))
    assert files(tmp_path / "p") == before
    propose(coco, tmp_path / "p", tiny_student)
    assert files(tmp_path / "p") == before
