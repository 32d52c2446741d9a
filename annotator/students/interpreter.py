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
    """Environment in which `models` is ours, whatever lies in the current folder.

    In a checkout `annotator` lies beside `models`. Beside an installed one lie all packages of this interpreter, which
    are not for another: whoever installs the `train` extra of `annotator` there has installed `annotator`, too.
    """
    return os.environ | {"PYTHONPATH": str(share())}


def run_models(module: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m models.MODULE ARGUMENTS` to its end; raises MissingError where there is no such interpreter."""
    command = [interpreter(), "-W", "ignore", "-m", f"models.{module}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=share(), env=environment())
    except OSError as error:
        wanted = "a Python interpreter (ANNOTATOR_TRAIN_PYTHON)"
        raise MissingError(expected(wanted, error.strerror, interpreter())) from error
