"""The processor's memory while training: what a step frees, the next step uses again."""

from __future__ import annotations

import ctypes
import functools
import sys

# glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
NEVER = -1
# Bytes asked of the system at a time, so that memory grows in few steps.
PAD = 16 << 20


@functools.cache
def keep_freed() -> bool:
    """Have this process keep the memory that its main thread frees, until it ends.

    glibc gives large arrays back to the system as soon as they are freed, and the system blanks each page of the next
    one when it is touched. A training step makes and frees hundreds: on two threads that is a third to a half of a step
    of EfficientNet-Lite2. The price: the process, and what is forked from it, holds about what its largest step needed,
    and large arrays of zeros are written instead of lent.

    Returns:
        Whether the C library took it; others than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all(mallopt(option, value) == 1 for option, value in (
        (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, PAD),
    ))  # fmt: skip
