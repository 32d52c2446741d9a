"""Which students and teachers are known, where their weights are, and what `--student` finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from annotator.cli import main
from annotator.errors import FormatError, InputError, MissingError
from annotator.files import share
from annotator.skeletons import LSP_14, UNION_21
from annotator.store import settings
from annotator.students import registry
from tests import networks


def found(name: str, project: Path | None = None) -> registry.Known:
    return next(entry for entry in registry.known(project) if entry.card.name == name)


def test_a_projects_student_comes_before_the_users_and_that_before_what_ships(students: Path, tmp_path: Path) -> None:
    shipped = [path.stem for path in share("models", "teachers").glob("*.toml")]
    assert {"tinypose", "rtmpose_m_coco"} <= set(shipped)
    for folder in (students, tmp_path / "project" / "students"):
        networks.random_student(folder, name="both")
    networks.random_student(students, name="tinypose")
    assert found("both").card_path.parent == students
    assert found("both", tmp_path / "project").card_path.parent == tmp_path / "project" / "students"
    assert found("tinypose").card_path.parent == students
    assert len({entry.card.name for entry in registry.known()}) == len(registry.known())


def test_a_card_without_its_weights_makes_way_for_one_with_them(students: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    networks.random_student(project / "students", name="both")
    (project / "students" / "both.onnx").unlink()
    assert not found("both", project).here
    networks.random_student(students, name="both")
    assert found("both", project).card_path.parent == project / "students"  # the user's folder holds its weights, too
    (project / "students" / "both.toml").unlink()
    assert found("both", project).here


def test_nothing_is_known_where_no_folder_is_but_what_ships(students: Path) -> None:
    assert not students.exists()
    assert {entry.card_path.parent.parent for entry in registry.known()} == {share("models")}


def test_teachers_weights_lie_where_the_environment_says(
    students: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not found("tinypose").here
    with pytest.raises(MissingError, match=r"set ANNOTATOR_TEACHERS"):
        registry.resolve("teachers", UNION_21)
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(tmp_path / "teachers"))
    networks.random_student(tmp_path / "elsewhere", name="mine", role="teacher", file="sub/theirs.onnx")
    (tmp_path / "teachers" / "sub").mkdir(parents=True)
    shutil.move(tmp_path / "elsewhere" / "mine.onnx", tmp_path / "teachers" / "sub" / "theirs.onnx")
    located = registry.locate(tmp_path / "elsewhere" / "mine.toml")
    assert located.here and located.weights == tmp_path / "teachers" / "sub" / "theirs.onnx"


def test_all_teachers_that_are_here_are_fused(students: Path) -> None:
    networks.random_student(students, name="first", role="teacher")
    networks.random_student(students, name="second", role="teacher")
    networks.random_student(students, name="third")
    model = registry.resolve("teachers", UNION_21)
    assert (model.name, [net.card.name for net in model.networks]) == ("teachers", ["first", "second"])


def test_the_default_is_the_first_card_that_says_so(students: Path, tmp_path: Path) -> None:
    networks.random_student(students, name="plain")
    networks.random_student(students, name="users", default=True)
    assert registry.resolve("default", UNION_21).name == "users"
    networks.random_student(tmp_path / "project" / "students", name="ours", default=True)
    assert registry.resolve("default", UNION_21, tmp_path / "project").name == "ours"


@pytest.mark.parametrize("suffix", [".toml", ".onnx"])
def test_a_student_can_be_named_by_the_path_of_its_card_or_network(students: Path, tmp_path: Path, suffix: str) -> None:
    path = networks.random_student(tmp_path / "any where", name="mine")
    assert registry.resolve(str(path.with_suffix(suffix)), UNION_21).networks[0].path == path.with_suffix(".onnx")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", r"^--student: expected one of default, .*, mine, .*teachers, .*, or a card's path, got 'nobody'$"),
        ("nowhere/card.toml", r"^nowhere/card\.toml: expected a card, got no such file$"),
        ("nowhere/net.onnx", r"^nowhere/net\.toml: expected a card beside the network, got no such file$"),
    ],
)
def test_an_unknown_name_is_answered_with_what_is_known(students: Path, name: str, message: str) -> None:
    networks.random_student(students, name="mine")
    with pytest.raises(InputError, match=message):
        registry.resolve(name, UNION_21)


def test_a_student_without_a_keypoint_of_the_skeleton_is_refused(students: Path) -> None:
    networks.random_student(students, name="mine", dataset="strange", keypoints=[f"horn_{i}" for i in range(21)])
    with pytest.raises(InputError, match="expected a network with keypoints of lsp14, got none"):
        registry.resolve("mine", LSP_14)


def test_a_broken_card_is_named_with_its_file(students: Path) -> None:
    path = networks.random_student(students, name="mine")
    path.write_text(path.read_text() + "\ncolour = 'red'\n")
    with pytest.raises(FormatError, match=rf"^{path}: .*colour: expected no such field"):
        registry.known()


def test_students_list_shows_those_of_the_project_it_is_run_in(
    students: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.random_student(tmp_path / "students", name="ours")
    monkeypatch.setenv("ANNOTATOR_STUDENTS", str(tmp_path / "others"))
    monkeypatch.chdir(tmp_path)
    for is_project in (False, True):
        if is_project:
            settings.save(tmp_path, settings.Settings())
        assert main(["students", "list", "--json"]) == 0
        assert ("ours" in {row["name"] for row in json.loads(capsys.readouterr().out)}) == is_project


def test_students_list_shows_who_is_here(students: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks.random_student(students, name="mine", default=True)
    assert main(["students", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mine"]["weights"] == str(students / "mine.onnx") and rows["mine"]["keypoints"] == 21
    assert rows["tinypose"]["weights"] == "" and rows["tinypose"]["role"] == "teacher"
    assert main(["students", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("mine (default)") and "not here" not in line for line in lines)
    assert any(line.startswith("tinypose ") and "not here" in line for line in lines)
