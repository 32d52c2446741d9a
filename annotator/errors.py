"""Every error the package raises, and the exit code of each.

    AnnotatorError                1
    ├── InputError (ValueError)   1   the input or the request cannot be used
    │   ├── FormatError           1   a file is not what its format says
    │   ├── ImageError            1   a picture cannot be read
    │   ├── SkeletonError         1   keypoints that do not fit together
    │   └── TableError            1   columns that do not fit together
    ├── UsageError                2   options that contradict each other
    ├── MissingError              3   an extra, a server, a browser is not on this machine
    └── StorageError (OSError)    4   reading or writing failed

A message is one line: what was expected, what was found, and where.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class AnnotatorError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(AnnotatorError, ValueError):
    """The input or the request cannot be used."""


class FormatError(InputError):
    """A file does not hold what its format says."""


class ImageError(InputError):
    """A picture cannot be read."""


class SkeletonError(InputError):
    """Keypoints that do not fit together."""


class TableError(InputError):
    """Columns that do not fit together."""


class UsageError(AnnotatorError):
    """Options that contradict each other."""

    exit_code = 2


class MissingError(AnnotatorError):
    """Something this command needs is not on this machine; the message says how to get it."""

    exit_code = 3


class StorageError(AnnotatorError, OSError):
    """Reading or writing failed: disk full, permission, not a folder."""

    exit_code = 4


def expected(what: str, got: object, where: str) -> str:
    """Word an error the one way all of them are worded.

    >>> expected("51 numbers (17 keypoints x 3)", 48, "train.json: annotations[12].keypoints")
    'train.json: annotations[12].keypoints: expected 51 numbers (17 keypoints x 3), got 48'
    """
    return f"{where}: expected {what}, got {got}"


def command_line(main: Callable[P, int]) -> Callable[P, int]:
    """A module's command line, whose errors raised on purpose become one line on standard error and an exit code."""

    @functools.wraps(main)
    def reported(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except AnnotatorError as error:
            print(error, file=sys.stderr)
            return error.exit_code

    return reported
