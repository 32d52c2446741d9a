"""Bringing networks in: by card, by download from a server of this machine, and from MMPose."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from annotator.cli import main
from annotator.errors import FormatError, MissingError, StorageError
from annotator.files import file_sha256
from annotator.skeletons import COCO_17, MPII_16, UNION_21, from_metainfo
from annotator.students import adding, registry
from annotator.students import card as cards
from annotator.students.card import Heatmap
from annotator.students.onnx import OnnxModel
from tests import networks
from tests.networks import SIZE

Capture = pytest.CaptureFixture[str]
CONTENT = b"a checkpoint" * 100_000
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_a_card_and_its_weights_are_copied_and_found_by_name(students: Path, tmp_path: Path, capsys: Capture) -> None:
    path = networks.random_student(tmp_path / "given", name="mine", terms="none", figures={"AP": "0"})
    (tmp_path / "given" / "mine.onnx").rename(tmp_path / "given" / "model.onnx")
    path.write_text(path.read_text().replace("mine.onnx", "model.onnx"))
    assert main(["students", "add", str(path)]) == 0
    assert capsys.readouterr().out == "mine: 21 keypoints, ready for --student mine\n"
    assert sorted(file.name for file in students.iterdir()) == ["mine.onnx", "mine.toml"]
    before, after = cards.load(path), cards.load(students / "mine.toml")
    weights = file_sha256(tmp_path / "given" / "model.onnx")
    assert after == before.model_copy(update={"file": "mine.onnx", "sha256": weights})
    assert registry.resolve("mine", UNION_21).networks[0].digest == weights


def test_two_networks_of_one_file_name_stay_apart(students: Path, tmp_path: Path) -> None:
    digests = []
    for seed, name in enumerate(("one", "two")):
        path = networks.random_student(tmp_path / name, seed, name)
        (tmp_path / name / f"{name}.onnx").rename(tmp_path / name / "model.onnx")
        path.write_text(path.read_text().replace(f"{name}.onnx", "model.onnx"))
        digests.append(file_sha256(tmp_path / name / "model.onnx"))
        adding.add(str(tmp_path / name / f"{name}.toml"))
    assert [registry.resolve(name, UNION_21).networks[0].digest for name in ("one", "two")] == digests


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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Nothing to the terminal."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is meant to: no traceback into a later test's output."""

    with Server(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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


@pytest.fixture(scope="session")
def mmpose() -> Any:
    """`models.export_mmpose`, where the train extra is installed."""
    for package in ("torch", "mmcv", "onnx"):
        pytest.importorskip(package, reason="needs the train extra")
    from models import export_mmpose

    return export_mmpose


def saved(mmpose: Any, name: str, path: Path) -> Path:
    """Weights of a config's model as it is made, with statistics of norms that are not those of a fresh one."""
    import torch
    from mmengine.config import Config
    from mmengine.logging import HistoryBuffer
    from mmengine.registry import init_default_scope

    config = Config.fromfile(str(mmpose.find_config(name)))
    init_default_scope("mmpose")
    torch.manual_seed(0)
    estimator = mmpose.build_pose_estimator(mmpose.without_mmdet(config))
    for key, value in estimator.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif key.endswith("running_mean"):
            value.normal_(0, 0.1)
    # as mmengine's Runner saves, and as OpenMMLab publishes: history, numpy arrays, the format before zip files
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    document = {"state_dict": estimator.state_dict(), "meta": {"colours": np.eye(3)}, "message_hub": {"loss": history}}
    torch.save(document, path, _use_new_zipfile_serialization="rtmpose" not in name)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "skeleton"),
    [
        ("rtmpose-t_8xb256-420e_coco-256x192", "simcc", COCO_17),
        ("rtmpose-m_8xb64-210e_mpii-256x256", "simcc", MPII_16),
        ("td-hm_mobilenetv2_8xb64-210e_coco-256x192", "heatmap", COCO_17),
    ],
)
def test_an_exported_model_is_mmposes_own(
    mmpose: Any, students: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    name: str, kind: str, skeleton: Any,
) -> None:  # fmt: skip
    import torch

    checkpoint = saved(mmpose, name, tmp_path / "a.pth")
    config = mmpose.find_config(name)
    if kind == "heatmap":  # a config of the user's own, by a path from the current folder, with a space in its name
        (tmp_path / "my config.py").write_text(f"_base_ = [{str(config)!r}]\n")
        monkeypatch.chdir(tmp_path)
    given = "my config.py" if kind == "heatmap" else name
    added = given.removesuffix(".py").replace(" ", "-")
    assert main(["students", "add", "--mmpose", given, str(checkpoint)]) == 0
    assert capsys.readouterr().out.endswith(f"ready for --student {added}\n")
    model = registry.resolve(added, UNION_21).networks[0]
    assert (model.skeleton.keypoints, model.card.output.kind) == (skeleton.keypoints, kind)
    assert model.card.sha256 == file_sha256(students / f"{added}.onnx")

    estimator, _ = mmpose.load(config, checkpoint)
    height, width = model.card.input.size_hw
    crops = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    pixels = estimator.data_preprocessor(
        {"inputs": [torch.from_numpy(crop[..., ::-1].transpose(2, 0, 1).copy()) for crop in crops], "data_samples": []}
    )["inputs"]  # MMPose's own normalisation, from BGR
    with torch.no_grad():
        wanted = estimator(pixels, [], mode="tensor")
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for theirs, ours in zip(wanted, model.raw(crops), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    assert_reads_like_mmpose(estimator, model, crops, wanted)


def assert_reads_like_mmpose(estimator: Any, model: OnnxModel, crops: np.ndarray, wanted: Any) -> None:
    """MMPose's decoder finds the same places, but for what is refined below a bin or a cell."""
    word = OnnxModel(model.card.model_copy(update={"flip_test": False}), model.path).read(crops)
    for i in range(len(crops)):
        theirs, _ = estimator.head.decoder.decode(*[output[i].numpy() for output in wanted])
        output = model.card.output
        reach = 1.25 * output.stride if isinstance(output, Heatmap) else 0.5 / output.split
        off = np.abs(word.xy[i] - theirs[0]).max(axis=1)
        assert np.mean(off <= reach + 1e-3) > 0.9  # untrained: a few keypoints have two bins alike to 1e-4


@pytest.mark.slow
def test_what_cannot_be_exported_is_one_line(mmpose: Any, students: Path, tmp_path: Path, capsys: Capture) -> None:
    checkpoint = saved(mmpose, "rtmpose-t_8xb256-420e_coco-256x192", tmp_path / "a.pth")
    other = tmp_path / "b.pth"
    other.write_bytes(b"no checkpoint")
    cases = {
        (
            "rtmpose-m_8xb64-210e_mpii-256x256",
            checkpoint,
        ): "expected weights of rtmpose-m_8xb64-210e_mpii-256x256.py, got",
        ("no_such_config", checkpoint): "expected a config file or the name of one of MMPose's, got 'no_such_config'",
        ("rtmpose-m_8xb64-210e_mpii-256x256", other): "b.pth: expected a checkpoint of torch, got ",
    }
    for (config, given), message in cases.items():
        assert main(["students", "add", "--mmpose", config, str(given)]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"annotator: {given}: expected an MMPose model that can be exported, got")
        assert message in err and err.count("\n") == 1
    assert not students.exists()  # nothing half-written


def test_a_model_that_gives_neither_axes_nor_maps_has_no_card(mmpose: Any) -> None:
    from mmengine.config import Config

    config = Config.fromfile(str(mmpose.find_config("td-reg_res50_8xb64-210e_coco-256x192")))
    with pytest.raises(ValueError, match="expected a model read as SimCC or heatmaps, got RegressionLabel"):
        mmpose.read_out(config)


@pytest.mark.parametrize(
    ("name", "stride", "shift"),
    [("td-hm_res50_8xb64-210e_coco-256x192", 4, 0.75), ("td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192", 191 / 47, 0)],
    ids=["a whole number of pixels a cell", "last cell on last pixel"],
)
def test_maps_of_the_mirror_image_are_moved_as_the_codec_places_cells(
    mmpose: Any, name: str, stride: float, shift: float
) -> None:
    """Cell j is crop pixel s j, its mirror image 191 - s j, that is cell 191 / s - j; reversing makes it 47 - j."""
    from mmengine.config import Config

    _, table, size_hw = mmpose.read_out(Config.fromfile(str(mmpose.find_config(name))))
    assert (table["stride"], size_hw) == (pytest.approx(stride), (256, 192))
    assert table["flip_shift"] == pytest.approx(abs(47 - 191 / stride)) == pytest.approx(shift)


@pytest.mark.slow
def test_the_papers_teacher_is_downloaded_exported_and_keeps_its_terms(
    mmpose: Any, students: Path, tmp_path: Path, served: tuple[Path, str]
) -> None:
    name = "rtmpose-t_8xb256-420e_coco-256x192"
    checkpoint = saved(mmpose, name, tmp_path / "a.pth")
    digits = file_sha256(checkpoint)[:8]
    checkpoint.rename(served[0] / f"rtmpose-{digits}_20230127.pth")
    shipped = next(entry.card for entry in registry.known() if entry.card.name == "rtmpose-m-coco")
    ours = shipped.model_copy(
        update={"url": f"{served[1]}/rtmpose-{digits}_20230127.pth", "mmpose_config": name, "trust": {"nose": 0.5}}
    )
    students.mkdir()
    (students / "far.toml").write_text(tomli_w.dumps(ours.model_dump(mode="json", exclude_none=True)))
    (students / "far.toml").rename(students / "rtmpose-m-coco.toml")
    card = adding.add("rtmpose-m-coco")
    assert (card.role, card.terms, card.data, card.trust) == ("teacher", ours.terms, ours.data, {"nose": 0.5})
    assert [net.card.name for net in registry.resolve("teachers", UNION_21).networks] == ["rtmpose-m-coco"]
    assert adding.add("rtmpose-m-coco") == card  # it is here now
    assert sorted(file.name for file in students.iterdir()) == ["rtmpose-m-coco.onnx", "rtmpose-m-coco.toml"]


def test_halpes_26_keypoints_are_shared_by_what_they_mean(mmpose: Any) -> None:
    from mmengine.config import Config

    config = Config.fromfile(str(mmpose.find_config("rtmpose-t_8xb1024-700e_body8-halpe26-256x192")))
    metainfo = Path(config.test_dataloader.dataset.metainfo.from_file).stem
    skeleton = from_metainfo(Config.fromfile(str(mmpose.find_config(metainfo))).dataset_info)
    shared = [
        name for name, column in zip(UNION_21.keypoints, skeleton.columns_of(UNION_21), strict=True) if column >= 0
    ]
    # Halpe's hip is the pelvis; its head and neck are clicked points, not the ends of a head rectangle
    assert shared == [*COCO_17.keypoints, "pelvis"]
    assert {"head", "neck", "pelvis"} <= set(skeleton.keypoints) and len(skeleton) == 26


def test_size_of_the_tests_own_networks_is_what_their_cards_say(tiny_student: Path) -> None:
    assert cards.load(tiny_student).input.size_hw == SIZE
