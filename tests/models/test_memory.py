"""What a training step frees, the next one uses again."""

import subprocess
import sys

import pytest

from models import memory

# Makes and frees an array as large as a step's activations, and counts the pages that the system had to blank for it.
CHILD = """
import resource, sys
import numpy as np
from models import memory
if sys.argv[1] == "kept":
    assert memory.keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(256 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def _faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", CHILD, how], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back in this way")
def test_a_freed_array_is_not_given_back_to_the_system():
    # Pages are 4 kB, or 2 MB where the system makes them large.
    assert _faults("kept") < 60 < _faults("given back")


def test_where_the_c_library_cannot_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    memory.keep_freed.cache_clear()
    assert not memory.keep_freed()
    memory.keep_freed.cache_clear()
