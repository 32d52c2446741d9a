"""The examples in the docstrings of `workflows/`, some of which need the train extra to be imported at all."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.conftest import ROOT

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

EXAMPLES = [path.stem for path in sorted((ROOT / "workflows").glob("*.py")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_are_true(module):
    found = doctest.testmod(importlib.import_module(f"workflows.{module}"))
    assert found.attempted and not found.failed
