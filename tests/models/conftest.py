"""A training set of dotted pictures, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.made import written


@pytest.fixture(scope="session")
def dots_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people labelled as COCO does, eight as MPII does, one teacher; read only."""
    return written(tmp_path_factory.mktemp("dots"))
