"""Packages that only some commands need: imported where they are used; where they are absent, a plain sentence."""

from __future__ import annotations

import importlib
from typing import Any

from annotator.errors import MissingError


def need(module: str, extra: str, what: str) -> Any:
    """Import a module that comes with an extra.

    Args:
        module: name to import, e.g. `fiftyone`.
        extra: the extra of `annotator` that brings it, e.g. `review`.
        what: who needs what, e.g. `Review needs FiftyOne`.

    Raises:
        MissingError: it is not installed (the message has the command that installs it), or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise MissingError(_broken(what, module, error)) from error
        raise MissingError(f"{what}: pip install 'annotator[{extra}]'") from error
    except ImportError as error:
        raise MissingError(_broken(what, module, error)) from error


def _broken(what: str, module: str, error: ImportError) -> str:
    return f"{what}, and {module} cannot be imported: {error} (annotator doctor shows what is there)"
