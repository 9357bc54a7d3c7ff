"""The heap of a training."""

import platform

from zoo.training.heap import keep_freed_memory


def test_glibc_keeps_freed_memory():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
