"""Fixtures: the research data and teacher networks, where this machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import networks, scenes

# A busy machine is no fault of the code: what must be fast has a test of its own.
settings.register_profile("annotator", deadline=None)
settings.load_profile("annotator")

ROOT = Path(__file__).parent.parent


def _found(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / default)
    if not path.is_dir():
        pytest.skip(f"needs the research data: set {variable}")
    return path


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of photographs and labels (ANNOTATOR_DATA)."""
    return _found("ANNOTATOR_DATA", "data")


@pytest.fixture(scope="session")
def teachers() -> Path:
    """Folder of teacher networks (ANNOTATOR_TEACHERS)."""
    return _found("ANNOTATOR_TEACHERS", "teachers")


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Card of a student of 21 keypoints that is fast and of no use (see networks.random_student)."""
    return networks.random_student(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's students (ANNOTATOR_STUDENTS), and no teachers."""
    folder = tmp_path / "students"
    monkeypatch.setenv("ANNOTATOR_STUDENTS", str(folder))
    monkeypatch.delenv("ANNOTATOR_TEACHERS", raising=False)
    return folder


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, Path]:
    """A small COCO file and its pictures."""
    return scenes.coco(tmp_path / "source")


@pytest.fixture
def mpii(tmp_path: Path) -> tuple[Path, Path]:
    """A small MPII file and its pictures."""
    return scenes.mpii(tmp_path / "source")
