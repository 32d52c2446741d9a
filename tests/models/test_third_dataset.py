"""Halpe-26 as a third dataset, and a third teacher: a file of settings is all it takes to train and ship a student."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from annotator import formats, training
from annotator.formats.dataset import Dataset
from annotator.skeletons import COCO_17, HALPE_26, MPII_16, union
from annotator.students.card import Card
from tests.models.made import dot_teacher, dotted
from workflows import training_set

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import export

pytestmark = pytest.mark.slow

UNION_29 = union(COCO_17, MPII_16, HALPE_26, name="union29")
QUICK = ["compiled=False", "batch=4", "size_hw=(64,64)", "epochs=1", "warm_up_steps=2"]
# Crown, base of the neck, and three points of each foot: what neither COCO nor MPII labels.
HALPES_OWN = [UNION_29.index(name) for name in UNION_29.keypoints[21:]]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


def written(config: Path, data: Path, out: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What `python -m workflows.training_set` writes to OUT/train."""
    assert training_set.main(["--config", str(config), "--data", str(data), "--out", str(out)]) == 0
    with np.load(out / "train" / "arrays.npz") as file:
        return json.loads((out / "train" / "set.json").read_text()), {name: file[name] for name in file.files}


def trained(sets: Path, out: Path) -> list[dict]:
    """Progress lines of a few steps on the sets, as the set itself asks for."""
    arguments = ["--recipe", "rtmpose_t_low", "--data", str(sets / "train"), "--out", str(out)]
    if (sets / "check").exists():
        arguments += ["--check", str(sets / "check")]
    return list(training.run([*arguments, "--set", *QUICK]))


@pytest.fixture
def figures(tmp_path, students) -> Path:
    """A configuration of three generated datasets and two teachers, in two files."""
    for kind, skeleton, first in (("coco", COCO_17, 0), ("mpii", MPII_16, 1), ("halpe", HALPE_26, 0)):
        images, people = dotted(tmp_path / kind, 4, skeleton, source=kind, pixel_origin=first)
        formats.write(tmp_path / f"{kind}.json", Dataset(kind, tmp_path / kind, images, people), kind)
    for name in ("dots", "more"):
        card = dot_teacher(students, name).card
        (students / f"{name}.toml").write_text(tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    part = '[[train]]\nname = "{0}"\nformat = "{0}"\nannotations = "{0}.json"\nimages = "{0}"\n'
    two = 'name = "union21"\nskeletons = ["coco17", "mpii16"]\n[teachers]\ndots = 0.5\n'
    (tmp_path / "two.toml").write_text(two + part.format("coco") + part.format("mpii"))
    three = (
        'base = "two.toml"\nname = "union29"\nskeletons = ["coco17", "mpii16", "halpe26"]\n[teachers]\nmore = 0.25\n'
    )
    (tmp_path / "three.toml").write_text(three + part.format("halpe"))
    return tmp_path / "three.toml"


def test_a_third_dataset_and_a_third_teacher_need_only_a_file(figures, tmp_path):
    info, arrays = written(figures, tmp_path, tmp_path / "sets")
    assert info["datasets"] == ["coco", "mpii", "halpe"] and info["people"] == [4, 4, 4]
    assert tuple(info["keypoints"]) == UNION_29.keypoints
    assert {one["name"]: one["beta"] for one in info["teachers"]} == {"dots": 0.5, "more": 0.25}
    labelled = (arrays["v"] > 0).sum(axis=1)
    # COCO's 17, MPII's 16, Halpe's 26: of these 17 and the pelvis are others' too.
    assert labelled.tolist() == [17] * 4 + [16] * 4 + [26] * 4
    assert (arrays["v"][:8, HALPES_OWN] == 0).all() and (arrays["v"][8:, HALPES_OWN] > 0).all()
    run = tmp_path / "run"
    *lines, end = trained(tmp_path / "sets", run)
    # Eq. 8 with alpha .3, and the weights that the file gives.
    for line in lines:
        taught = 0.5 * line["dots"] + 0.25 * line["more"]
        assert line["loss"] == pytest.approx(0.3 * line["labels"] + 0.7 * taught, abs=1e-4)
    assert end["done"] and json.loads((run / "recipe.json").read_text())["beta"] == {"dots": 0.5, "more": 0.25}
    saved = torch.load(run / "weights.pth", weights_only=True)
    assert saved["state_dict"]["head.final_layer.weight"].shape[0] == 29
    # The card of its ONNX file says whose crown and neck these are.
    card = dot_teacher(tmp_path).card.model_dump(exclude_none=True) | export.keypoints(saved)
    own = Card.model_validate(card).skeleton
    assert (own.keypoints, own.definitions) == (UNION_29.keypoints, UNION_29.definitions)
    assert (own.columns_of(HALPE_26) >= 0).all()


def test_halpes_sample_joins_coco_and_mpii(data, teachers, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_TEACHERS", str(teachers))
    # The file that ships, with a few pictures of the two others, and Halpe's as its own check.
    settings = training_set.load(training_set.DEFAULT.with_name("halpe.toml"))
    few = [one.model_dump() for one in (*settings.check, settings.train[-1])]
    only = {"coco": ["00000001*.jpg"], "mpii": ["00[0-4]*.jpg"], "halpe": []}
    few = [one | {"only": only[one["name"]]} for one in few]
    document = settings.model_dump(exclude_none=True) | {"base": "", "train": few, "check": few[-1:]}
    (tmp_path / "few.toml").write_text(tomli_w.dumps(document))
    info, arrays = written(tmp_path / "few.toml", data, tmp_path / "sets")
    people = dict(zip(info["datasets"], info["people"], strict=True))
    assert people["halpe"] == 14 and people["coco"] > 3 and people["mpii"] > 3
    halpe = arrays["dataset"] == 2
    # The base of the neck is labelled on nobody of these fourteen.
    labelled = (arrays["v"][halpe] > 0).any(axis=0)
    assert [UNION_29.keypoints[k] for k in HALPES_OWN if not labelled[k]] == ["neck"]
    # MPII's teacher speaks about Halpe's people too, on keypoints that Halpe does not label.
    neck = UNION_29.index("upper_neck")
    assert not arrays["v"][halpe, neck].any() and (arrays["teacher_score"][halpe, 1, neck] > 0.5).sum() > 5
    *lines, end = trained(tmp_path / "sets", tmp_path / "run")
    assert {"labels", "tinypose", "tinypose_mpii16"} <= set(lines[0]) and np.isfinite(lines[-1]["loss"])
    assert set(end["check"]) == {"check/halpe/oks"}
