"""From a project's folder to a push: where the pictures are, which selection, and the two commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotator.cli import main
from annotator.errors import InputError, UsageError
from annotator.labelstudio.client import Client
from annotator.labelstudio.pushing import Places, push_round
from annotator.selection import Request
from annotator.store.settings import SourceSettings
from tests import projects, scenes
from tests.labelstudio.working import result_of, submit, tasks_in

SOURCES = [SourceSettings(name=name, format="coco", annotations="/a.json", images="/a") for name in ("coco", "mpii")]


@pytest.mark.parametrize(
    ("urls", "prefixes"),
    [
        (("https://a.example/x/",), ["https://a.example/x/"] * 2),
        (("coco=https://a.example/x/", "mpii=s3://b/"), ["https://a.example/x/", "s3://b/"]),
        (("https://a.example/?set=", "mpii=/data/"), ["https://a.example/?set=", "/data/"]),
    ],
    ids=["one for all", "one each", "all but one"],
)
def test_a_teams_server_is_told_where_each_source_lies(urls: tuple[str, ...], prefixes: list[str]) -> None:
    found = Places(None, urls).of(SOURCES)
    assert [found[source.name].prefix for source in SOURCES] == prefixes
    assert {place.storage for place in found.values()} == {""}
    assert found["mpii"].address("a b/1.jpg") == prefixes[1] + "a%20b/1.jpg"


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ((), r"label push: expected where that server finds the pictures of coco \(--images-url\), got nothing"),
        (("mpii=/data/",), r"expected where that server finds the pictures of coco"),
        (("lsp=/data/",), r"--images-url: expected one of coco, mpii, got lsp"),
    ],
    ids=["none", "one missing", "unknown"],
)
def test_a_source_without_an_address_is_a_usage_error(urls: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Places(None, urls).of(SOURCES)


def test_the_local_server_is_shown_each_sources_own_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    source = SOURCES[0].model_copy(update={"images": str(tmp_path / "a")})
    place = Places(tmp_path / "home").of([source])["coco"]
    assert Path(place.storage).resolve() == tmp_path / "a"


def test_a_push_needs_a_round_and_a_selection_of_its_proposals(tmp_path: Path, client: Client) -> None:
    datasets = projects.project(tmp_path / "p", scenes.coco(tmp_path, 2), proposed=False)
    places = Places(None, ("/data/",))
    with pytest.raises(InputError, match=r"expected a round with proposals \(annotator propose PROJECT\), got none"):
        push_round(tmp_path / "p", client, places)
    projects.propose(tmp_path / "p", datasets)
    with pytest.raises(InputError, match=r"selection.parquet: expected a selection .*--budget\), got none"):
        push_round(tmp_path / "p", client, places)
    assert push_round(tmp_path / "p", client, places, Request(1)).tasks == 1
    projects.propose(tmp_path / "p", datasets, seed=1)
    with pytest.raises(InputError, match=r"expected a selection .*, got one of other proposals"):
        push_round(tmp_path / "p", client, places)


def test_the_commands_push_and_pull(
    tmp_path: Path, client: Client, label_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "p"
    projects.project(folder, scenes.coco(tmp_path, 3, 2))
    home = ["--home", str(label_home)]
    assert main(["label", "push", str(folder), "--budget", "4", "--strategy", "random", "--json", *home]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["people"] == 4 and pushed["new"] == pushed["tasks"]
    assert main(["label", "push", str(folder), *home]) == 0
    out = capsys.readouterr().out
    assert f"4 people in {pushed['tasks']} tasks, 0 of them new" in out and f"/projects/{pushed['project']}/data" in out
    task = tasks_in(client, pushed["project"])[0]
    submit(client, task["id"], [*result_of(task), {"id": "x", "type": "polygonlabels", "value": {}}])
    assert main(["label", "pull", str(folder), *home]) == 0
    assert "1 could not be understood:" in (out := capsys.readouterr().out) and "of type polygonlabels" in out
    assert main(["label", "pull", str(folder), "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == 0
