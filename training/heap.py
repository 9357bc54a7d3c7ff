"""The heap of a training."""

import ctypes
import sys

PAD = 64 << 20  # bytes
M_TOP_PAD = -2  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Makes glibc keep up to PAD bytes at the end of each heap for the next allocation.

    TensorFlow allocates and frees the results of operations in every step. Without the pad, glibc can give a part of a
    thread's heap back to the system and take it again for one and the same operation, so that each of its pages is
    cleared anew: skip-gram then took 1.5 times as long. Whether this happens depends on what was allocated before.

    Returns:
        Whether the C library is glibc and does it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(M_TOP_PAD, PAD) == 1
