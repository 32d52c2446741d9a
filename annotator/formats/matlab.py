"""MATLAB files as plain values: structs are dicts, struct arrays and cells lists of them, arrays nested lists.

Only what MATLAB 5 files hold is read (HDF5 ones, of version 7.3, are refused). Array types are not kept: a number is an
int or a float, a row and a column are both a list, and one entry alone is not told from a list of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.errors import FormatError, expected
from annotator.files import atomic_path, read_bytes

# Takes the place of scipy's header, which holds the time: the same values are the same bytes.
_HEADER = b"MATLAB 5.0 MAT-file".ljust(116)


def variables(path: Path) -> list[str]:
    """Names of the variables of a .mat file, empty where it is none."""
    import scipy.io

    if path.suffix.lower() != ".mat" or not path.is_file():
        return []
    try:
        return [str(name) for name, _, _ in scipy.io.whosmat(path)]
    except Exception:  # whatever scipy raises, this is no .mat file that it can read
        return []


def load(path: Path, variable: str, *, simplify: bool = False) -> Any:
    """One variable of a .mat file: as scipy gives it, or with structs as dicts where `simplify`.

    Raises:
        FormatError: not a .mat file that scipy reads, or one without that variable.
    """
    import scipy.io

    read_bytes(path, "a .mat file")
    try:
        content = scipy.io.loadmat(path, simplify_cells=simplify)
    except Exception as error:  # scipy raises a dozen kinds on broken files
        reason = str(error).split("\n")[0] or type(error).__name__
        raise FormatError(expected("a MATLAB 5 file", reason, str(path))) from error
    if variable not in content:
        found = ", ".join(name for name in content if not name.startswith("__")) or "none"
        raise FormatError(expected(f"a variable {variable}", found, str(path)))
    return plain(content[variable]) if simplify else content[variable]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write variables as a MATLAB 5 file, whole or not at all."""
    import scipy.io

    with atomic_path(path) as temporary:
        scipy.io.savemat(temporary, content, appendmat=False, do_compression=True)
        with temporary.open("rb+") as file:
            file.write(_HEADER)


def plain(value: Any) -> Any:
    """What scipy loads with `simplify_cells`, without numpy: numbers, text, lists and dicts."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(entry) for entry in value] if value.ndim else plain(value.item())
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def structs(records: list[dict[str, Any]]) -> NDArray[Any]:
    """A MATLAB struct array (1, n) of dicts; fields that a dict lacks are empty."""
    names = list(dict.fromkeys(name for record in records for name in record))
    out = np.empty((1, len(records)), dtype=[(name, object) for name in names] or object)
    for i, record in enumerate(records):
        for name in names:
            out[0, i][name] = record.get(name, np.zeros((0, 0)))
    return out


def as_list(value: Any) -> list[Any]:
    """Entries of what MATLAB gives as a list, as one entry alone, or as nothing."""
    return value if isinstance(value, list) else [value]
