"""The commands below the tables of `docs/results.md`, and LSP's test list; no network is run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workflows import results

PAGE = (ROOT / "docs" / "results.md").read_text()


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    """The commands that a test set's table ends with, `annotator` standing in for its own output."""
    figure = {"value": 0.5, "low": None, "high": None, "people": 1, "keypoints": 1, "images": 1}
    names = [name for shown in results.SHOWN.values() for name in shown]
    evaluated = json.dumps({"summary": dict.fromkeys(names, figure), "per_keypoint": {}})

    def annotator(*arguments: str) -> str:
        if arguments[0] == "propose":
            folder = Path(arguments[arguments.index("--out") + 1]) / "rounds" / "001"
            folder.mkdir(parents=True)
            (folder / "round.toml").write_text('student = "made"\nnetworks = []\n')
        return evaluated

    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["results", *arguments, "--students", "default"])
        results.main()
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("annotator ")]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "annotator", annotator)
    return run


@pytest.mark.parametrize("data", ["/mine/data", "data", "coco", "out/data"])
def test_the_published_commands_are_printed_wherever_the_data_lie(printed, data):
    published = [line for line in PAGE.splitlines() if line.startswith("annotator ") and "-default" in line]
    assert len(published) == 6
    assert printed("--data", data, "--out", "out") == published


def test_commands_on_data_of_the_working_folder_are_those_that_ran(printed):
    propose, evaluate = printed("--data", ".", "--out", "out", "--sets", "mpii")
    labels, images = "mpii/mpii_test.json", "--images mpii/images"
    assert propose == (
        f"annotator propose --annotations {labels} {images} --out OUT/mpii-default --student default --hide all"
    )
    assert evaluate == (
        f"annotator evaluate OUT/mpii-default --against {labels} {images} --format mpii --min-keypoints 16"
    )


def test_lsp_s_test_list_names_the_second_half_in_a_folder_made_for_it(tmp_path):
    names = results.lsp_test(tmp_path / "new").read_text().splitlines()
    assert (names[0], names[-1], len(set(names))) == ("im1001.jpg", "im2000.jpg", 1000)
