"""Signals that end a training: the first lets it save, the second ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from modules.processes.early_stop import end_while_importing

Handler = Callable[[int, "FrameType | None"], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
ONE_PRESS = 0.3  # seconds within which a terminal and a launcher may send the same signal twice


class Stopped(KeyboardInterrupt):
    """A signal ended the program after its work was saved.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Notes the signals that arrive inside a ``with`` block of the main thread.

    A thread reads them, so that a second one ends the process even while the first waits for a device, a network or a disk
    that never answers.

    Attributes:
        number: of the first signal, 0 before.
    """

    def __init__(self) -> None:
        self.number, self._at = 0, 0.0

    def __enter__(self) -> StopRequest:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = answer(_noted)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(self._read,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        answer_as(self._before)
        os.close(self._write)  # ends the thread

    def _listen(self, descriptor: int) -> None:
        while arrived := os.read(descriptor, 1):
            number, now = arrived[0], time.monotonic()
            if number not in SIGNALS:
                continue
            if self.number and now - self._at > ONE_PRESS:
                os.write(2, b"\nstopped at once: the last checkpoint is whole\n")
                os._exit(128 + number)
            if not self.number:
                self.number, self._at = number, now
        os.close(descriptor)

    def check(self) -> None:
        """Leave if a signal has arrived.

        Raises:
            Stopped: if one has.
        """
        if self.number:
            raise Stopped(self.number)


class PassingOn:
    """Passes signals on to programs: the first goes to every one, a second kills them with what they have started.

    They run in sessions of their own, so that a terminal's Ctrl-C reaches each of them once, through here.

    Args:
        programs: that are running, or have ended; others may be added.

    Attributes:
        number: of the first signal, 0 before.
    """

    def __init__(self, programs: Collection[subprocess.Popen]) -> None:
        self.programs = programs
        self.number, self._at = 0, 0.0

    def __call__(self, number: int, *_: object) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if self.number and now - self._at < ONE_PRESS:
            return
        if self.number:
            self.kill()
            return
        self.number, self._at = number, now
        for program in list(self.programs):
            if program.poll() is None:
                program.send_signal(number)

    def kill(self) -> None:
        """End every program and what it has started."""
        for program in list(self.programs):
            if program.poll() is None:
                try:
                    os.killpg(program.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    program.kill()


def answer(handler: Handler, numbers: Collection[int] = SIGNALS) -> dict[int, Any]:
    """Let a handler answer signals from now on; returns what answered them before, for :func:`answer_as`.

    ``nohup`` has SIGHUP ignored, which then stays so.
    """
    mine = [number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in mine}


def answer_as(before: Mapping[int, Any]) -> None:
    """Let signals be answered as before :func:`answer`."""
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def stopping() -> Iterator[None]:
    """Let the other signals raise :class:`Stopped` at once, as Ctrl-C raises a KeyboardInterrupt."""
    before = answer(_stop, [number for number in SIGNALS if number != signal.SIGINT])
    try:
        yield
    finally:
        answer_as(before)


def _stop(number: int, _: FrameType | None) -> None:
    end_while_importing(number)
    raise Stopped(number)


def _noted(*_: object) -> None:
    """Do nothing: the listening thread reads the signal from the wakeup descriptor."""


def ignore_stops() -> None:
    """Let a data-loading process ignore signals, which may go to all processes: the one that started it ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
