"""Ctrl-C before a program works: importing torch takes seconds, and may turn a KeyboardInterrupt into an abort."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def answer_early_stops() -> None:
    """Answer Ctrl-C with a sentence from now on, until :func:`begin_work`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what runs behind it
        signal.signal(signal.SIGINT, _end)


def begin_work() -> None:
    """Let Ctrl-C be a KeyboardInterrupt again, except while torch is imported, which some programs do later."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    torch = sys.modules.get("torch")
    if getattr(getattr(torch, "__spec__", None), "_initializing", False):
        _end(number, frame)
    signal.default_int_handler(number, frame)


def _end(number: int, _: FrameType | None) -> None:
    if os.environ.get("RANK", "0") == "0":  # torchrun sends the signal to every process
        name = os.path.basename(sys.argv[0])
        os.write(2, f"\n{name}: interrupted before it began: run the same command again\n".encode())
    os._exit(128 + number)
