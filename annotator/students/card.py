"""The card: a TOML file beside an ONNX network that says how to feed it and how to read its output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from annotator import toml
from annotator.errors import FormatError, SkeletonError, expected
from annotator.files import file_sha256
from annotator.skeletons import Skeleton, make, resolve

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
T = TypeVar("T")

# What `--student` reads otherwise than as a name.
RESERVED = ("default", "teachers")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Input(_Part):
    """How the network is fed."""

    name: str
    size_hw: tuple[Count, Count]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)
    batch: Count = Field(default=8, description="crops a run; 1 where the network is built for one")


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
    flip_shift: float = Field(default=0.0, ge=0, le=1, description="cells the un-mirrored map is moved to the right")

    @field_validator("dark_kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value < 1 or value % 2 == 0:
            raise ValueError("an odd number of cells")
        return value


class SimCC(_Part):
    """Two distributions a keypoint, over x and over y."""

    kind: Literal["simcc"]
    name_x: str
    name_y: str
    split: Count = Field(default=2, description="bins a crop pixel")
    score: Literal["mass", "max"] = Field(default="mass", description="mass near the peak, or MMPose's raw maximum")
    beta: Positive = Field(default=1.0, description="factor on the raw output before softmax; MMPose's loss uses 10")
    smooth_px: float = Field(default=0.0, ge=0, description="width of the window whose mass picks the peak")


class Prompts(_Part):
    """Inputs that take known keypoints: their places (N, K, 2) in crop pixels, and 1 or 0, (N, K)."""

    name_xy: str
    name_given: str


class Card(_Part):
    """A network's card.

    Attributes:
        name: what `--student` takes.
        role: student or teacher.
        file: the ONNX file, relative to the card, or to ANNOTATOR_TEACHERS.
        dataset: whose keypoint definitions `keypoints` uses (see `skeletons.resolve`).
        keypoints: names in the order of the output, as that dataset spells them.
        definitions: what keypoints mean that are another dataset's, in a union of several.
        keypoint_offset_px: known bias of the network in crop pixels per keypoint, added after decoding.
        trust: weight of a keypoint when several networks are fused, 1 where it is not named.
        flip_test: whether the mirror image is run too.
        prompts: inputs for keypoints that are known, of networks that take some.
        url: where MMPose's checkpoint can be had, for networks that are exported here.
        mmpose_config: name of the MMPose config of that checkpoint.
        data, terms, recipe, figures: what it was trained on, under which terms, how, and how good it is.
        failures: where it is known to go wrong, a line each, with its figure.
    """

    name: str
    role: Literal["student", "teacher"]
    file: str
    dataset: str
    keypoints: Annotated[tuple[str, ...], Field(min_length=1)]
    definitions: dict[str, str] | None = None
    input: Input
    crop: Crop = Crop()
    output: Annotated[Heatmap | SimCC, Field(discriminator="kind")]
    keypoint_offset_px: dict[str, tuple[float, float]] = {}
    trust: dict[str, Annotated[float, Field(ge=0)]] = {}
    flip_test: bool = True
    prompts: Prompts | None = None
    default: bool = False
    url: str = Field(default="", pattern=r"^(https?://.*/.+)?$")
    mmpose_config: str = ""
    data: str = ""
    terms: str = ""
    recipe: str = ""
    figures: dict[str, str] = {}
    failures: tuple[str, ...] = ()
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @field_validator("name")
    @classmethod
    def _can_be_asked_for(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", value) or value.endswith((".toml", ".onnx")):
            raise ValueError("a name of letters, digits and . _ + - without a suffix")
        if value in RESERVED:
            raise ValueError(f"a name other than {' and '.join(RESERVED)}")
        return value

    @field_validator("file")
    @classmethod
    def _beside_the_card(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise ValueError("a file in the card's folder")
        return value

    @property
    def skeleton(self) -> Skeleton:
        """The network's own keypoints."""
        made, own = make(self.dataset, self.keypoints), self.definitions or {}
        pairs = zip(made.keypoints, made.definitions, strict=True)
        return replace(made, definitions=tuple(own.get(name, definition) for name, definition in pairs))

    def by_keypoint(self, values: Mapping[str, T]) -> dict[str, T]:
        """`trust` or `keypoint_offset_px` by the skeleton's names, whatever spelling the card uses."""
        return {resolve(self.dataset, name)[0]: value for name, value in values.items()}

    def trust_over(self, skeleton: Skeleton) -> list[float]:
        """`trust` for every keypoint of a skeleton, 1 where the card says nothing."""
        known = self.by_keypoint(self.trust)
        return [known.get(name, 1.0) for name in skeleton.keypoints]


def load(path: Path) -> Card:
    """Read a card.

    Raises:
        FormatError: not TOML, or a field is missing, unknown or of the wrong kind; names the field.
    """
    card = toml.read(path, "a card", Card)
    try:
        known = card.skeleton.keypoints
    except SkeletonError as error:
        raise FormatError(expected("distinct keypoints", list(card.keypoints), f"{path}: keypoints")) from error
    for field in ("definitions", "keypoint_offset_px", "trust"):
        for name in getattr(card, field) or {}:
            if resolve(card.dataset, name)[0] not in known:
                raise FormatError(expected("one of the card's keypoints", repr(name), f"{path}: {field}"))
    return card


def check_weights(card: Card, path: Path) -> str:
    """Digest of the weights; raises FormatError where the card names another."""
    digest = file_sha256(path)
    if card.sha256 and card.sha256 != digest:
        raise FormatError(expected(f"weights with sha256 {card.sha256[:12]}", digest[:12], str(path)))
    return digest
