"""Installing: the committed requirement files, and the wheel in an environment where nothing else is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from annotator.skeletons import COCO_17, UNION_21
from tests.conftest import ROOT

REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
# Grace Hopper, matplotlib's packaged photograph (512 x 600), to the chest: nose, eyes, ears, shoulders, by hand.
BOX = [15, 20, 497, 580]
LABELLED = {
    0: (263, 240, 2),
    1: (305, 187, 2),
    2: (218, 190, 2),
    3: (355, 230, 2),
    4: (172, 225, 2),
    5: (465, 425, 2),
    6: (75, 420, 2),
}


def _run(*command: object, cwd: Path, **environment: str) -> str:
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_hashed_and_names_no_index(path):
    text = path.read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    # Which build of torch is right depends on the machine.
    assert {"torch", "triton"} & set(_pins(path)) == set()


def test_the_requirement_files_agree_with_one_another():
    pins = [_pins(path) for path in REQUIREMENTS]
    assert {name for one in pins for name in one if len({pin[name] for pin in pins if name in pin}) > 1} == set()


@pytest.mark.parametrize("name", ["core", "demo", "train", "review", "label", "ray"])
def test_the_requirement_files_are_what_pyproject_asks_for(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + (project["optional-dependencies"][name] if name != "core" else [])
    pins = _pins(ROOT / "requirements" / f"{name}.txt")
    asked = [requirement for line in lines if (requirement := Requirement(line)).name != "torch"]
    assert [str(one) for one in asked if pins.get(one.name, "0") not in one.specifier] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by plain pip."""
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel, tmp_path_factory) -> Path:
    """`bin` of a fresh environment, into which plain pip installed the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", folder, cwd=folder)
    _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture
def rival(tmp_path) -> Path:
    """A folder to work in whose own `models` and `tests` would fail if they were imported in place of ours."""
    for name in ("models", "tests", "workflows"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the wrong {name}')")
    return tmp_path


@pytest.mark.slow
def test_the_wheel_carries_models_and_workflows_under_its_own_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"annotator"}
    tracked = [
        path.relative_to(ROOT)
        for folder in ("models", "workflows")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert [str(path) for path in tracked if f"annotator/_share/{path.as_posix()}" not in names] == []
    assert {"annotator/py.typed", "annotator/_share/models/README.md"} <= set(names)
    assert {f"annotator/_share/models/weights/union21-{size}.pth" for size in "st"} <= set(names)
    assert {"annotator/labelstudio/server.txt", "annotator/labelstudio/launch.py"} <= set(names)
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []


@pytest.mark.slow
@pytest.mark.parametrize("start", ["script", "module"])
def test_the_installed_command_runs_where_other_models_and_tests_lie(binaries, rival, start):
    command = [binaries / "annotator"] if start == "script" else [binaries / "python", "-m", "annotator"]
    assert _run(*command, "--version", cwd=rival).startswith("annotator ")
    findings = {one["name"]: one for one in json.loads(_run(*command, "doctor", "--json", cwd=rival))}
    assert findings["annotator"]["found"].endswith("packages it needs")
    assert findings["onnxruntime"]["state"] == findings["opencv"]["state"] == "ok"


@pytest.mark.slow
def test_training_is_found_in_the_wheel_and_not_in_the_current_folder(binaries, rival):
    share = _run(binaries / "python", "-c", "from annotator.files import share; print(share())", cwd=rival).strip()
    assert share.endswith("annotator/_share")
    code = (
        "from importlib.util import find_spec; print(*(find_spec(f'models.{m}').origin for m in ('train', 'export')))"
    )
    found = _run(binaries / "python", "-c", code, cwd=Path(share), PYTHONPATH=share).split()
    assert found == [f"{share}/models/train.py", f"{share}/models/export.py"]


@pytest.mark.slow
def test_the_installed_command_proposes_with_the_weights_that_ship(binaries, rival):
    (rival / "pictures").mkdir()
    code = "from matplotlib import cbook; print(cbook.get_sample_data('grace_hopper.jpg', asfileobj=False))"
    picture = Path(_run(binaries / "python", "-c", code, cwd=rival).strip())
    (rival / "pictures" / "hopper.jpg").write_bytes(picture.read_bytes())
    keypoints = np.zeros((17, 3), int)
    keypoints[list(LABELLED)] = list(LABELLED.values())
    document = {
        "images": [{"id": 7, "file_name": "hopper.jpg", "width": 512, "height": 600}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX, "area": BOX[2] * BOX[3], "iscrowd": 0,
             "num_keypoints": len(LABELLED), "keypoints": keypoints.ravel().tolist()}
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}],
    }  # fmt: skip
    (rival / "people.json").write_text(json.dumps(document))

    # -m puts the current folder first on the path: the harder case.
    command = [binaries / "python", "-m", "annotator", "propose"]
    _run(*command, "--annotations", "people.json", "--images", "pictures", "--out", "out", cwd=rival)

    (person,) = json.loads((rival / "out" / "annotations.json").read_text())["annotations"]
    points, origin = np.reshape(person["keypoints"], (21, 3)), person["annotator"]["origin"]
    assert (person["id"], person["num_keypoints"], len(origin)) == (1, len(LABELLED), 21)
    assert np.array_equal(points[list(LABELLED)], list(LABELLED.values()))
    assert [origin[i] for i in LABELLED] == ["labelled"] * len(LABELLED)
    assert "labelled" not in np.delete(origin, list(LABELLED))
    # MPII's neck and head top are not COCO's, and both are in this picture: one under the nose, one over the eyes.
    neck, head_top = (points[UNION_21.index(name)] for name in ("upper_neck", "head_top"))
    assert 0 <= head_top[1] < LABELLED[1][1] < LABELLED[0][1] < neck[1] < 600
