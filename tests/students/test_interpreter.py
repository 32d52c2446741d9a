"""What the interpreter that trains sees of ours: our packages, and nothing that lies beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from annotator import files
from annotator.students import interpreter
from tests.conftest import ROOT


def seen(code: str, folder: Path) -> list[str]:
    """What an interpreter without packages of its own prints there."""
    command = [sys.executable, "-S", "-P", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env=interpreter.environment(), cwd=folder)
    return (ran.stdout or ran.stderr).split()


def test_another_interpreter_sees_the_packages_of_a_checkout(tmp_path: Path) -> None:
    names = ("annotator", "models", "workflows")
    code = f"import {', '.join(names)}; print(*(m.__file__ for m in ({', '.join(names)})))"
    assert seen(code, tmp_path) == [str(ROOT / name / "__init__.py") for name in names]


def test_of_a_wheel_another_interpreter_sees_models_and_no_package_installed_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "annotator"
    for name in ("models", "workflows"):
        (package / "_share" / name).mkdir(parents=True)
    (package.parent / "torch.py").touch()
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    monkeypatch.setattr(interpreter, "__file__", str(package / "students" / "interpreter.py"))
    code = "from importlib.util import find_spec; print(*map(bool, map(find_spec, ('models', 'workflows', 'torch'))))"
    assert seen(code, tmp_path) == ["True", "True", "False"]
