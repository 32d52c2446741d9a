"""What annotator.toml holds, and what it says of a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.errors import FormatError
from annotator.store.settings import Settings, SourceSettings, load, save

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
sources = st.builds(SourceSettings, name=words, format=words, annotations=words, images=words, sha256=words, only=words)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sources, max_size=3))
def test_settings_come_back_as_they_were(tmp_path: Path, given_sources: list[SourceSettings]) -> None:
    wanted = Settings(sources=tuple(given_sources))
    save(tmp_path, wanted)
    assert load(tmp_path) == wanted


SOURCE = "[[sources]]\nname = 'a'\nformat = 'coco'\nannotations = '/a.json'\nimages = '/a'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = ", "annotator.toml: expected a project (annotator init PROJECT) in TOML, got Invalid value"),
        ("version = 2", "annotator.toml: version: expected 1, got 2"),
        ("skeleton = 'coco17'", "annotator.toml: skeleton: expected 'union21', got 'coco17'"),
        ("colour = 'red'", "annotator.toml: colour: expected no such field, got 'red'"),
        (SOURCE.replace("images = '/a'\n", ""), "annotator.toml: sources.0.images: expected a value, got nothing"),
        (SOURCE + SOURCE.replace("'coco'", "3"), "annotator.toml: sources.1.format: expected a valid string, got 3"),
    ],
    ids=["toml", "newer", "skeleton", "unknown", "missing", "kind"],
)
def test_a_wrong_setting_is_one_line_with_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotator.toml").write_text(text)
    with pytest.raises(FormatError) as error:
        load(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/{message}") and "\n" not in str(error.value)


def test_a_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a project \(annotator init PROJECT\), got no such file"):
        load(tmp_path)
