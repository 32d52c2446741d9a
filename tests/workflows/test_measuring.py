"""Measuring students: where a dataset lies, Halpe's protocol on synthetic truth, the same figures as `evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator import formats
from annotator.errors import InputError
from annotator.evaluation import figures as evaluated
from annotator.evaluation.comparison import compare
from annotator.evaluation.predictions import read_predictions
from annotator.formats.dataset import Dataset
from annotator.images import Images
from annotator.people import ORIGIN, People
from annotator.proposals import KIND
from annotator.skeletons import COCO_17, HALPE_26, LSP_14, MPII_16, UNION_21, Skeleton
from tests.builders import make_people, make_proposals
from tests.formats.made import pictures
from tests.test_evaluate import hidden, write_rows
from workflows import measuring
from workflows.measuring import LAYOUTS, SHARED, STAND_IN, Bench, Resampled, Student, as_union, image_of, mean, place

# What MPII constructs and Halpe clicks or calls otherwise; none of it is in COCO.
TRUNK = ("pelvis", "thorax", "upper_neck", "head_top")


def layouts() -> list[tuple[str, str, str]]:
    return [(kind, *layout) for kind, all_of_them in LAYOUTS.items() for layout in all_of_them]


@pytest.mark.parametrize(("kind", "labels", "images"), layouts(), ids=[" ".join(one) for one in layouts()])
def test_a_dataset_is_found_in_each_layout(tmp_path, kind, labels, images):
    (tmp_path / labels).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / images).mkdir(parents=True, exist_ok=True)
    (tmp_path / labels).touch()
    assert place(kind, tmp_path) == (tmp_path / labels, tmp_path / images)


def test_a_folder_without_the_dataset_is_told_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"^--mpii .*: expected one of: annot/valid.json and images/; .*, got none$"):
        place("mpii", tmp_path)


def test_twelve_keypoints_are_shared():
    parts = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert set(SHARED) == {f"{side}_{part}" for side in ("left", "right") for part in parts}


@pytest.mark.parametrize(("skeleton", "kind"), [(HALPE_26, "halpe"), (LSP_14, "lsp")], ids=["halpe", "lsp"])
def test_stand_ins_take_place_and_word_of_the_labels_they_stand_for(skeleton: Skeleton, kind: str):
    people = make_people(9, skeleton)
    union = as_union(people, STAND_IN[kind])
    for theirs, ours in STAND_IN[kind].items():
        for column in ("xy", "v", "origin"):
            there, here = people.skeleton.index(theirs), UNION_21.index(ours)
            np.testing.assert_array_equal(getattr(union, column)[:, here], getattr(people, column)[:, there])
    assert not union.labelled[:, UNION_21.index("thorax")].any()


def test_thorax_is_midway_between_the_shoulders_and_unlabelled_where_one_of_them_is():
    people = make_people(30, HALPE_26)
    union = as_union(people, STAND_IN["halpe"], thorax=True)
    left, right = (people.skeleton.index(f"{side}_shoulder") for side in ("left", "right"))
    both = people.labelled[:, left] & people.labelled[:, right]
    assert both.any() and not both.all()
    k = UNION_21.index("thorax")
    np.testing.assert_allclose(union.xy[:, k], (people.xy[:, left] + people.xy[:, right]) / 2)
    assert (union.origin[:, k] == np.where(both, ORIGIN["labelled"], ORIGIN["none"])).all()
    assert (union.labelled[:, k] == both).all()


def test_people_of_one_picture_have_its_number_and_numbers_count_from_0():
    assert image_of(make_people(6, COCO_17).take([4, 0, 5, 1])).tolist() == [1, 0, 1, 0]


def dataset_of(people: People) -> Dataset:
    """People with pictures of which only the names are needed."""
    names = np.unique(people.image_id)
    unknown = np.full(len(names), -1)
    return Dataset("coco", Path("made"), Images(names, names, names, unknown, unknown, names), people)


def halpe(folder: Path, xy: np.ndarray, area: float) -> Dataset:
    """Halpe's file of N people, one a picture, all 26 keypoints labelled at (N, 26, 2), faces and hands not."""
    names = [f"{i}.png" for i in range(len(xy))]
    pictures(folder, names)
    triples = [np.concatenate([one, np.full((26, 1), 2)], axis=1).ravel().tolist() + [0] * 330 for one in xy]
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "person", "keypoints": [], "skeleton": []}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 200, 200], "area": area,
             "keypoints": one}
            for i, one in enumerate(triples)
        ],
    }  # fmt: skip
    (folder / "halpe.json").write_text(json.dumps(document))
    dataset = formats.read(folder / "halpe.json", folder, "halpe")
    return replace(dataset, people=as_union(dataset.people, STAND_IN["halpe"], thorax=True))


def test_table_5_counts_21_keypoints_of_halpe_s_people(tmp_path):
    """Two people of 10,000 px^2, one in each of two pictures, all of Halpe's points labelled.

    The surer prediction is right everywhere. The other is right but for pelvis, thorax, upper neck and head top, which
    are far away: OKS = 17 / 21 = .810 (were the thorax left out, 17 / 20 = .85; with the feet, 23 / 27 = .852). So at
    .50, .55 ... .80, seven of the ten thresholds, both are found: precision and recall 1. At .85, .90 and .95 one is:
    precision is 1 up to a recall of .5, which is 51 of COCO's 101 recalls, and 0 beyond.
    AP = (7 + 3 * 51 / 101) / 10 = .8515, AR = (7 + 3 * .5) / 10 = .85. Both people are large: above 96^2 px^2.
    """
    truth = halpe(tmp_path, np.random.default_rng(0).uniform(50, 150, (2, 26, 2)).round(1), 1e4)
    proposals = make_proposals(truth.people)
    xy, score = truth.people.xy.copy(), np.full((2, 21), 0.9)
    xy[1, UNION_21.indices(TRUNK)], score[1] = 1000, 0.5
    made = replace(proposals, xy=xy, score=score, kind=np.full((2, 21), KIND["hidden"]))
    predictions = read_predictions(write_rows(tmp_path / "proposals.parquet", made), UNION_21)
    found = measuring.figures("halpe", compare(predictions, truth))
    values = {name: found[name].value for name in ("ap", "ap50", "ap75", "apl", "ar")}
    ap = (7 + 3 * 51 / 101) / 10
    assert values == pytest.approx({"ap": ap, "ap50": 1, "ap75": 1, "apl": ap, "ar": 0.85})
    assert np.isnan(found["apm"].value)


@pytest.mark.parametrize("kind", ["coco", "mpii"])
def test_figures_and_intervals_are_those_that_evaluate_prints(tmp_path, kind):
    skeleton = {"coco": COCO_17, "mpii": MPII_16}[kind]
    people = make_people(30, skeleton, source=kind)
    pq.write_table(hidden(people).rows(), tmp_path / "proposals.parquet")
    comparison = compare(read_predictions(tmp_path / "proposals.parquet", skeleton), dataset_of(people))
    printed = evaluated.figures(comparison, rounds=measuring.ROUNDS, seed=list(LAYOUTS).index(kind))
    names = {"coco": ("ap", "ap50", "ar", "apl"), "mpii": ("pckh_0.5", "pckh_0.1")}[kind]
    found = measuring.figures(kind, comparison)
    for name in names:
        one = printed.summary[name]
        assert (found[name].value, *found[name].interval()) == pytest.approx((one.value, one.low, one.high))
    for name, one in (printed.parts if kind == "mpii" else {}).items():
        assert (found[name].value, *found[name].interval()) == pytest.approx((one.value, one.low, one.high))


figure = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda of: Resampled(of[0], np.array(of)))


@given(st.lists(st.tuples(figure, figure), min_size=1, max_size=4))
def test_mean_of_differences_is_difference_of_means(pairs):
    apart = mean([a.minus(b) for a, b in pairs])
    other = mean([a for a, _ in pairs]).minus(mean([b for _, b in pairs]))
    assert apart.value == pytest.approx(other.value)
    np.testing.assert_allclose(apart.samples, other.samples, atol=1e-12)


def test_a_student_that_was_not_trained_or_a_dataset_that_is_not_given_has_no_figures(tmp_path):
    here = Bench({"coco": tmp_path}, tmp_path)
    assert here.figures(measuring.of_grid(tmp_path, "unified-0"), "coco") is None
    assert here.figures(Student("union21-s", "union21-s"), "mpii") is None


def test_halpe_s_sample_is_read_and_measured(data, tiny_student, tmp_path):
    here = Bench({"halpe": data / "samples" / "halpe"}, tmp_path)
    found = here.figures(Student("tiny", str(tiny_student)), "halpe")
    assert here.about() == "halpe: 12 people in 4 pictures."
    assert found is not None and 0 <= found["ap"].value < 0.1 and np.isfinite(found["apm"].value)
