"""docs/results.md and the cards say of the students that ship what these come to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from annotator.evaluation import tables
from annotator.files import file_sha256
from annotator.students import card as cards
from annotator.students.card import Card
from tests.conftest import ROOT
from workflows import results

PAGE = (ROOT / "docs" / "results.md").read_text()
SHIPPED = [cards.load(path) for path in sorted((ROOT / "models" / "weights").glob("*.toml"))]
# A card's figure -> the test set, and the figure's name in `evaluate --json`.
FIGURES = {f"{name}_test_{figure.replace('.', '_')}": (name, figure) for name in results.SETS
           for figure in results.SHOWN[name]}  # fmt: skip


def section(page: str, name: str) -> str:
    """What `workflows.results` printed of a test set."""
    (found,) = re.findall(rf"^### {name}: .*?^Weights \(sha256\): .*?$", page, re.MULTILINE | re.DOTALL)
    return str(found)


def columns(text: str) -> dict[str, dict[str, str]]:
    """Student -> row -> cell, of the one table in a section; n is the same for all."""
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
    return {student: {row[0]: row[k] for row in rows} for k, student in enumerate(head) if student not in ("", "n")}


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
def test_a_card_says_what_the_results_say_of_the_weights_beside_it(card: Card) -> None:
    digest = file_sha256(ROOT / "models" / "weights" / card.file)
    assert digest == card.sha256
    assert card.figures and set(card.figures) <= set(FIGURES)
    for key, said in card.figures.items():
        name, figure = FIGURES[key]
        text = section(PAGE, name)
        people = int(re.findall(r"^### \w+: (\d+) people", text)[0])
        unit = " %" if figure.startswith("pck") else ""
        value, interval = columns(text)[card.name][tables.TITLES[figure]].split(" ", 1)
        assert said.startswith(f"{value}{unit} {interval}, n = {people:,} people")
        assert f"{card.name} {digest[:12]}" in text


@pytest.mark.slow
def test_the_published_figures_on_mpii_are_what_the_shipped_files_come_to(
    data: Path, students: Path, tmp_path: Path
) -> None:
    """All of its test split, both students, each figure, interval and keypoint: as published to the last digit."""
    published = section(PAGE, "mpii")
    made = section(
        results.summary("mpii", [results.measure(card.name, "mpii", data, tmp_path) for card in SHIPPED]), "mpii"
    )
    assert made.splitlines()[0] == published.splitlines()[0]  # people, keypoints and images
    again, before = columns(made), columns(published)
    assert again == {card.name: before[card.name] for card in SHIPPED}
    assert len(again[SHIPPED[0].name]) == 2 + 16  # PCKh@.5 and @.1, and MPII's keypoints
