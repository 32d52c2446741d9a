"""`annotator propose` and `init` as they are called: what they print, what they leave, and their exit codes."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annotator.cli import main
from tests import networks, scenes
from tests.conftest import ROOT
from tests.scenes import OUTPUTS, annotations, files, origins, spoil

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, Path]:
    return scenes.coco(tmp_path / "source")


def call(source: tuple[Path, Path], out: Path, student: Path, *more: str) -> list[str]:
    return ["propose", "--annotations", str(source[0]), "--images", str(source[1]), "--out", str(out),
            "--student", str(student), *more]  # fmt: skip


def everything(out: Path) -> dict[str, bytes]:
    """All files of a project but the store and the cache, which are SQLite's to lay out."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and ".sqlite" not in path.name]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_a_run_says_what_it_did(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert main(call(coco, out, tiny_student)) == 0
    labelled = sum(origins(entry)["labelled"] for entry in annotations(out))
    derived = sum(origins(entry)["derived"] for entry in annotations(out))
    assert capsys.readouterr().out.splitlines() == [
        f"12 people in 4 images, {labelled} labelled keypoints kept as they are",
        f"{48 - derived} keypoints proposed by tiny, {derived} derived by a rule;"
        " their spread is raw (calibrated: none)",
        f"wrote {out}/annotations.json and {out}/rounds/001/proposals.parquet",
        "set aside 0",
    ]  # fmt: skip
    assert main(call(coco, out, tiny_student, "--json")) == 0
    assert json.loads(capsys.readouterr().out) == {
        "student": "tiny", "people": 12, "images": 4, "labelled": labelled, "hidden": 0,
        "proposed": 48 - derived, "derived": derived, "calibrated": "none",
        "annotations": f"{out}/annotations.json", "set_aside": 0,
    }  # fmt: skip


def test_pictures_of_the_least_certain_are_drawn(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture
) -> None:
    assert main(call(coco, tmp_path / "out", tiny_student, "--pictures", "2")) == 0
    drawn = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert [name[:10] for name in drawn] == ["0001_coco_", "0002_coco_"]
    assert "drew 2 people, the least certain first" in capsys.readouterr().out


def test_records_set_aside_are_counted_and_strict_makes_them_1(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture
) -> None:
    spoil(coco[1] / "000001.png", "cut short")
    for more, code in (((), 0), (("--strict",), 1)):
        assert main(call(coco, tmp_path / "out", tiny_student, *more)) == code
        assert capsys.readouterr().out.splitlines()[-1] == f"set aside 1 ({tmp_path}/out/problems.jsonl)"
    assert len(annotations(tmp_path / "out")) == 12


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--student", "nobody"], 1, "--student: expected one of default, "),
        (["--student", "nowhere.toml"], 1, "nowhere.toml: expected a card, got no such file"),
        (["--student", "tinypose"], 3, "students/tinypose_256x192.onnx: expected weights of tinypose (set ANN"),
        (["--student", "teachers"], 3, "--student teachers: expected teachers' weights (set ANNOTATOR_TEACHERS), got"),
        (["--hide", "nose,tail"], 1, "expected a keypoint of union21, got 'tail'"),
        (["--accept-risk", "0.1"], 1, "--accept-risk: expected proposals calibrated on their own dataset "
                                      "(calibrated: own), got calibrated: none"),
        (["--format", "voc"], 2, "format: expected a format, one of coco, mpii, "),
        (["--list", "nowhere.txt"], 1, "nowhere.txt: expected a list of pictures, got no such file"),
        (["--annotations", "nowhere.json"], 1, "nowhere.json: expected an annotation file, got no such file"),
        (["--images", "nowhere"], 1, "nowhere: expected a folder of pictures, got no such folder"),
        (["--workers", "0"], 2, "Invalid value for '--workers'"),
        (["--pictures", "many"], 2, "Invalid value for '--pictures'"),
        (["a_project"], 2, "propose: expected a project or --annotations, got both"),
    ],
    ids=lambda value: value[-2] if isinstance(value, list) and len(value) > 1 else "",
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, students: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch, more: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(call(coco, tmp_path / "out", tiny_student, *more)) == code
    err = capsys.readouterr().err
    assert err.startswith("annotator") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--annotations", "a.json"], ["--images", "a", "--out", "b"], [".", "--list", "a.txt"], [".", "--format", "coco"]],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_usage_errors(arguments: list[str], capsys: Capture) -> None:
    assert main(["propose", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_a_project_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert main(["propose", str(tmp_path)]) == 1
    wanted = f"annotator: {tmp_path}/annotator.toml: expected a project (annotator init PROJECT), got no such file\n"
    assert capsys.readouterr().err == wanted


def test_init_takes_several_sources_and_propose_the_current_folder(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mpii = scenes.mpii(tmp_path / "source")
    made = ["init", str(tmp_path / "p"), "--coco", *map(str, coco), "--mpii", *map(str, mpii)]
    assert main(made) == 0
    assert capsys.readouterr().out.splitlines() == [
        "coco: 12 people in 4 images",
        "mpii: 8 people in 4 images",
        f"made {tmp_path}/p, set aside 0",
    ]
    monkeypatch.chdir(tmp_path / "p")
    assert main(["propose", "--student", str(tiny_student)]) == 0
    assert capsys.readouterr().out.startswith("20 people in 8 images, ")
    written = annotations(tmp_path / "p")
    assert [entry["annotator"]["source"] for entry in written] == ["coco"] * 12 + ["mpii"] * 8
    assert main(made) == 0  # again: nothing changes
    assert annotations(tmp_path / "p") == written
    mpii[0].write_text(mpii[0].read_text().replace("0.", "0.1", 1))
    assert main(["propose", "--student", str(tiny_student)]) == 1
    assert "expected the file that entered the project, got another content" in capsys.readouterr().err
    assert main(made) == 1
    assert "expected the project that is there, got sources[1].sha256" in capsys.readouterr().err


def test_init_writes_what_it_set_aside(coco: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    document = json.loads(coco[0].read_text())
    document["annotations"][3]["bbox"] = [1, 2, -3, 4]
    coco[0].write_text(json.dumps(document))
    assert main(["init", str(tmp_path / "p"), "--coco", *map(str, coco), "--strict"]) == 1
    assert capsys.readouterr().out.endswith(f"made {tmp_path}/p, set aside 1 ({tmp_path}/p/problems.jsonl)\n")
    (line,) = (tmp_path / "p" / "problems.jsonl").read_text().splitlines()
    assert json.loads(line)["pointer"] == "annotations[3].bbox"
    assert main(["init", str(tmp_path / "q")]) == 2


@pytest.mark.parametrize("out", ["file/out", "/proc/nowhere/out", "/dev/null"])
def test_a_place_that_cannot_be_written_is_4(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture, out: str
) -> None:
    (tmp_path / "file").write_text("")
    assert main(call(coco, tmp_path / out, tiny_student)) == 4
    err = capsys.readouterr().err
    assert err.startswith("annotator: ") and err.count("\n") == 1 and out.split("/")[1] in err


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk, writing fails from this many bytes of a file on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("too_large", [0, 100, 40_000, "rounds/001/proposals.parquet", "annotations.json"])
def test_a_full_disk_is_4_and_what_was_there_stays_whole(
    tmp_path: Path, tiny_student: Path, capsys: Capture, too_large: int | str
) -> None:
    source, out = scenes.coco(tmp_path / "source", 40, 5), tmp_path / "out"
    first = networks.random_student(tmp_path / "first", seed=1, name="first")
    assert main(call(source, out, tiny_student)) == 0  # so that its predictions are kept already
    wanted = everything(out)
    assert main(call(source, out, first)) == 0
    before = everything(out)
    capsys.readouterr()
    with no_file_above(too_large if isinstance(too_large, int) else len(wanted[too_large]) - 1):
        assert main(call(source, out, tiny_student)) == 4
    assert capsys.readouterr().err.count("\n") == 1
    after = everything(out)
    assert set(after) == set(before)  # nothing half-written beside the whole files
    assert all(after[name] in (before[name], wanted[name]) for name in before)
    assert after["annotations.json"] == before["annotations.json"]
    assert main(call(source, out, tiny_student)) == 0
    assert everything(out) == wanted


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
def test_a_first_run_on_a_full_disk_leaves_nothing_half_written(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path, capsys: Capture, size: int
) -> None:
    with no_file_above(size):
        assert main(call(coco, tmp_path / "out", tiny_student)) == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert set(everything(tmp_path / "out")) <= {"annotator.toml", "problems.jsonl"}
    assert main(call(coco, tmp_path / "out", tiny_student)) == 0
    assert main(call(coco, tmp_path / "undisturbed", tiny_student)) == 0
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "annotator", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source", 300, 3)
    spoil(source[1] / "000007.png", "cut short")
    began = time.monotonic()
    assert started(call(source, tmp_path / "undisturbed", tiny_student, "--pictures", "3")).wait() == 0
    whole = time.monotonic() - began
    rng, killed = random.Random(0), 0
    while killed < 10:
        run = started(call(source, tmp_path / "out", tiny_student, "--pictures", "3"))
        try:
            run.wait(rng.uniform(0.2, 0.95) * whole)
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            killed += run.wait() == -signal.SIGKILL
        else:  # done already, since most was kept: from the start
            (tmp_path / "out" / "cache" / "readouts.sqlite").unlink()
    assert started(call(source, tmp_path / "out", tiny_student, "--pictures", "3")).wait() == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "undisturbed")
    assert len(everything(tmp_path / "out")) == len(OUTPUTS) + 3 + 1


@pytest.mark.slow
def test_ctrl_c_is_130_and_the_run_goes_on_afterwards(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path / "source", 400, 3)
    run = subprocess.Popen(
        [sys.executable, "-m", "annotator", *call(source, tmp_path / "out", tiny_student, "--workers", "1")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    cache = tmp_path / "out" / "cache" / "readouts.sqlite"
    while not cache.exists() and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode in (130, 0) and "Traceback" not in err  # 0: it was done before
    assert main(call(source, tmp_path / "out", tiny_student)) == 0
