"""Promises about names: what is public, what every command says of itself, what the README shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import annotator
from annotator import extras
from annotator.cli import COMMANDS, load, main
from annotator.errors import MissingError
from tests.conftest import ROOT

PUBLIC = [
    "AnnotatorError",
    "Decisions",
    "FormatError",
    "How",
    "ImageError",
    "Images",
    "InputError",
    "MissingError",
    "People",
    "Proposals",
    "Skeleton",
    "SkeletonError",
    "StorageError",
    "TableError",
    "UsageError",
    "__version__",
    "propose",
    "read",
    "union",
    "write",
]
EVERYWHERE = {"--help", "--debug", "--version"}


def _leaves(name: str):
    """A command, or all commands of a group, with the words that call them."""
    command = load(name)
    if not hasattr(command, "commands"):
        return {name: command}
    return {f"{name} {inner}": leaf for inner, leaf in command.commands.items()}


def test_the_public_names_are_exactly_these():
    assert annotator.__all__ == sorted(PUBLIC) == dir(annotator)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported(name):
    assert getattr(annotator, name) is not None


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = annotator.nonsense


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_and_explains_itself_and_its_options(name):
    for words, command in _leaves(name).items():
        assert (command.help or "").strip(), words
        for option in command.params:
            assert getattr(option, "help", None), f"{words} {option.opts[0]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_answers_help(name, capsys):
    for words in _leaves(name):
        assert main([*words.split(), "--help"]) == 0
        assert f"annotator {words}" in capsys.readouterr().out


def _shown(text: str) -> list[str]:
    """Command lines in the text's shell blocks, continued lines joined; after a prompt where a block has prompts."""
    lines = []
    for block in re.findall(r"^```(?:bash|console|sh|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        whole = block.replace("\\\n", " ").splitlines()
        lines += [line[2:] for line in whole if line.startswith("$ ")] or whole
    return [line.strip() for line in lines]


def _unknown(line: str) -> list[str]:
    """What a line that calls `annotator` names and we do not have."""
    words = shlex.split(re.split(r"[|>;&]", line)[0], comments=True)[1:]
    named = [word for word in words if not word.startswith("-")]
    if not named:
        return [word for word in words if word not in EVERYWHERE]
    if named[0] not in COMMANDS:
        return named[:1]
    command = load(named[0])
    if hasattr(command, "commands"):
        if named[1:2] and named[1] not in command.commands:
            return named[:2]
        command = command.commands[named[1]] if named[1:] else command
    known = EVERYWHERE.union(*(option.opts + option.secondary_opts for option in command.params))
    return [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]), ids=lambda path: path.name)
def test_pages_show_commands_and_options_that_exist(page):
    lines = [line for line in _shown(page.read_text()) if re.match(r"annotator(\s|$)", line)]
    assert {line: _unknown(line) for line in lines if _unknown(line)} == {}


def test_a_page_with_a_wrong_command_would_be_found_out():
    page = """
```console
$ annotator doctor --jsn
annotator  ok  output, not a command
```
```bash
annotator prpose x  # no such thing
annotator doctor \\
  --json | head
```
"""
    assert [_unknown(line) for line in _shown(page)] == [["--jsn"], ["prpose"], []]


def test_the_readme_starts_with_two_scripts_that_exist():
    shown = _shown((ROOT / "README.md").read_text())
    scripts = [line.split()[0] for line in shown if line.startswith("./scripts/")]
    assert {"./scripts/demo", "./scripts/test"} <= set(scripts)
    assert [script for script in scripts if not Path(ROOT, script).is_file()] == []


def test_a_missing_extra_says_how_to_get_it():
    with pytest.raises(MissingError, match=r"^Review needs Nothing: pip install 'annotator\[review\]'$"):
        extras.need("a_package_that_is_nowhere", "review", "Review needs Nothing")


def test_an_extra_that_is_there_is_imported():
    assert extras.need("json", "review", "Review needs JSON").dumps([1]) == "[1]"


@pytest.mark.parametrize("content", ["import a_package_that_is_nowhere", "from json import nothing_like_it"])
def test_an_extra_that_is_there_but_broken_says_so(tmp_path, monkeypatch, content):
    (tmp_path / "broken_extra.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"broken_extra cannot be imported: .*annotator doctor"):
        extras.need("broken_extra", "review", "Review needs a whole package")
