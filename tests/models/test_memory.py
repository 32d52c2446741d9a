"""What a training step frees, the next one uses again."""

import platform
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("mmcv", reason="needs the train extra")

from models import hooks, memory
from tests.conftest import ROOT

# Makes and frees as much as a large step's activations twice; counts the pages that the system blanked for the second.
CHILD = """
import resource, sys
import numpy as np
from models import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(100 << 20, np.uint8) for _ in range(6)]
    while arrays:
        arrays.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def _faults(how: str) -> int:
    command = [sys.executable, "-c", CHILD, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back in this way")
def test_freed_arrays_are_not_given_back_to_the_system():
    # At the largest pages, of 2 MB, 600 MB are 300.
    assert _faults("kept") < 30 < 250 < _faults("given back")


@pytest.mark.parametrize("lacks", ["glibc", "mallopt"])
def test_where_the_c_library_cannot_nothing_happens(lacks, monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin" if lacks == "glibc" else "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_freed.__wrapped__()


@pytest.mark.parametrize(("device", "wanted", "calls"), [("cpu", True, 1), ("cpu", False, 0), ("meta", True, 0)])
def test_training_on_a_processor_keeps_memory_if_it_may(device, wanted, calls, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(hooks.memory, "keep_freed", lambda: kept.append(True))
    network = torch.nn.Module()
    network.backbone = torch.nn.Linear(1, 1, device=device)
    hooks.hasten(network, (64, 64), tmp_path / "frozen.onnx", compiled=False, keep_memory=wanted)
    assert len(kept) == calls
