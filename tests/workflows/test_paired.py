"""Differences of figures on the same people, and what stands beside the better single teacher."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from annotator.evaluation import figures as evaluated
from annotator.evaluation.comparison import Comparison, compare
from annotator.evaluation.predictions import read_predictions
from annotator.skeletons import COCO_17, MPII_16
from tests.builders import make_people
from tests.test_evaluate import hidden
from tests.workflows.test_measuring import dataset_of
from workflows import paired
from workflows.measuring import ROUNDS, Resampled
from workflows.paired import ONLY, SEED, TOGETHER, Key, beside, by_keypoint, counted, differences, precision, single
from workflows.prompts import rows
from workflows.results import SHOWN


def comparison(folder: Path, name: str, off: float = 0.0) -> Comparison:
    """Thirty people, proposed a few pixels off their labels, and `off` pixels to the right of that."""
    people = make_people(30, {"coco": COCO_17, "mpii": MPII_16}[name], source=name)
    made = hidden(people, hidden(people).xy + np.array([off, 0]))
    path = folder / f"{name}-{off}.parquet"
    pq.write_table(made.rows(), path)
    return compare(read_predictions(path, people.skeleton), dataset_of(people))


@pytest.mark.parametrize("name", ["coco", "mpii"])
def test_figures_and_intervals_are_those_that_evaluate_prints(tmp_path, name):
    one = comparison(tmp_path, name)
    printed = evaluated.figures(one, rounds=ROUNDS, seed=SEED)
    found = counted(one) | precision(one)
    for metric in ("mean_oks", *SHOWN[name]):
        figure = printed.summary[metric]
        assert found[metric, ""].figure == pytest.approx((figure.value, figure.low, figure.high))
    assert found["mean_oks", ""].n == printed.summary["mean_oks"].people
    for keypoint, metrics in printed.per_keypoint.items():
        for metric, figure in metrics.items():
            if figure.keypoints:
                one = found[metric, keypoint]
                assert (*one.figure, one.n) == pytest.approx((figure.value, figure.low, figure.high, figure.keypoints))
            else:
                assert (metric, keypoint) not in found


def test_the_same_words_do_not_differ_in_any_draw(tmp_path):
    here, there = counted(comparison(tmp_path, "mpii")), counted(comparison(tmp_path, "mpii"))
    assert all(here[key].minus(there[key]).figure == (0, 0, 0) for key in here)


def test_a_difference_is_narrower_than_both_sides(tmp_path):
    near, far = counted(comparison(tmp_path, "mpii")), counted(comparison(tmp_path, "mpii", 2.0))
    key = ("pckh_0.1", "")
    value, low, high = near[key].minus(far[key]).figure
    assert value == pytest.approx(near[key].value - far[key].value) and value > 0
    assert high - low < sum(one[key].figure[2] - one[key].figure[1] for one in (near, far))


def test_some_keypoints_together_count_each_label_once(tmp_path):
    keypoints = ONLY["coco"][0]
    found = counted(comparison(tmp_path, "coco"), keypoints)
    each = [found["similarity", name] for name in keypoints]
    pooled = found["similarity", TOGETHER]
    assert pooled.n == sum(one.n for one in each)
    assert pooled.value == pytest.approx(sum(one.value * one.n for one in each) / pooled.n)


def flat(value: float, n: int = 9) -> Resampled:
    return Resampled(value, np.full(ROUNDS, value), n)


def test_each_keypoint_has_its_difference_in_its_own_unit():
    values = {"nose": (0.88, 0.9104), "left_ear": (0.8, 0.8306)}
    ours, theirs = ({("similarity", k): flat(v[side]) for k, v in values.items()} for side in (0, 1))
    ours["pckh_0.5", "nose"], ours["similarity", TOGETHER], ours["similarity", ""] = flat(0), flat(0), flat(0)
    found = differences("similarity", ours, theirs)
    lines = list(by_keypoint({"coco, mine": found, "mpii, mine": {"head_top": flat(-0.04)}}))
    assert lines[0] == "| keypoint | coco, mine, similarity | mpii, mine, PCKh@.5, % |"
    assert lines[2:] == [
        "| nose | **-0.030** (-0.030 to -0.030) | - |",
        "| left_ear | **-0.031** (-0.031 to -0.031) | - |",
        "| head_top | - | **-4.0** (-4.0 to -4.0) |",
    ]


@dataclass
class Said:
    """Stands in for a bench: students by what all their figures are."""

    values: dict[str, float]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def figures(self, student: str, name: str) -> tuple[str, dict[Key, Resampled], list[tuple[str, str]]]:
        self.asked.append((student, name))
        keypoints = ("left_hip", *(ONLY[name][0] if name in ONLY else ()), TOGETHER, "")
        metrics = ("similarity", *SHOWN[name])
        found = {(metric, keypoint): flat(self.values[student]) for metric in metrics for keypoint in keypoints}
        return student, found, [(student, 8 * student[:2])]


def test_each_figure_stands_beside_the_other_s():
    lines = list(beside(Said({"mine": 0.8, "teachers": 0.9}), ["mine"], "teachers"))
    assert lines[0] == "| figure | n | teachers | mine minus teachers |"
    assert "| coco, AP | 9 | 0.900 (0.900 to 0.900) | **-0.100** (-0.100 to -0.100) |" in lines
    assert "| mpii, PCKh@.1, % | 9 | 90.0 (90.0 to 90.0) | **-10.0** (-10.0 to -10.0) |" in lines
    assert sum(line.split(",")[0] in ("| coco", "| mpii", "| lsp") for line in lines) == sum(map(len, SHOWN.values()))
    assert (
        "| left_hip | **-0.100** (-0.100 to -0.100) | **-10.0** (-10.0 to -10.0) | **-10.0** (-10.0 to -10.0) |"
        in lines
    )
    assert (
        lines[-4]
        == "No more than 0.03 or 3 points below, by value: coco, mine 0 of 6; mpii, mine 0 of 5; lsp, mine 0 of 1."
    )
    assert lines[-2] == "Weights (sha256): mine mimimimimimi, teachers tetetetetete."


def test_the_better_of_the_teachers_that_know_a_keypoint_is_taken(monkeypatch):
    class Known:
        def __init__(self, keypoints: tuple[str, ...]) -> None:
            self.card = self
            self.keypoints = keypoints

    known = {"a": COCO_17, "b": COCO_17, "c": MPII_16, "d": MPII_16}
    monkeypatch.setattr(paired, "teachers", lambda: {name: Known(of.keypoints) for name, of in known.items()})
    said = Said({"mine": 0.8, "a": 0.7, "b": 0.75, "c": 0.9, "d": 0.6})
    lines = list(single(said, ["mine"]))
    assert said.asked[:2] == [("a", "coco"), ("b", "coco")] and ("c", "mpii") in said.asked and len(said.asked) == 6
    nose = next(line for line in lines if line.startswith("| nose, similarity"))
    assert nose.split(" | ")[2] == "b" and nose.endswith("**+0.050** (+0.050 to +0.050) |")
    top = next(line for line in lines if line.startswith("| head_top, PCKh@.5"))
    assert top.split(" | ")[2] == "c" and top.endswith("**-10.0** (-10.0 to -10.0) |")


def test_what_the_labels_bring_has_an_interval_of_its_own(tmp_path):
    told, alone = counted(comparison(tmp_path, "mpii")), counted(comparison(tmp_path, "mpii", 2.0))
    lines = rows("mpii", "elbows and knees", told, alone)
    assert [line.split(" | ")[1] for line in lines[:2]] == ["left_elbow, PCKh@.5, %", "left_elbow, PCKh@.1, %"]
    assert all(line.count("|") == 7 for line in lines)
    last = lines[-1].split(" | ")[-1]
    assert last.startswith(("+", "-", "**"))
