"""Projects of one or several annotation files: their lists, what changed since, and what is never overwritten."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annotator import rounds, sources
from annotator.errors import FormatError, InputError
from annotator.rounds import How
from tests import scenes
from tests.scenes import annotations, files, origins, spoil


def two_sources(coco: tuple[Path, Path], mpii: tuple[Path, Path], **how: Any) -> list[Any]:
    return [sources.source_settings(*coco, "coco", **how), sources.source_settings(*mpii, "mpii", **how)]


def test_two_sources_are_proposed_for_together(
    coco: tuple[Path, Path], mpii: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    sources.init(tmp_path / "p", two_sources(coco, mpii))
    assert (tmp_path / "p" / "problems.jsonl").read_text() == ""
    made = rounds.propose_project(tmp_path / "p", How(str(tiny_student)))
    assert Counter(made.people.source) == {"coco": 12, "mpii": 8}
    alone = rounds.propose(*mpii, tmp_path / "alone", How(str(tiny_student)))
    together = made.proposals.take(made.people.source == "mpii")
    assert together.equals(alone.proposals)
    written = annotations(tmp_path / "p")
    assert {entry["annotator"]["pixel_origin"] for entry in written} == {0}  # all brought to COCO's pixels
    assert [origins(entry)["labelled"] for entry in written[12:]] == alone.people.labelled.sum(axis=1).tolist()


def test_a_project_made_twice_is_unchanged(coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path) -> None:
    one = [sources.source_settings(*coco)]
    spoil(coco[1] / "000001.png", "text")
    sources.init(tmp_path / "p", one)
    rounds.propose_project(tmp_path / "p", How(str(tiny_student)))
    before = files(tmp_path / "p")
    assert before["problems.jsonl"].count(b"\n") == 1
    sources.init(tmp_path / "p", one)
    assert files(tmp_path / "p") == before


def test_a_list_restricts_to_the_pictures_it_names(
    coco: tuple[Path, Path], mpii: tuple[Path, Path], tmp_path: Path
) -> None:
    (mpii[1] / "000001.png").rename(mpii[1] / "a b.png")
    mpii[0].write_text(mpii[0].read_text().replace("000001.png", "a b.png"))
    (tmp_path / "list.txt").write_text("a b.png\n\n  000002.png  \nnowhere.png\n")
    found = sources.init(tmp_path / "p", two_sources(coco, mpii, only=tmp_path / "list.txt"))
    assert [list(dataset.images.file_name) for dataset in found] == [["000002.png"], ["a b.png", "000002.png"]]
    # `a b.png` is MPII's alone and no fault of COCO's; nobody has the last
    missed = [[problem.record for problem in dataset.problems] for dataset in found]
    assert missed == [["nowhere.png"], ["nowhere.png"]]
    assert (tmp_path / "p" / "problems.jsonl").read_text().count("nowhere.png") >= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a list of pictures, got no such file"),
        (b"\xff\xfe", "expected a list of pictures in UTF-8, got"),
    ],
    ids=["missing", "not text"],
)
def test_a_list_that_cannot_be_read_is_one_line(
    coco: tuple[Path, Path], tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(FormatError, match=f"^{tmp_path}/list.txt: {message}"):
        sources.init(tmp_path / "p", [sources.source_settings(*coco, only=tmp_path / "list.txt")])
    assert not (tmp_path / "p").exists()


def test_a_source_that_changed_since_it_entered_is_refused(
    coco: tuple[Path, Path], tmp_path: Path, tiny_student: Path
) -> None:
    sources.init(tmp_path / "p", [sources.source_settings(*coco)])
    coco[0].write_text(coco[0].read_text() + " ")
    with pytest.raises(
        InputError, match=r"coco\.json: expected the file that entered the project, got another content"
    ):
        rounds.propose_project(tmp_path / "p", How(str(tiny_student)))


def test_two_sources_of_one_name_are_refused(coco: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a name of its own for each source, got coco, coco"):
        sources.init(tmp_path / "p", [sources.source_settings(*coco), sources.source_settings(*coco)])


def test_sources_are_never_overwritten(tmp_path: Path, tiny_student: Path) -> None:
    source = scenes.coco(tmp_path)
    here = source[0].rename(tmp_path / "annotations.json")
    before = here.read_bytes()
    with pytest.raises(InputError, match=r"expected a folder without annotations\.json, which would be overwritten"):
        rounds.propose(here, source[1], tmp_path, How(str(tiny_student)))
    assert here.read_bytes() == before and not (tmp_path / "annotator.toml").exists()
