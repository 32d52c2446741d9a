"""The processor's memory while training: what a step frees, the next step uses again."""

from __future__ import annotations

import ctypes
import functools
import sys

# glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
# Bytes asked of the system at a time, so that memory grows in few steps.
PAD = 64 << 20
LARGEST = 2**31 - 1


@functools.cache
def keep_freed() -> bool:
    """Have this process keep the memory that it frees; whether its C library can.

    glibc gives large arrays back to the system as soon as they are freed, and the system blanks each page of the next
    one when it is touched. A training step makes and frees hundreds: on two threads that is a third of a step of
    EfficientNet-Lite2. The process then holds what its largest step needed until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all(mallopt(option, value) == 1 for option, value in (
        (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, LARGEST), (M_TOP_PAD, PAD),
    ))  # fmt: skip
