"""Bringing networks in: by card, by download from a server of this machine, and from MMPose."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from annotator.cli import main
from annotator.errors import FormatError, MissingError, StorageError
from annotator.files import file_sha256
from annotator.skeletons import UNION_21
from annotator.students import adding, registry
from annotator.students import card as cards
from annotator.students.onnx import OnnxModel
from tests import networks
from tests.conftest import ROOT
from tests.networks import SIZE

Capture = pytest.CaptureFixture[str]
CONTENT = b"a checkpoint" * 100_000
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


def test_a_card_and_its_weights_are_copied_and_found_by_name(students: Path, tmp_path: Path, capsys: Capture) -> None:
    said = {"terms": "none", "figures": {"AP": "0"}, "failures": ["small people"]}
    path = networks.random_student(tmp_path / "given", name="mine", **said)
    (tmp_path / "given" / "mine.onnx").rename(tmp_path / "given" / "model.onnx")
    path.write_text(path.read_text().replace("mine.onnx", "model.onnx"))
    assert main(["students", "add", str(path)]) == 0
    assert capsys.readouterr().out == "mine: 21 keypoints, ready for --student mine\n"
    assert sorted(file.name for file in students.iterdir()) == ["mine.onnx", "mine.toml"]
    before, after = cards.load(path), cards.load(students / "mine.toml")
    weights = file_sha256(tmp_path / "given" / "model.onnx")
    assert after == before.model_copy(update={"file": "mine.onnx", "sha256": weights})
    assert registry.resolve("mine", UNION_21).networks[0].digest == weights
    assert main(["students", "list", "--json"]) == 0
    (listed,) = (row for row in json.loads(capsys.readouterr().out) if row["name"] == "mine")
    assert (listed["figures"], listed["failures"]) == (said["figures"], said["failures"])


def test_two_networks_of_one_file_name_stay_apart(students: Path, tmp_path: Path) -> None:
    digests = []
    for seed, name in enumerate(("one", "two")):
        path = networks.random_student(tmp_path / name, seed, name)
        (tmp_path / name / f"{name}.onnx").rename(tmp_path / name / "model.onnx")
        path.write_text(path.read_text().replace(f"{name}.onnx", "model.onnx"))
        digests.append(file_sha256(tmp_path / name / "model.onnx"))
        adding.add(str(tmp_path / name / f"{name}.toml"))
    assert [registry.resolve(name, UNION_21).networks[0].digest for name in ("one", "two")] == digests


@pytest.mark.parametrize("card_path", sorted(ROOT.glob("models/weights/*.toml")), ids=lambda path: path.stem)
def test_copying_what_ships_leaves_the_default_as_it_was(students: Path, card_path: Path) -> None:
    before = registry.resolve("default", UNION_21).name
    for _ in range(2):  # the second time the copy itself is what is known
        adding.add(str(card_path.with_suffix(".onnx")))
        assert registry.resolve("default", UNION_21).name == before


def test_a_card_of_a_new_name_is_not_made_the_default(students: Path, tmp_path: Path) -> None:
    before = registry.resolve("default", UNION_21).name
    adding.add(str(networks.random_student(tmp_path / "given", default=True)))
    assert registry.resolve("default", UNION_21).name == before


def test_an_onnx_file_is_added_with_the_card_beside_it(students: Path, tmp_path: Path) -> None:
    path = networks.random_student(tmp_path / "given")
    assert adding.add(str(path.with_suffix(".onnx"))).name == "tiny"
    assert adding.add(str(students / "tiny.toml")).name == "tiny"  # its own copy: nothing is lost
    assert OnnxModel(cards.load(students / "tiny.toml"), students / "tiny.onnx").digest


def test_what_does_not_run_is_not_added(students: Path, tmp_path: Path) -> None:
    path = networks.random_student(tmp_path / "given", keypoints=["nose"])
    with pytest.raises(FormatError, match="expected axes of 1 keypoints"):
        adding.add(str(path))
    path.with_suffix(".onnx").unlink()
    with pytest.raises(MissingError, match=r"tiny\.onnx belongs beside its card"):
        adding.add(str(path))
    assert not students.exists()


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("nowhere/a.toml", 1, "nowhere/a.toml: expected a card, got no such file"),
        ("nowhere/a.onnx", 1, "nowhere/a.toml: expected a card beside the network, got no such file"),
        ("nobody", 1, "students add: expected a card's path or one of efficientpose2, rtmpose-m-coco"),
        (
            "tinypose",
            3,
            "students add: expected weights of tinypose (set ANNOTATOR_TEACHERS to their folder), got none",
        ),
    ],
)
def test_what_cannot_be_added_is_one_line(students: Path, capsys: Capture, what: str, code: int, message: str) -> None:
    assert main(["students", "add", what]) == code
    err = capsys.readouterr().err
    assert err.startswith(f"annotator: {message}") and err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_4(
    students: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    path = networks.random_student(tmp_path / "given")
    (tmp_path / "file").write_text("a file where a folder is meant")
    monkeypatch.setenv("ANNOTATOR_STUDENTS", str(tmp_path / "file" / "students"))
    assert main(["students", "add", str(path)]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def known(students: Path, url: str) -> cards.Card:
    """A teacher that is known and not here, in the user's folder."""
    path = networks.random_student(students, name="far", role="teacher", url=url, mmpose_config="far_config")
    path.with_suffix(".onnx").unlink()
    return cards.load(path)


@pytest.mark.parametrize("name", [f"far-{DIGITS}_20230127.pth", "far.pth"], ids=["digest in its name", "none"])
def test_a_checkpoint_is_downloaded_whole(students: Path, tmp_path: Path, served: tuple[Path, str], name: str) -> None:
    (served[0] / name).write_bytes(CONTENT)
    said: list[tuple[int, int]] = []
    path = adding.download(known(students, f"{served[1]}/{name}"), tmp_path, lambda *steps: said.append(steps))
    assert path.read_bytes() == CONTENT and path.name == name
    assert said[-1] == (len(CONTENT), len(CONTENT)) and len(said) == 2  # a piece is a mebibyte


def test_a_checkpoint_other_than_its_name_says_is_refused(
    students: Path, served: tuple[Path, str], capsys: Capture
) -> None:
    (served[0] / "far-01234567_20230127.pth").write_bytes(CONTENT)
    url = known(students, f"{served[1]}/far-01234567_20230127.pth").url
    assert main(["students", "add", "far"]) == 1
    wanted = f"annotator: {url}: expected a file whose sha256 begins with 01234567, got {DIGITS}\n"
    assert capsys.readouterr().err == wanted


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("reason", ["Connection refused", "File not found"])
def test_without_a_network_the_way_round_is_said(
    students: Path, served: tuple[Path, str], capsys: Capture, reason: str
) -> None:
    host = f"http://127.0.0.1:{closed_port()}" if "refused" in reason else served[1]
    known(students, f"{host}/far-01234567_20230127.pth")
    assert main(["students", "add", "far"]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"annotator: far: expected a connection to {host}/far-01234567_20230127.pth (or fetch it")
    assert "annotator students add --mmpose far_config far-01234567_20230127.pth), got" in err
    assert err.rstrip().endswith(reason) or f"{reason}" in err
    assert err.count("\n") == 1


def test_a_server_that_leaves_early_is_no_whole_checkpoint(students: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"a" * 400)

        threading.Thread(target=answer, daemon=True).start()
        card = known(students, f"http://127.0.0.1:{server.getsockname()[1]}/far.pth")
        with pytest.raises(MissingError, match=r"expected a connection to .*, got 400 of 1000 bytes"):
            adding.download(card, tmp_path)


def test_no_room_for_a_download_is_not_blamed_on_the_network(
    students: Path, served: tuple[Path, str], tmp_path: Path
) -> None:
    (served[0] / "full").write_bytes(CONTENT)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        adding.download(known(students, f"{served[1]}/full"), tmp_path)
    assert not isinstance(error.value, MissingError | StorageError)  # the command line makes 4 of it


def test_exporting_without_the_extra_says_how_to_get_it(
    students: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    bare = Path(sys.base_prefix) / "bin" / "python3"
    if sys.prefix == sys.base_prefix or not bare.is_file():
        pytest.skip("needs an interpreter without packages beside this one")
    (tmp_path / "a.pth").write_bytes(b"")
    monkeypatch.setenv("ANNOTATOR_TRAIN_PYTHON", str(bare))
    assert main(["students", "add", "--mmpose", "some_config", str(tmp_path / "a.pth")]) == 3
    err = capsys.readouterr().err
    assert err.startswith("annotator: Exporting MMPose models needs the train extra: pip install 'annotator[train]'")
    monkeypatch.setenv("ANNOTATOR_TRAIN_PYTHON", str(tmp_path / "python"))
    assert main(["students", "add", "--mmpose", "some_config", str(tmp_path / "a.pth")]) == 3
    err = capsys.readouterr().err
    wanted = "expected a Python interpreter (ANNOTATOR_TRAIN_PYTHON), got No such file or directory"
    assert err == f"annotator: {tmp_path}/python: {wanted}\n"


def test_mmpose_takes_a_checkpoint_that_is_there(students: Path, capsys: Capture) -> None:
    assert main(["students", "add", "--mmpose", "some_config", "nowhere.pth"]) == 1
    assert capsys.readouterr().err == "annotator: nowhere.pth: expected a checkpoint, got no such file\n"
    assert main(["students", "add", "--mmpose", "some_config"]) == 2
    assert main(["students", "add", "some_config", "nowhere.pth"]) == 2


def test_size_of_the_tests_own_networks_is_what_their_cards_say(tiny_student: Path) -> None:
    assert cards.load(tiny_student).input.size_hw == SIZE
