"""A pool of processes that start fast, because they do not import the program that asks for them."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool
from types import ModuleType


@contextmanager
def small_pool(workers: int) -> Iterator[Pool]:
    """Processes that import what their work needs and not the program that asks for them; they end with the block.

    They are not forked: the caller may have threads running. Each would first import the program that the user called, and
    PyTorch with it, which takes seconds.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        pool = multiprocessing.get_context("spawn").Pool(workers)
    finally:
        sys.modules["__main__"] = program
    with pool:
        yield pool
