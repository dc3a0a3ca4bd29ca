"""Signals that end a training: the first lets it save, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType

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
        mine = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, _noted) for number in mine}  # nohup has SIGHUP ignored
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(self._read,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
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


def _noted(*_: object) -> None:
    """Do nothing: the listening thread reads the signal from the wakeup descriptor."""


def ignore_stops() -> None:
    """Let a data-loading process ignore signals, which may go to all processes: the one that started it ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
