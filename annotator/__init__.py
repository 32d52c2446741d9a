"""Complete and correct human-pose annotations by active learning.

Everything public is named here once; a name is imported from its module the first time it is used, so that
`import annotator` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annotator.decisions import Decisions
    from annotator.errors import (
        AnnotatorError,
        FormatError,
        ImageError,
        InputError,
        MissingError,
        SkeletonError,
        StorageError,
        TableError,
        UsageError,
    )
    from annotator.formats import read, write
    from annotator.images import Images
    from annotator.people import People
    from annotator.proposals import Proposals
    from annotator.rounds import How, propose
    from annotator.skeletons import Skeleton, union

__version__ = "0.1.0"

__all__ = [
    "AnnotatorError",
    "Decisions",
    "FormatError",
    "How",
    "ImageError",
    "Images",
    "InputError",
    "MissingError",
    "People",
    "Proposals",
    "Skeleton",
    "SkeletonError",
    "StorageError",
    "TableError",
    "UsageError",
    "__version__",
    "propose",
    "read",
    "union",
    "write",
]

_MODULES = {
    "Decisions": "decisions",
    "How": "rounds",
    "Images": "images",
    "People": "people",
    "Proposals": "proposals",
    "Skeleton": "skeletons",
    "propose": "rounds",
    "read": "formats",
    "union": "skeletons",
    "write": "formats",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'annotator' has no attribute {name!r}")
    return getattr(importlib.import_module(f"annotator.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
