"""What a training step frees, the next one uses again."""

import platform
import subprocess
import sys

import pytest
from torch import nn

from models import hooks, memory

# Makes and frees as much as a large step's activations twice; counts the pages that the system blanked for the second.
CHILD = """
import resource, sys
import numpy as np
from models import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(100 << 20, np.uint8) for _ in range(25)]
    while arrays:
        arrays.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def _faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", CHILD, how], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back in this way")
def test_freed_arrays_are_not_given_back_to_the_system():
    # At the largest pages, of 2 MB, 2.5 GB are 1,250.
    assert _faults("kept") < 100 < 1000 < _faults("given back")


@pytest.mark.parametrize("lacks", ["glibc", "mallopt"])
def test_where_the_c_library_cannot_nothing_happens(lacks, monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin" if lacks == "glibc" else "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_freed.__wrapped__()


@pytest.mark.parametrize(("device", "calls"), [("cpu", 1), ("meta", 0)])
def test_only_training_on_a_processor_keeps_memory(device, calls, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(hooks.memory, "keep_freed", lambda: kept.append(True))
    network = nn.Module()
    network.backbone = nn.Linear(1, 1, device=device)
    hooks.hasten(network, (64, 64), tmp_path / "frozen.onnx", compiled=False)
    assert len(kept) == calls
