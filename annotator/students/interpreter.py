"""The interpreter that has the `train` extra, and running modules of `models/` in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from annotator.errors import MissingError, expected
from annotator.files import share


def interpreter() -> str:
    """Python that has the `train` extra: ANNOTATOR_TRAIN_PYTHON, else this one."""
    return os.environ.get("ANNOTATOR_TRAIN_PYTHON") or sys.executable


def environment() -> dict[str, str]:
    """Environment in which `models` is ours, whatever lies in the current folder."""
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys((str(share()), package_parent)))}


def run_models(module: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m models.MODULE ARGUMENTS` to its end; raises MissingError where there is no such interpreter."""
    command = [interpreter(), "-W", "ignore", "-m", f"models.{module}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=share(), env=environment())
    except OSError as error:
        wanted = "a Python interpreter (ANNOTATOR_TRAIN_PYTHON)"
        raise MissingError(expected(wanted, error.strerror, interpreter())) from error
