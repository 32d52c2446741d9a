"""`annotator select`: a round's queue is chosen once, the same for the same request, and kept once it went out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotator import queue, sources
from annotator.cli import main
from annotator.errors import FormatError, InputError
from annotator.proposals import Proposals
from annotator.selection import Request
from annotator.skeletons import UNION_21
from annotator.store import tasks
from annotator.store.project import Project
from tests import projects, scenes
from tests.projects import decisions

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A COCO project of 12 people with a round."""
    projects.project(tmp_path / "p", scenes.coco(tmp_path / "source"))
    return tmp_path / "p"


def path(folder: Path) -> Path:
    return folder / "rounds/001/selection.parquet"


def test_the_command_writes_and_says_whom_it_chose(folder: Path, capsys: Capture) -> None:
    assert main(["select", str(folder), "--budget", "5", "--controls", "1", "--traps", "1", "--seed", "3"]) == 0
    chosen = queue.load(path(folder))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("5 people in ")
    assert " images (3 review, 1 control, 1 trap), " in out[0]
    assert out[1] == f"strategy least_certain, seed 3; wrote {path(folder)}"
    assert (
        main(["select", str(folder), "--budget", "5", "--controls", "1", "--traps", "1", "--seed", "3", "--json"]) == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert [person["person_id"] for person in summary["people"]] == chosen.person_id.tolist()
    assert (summary["review"], summary["control"], summary["trap"], summary["round"]) == (3, 1, 1, 1)
    assert summary["minutes"] == pytest.approx(summary["keypoints"] * 54 / 21 / 60, abs=0.01)


def test_the_same_request_gives_the_same_bytes_whatever_was_decided_since(folder: Path) -> None:
    request = Request(5, strategy="random", controls=1, traps=2, seed=7)
    first = queue.select(folder, request).selection
    before, when = path(folder).read_bytes(), path(folder).stat().st_mtime_ns
    with Project.open(folder) as project:
        person = str(first.person_id[0])
        rows = [(person, name, "rejected", "Ann", (1, 1), projects.NOWHERE) for name in UNION_21.keypoints[17:]]
        project.record_decisions(decisions(*rows))
    assert queue.select(folder, request).selection.equals(first)
    assert (path(folder).read_bytes(), path(folder).stat().st_mtime_ns) == (before, when)
    path(folder).unlink()
    assert person not in queue.select(folder, request).selection.person_id  # chosen afresh, it has nothing left to ask


def test_two_projects_of_the_same_files_choose_the_same_bytes(tmp_path: Path) -> None:
    source = scenes.coco(tmp_path / "source")
    for name in ("a", "b"):
        projects.project(tmp_path / name, source)
        queue.select(tmp_path / name, Request(20, "keypoints", "stratified", seed=1))
    assert path(tmp_path / "a").read_bytes() == path(tmp_path / "b").read_bytes()


def test_another_request_or_other_proposals_choose_afresh_until_the_round_went_out(folder: Path) -> None:
    queue.select(folder, Request(5))
    assert len(queue.select(folder, Request(3)).selection) == 3
    digest = queue.load(path(folder)).proposals_sha256
    with Project.open(folder) as project:
        datasets = sources.read_sources(project.settings.sources)
    projects.propose(folder, datasets, seed=9)
    assert queue.select(folder, Request(3)).selection.proposals_sha256 != digest
    with Project.open(folder) as project:
        tasks.open_round(project, 1, unlock=False)
        tasks.put_tasks(project, 1, [("key", "coco:139", 1, "{}")])
    before = path(folder).read_bytes()
    with pytest.raises(InputError, match=r"expected the selection that went to the reviewers \(--budget 3"):
        queue.select(folder, Request(5))
    assert path(folder).read_bytes() == before
    assert len(queue.select(folder, Request(3)).selection) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--budget", "5", "--strategy", "oracle"], 2, "--strategy: expected one of random, stratified, least_certain"),
        (["--budget", "5", "--unit", "hours"], 2, "--unit: expected one of people, keypoints, minutes, got 'hours'"),
        (["--budget", "-1"], 2, "Invalid value for '--budget'"),
        ([], 2, "Missing option '--budget'"),
        (["--budget", "2", "--traps", "3"], 1, "expected enough for 0 controls and 3 traps"),
    ],
    ids=["strategy", "unit", "negative", "no budget", "too small"],
)
def test_what_cannot_be_chosen_is_one_line_and_leaves_nothing(
    folder: Path, capsys: Capture, arguments: list[str], code: int, message: str
) -> None:
    assert main(["select", str(folder), *arguments]) == code
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not path(folder).exists()


def test_a_project_without_a_round_is_said(tmp_path: Path, capsys: Capture) -> None:
    projects.project(tmp_path / "p", scenes.coco(tmp_path / "source"), proposed=False)
    assert main(["select", str(tmp_path / "p"), "--budget", "5"]) == 1
    assert "expected a round with proposals (annotator propose PROJECT), got none" in capsys.readouterr().err


def test_a_file_that_is_no_selection_is_said(folder: Path) -> None:
    path(folder).write_bytes(b"no parquet at all")
    with pytest.raises(FormatError, match=r"selection\.parquet: expected a selection, got "):
        queue.select(folder, Request(5))


def test_proposals_are_read_back_as_the_round_wrote_them(folder: Path, tmp_path: Path) -> None:
    with Project.open(folder) as project:
        datasets = sources.read_sources(project.settings.sources)
    made = projects.propose(folder, datasets, seed=4)
    file = folder / "rounds/001/proposals.parquet"
    assert Proposals.read_rows(file, UNION_21).equals(made)
    assert Proposals.read_rows(file, UNION_21).student == made.student
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(FormatError, match="expected Parquet with one row per person and keypoint, got "):
        Proposals.read_rows(file, UNION_21)
    with pytest.raises(FormatError, match=r"nowhere: expected proposals\.parquet, got no such file"):
        Proposals.read_rows(tmp_path / "nowhere", UNION_21)
