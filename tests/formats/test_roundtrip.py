"""Write then read gives the same people, value for value, in every format; read then write the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator import formats
from annotator.formats.dataset import Dataset
from annotator.people import People
from tests.formats.made import SPECS, datasets, folder


def assert_same_people(a: People, b: People) -> None:
    """All columns but the source's record."""
    assert a.skeleton == b.skeleton
    for name in People.SHAPES:
        if name != "record":
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


def content(path: Path) -> dict[str, bytes]:
    """Every file under a path, or the path's own bytes."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def place(folder: Path, name: str) -> Path:
    return folder / {"mpii_mat": "people.mat", "lsp": "people.mat", "yolo": "people"}.get(name, "people.json")


@pytest.fixture(scope="module", params=formats.FORMATS)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    return request.param, folder(root, request.param)


def test_every_format_of_the_table_is_under_this_test() -> None:
    assert set(formats.FORMATS) == set(SPECS)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_people_survive_write_and_read(
    named: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, root = named
    made: Dataset = data.draw(datasets(name, root))
    if name == "yolo" and not len(made.images):
        return  # a folder without a single line says nothing
    first = place(tmp_path_factory.mktemp("first"), name)
    formats.write(first, made, name)
    back = formats.read(first, root, name, source="made")
    assert back.problems == ()
    assert_same_people(back.people, made.people)
    np.testing.assert_array_equal(back.images.file_name, made.images.file_name)
    np.testing.assert_array_equal(back.images.image_id, made.images.image_id)

    again = place(tmp_path_factory.mktemp("again"), name)
    formats.write(again, back, name)
    assert content(again) == content(first)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_corrected_label_changes_that_label_alone(
    named: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, root = named
    made: Dataset = data.draw(datasets(name, root))
    if not len(made.people):
        return
    path = place(tmp_path_factory.mktemp("first"), name)
    formats.write(path, made, name)
    back = formats.read(path, root, name, source="made")
    xy, v = back.people.xy.copy(), back.people.v.copy()
    row, k = data.draw(st.integers(0, len(v) - 1)), data.draw(st.integers(0, v.shape[1] - 1))
    xy[row, k], v[row, k] = (12.345, 67.25), 2
    origin = back.people.origin.copy()
    origin[row, k] = 1  # labelled
    changed = replace(back, people=replace(back.people, xy=xy, v=v, origin=origin))
    again = place(tmp_path_factory.mktemp("again"), name)
    formats.write(again, changed, name)
    boxless = SPECS[name].boxes == "keypoints"  # whose boxes follow the labels
    got = formats.read(again, root, name, source="made").people
    assert_same_people(got, replace(changed.people, bbox_xywh=got.bbox_xywh) if boxless else changed.people)
