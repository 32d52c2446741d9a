"""The card: a TOML file beside an ONNX network that says how to feed it and how to read its output."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from annotator.errors import FormatError, expected
from annotator.files import file_sha256, read_bytes
from annotator.skeletons import Skeleton, make

Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(_Part):
    """How the network is fed."""

    name: str
    size_hw: tuple[int, int]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)
    batch: int = Field(default=8, gt=0, description="crops a run; 1 where the network is built for one")


class Crop(_Part):
    """What is cut out of the picture: the box grown to the input's aspect, then by `factor`; black beyond the edge."""

    factor: Positive = 1.25


class Heatmap(_Part):
    """One map a keypoint."""

    kind: Literal["heatmap"]
    name: str
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    stride: Positive = Field(description="crop pixels a cell")
    offset_px: float = Field(default=0.0, description="crop pixels added after index x stride")
    dark_kernel: int = Field(default=3, description="cells of the Gaussian blur before DARK's Taylor step")
    flip_shift: float = Field(default=0.0, description="cells that the un-mirrored map is moved to the right")


class SimCC(_Part):
    """Two distributions a keypoint, over x and over y."""

    kind: Literal["simcc"]
    name_x: str
    name_y: str
    split: Positive = Field(default=2.0, description="bins a crop pixel")
    score: Literal["mass", "max"] = Field(default="mass", description="mass near the peak, or MMPose's raw maximum")
    beta: Positive = Field(default=1.0, description="factor on the raw output before softmax; MMPose's loss uses 10")
    smooth_px: float = Field(default=0.0, ge=0, description="width of the window whose mass picks the peak")


class Card(_Part):
    """A network's card.

    Attributes:
        name: what `--student` takes.
        role: student or teacher.
        file: the ONNX file, relative to the card, or to ANNOTATOR_TEACHERS.
        dataset: whose keypoint definitions `keypoints` uses (see `skeletons.resolve`).
        keypoints: names in the order of the output.
        keypoint_offset_px: known bias of the network in crop pixels per keypoint, added after decoding.
        trust: weight of a keypoint when several networks are fused, 1 where it is not named.
        flip_test: whether the mirror image is run too.
        url: where MMPose's checkpoint can be had, for networks that are exported here.
        mmpose_config: name of the MMPose config of that checkpoint.
        data, terms, recipe, figures: what it was trained on, under which terms, how, and how good it is.
    """

    name: str
    role: Literal["student", "teacher"]
    file: str
    dataset: str
    keypoints: tuple[str, ...]
    input: Input
    crop: Crop = Crop()
    output: Annotated[Heatmap | SimCC, Field(discriminator="kind")]
    keypoint_offset_px: dict[str, tuple[float, float]] = {}
    trust: dict[str, float] = {}
    flip_test: bool = True
    default: bool = False
    url: str = ""
    mmpose_config: str = ""
    data: str = ""
    terms: str = ""
    recipe: str = ""
    figures: dict[str, str] = {}
    sha256: str = ""

    @property
    def skeleton(self) -> Skeleton:
        """The network's own keypoints."""
        return make(self.dataset, self.keypoints)


def load(path: Path) -> Card:
    """Read a card.

    Raises:
        FormatError: not TOML, or a field is missing, unknown or of the wrong kind; names the field.
    """
    try:
        card = Card.model_validate(tomllib.loads(read_bytes(path, "a card").decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(expected("a TOML card", error, str(path))) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: {'.'.join(map(str, first['loc']))}"
        raise FormatError(expected(first["msg"], repr(first["input"])[:60], where)) from error
    unknown = set(card.keypoint_offset_px) | set(card.trust)
    card.skeleton.indices(sorted(unknown))
    return card


def check_weights(card: Card, path: Path) -> str:
    """Digest of the weights; raises FormatError where the card names another."""
    digest = file_sha256(path)
    if card.sha256 and card.sha256 != digest:
        raise FormatError(expected(f"weights with sha256 {card.sha256[:12]}", digest[:12], str(path)))
    return digest
