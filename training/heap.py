"""The heap of a training."""

import ctypes
import sys

# Parameters of mallopt, in malloc.h of glibc, and their values in bytes.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
PARAMETERS = {M_TRIM_THRESHOLD: 512 << 20, M_TOP_PAD: 64 << 20, M_MMAP_THRESHOLD: 32 << 20}


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory for the next allocation.

    TensorFlow allocates and frees the results of operations in every step. By default, glibc gives large ones and the
    end of a heap back to the system and takes them again, so that each of their pages is cleared anew in each step:
    skip-gram then took 1.5 times as long. The values are the greatest size of a block in the heap, how much of a heap's
    end is kept, and how much a heap grows at a time. To set one of them alone would keep glibc from adapting the
    others.

    Returns:
        Whether the C library is glibc and does it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in PARAMETERS.items())
