"""How the C library hands out memory in a training on a CPU."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory(keep: bool = True) -> bool:
    """Make glibc keep the memory that a step frees for the next one, or undo this.

    By default every large tensor is a new mapping whose pages the kernel clears when they are first touched: about a
    tenth of a training step on a CPU. The process then never gives memory back before it ends.

    Returns:
        Whether this C library takes the advice.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mappings, threshold = (0, -1) if keep else (65536, 128 * 1024)  # glibc's own
    return bool(mallopt(M_MMAP_MAX, mappings)) and bool(mallopt(M_TRIM_THRESHOLD, threshold))
