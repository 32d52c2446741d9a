"""`annotator.toml`: what a project is made of. Sources are named by path, with the digest of what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict

from annotator import toml
from annotator.files import write_text

NAME = "annotator.toml"


class SourceSettings(BaseModel):
    """One annotation file and the folder of its pictures.

    Attributes:
        name: short, unique; begins the ids of its people.
        format: a name in FORMATS.
        annotations, images: absolute paths.
        sha256: digest of the annotation file, empty where it is a folder.
        only: file that names the pictures to use, one a line; empty for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    format: str
    annotations: str
    images: str
    sha256: str = ""
    only: str = ""


class Settings(BaseModel):
    """A project's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    skeleton: Literal["union21"] = "union21"
    sources: tuple[SourceSettings, ...] = ()


def load(folder: Path) -> Settings:
    """Read a project's settings.

    Raises:
        FormatError: there is no project here, or a setting is missing, unknown or of the wrong kind.
    """
    return toml.read(folder / NAME, "a project (annotator init PROJECT)", Settings)


def save(folder: Path, settings: Settings) -> None:
    """Write a project's settings, whole or not at all."""
    write_text(folder / NAME, tomli_w.dumps(settings.model_dump()))
