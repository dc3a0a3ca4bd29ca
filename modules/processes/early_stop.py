"""The first seconds of a program, in which it imports torch: it answers Ctrl-C and notes which process started it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

LAUNCHER = "REVTAF_LAUNCHER"  # in which our launcher tells its processes its process id

_started = {"by": 0}  # id of the process that started this one, 0 if nobody asked for it in time


def answer_early_stops() -> None:
    """Answer Ctrl-C with a sentence from now on, until :func:`begin_work`, and remember who started the program."""
    _started["by"] = os.getppid()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what runs behind it
        signal.signal(signal.SIGINT, _end)


def begin_work() -> None:
    """Let Ctrl-C be a KeyboardInterrupt again, except while torch is imported, which some programs do later."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)


def started_by() -> int:
    """Id of the process that started this one, also if it has ended since and another one has adopted this process."""
    return int(os.environ.get(LAUNCHER, "0")) or _started["by"] or os.getppid()


def end_while_importing(number: int) -> None:
    """End at once while torch is imported, which may turn a KeyboardInterrupt into an abort."""
    torch = sys.modules.get("torch")
    if getattr(getattr(torch, "__spec__", None), "_initializing", False):
        _end(number, None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise a KeyboardInterrupt where that is safe."""
    end_while_importing(number)
    signal.default_int_handler(number, frame)


def _end(number: int, _: FrameType | None) -> None:
    if os.environ.get("RANK", "0") == "0":  # torchrun sends the signal to every process
        name = os.path.basename(sys.argv[0])
        os.write(2, f"\n{name}: interrupted before it began: run the same command again\n".encode())
    os._exit(128 + number)
