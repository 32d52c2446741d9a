"""`annotator evaluate`, from files to figures."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotator import formats
from annotator.cli import main
from annotator.formats import enhanced
from annotator.metrics.coco_ap import AP_NAMES
from annotator.people import People
from annotator.proposals import KIND, Proposals
from annotator.skeletons import COCO_17, MPII_16, UNION_21
from tests.builders import make_people, make_proposals

CATEGORY = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}


def triples(xy: np.ndarray, v: np.ndarray) -> list[list[float]]:
    return np.concatenate([np.where(v[..., None] > 0, xy, 0), v[..., None]], axis=2).reshape(len(v), -1).tolist()


def write_truth(folder: Path, people: People, **fields: list[Any]) -> Path:
    """A COCO file of the people, with empty pictures beside it; `fields` are added to the annotations."""
    numbers = [int(name.split(":")[1]) for name in people.image_id]
    (folder / "images").mkdir(parents=True)
    for number in set(numbers):
        (folder / "images" / f"{number}.jpg").touch()
    keypoints = triples(people.xy, people.v)
    annotations = [
        {"id": i, "image_id": numbers[i], "category_id": 1, "keypoints": keypoints[i], "iscrowd": 0,
         "num_keypoints": int((people.v[i] > 0).sum()), "bbox": people.bbox_xywh[i].tolist(),
         "area": float(people.scale_px()[i] ** 2), **{name: values[i] for name, values in fields.items()}}
        for i in range(len(people))
    ]  # fmt: skip
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in sorted(set(numbers))]
    return write(folder / "truth.json", {"images": images, "annotations": annotations, "categories": [CATEGORY]})


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def hidden(people: People, xy: np.ndarray | None = None, **columns: Any) -> Proposals:
    """Proposals for every label as if it had been hidden, 3 px off or at `xy`."""
    proposals = make_proposals(people, seed=1, error_px=3)
    kind = np.where(people.labelled, KIND["hidden"], proposals.kind)
    return replace(proposals, kind=kind, xy=proposals.xy if xy is None else xy, **columns)


def write_rows(path: Path, proposals: Proposals) -> Path:
    pq.write_table(proposals.rows(), path)
    return path


def write_annotations(path: Path, proposals: Proposals, **block: Any) -> Path:
    """What `propose` writes: origin and score of every keypoint in an `annotator` block."""
    words = np.where(proposals.kind == KIND["labelled"], "labelled", "proposed")
    keypoints = triples(proposals.xy, np.full(proposals.xy.shape[:2], 2))
    annotations = [
        {"id": 7000 + i, "image_id": name.split(":")[1], "category_id": 1, "keypoints": keypoints[i],
         "annotator": {"person_id": proposals.person_id[i], "origin": words[i].tolist(),
                       "score": proposals.score[i].tolist(), **block}}
        for i, name in enumerate(proposals.image_id)
    ]  # fmt: skip
    category = {**CATEGORY, "keypoints": list(proposals.skeleton.keypoints)}
    return write(path, {"images": [], "annotations": annotations, "categories": [category]})


def write_results(path: Path, proposals: Proposals, rows: Any = slice(None)) -> Path:
    keypoints = triples(proposals.xy, np.ones(proposals.xy.shape[:2]))
    score = proposals.score.astype(float).mean(axis=1).tolist()
    results = [
        {"image_id": int(name.split(":")[1]), "category_id": 1, "keypoints": keypoints[i], "score": score[i]}
        for i, name in enumerate(proposals.image_id)
    ]
    return write(path, np.array(results, dtype=object)[rows].tolist())


@pytest.fixture
def people() -> People:
    """30 people on 15 pictures, two a picture; their ids as a COCO reader makes them."""
    return make_people(30, COCO_17, seed=4, source="coco")


@pytest.fixture
def run(capsys):
    """Run the command with --json; the figures."""

    def evaluate(pred: Path, truth: Path, *options: str) -> dict[str, Any]:
        arguments = ["evaluate", str(pred), "--against", str(truth), "--json", "--bootstrap", "50", *options]
        assert main([*arguments, *(() if "--format" in options else ("--format", "coco"))]) == 0, (
            capsys.readouterr().err
        )
        return json.loads(capsys.readouterr().out)

    return evaluate


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in result["summary"].items()}


def test_proposals_on_the_labels_are_perfect_with_no_doubt_left(tmp_path, people, run):
    truth = write_truth(tmp_path, people)
    result = run(write_rows(tmp_path / "proposals.parquet", hidden(people, np.nan_to_num(people.xy, nan=9.0))), truth)
    for name in ("mean_oks", "ap", "ar", "pck_0.2"):
        figure = result["summary"][name]
        assert (figure["value"], figure["low"], figure["high"]) == pytest.approx((1, 1, 1))
    assert result["summary"]["mean_oks"]["people"] == 30
    assert result["summary"]["mean_oks"]["images"] == 15
    assert result["summary"]["mean_oks"]["keypoints"] == int(people.labelled.sum())
    assert result["summary"]["pckh_0.5"]["value"] is None  # COCO has no head size
    assert result["per_keypoint"]["nose"]["similarity"]["keypoints"] == int(people.labelled[:, 0].sum())


@pytest.mark.parametrize(
    "writer", [write_rows, write_annotations, write_results], ids=["parquet", "annotations", "results list"]
)
def test_every_kind_of_file_gives_the_same_figures(tmp_path, people, run, writer):
    truth, proposals = write_truth(tmp_path, people), hidden(people)
    alike = np.repeat(proposals.score[:, :1], 17, axis=1)  # one score a person, so that all kinds can say it
    name = "predictions.parquet" if writer is write_rows else "predictions.json"
    figures = values(run(writer(tmp_path / name, replace(proposals, score=alike)), truth))
    base = values(run(write_rows(tmp_path / "base.parquet", replace(proposals, score=alike)), truth))
    assert figures == pytest.approx(base, nan_ok=True)
    assert 0.2 < figures["mean_oks"] < 1


def test_last_round_of_a_project_is_evaluated(tmp_path, people, run):
    truth, good = write_truth(tmp_path, people), hidden(people, np.nan_to_num(people.xy, nan=9.0))
    for number, proposals in (("001", hidden(people)), ("002", good)):
        (tmp_path / "rounds" / number).mkdir(parents=True)
        write_rows(tmp_path / "rounds" / number / "proposals.parquet", proposals)
    assert values(run(tmp_path, truth))["mean_oks"] == pytest.approx(1)


def test_keypoints_that_the_student_was_shown_count_only_when_asked_for(tmp_path, people, run, capsys):
    truth, shown = write_truth(tmp_path, people), write_rows(tmp_path / "p.parquet", make_proposals(people))
    assert main(["evaluate", str(shown), "--against", str(truth), "--format", "coco"]) == 1
    assert "expected keypoints the model was not shown" in capsys.readouterr().err
    assert values(run(shown, truth, "--also-labelled"))["mean_oks"] > 0
    labels_in_it = write_annotations(tmp_path / "annotations.json", make_proposals(people))
    assert main(["evaluate", str(labels_in_it), "--against", str(truth), "--format", "coco"]) == 1


def test_only_labels_of_the_dataset_and_blind_ones_are_truth(tmp_path, people, run):
    word = np.array(["labelled", "control", "proposed", "released", "derived", "accepted", "corrected"], dtype=object)
    origin = word[np.arange(30 * 17).reshape(30, 17) % 7]
    truth = write_truth(tmp_path, people, annotator=[{"origin": row} for row in origin.tolist()])
    result = run(write_rows(tmp_path / "p.parquet", hidden(people)), truth)
    counts = np.isin(origin, ["labelled", "control"]) & people.labelled
    assert result["summary"]["mean_oks"]["keypoints"] == int(counts.sum())


def test_person_without_prediction_is_missed_by_ap_and_pck_and_left_out_of_mean_oks(tmp_path, people, run):
    truth, perfect = write_truth(tmp_path, people), hidden(people, np.nan_to_num(people.xy, nan=9.0))
    result = run(write_rows(tmp_path / "p.parquet", perfect.take(np.arange(1, 30))), truth)
    labelled = (
        people.labelled[:, COCO_17.indices(["left_shoulder", "right_hip"])].all(axis=1)[:, None] & people.labelled
    )
    assert result["people"]["without_prediction"] == 1
    assert values(result)["mean_oks"] == pytest.approx(1)
    assert values(result)["ar"] == pytest.approx(29 / 30)
    assert values(result)["pck_0.2"] == pytest.approx(labelled[1:].sum() / labelled.sum())


@pytest.mark.parametrize("writer", [write_rows, write_results], ids=["by id", "by nearness"])
def test_filters_take_a_person_and_its_prediction_away_together(tmp_path, people, run, writer):
    truth, perfect = write_truth(tmp_path, people), hidden(people, np.nan_to_num(people.xy, nan=9.0))
    few, small = people.labelled.sum(axis=1) < 13, people.scale_px() ** 2 <= 12000
    name = "p.parquet" if writer is write_rows else "p.json"
    result = run(writer(tmp_path / name, perfect), truth, "--min-keypoints", "13", "--min-area", "12000")
    assert 0 < (few | small).sum() < 30
    assert result["people"]["left_out_by_filters"] == int((few | small).sum())
    assert values(result)["ap"] == pytest.approx(1)


def test_only_named_keypoints_are_compared_while_filters_and_yardsticks_rest_on_all_labels(tmp_path, people, run):
    face = COCO_17.indices(names := ("nose", "left_eye", "right_ear"))
    xy = np.nan_to_num(people.xy, nan=9.0) + 1000
    xy[:, face] -= 1000
    truth, pred = write_truth(tmp_path, people), write_rows(tmp_path / "p.parquet", hidden(people, xy))
    result = run(pred, truth, "--keypoints", "nose, left_eye,right_ear", "--min-keypoints", "13")
    kept = people.labelled.sum(axis=1) >= 13
    assert result["keypoints"] == list(names) and result["people"]["with_prediction"] == kept.sum()
    assert values(result)["mean_oks"] == values(result)["ap"] == values(result)["pck_0.2"] == pytest.approx(1)
    torso = people.labelled[:, COCO_17.indices(("left_shoulder", "right_hip"))].all(axis=1)
    assert result["summary"]["pck_0.2"]["keypoints"] == people.labelled[kept & torso][:, face].sum()


def test_an_unknown_keypoint_is_refused(tmp_path, people, capsys):
    truth, pred = write_truth(tmp_path, people), write_rows(tmp_path / "p.parquet", hidden(people))
    assert main(["evaluate", str(pred), "--against", str(truth), "--format", "coco", "--keypoints", "nose,tail"]) == 1
    assert "expected a keypoint of coco17, got 'tail'" in capsys.readouterr().err


def test_results_list_is_matched_by_nearness_and_its_surplus_costs_precision(tmp_path, people, run):
    truth, perfect = write_truth(tmp_path, people), hidden(people, np.nan_to_num(people.xy, nan=9.0))
    mixed = np.random.default_rng(0).permutation(30)
    assert values(run(write_results(tmp_path / "mixed.json", perfect, mixed), truth))["mean_oks"] == pytest.approx(1)
    away = replace(perfect, xy=perfect.xy + 5000, score=np.ones((30, 17)))
    surplus = json.loads(write_results(tmp_path / "a.json", perfect).read_text())
    surplus += json.loads(write_results(tmp_path / "b.json", away).read_text())
    figures = values(run(write(tmp_path / "c.json", surplus), truth))
    assert figures["mean_oks"] == pytest.approx(1)
    assert figures["ar"] == pytest.approx(1)
    assert figures["ap"] == pytest.approx(0.5, abs=0.01)  # thirty wrong ones stand before thirty right ones


def test_pixels_counted_from_0_meet_labels_counted_from_1(tmp_path, run):
    made = make_people(6, MPII_16, seed=2, source="mpii")
    (tmp_path / "1.jpg").touch()
    records = [
        {"image": "1.jpg", "joints": np.nan_to_num(xy, nan=-1).tolist(), "joints_vis": (v > 0).astype(int).tolist(),
         "center": [320.0, 240.0], "scale": 1.0}
        for xy, v in zip(made.xy, made.v, strict=True)
    ]  # fmt: skip
    truth = write(tmp_path / "truth.json", records)
    from_0 = hidden(made, np.nan_to_num(made.xy, nan=9.0) - 1)
    pred = write_annotations(tmp_path / "annotations.json", from_0, pixel_origin=0)
    result = run(pred, truth, "--format", "mpii")
    assert values(result)["mean_oks"] == pytest.approx(1)
    assert result["summary"]["pckh_0.1"]["value"] == pytest.approx(1)
    assert set(result["parts"]) == {"head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"}


def test_keypoints_of_one_side_only_are_named_and_not_counted(tmp_path, people, run):
    truth = write_truth(tmp_path, people)
    result = run(write_rows(tmp_path / "p.parquet", hidden(people.project(UNION_21))), truth)
    assert result["keypoints"] == list(COCO_17.keypoints)
    assert result["left_out"]["only_in_predictions"] == ["pelvis", "thorax", "upper_neck", "head_top"]


def test_list_restricts_the_truth_to_the_named_pictures(tmp_path, people, run):
    truth, proposals = write_truth(tmp_path, people), hidden(people)
    pred = write_rows(tmp_path / "p.parquet", proposals.take([0, 1, 4, 5]))
    (tmp_path / "list.txt").write_text("0.jpg\n2.jpg\n")
    result = run(pred, truth, "--list", str(tmp_path / "list.txt"))
    assert result["people"]["truth"] == 4
    assert result["people"]["without_prediction"] == 0


def test_file_that_propose_writes_gives_the_figures_of_its_rows(tmp_path, people, run):
    truth = write_truth(tmp_path, people)
    dataset = formats.read(truth, tmp_path / "images", "coco")
    proposals = hidden(dataset.people.project(UNION_21))
    enhanced.write(
        tmp_path / "annotations.json",
        [replace(dataset, people=dataset.people.hide(list(COCO_17.keypoints)))],
        proposals,
    )
    ours = values(run(tmp_path / "annotations.json", truth))
    assert ours == pytest.approx(
        values(run(write_rows(tmp_path / "p.parquet", proposals), truth)), abs=1e-4, nan_ok=True
    )


def test_crowds_and_other_categories_are_no_predictions(tmp_path, people, run):
    truth, pred = write_truth(tmp_path, people), write_annotations(tmp_path / "annotations.json", hidden(people))
    document = json.loads(pred.read_text())
    document["annotations"] += [
        {"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 1, "keypoints": [0] * 51},
        {"id": 2, "image_id": 0, "category_id": 18, "bbox": [0, 0, 5, 5]},
    ]
    assert run(write(pred, document), truth)["people"]["predictions"] == 30


def test_same_seed_prints_the_same_bytes(tmp_path, people, capsys):
    truth, pred = write_truth(tmp_path, people), write_rows(tmp_path / "p.parquet", hidden(people))
    outputs = []
    for seed in ("3", "3", "4"):
        arguments = ["evaluate", str(pred), "--against", str(truth), "--format", "coco", "--json", "--bootstrap", "20"]
        assert main([*arguments, "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0])["summary"] != json.loads(outputs[2])["summary"]


def test_table_names_every_figure_and_counts_set_aside_records_last(tmp_path, people, capsys):
    truth, pred = write_truth(tmp_path, people), write_rows(tmp_path / "p.parquet", hidden(people))
    (tmp_path / "images" / "0.jpg").unlink()
    arguments = ["evaluate", str(pred), "--against", str(truth), "--format", "coco", "--bootstrap", "20"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(title in out for title in ("mean OKS", "AP .50", "AR large", "PCK@.2 torso", "left_ankle"))
    assert "PCKh" not in out
    assert out.splitlines()[-1].startswith("28 people in the truth, 28 with a prediction")
    assert out.endswith("set aside 1 records.\n")
    assert main([*arguments, "--strict"]) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("no json", "expected JSON"),
        ({"images": []}, "expected COCO keypoints, a results list or proposals.parquet, got an object"),
        ([], "expected a results list with keypoints, got []"),
        ([{"image_id": 0, "keypoints": [1.0] * 50, "score": 1}], "[0].keypoints: expected 51 numbers, got 50"),
        ([{"image_id": 0, "keypoints": [1.0] * 51}], "[0].score: expected a number, got nothing"),
        ([{"keypoints": [1.0] * 51, "score": 1}], "[0]: expected an object with an image_id"),
        ([{"image_id": 0, "keypoints": ["a"] * 51, "score": 1}], '[0].keypoints: expected finite numbers, got "a"'),
        ([{"image_id": 0, "keypoints": [float("nan")] * 51, "score": 1}], "expected finite numbers, got NaN"),
        ([{"image_id": 99, "keypoints": [1.0] * 51, "score": 1}], "expected predictions of people like coco:0"),
        ({"annotations": [], "categories": []}, "categories: expected one category with keypoints, got 0"),
        (
            {"annotations": [{"id": 1, "image_id": 0, "keypoints": [1] * 51, "annotator": {"origin": ["proposed"]}}],
             "categories": [CATEGORY]},
            "annotations[0].annotator.origin: expected 17 values, got 1",
        ),
    ],
)  # fmt: skip
def test_faulty_predictions_are_one_line_with_a_pointer(tmp_path, people, capsys, document, message):
    truth, pred = write_truth(tmp_path, people), tmp_path / "p.json"
    pred.write_text(document if isinstance(document, str) else json.dumps(document))
    assert main(["evaluate", str(pred), "--against", str(truth), "--format", "coco"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"person_id": ["a"]}), "expected columns image_id, keypoint, x, y"),
        (None, "expected Parquet with one row per person and keypoint"),
    ],
    ids=["columns missing", "not Parquet"],
)
def test_faulty_parquet_is_one_line(tmp_path, people, capsys, table, message):
    truth, pred = write_truth(tmp_path, people), tmp_path / "p.parquet"
    pred.write_text("not Parquet") if table is None else pq.write_table(table, pred)
    assert main(["evaluate", str(pred), "--against", str(truth), "--format", "coco"]) == 1
    assert message in capsys.readouterr().err


def test_two_predictions_of_one_person_are_refused(tmp_path, people, capsys):
    truth, proposals = write_truth(tmp_path, people), hidden(people)
    twice = write_annotations(tmp_path / "p.json", proposals.take([0, 1, 1]))
    assert main(["evaluate", str(twice), "--against", str(truth), "--format", "coco"]) == 1
    assert "expected one prediction a person, got two of coco:1" in capsys.readouterr().err


def test_ap_of_real_people_equals_cocoeval_on_the_same_two_files(tmp_path, data, run):
    truth = data / "coco" / "person_keypoints_test.json"
    document = json.loads(truth.read_text())
    rng, results = np.random.default_rng(0), []
    for record in document["annotations"]:
        xy = np.array(record["keypoints"], dtype=float).reshape(-1, 3)[:, :2]
        xy += rng.normal(0, 0.03 * record["area"] ** 0.5, xy.shape) * rng.choice([1, 4])
        keypoints = np.concatenate([xy, np.ones((17, 1))], axis=1).ravel().tolist()
        results.append(
            {"image_id": record["image_id"], "category_id": 1, "keypoints": keypoints, "score": rng.random()}
        )
    pred = write(tmp_path / "results.json", results)
    ours = run(pred, truth, "--images", str(data / "coco" / "images"))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        theirs = COCOeval(coco, coco.loadRes(str(pred)), "keypoints")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    assert [ours["summary"][name]["value"] for name in AP_NAMES] == pytest.approx(theirs.stats, abs=1e-12)
    assert all(ours["summary"][name]["low"] < ours["summary"][name]["value"] for name in ("ap", "ar", "mean_oks"))
