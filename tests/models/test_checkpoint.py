"""Weights come out of anybody's checkpoint, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from models import checkpoint

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.nn.Parameter(torch.ones(2, dtype=torch.float16))}


class Bomb:
    """Runs a command where it is unpickled by a loader that trusts the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip file", "older format"])
@pytest.mark.parametrize("nested", [True, False], ids=["state_dict", "bare"])
def test_weights_are_read_and_nothing_is_run(tmp_path: Path, as_zip: bool, nested: bool) -> None:
    others = {"numpy": np.eye(2), "bomb": Bomb(tmp_path / "hit"), "set": {1}, "path": tmp_path}
    document = {"state_dict": WEIGHTS} | others if nested else WEIGHTS | others
    torch.save(document, tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
    found = checkpoint.weights(tmp_path / "a.pth")
    assert list(found) == ["a", "b"] and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert found["b"].dtype == torch.float16
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no checkpoint", "expected a checkpoint of torch, got"), (b"", "expected a checkpoint of torch, got")],
    ids=["text", "empty"],
)
def test_what_is_no_checkpoint_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.weights(tmp_path / "a.pth")
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(ValueError, match="expected a checkpoint with weights, got none"):
        checkpoint.weights(tmp_path / "a.pth")
