"""Memory that is free goes back to the system."""

import ctypes
import gc
import sys


def release_memory() -> None:
    """Collects garbage; glibc would keep what is freed, in pieces between what is still held."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim:
            trim(0)
