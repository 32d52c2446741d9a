"""Files that are either whole or not there, hashes, and what ships with the package."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotator.errors import FormatError, StorageError, expected


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and takes its place, else it is removed.

    Raises:
        StorageError: the folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(expected("a place to write", error.strerror or error, str(path))) from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def _sweep(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        number = left.name.split(".")[-2]
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, since JSON has neither."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False, allow_nan=False))  # json.dump never uses the fast encoder


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file that must be there; `what` names it in the error.

    Raises:
        FormatError: no such file, or a directory.
        StorageError: it is there and cannot be read.
    """
    try:
        if path.is_dir():
            raise FormatError(expected(f"{what} (a file)", "a directory", str(path)))
        if not path.exists():
            raise FormatError(expected(what, "no such file", str(path)))
        return path.read_bytes()
    except OSError as error:
        raise StorageError(expected(what, error.strerror, str(path))) from error


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def share(*parts: str) -> Path:
    """Path of something that ships: `share("models", "weights")`, in the wheel's `_share` or in the checkout."""
    package = Path(__file__).parent
    root = package / "_share" if (package / "_share").is_dir() else package.parent
    return root.joinpath(*parts)
