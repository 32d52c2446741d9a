"""TOML files that hold what a model of their fields allows; errors name the file and the first wrong field."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from annotator.errors import FormatError, expected
from annotator.files import read_bytes

M = TypeVar("M", bound=BaseModel)


def read(path: Path, what: str, model: type[M]) -> M:
    """Read a file into a model; `what` names it in errors.

    Raises:
        FormatError: no such file, not TOML, or a field is missing, unknown or of the wrong kind.
        StorageError: it cannot be read.
    """
    try:
        values = tomllib.loads(read_bytes(path, what).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(expected(f"{what} in TOML", error, str(path))) from error
    return checked(values, path, model)


def checked(values: dict[str, Any], path: Path, model: type[M]) -> M:
    """Values of a file as a model; raises FormatError where a field is missing, unknown or of the wrong kind."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first: dict[str, Any] = dict(error.errors()[0])
        where = f"{path}: {'.'.join(map(str, first['loc']))}"
        raise FormatError(expected(*_wanted_and_found(first), where)) from error


def _wanted_and_found(first: dict[str, Any]) -> tuple[str, str]:
    if first["type"] == "missing":
        return "a value", "nothing"
    if first["type"] == "extra_forbidden":
        return "no such field", repr(first["input"])[:60]
    message = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return message, repr(first["input"])[:60]
