"""Any MMPose top-down model to ONNX and a card, once.

    python -m models.export_mmpose CONFIG CHECKPOINT --out FOLDER [--name NAME] [--role teacher]

CONFIG is a file, or the name of a config that comes with MMPose. The exported network is compared with MMPose's own and
must agree to 1e-4. Prints the card's path.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import tomli_w
from torch import Tensor, nn

from models import openmm_compat

openmm_compat.prepare()

import mmpose  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmpose.datasets.datasets.utils import parse_pose_metainfo  # noqa: E402
from mmpose.models import build_pose_estimator  # noqa: E402

from annotator.files import file_sha256, write_text  # noqa: E402
from models import onnx_file  # noqa: E402
from models.checkpoint import weights  # noqa: E402

TOLERANCE = 1e-4


class Bare(nn.Module):
    """An estimator's backbone, neck and head, pixels to raw outputs."""

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, pixels: Tensor) -> Any:
        """Raw outputs of normalised pixels (N, 3, H, W)."""
        return self.estimator.head.forward(self.estimator.extract_feat(pixels))


def find_config(name: str) -> Path:
    """A config file, by path or by the name of one that comes with MMPose.

    Raises:
        FileNotFoundError: neither.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = Path(mmpose.__file__).parent / ".mim" / "configs"
    found = sorted(shipped.rglob(f"{name.removesuffix('.py')}.py"))
    if not found:
        raise FileNotFoundError(f"expected a config file or the name of one of MMPose's, got {name!r}")
    return found[0]


def without_mmdet(config: Config) -> dict[str, Any]:
    """The model's config free of what mmcv-lite lacks: mmdet's scope, synchronised norms, weights by URL."""
    model = config.model.to_dict()
    model["backbone"].pop("_scope_", None)
    model["backbone"].pop("init_cfg", None)
    if model["backbone"].get("norm_cfg", {}).get("type") == "SyncBN":
        model["backbone"]["norm_cfg"]["type"] = "BN"
    return model


def load(config_path: Path, checkpoint: Path) -> tuple[Any, Config]:
    """The estimator with its weights.

    Raises:
        ValueError: weights that do not fit the config.
    """
    config = Config.fromfile(str(config_path))
    init_default_scope("mmpose")
    estimator = build_pose_estimator(without_mmdet(config))
    wanted = estimator.state_dict()
    state = {name: w for name, w in weights(checkpoint).items() if not name.startswith("data_preprocessor")}
    needed = {name for name in wanted if not name.startswith("data_preprocessor")}
    strange = sorted(needed ^ set(state)) or [
        name for name in sorted(needed) if wanted[name].shape != state[name].shape
    ]
    if strange:
        raise ValueError(f"{checkpoint}: expected weights of {config_path.name}, got others ({strange[0]})")
    estimator.load_state_dict(state, strict=False)
    return estimator.eval(), config


def read_out(config: Config) -> tuple[list[str], dict[str, Any], tuple[int, int]]:
    """Names of the outputs, the card's output table, and the input's (height, width), from the model's codec.

    Raises:
        ValueError: a codec that has no card.
    """
    codec = config.model.head.get("decoder") or config.codec
    codec = codec[-1] if isinstance(codec, list) else codec
    width, height = codec["input_size"]
    if codec["type"] == "SimCCLabel":
        names = ["simcc_x", "simcc_y"]
        beta = config.model.head.get("loss", {}).get("beta", 1.0)
        table = {"kind": "simcc", "name_x": names[0], "name_y": names[1], "split": codec["simcc_split_ratio"],
                 "score": "max", "beta": beta}  # fmt: skip
        return names, table, (height, width)
    if codec["type"] in ("MSRAHeatmap", "UDPHeatmap"):
        cells = codec["heatmap_size"]
        # UDP maps the last cell to the last pixel; MSRA keeps a whole number of pixels a cell.
        stride = (width - 1) / (cells[0] - 1) if codec["type"] == "UDPHeatmap" else width / cells[0]
        kernel = codec.get("blur_kernel_size", 11)
        # Cell j of the mirror image is at crop pixel width - 1 - j * stride; reversing the cells alone is this far off.
        shift = cells[0] - 1 - (width - 1) / stride
        table = {"kind": "heatmap", "name": "heatmap", "stride": stride, "dark_kernel": kernel,
                 "flip_shift": abs(round(shift, 9))}  # fmt: skip
        return ["heatmap"], table, (height, width)
    raise ValueError(f"expected a model read as SimCC or heatmaps, got {codec['type']}")


def export(config_name: str, checkpoint: Path, out: Path, name: str = "", role: str = "student", url: str = "") -> Path:
    """Write `out/NAME.onnx` and `out/NAME.toml`; returns the card's path.

    Raises:
        FileNotFoundError: no such config.
        ValueError: weights that do not fit, a model that has no card, or an export that differs by more than 1e-4.
    """
    config_path = find_config(config_name)
    estimator, config = load(config_path, checkpoint)
    names, output, size_hw = read_out(config)
    name = name or re.sub(r"[^A-Za-z0-9._+-]+", "-", config_path.stem)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.onnx"
    apart = onnx_file.write(Bare(estimator), path, size_hw, names)
    if apart > TOLERANCE:
        raise ValueError(f"{path}: expected MMPose's own output to {TOLERANCE}, got one {apart:.2g} away")
    dataset = config.get("test_dataloader", config.train_dataloader).dataset
    metainfo = parse_pose_metainfo(dataset.get("metainfo") or {"from_file": _metainfo_of(dataset.type)})
    preprocessor = config.model.data_preprocessor
    card = {
        "name": name, "role": role, "file": path.name, "dataset": _dataset_name(metainfo),
        "keypoints": [metainfo["keypoint_id2name"][i] for i in range(metainfo["num_keypoints"])],
        "url": url, "sha256": file_sha256(path),
        "recipe": f"MMPose {mmpose.__version__} {config_path.name}, checkpoint sha256 {file_sha256(checkpoint)[:12]}",
        "input": {"name": "image", "size_hw": list(size_hw), "mean": list(preprocessor.mean), "batch": 2,
                  "std": list(preprocessor.std)},
        "crop": {"factor": 1.25},
        "output": output,
    }  # fmt: skip
    write_text(out / f"{name}.toml", tomli_w.dumps(card))
    return out / f"{name}.toml"


def _metainfo_of(dataset: str) -> str:
    """Path of the metainfo of one of MMPose's dataset classes."""
    return str(mmpose.registry.DATASETS.get(dataset).METAINFO["from_file"])


def _dataset_name(metainfo: dict[str, Any]) -> str:
    """Our skeleton of that name where there is one: `coco` is coco17, `mpii` mpii16, `halpe26` itself."""
    return {"coco": "coco17", "mpii": "mpii16"}.get(metainfo["dataset_name"], metainfo["dataset_name"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--role", default="student", choices=["student", "teacher"])
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    print(export(given.config, given.checkpoint, given.out, given.name, given.role, given.url))


if __name__ == "__main__":
    main()
