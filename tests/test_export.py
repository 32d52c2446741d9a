"""Export: what nobody touched comes back exactly, what was decided says so, and no guess becomes a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.io
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from annotator import formats, rounds
from annotator.cli import main
from annotator.errors import InputError, UsageError
from annotator.export import export
from annotator.formats import enhanced
from annotator.formats.dataset import Dataset
from annotator.proposals import to_write
from annotator.skeletons import UNION_21
from annotator.store.project import Project
from tests import projects, scenes
from tests.formats.made import datasets
from tests.formats.made import folder as pictures_of
from tests.formats.test_real_files import JSON_FILES
from tests.formats.test_roundtrip import assert_same_people, content, place
from tests.projects import NOWHERE, decisions
from tests.scenes import points

Capture = pytest.CaptureFixture[str]
COCO_1, MPII_1 = "coco:1000", "mpii:1"


@pytest.fixture
def folder(tmp_path: Path, coco: tuple[Path, Path]) -> Path:
    """A COCO project with a round."""
    projects.project(tmp_path / "p", coco)
    return tmp_path / "p"


def decide(folder: Path, *rows: Any, v: int = 2) -> None:
    with Project.open(folder) as project:
        project.record_decisions(decisions(*rows, v=v))


def same(a: Path, b: Path) -> bool:
    """The same JSON: 1 and 1.0, and the order of keys, count."""
    return json.dumps(json.loads(a.read_bytes())) == json.dumps(json.loads(b.read_bytes()))


def person(path: Path, person_id: str = COCO_1) -> dict[str, Any]:
    document = json.loads(path.read_text())
    return next(a for a in document["annotations"] if a["annotator"]["person_id"] == person_id)


@pytest.mark.parametrize("points_", ["", *enhanced.LEVELS])
@pytest.mark.parametrize("name", ["coco", "mpii"])
def test_a_project_that_nobody_touched_exports_to_exactly_its_input(tmp_path: Path, name: str, points_: str) -> None:
    source = getattr(scenes, name)(tmp_path / "source")
    projects.project(tmp_path / "p", source, proposed=False)
    if name == "coco" or points_ in ("", "labelled", "human"):
        made = export(tmp_path / "p", tmp_path / "out.json", name, points_)
        assert same(tmp_path / "out.json", source[0])
        assert made.same
        assert list(made.origins) == ["labelled"]


@pytest.mark.parametrize(
    ("file", "root", "format_"), [row[:3] for row in JSON_FILES], ids=[row[0] for row in JSON_FILES]
)
def test_real_files_export_to_exactly_their_input(
    data: Path, tmp_path: Path, file: str, root: str, format_: str
) -> None:
    projects.project(tmp_path / "p", (data / file, data / root))
    export(tmp_path / "p", tmp_path / "out.json", format_, "labelled")
    assert same(tmp_path / "out.json", data / file)


@pytest.mark.parametrize("name", ["lsp", "lspet"])
def test_real_lsp_files_export_to_exactly_their_input(data: Path, tmp_path: Path, name: str) -> None:
    source = data / name / "joints.mat", data / name / "images"
    projects.project(tmp_path / "p", source, proposed=False)
    assert export(tmp_path / "p", tmp_path / "joints.mat", "lsp").same
    back, before = (scipy.io.loadmat(path)["joints"] for path in (tmp_path / "joints.mat", source[0]))
    np.testing.assert_array_equal(back, before)


@pytest.fixture(scope="module", params=formats.FORMATS)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, pictures_of(tmp_path_factory.mktemp(request.param), request.param)


def drawn(data: st.DataObject, named: tuple[str, Path], folder: Path) -> tuple[Path, Dataset]:
    """A generated file of a format and what it holds, as a project in `folder`."""
    name, root = named
    made = data.draw(datasets(name, root))
    assume(len(made.people) > 0)
    path = place(folder, name)
    formats.write(path, made, name)
    source = path / "labels" if name == "yolo" else path
    (dataset,) = projects.project(folder / "p", (source, root), proposed=False)
    return path, dataset


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_generated_people_of_every_format_export_to_exactly_their_input(
    named: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """25 files of some 5 people in each of 6 formats: 750 people, several in a picture, all visibilities."""
    folder = tmp_path_factory.mktemp("made")
    path, _ = drawn(data, named, folder)
    out = place(folder / "out", named[0])
    made = export(folder / "p", out, named[0].removesuffix("_mat"), "human")
    assert made.same
    if path.suffix == ".mat":  # MATLAB's header holds the time
        assert_same_people(formats.read(out, named[1]).people, formats.read(path, named[1]).people)
    else:
        assert content(out) == content(path)


@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_a_corrected_label_of_every_format_is_kept_as_previous(
    named: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("made")
    _, dataset = drawn(data, named, folder)
    table = dataset.people.project(UNION_21)
    assume(table.labelled.any())
    row, k = map(int, np.argwhere(table.labelled)[0])
    name, keypoint, (x, y) = str(table.person_id[row]), UNION_21.keypoints[k], table.xy[row, k].tolist()
    decide(folder / "p", (name, keypoint, "corrected", "Ann", (x, y), (777.5, 88.25)))
    export(folder / "p", folder / "out.json", points="human")
    entry = person(folder / "out.json", name)
    assert points(entry)[keypoint] == (777.5, 88.25, 2, "corrected")
    assert entry["annotator"]["previous"] == {keypoint: [x, y, table.v[row, k]]}
    export(folder / "p", folder / "out.json", points="labelled")
    if named[0] != "coco":  # which is its own file again
        assert points(person(folder / "out.json", name))[keypoint] == (x, y, table.v[row, k], "labelled")


def test_with_proposals_and_no_decisions_labels_alone_are_the_input(folder: Path, coco: tuple[Path, Path]) -> None:
    for level in ("labelled", "human"):
        export(folder, folder / "out.json", "coco", level)
        assert same(folder / "out.json", coco[0])


def test_proposals_are_written_as_propose_writes_them(folder: Path, coco: tuple[Path, Path]) -> None:
    datasets = [formats.read(*coco)]
    proposals = rounds.with_rules(
        projects.made(datasets[0].people.project(UNION_21)), datasets[0].people.project(UNION_21)
    )
    enhanced.write(folder / "wanted.json", datasets, to_write(proposals))
    made = export(folder, folder / "out.json")
    assert (folder / "out.json").read_bytes() == (folder / "wanted.json").read_bytes()
    words = [
        word for a in json.loads((folder / "out.json").read_text())["annotations"] for word in a["annotator"]["origin"]
    ]
    assert made.origins == {word: words.count(word) for word in ("labelled", "derived", "proposed")}
    assert not made.same


def test_decisions_are_written_with_what_they_replaced(folder: Path, coco: tuple[Path, Path]) -> None:
    raw = json.loads(coco[0].read_text())["annotations"][0]
    hip = raw["keypoints"][33:36]  # left_hip is COCO's twelfth keypoint, and always labelled here
    right = raw["keypoints"][36:39]
    decide(
        folder,
        (COCO_1, "left_hip", "corrected", "Ann", tuple(hip[:2]), (50.25, 60.5)),
        (COCO_1, "right_hip", "rejected", "Ann", tuple(right[:2]), NOWHERE),
        (COCO_1, "head_top", "accepted", "Ann", (7, 8), (7, 8)),
        (COCO_1, "upper_neck", "absent", "Ann", (9, 9), NOWHERE),
    )
    made = export(folder, folder / "out.json", points="human")
    entry = person(folder / "out.json")
    found = points(entry)
    assert found["left_hip"] == (50.25, 60.5, 2, "corrected")
    assert found["right_hip"] == (0, 0, 0, "rejected")
    assert found["head_top"] == (7, 8, 2, "accepted")
    assert found["upper_neck"] == (0, 0, 0, "absent")
    assert found["thorax"][3] == "none"  # by a rule: no human's word
    assert entry["annotator"]["previous"] == {"left_hip": hip, "right_hip": right}
    assert entry["num_keypoints"] == raw["num_keypoints"]  # one label less, one decision more
    assert {key: entry[key] for key in ("id", "bbox", "area", "mood")} == {
        key: raw[key] for key in ("id", "bbox", "area", "mood")
    }
    labelled = sum(a["num_keypoints"] for a in json.loads(coco[0].read_text())["annotations"])
    assert made.origins == {"labelled": labelled - 2, "accepted": 1, "corrected": 1, "rejected": 1, "absent": 1}
    export(folder, folder / "labels.json", points="labelled")
    assert same(folder / "labels.json", coco[0])  # no label is lost


@pytest.mark.parametrize("points_", ["labelled", "human"])
def test_an_export_read_again_as_a_source_loses_no_label_and_makes_none(
    folder: Path, coco: tuple[Path, Path], tmp_path: Path, points_: str
) -> None:
    hip = json.loads(coco[0].read_text())["annotations"][0]["keypoints"][33:36]
    decide(
        folder,
        (COCO_1, "left_hip", "rejected", "Ann", tuple(hip[:2]), NOWHERE),
        (COCO_1, "head_top", "corrected", "Ann", (7, 8), (9, 10)),
    )
    export(folder, tmp_path / "again.json")
    projects.project(tmp_path / "q", (tmp_path / "again.json", coco[1]), proposed=False)
    export(tmp_path / "q", tmp_path / "out.json", points=points_)
    found = points(person(tmp_path / "out.json"))
    decided = {"left_hip": (0, 0, 0, "rejected"), "head_top": (9, 10, 2, "corrected")}
    before = {"left_hip": (*hip, "labelled"), "head_top": (0, 0, 0, "none")}
    assert {name: found[name] for name in decided} == (decided if points_ == "human" else before)
    assert "proposed" not in {word for *_, word in found.values()}
    # and in a format that cannot tell: what the level leaves out is not there
    export(tmp_path / "q", tmp_path / "yolo", "yolo", points_)
    back = formats.read(tmp_path / "yolo", coco[1]).people
    place = (0, list(UNION_21.keypoints).index("head_top"))
    assert (back.v[place] > 0) == (points_ == "human")


def test_corrected_mpii_label_is_written_as_mpii_writes_it(tmp_path: Path, mpii: tuple[Path, Path]) -> None:
    projects.project(tmp_path / "p", mpii)
    before = json.loads(mpii[0].read_text())
    decide(tmp_path / "p", (MPII_1, "head_top", "corrected", "Ann", tuple(before[1]["joints"][9]), (40.5, 30.25)))
    made = export(tmp_path / "p", tmp_path / "out.json", "mpii")
    after = json.loads((tmp_path / "out.json").read_text())
    before[1]["joints"][9] = [40.5, 30.25]  # head_top is MPII's tenth keypoint
    assert after == before
    assert made.origins["corrected"] == 1
    assert not made.same


def test_several_sources_count_pixels_from_0_and_say_so(
    tmp_path: Path, coco: tuple[Path, Path], mpii: tuple[Path, Path], capsys: Capture
) -> None:
    projects.project(tmp_path / "p", coco, mpii)
    assert main(["export", str(tmp_path / "p"), "--out", str(tmp_path / "out.json")]) == 0
    assert "pixels count from 0 in all of it, whatever a source does" in capsys.readouterr().out
    record = json.loads(mpii[0].read_text())[1]
    entry = person(tmp_path / "out.json", MPII_1)
    x, y = record["joints"][9]
    assert points(entry)["head_top"] == (x - 1, y - 1, 2, "labelled")
    assert entry["annotator"]["pixel_origin"] == 0
    for source, path in (("coco", coco[0]), ("mpii", mpii[0])):  # one of them alone is as it came
        export(tmp_path / "p", tmp_path / "one.json", source, "labelled", source)
        assert same(tmp_path / "one.json", path)


@pytest.mark.parametrize("format_", ["mpii", "halpe", "yolo"])
def test_people_of_all_sources_fit_into_one_file_of_another_format(
    tmp_path: Path, coco: tuple[Path, Path], mpii: tuple[Path, Path], format_: str
) -> None:
    for path in (tmp_path / "source" / "frames").iterdir():  # picture names of their own
        path.rename(path.with_name(f"m{path.name}"))
    mpii[0].write_text(mpii[0].read_text().replace('"image": "', '"image": "m'))
    datasets = projects.project(tmp_path / "p", coco, mpii)
    out = tmp_path / ("out" if format_ == "yolo" else "out.json")
    made = export(tmp_path / "p", out, format_)
    for path in (tmp_path / "source" / "frames").iterdir():
        path.rename(tmp_path / "source" / "images" / path.name)
    back = formats.read(out, coco[1], format_).people
    wanted = datasets[1].people.project(back.skeleton)
    assert made.first_pixel == back.pixel_origin[0] == (format_ == "mpii")
    np.testing.assert_allclose(back.xy[12:] - back.pixel_origin[0], wanted.xy - 1, atol=1e-9)
    lost = sum(int(d.people.labelled.sum()) for d in datasets) - int(back.labelled.sum())
    assert sum(made.left_out.values()) == lost
    assert set(made.left_out) == ({"nose", "left_eye", "right_eye", "left_ear", "right_ear"} if format_ == "mpii" else
                                  {"thorax", "upper_neck", "head_top"} if format_ == "halpe" else set())  # fmt: skip


def test_a_label_of_the_same_picture_name_in_two_sources_is_not_mixed_up(
    tmp_path: Path, coco: tuple[Path, Path], mpii: tuple[Path, Path]
) -> None:
    projects.project(tmp_path / "p", coco, mpii)
    with pytest.raises(InputError, match=r"expected a name of its own for each picture .*, got 000000.png twice"):
        export(tmp_path / "p", tmp_path / "out.json", "mpii")


def test_points_by_rule_follow_what_reviewers_decided(folder: Path) -> None:
    def hip_is(word: str, place: tuple[float, float]) -> tuple[float, float, int, str]:
        decide(folder, (COCO_1, "left_hip", word, "Ann", (1, 1), place))
        export(folder, folder / "out.json")
        return points(person(folder / "out.json"))["pelvis"]

    export(folder, folder / "before.json")
    other = points(person(folder / "before.json"))["right_hip"]
    middle = ((50 + other[0]) / 2, (60 + other[1]) / 2)
    assert hip_is("corrected", (50, 60)) == (*middle, 2, "derived")
    assert hip_is("absent", NOWHERE) == (0, 0, 0, "none")


def test_disagreement_leaves_the_point_as_it_was_and_is_counted(folder: Path) -> None:
    decide(
        folder,
        (COCO_1, "head_top", "corrected", "Ann", (7, 8), (10, 10)),
        (COCO_1, "head_top", "corrected", "Bob", (7, 8), (90, 90)),
    )
    made = export(folder, folder / "out.json")
    assert points(person(folder / "out.json"))["head_top"][3] == "proposed"
    assert made.open == 1
    assert "reviewers disagree on 1 points; they are as they were" in made.lines()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "voc"}, UsageError, "--format: expected one of coco, mpii, halpe, lsp, yolo, got 'voc'"),
        ({"points": "all"}, UsageError, "--points: expected one of labelled, human, released, proposed, got 'all'"),
        ({"source": "lsp"}, InputError, "--source: expected a source, one of coco, got 'lsp'"),
        ({"format": "yolo", "points": "proposed"}, InputError,
         r"expected --points labelled or human \(yolo cannot say which points are guesses\), got proposed"),
    ],
    ids=["format", "points", "source", "guesses"],
)  # fmt: skip
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    folder: Path, options: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(folder, folder / "out.json", **options)
    assert not (folder / "out.json").exists()


def test_a_sources_own_file_is_never_overwritten(folder: Path, coco: tuple[Path, Path]) -> None:
    before = coco[0].read_bytes()
    with pytest.raises(InputError, match="--out: expected another place than a source's, which is never changed"):
        export(folder, coco[0])
    assert coco[0].read_bytes() == before


def test_a_folder_of_sources_labels_is_never_written_into(tmp_path: Path, coco: tuple[Path, Path]) -> None:
    formats.write(tmp_path / "y", formats.read(*coco), "yolo")
    before = content(tmp_path / "y")
    projects.project(tmp_path / "p", (tmp_path / "y" / "labels", coco[1]), proposed=False)
    for out in (tmp_path / "y", tmp_path / "y" / "labels", tmp_path / "y" / "labels" / "more"):
        with pytest.raises(InputError, match="--out: expected another place than a source's"):
            export(tmp_path / "p", out, "yolo")
    assert content(tmp_path / "y") == before


def test_a_round_that_hid_labels_exports_them_all_the_same(folder: Path, coco: tuple[Path, Path]) -> None:
    table = formats.read(*coco).people.project(UNION_21)
    hidden = rounds.mark_hidden(projects.made(table.hide(["nose"])), table, ["nose"])
    pq.write_table(hidden.rows(), folder / "rounds/001/proposals.parquet")
    export(folder, folder / "out.json")
    for entry, labelled in zip(
        json.loads((folder / "out.json").read_text())["annotations"], table.labelled[:, 0], strict=True
    ):
        assert points(entry)["nose"][3] == ("labelled" if labelled else "none")


def test_the_command_prints_what_it_wrote(folder: Path, capsys: Capture) -> None:
    assert main(["export", str(folder), "--out", str(folder / "out.json"), "--points", "labelled"]) == 0
    labelled = formats.read(folder / "out.json", folder.parent / "source/images").people.labelled.sum()
    assert capsys.readouterr().out.splitlines() == [
        f"12 people in 4 images as coco, --points labelled: {labelled} labelled",
        f"wrote {folder}/out.json: the source as it came, nothing was decided or proposed",
        "set aside 0",
    ]
    assert main(["export", str(folder), "--out", str(folder / "o.json"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["people"], summary["format"], summary["points"], summary["same"]) == (12, "coco", "proposed", False)
