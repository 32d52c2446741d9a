"""MMPose's models become ONNX that answers as they do, and propose what they share with the union."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from annotator.cli import main
from annotator.files import file_sha256
from annotator.skeletons import COCO_17, MPII_16, UNION_21
from annotator.students import adding, registry
from annotator.students.card import Heatmap
from annotator.students.onnx import OnnxModel
from tests import scenes

Capture = pytest.CaptureFixture[str]


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


BODY_8 = "rtmpose-t_8xb1024-700e_body8-halpe26-256x192"
FEET = [f"{side}_{part}" for part in ("big_toe", "small_toe", "heel") for side in ("left", "right")]


@pytest.mark.slow
def test_a_model_of_halpes_26_keypoints_proposes_those_that_mean_the_same(
    mmpose: Any, students: Path, tmp_path: Path, capsys: Capture, coco: tuple[Path, Path], mpii: tuple[Path, Path]
) -> None:
    assert main(["students", "add", "--mmpose", BODY_8, str(saved(mmpose, BODY_8, tmp_path / "a.pth"))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{BODY_8}: 26 keypoints, ready for --student {BODY_8}",
        "18 of them are union21's; never proposed: head (clicked, the crown of the head), neck (clicked, the base of"
        f" the neck), {', '.join(FEET)}",
    ]
    shared = {*COCO_17.keypoints, "pelvis"}
    for source, lacking in ((coco, {"pelvis"}), (mpii, {"nose", "left_eye", "right_eye", "left_ear", "right_ear"})):
        out = tmp_path / source[0].stem
        files = ["--annotations", str(source[0]), "--images", str(source[1]), "--out", str(out)]
        assert main(["propose", *files, "--student", BODY_8, "--workers", "1"]) == 0
        placed = {
            key for key, row in scenes.rows(out).items() if not np.isnan(row["x"]) and row["origin"] == "proposed"
        }
        assert {name for _, name in placed} == shared
        people = scenes.annotations(out)
        written = [{name for name, (*_, word) in scenes.points(one).items() if word == "proposed"} for one in people]
        assert set().union(*written) == lacking
        # Neck and head top are nobody's here: neither labelled in COCO nor known to the network.
        if source is coco:
            assert {scenes.points(one)[name] for one in people for name in ("upper_neck", "head_top")} == {
                (0, 0, 0, "none")
            }  # fmt: skip
    assert registry.resolve(BODY_8, UNION_21).networks[0].card.dataset == "halpe26"
