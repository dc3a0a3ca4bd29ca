"""Programs that run side by side, and end when the one that runs them is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from modules.processes.stops import ONE_PRESS, SIGNALS, Stopped


class SideBySide:
    """Runs programs from several threads, and passes the signals of its own program on to all of them.

    They run in sessions of their own, so that a terminal's Ctrl-C reaches each of them once, through here.

    Attributes:
        number: of the first signal, 0 before.
    """

    def __init__(self) -> None:
        self.number, self._at = 0, 0.0
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.RLock()  # a signal may arrive while the main thread holds it

    @contextmanager
    def passing_signals_on(self) -> Iterator[None]:
        """Pass signals on inside a ``with`` block of the main thread: the programs save and end, and :meth:`run` starts no other."""
        before = {number: signal.signal(number, self._pass_on) for number in SIGNALS if not _is_ignored(number)}
        try:
            yield
            self.check()  # it came when none was running
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.number = 0

    def run(self, command: Sequence[str], output: IO[str], environment: Mapping[str, str]) -> None:
        """Run one program to its end.

        Args:
            command: the program and its flags.
            output: gets all that it says.
            environment: of the program.

        Raises:
            Stopped: if a signal has arrived.
            subprocess.CalledProcessError: if it failed.
        """
        with self._lock:
            self.check()
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
            )
            self._running.add(process)
            if self.number:  # it came between
                process.send_signal(self.number)
        try:
            status = process.wait()
        finally:
            with self._lock:
                self._running.discard(process)
        self.check()
        if status:
            raise subprocess.CalledProcessError(status, list(command))

    def check(self) -> None:
        """Raise :class:`Stopped` if a signal has arrived."""
        if self.number:
            raise Stopped(self.number)

    def _pass_on(self, number: int, *_: object) -> None:
        """The first signal goes to every program, a second one kills them."""
        now = time.monotonic()
        if self.number and now - self._at < ONE_PRESS:
            return
        again, self.number, self._at = bool(self.number), self.number or number, now
        for process in list(self._running):
            if process.poll() is not None:
                continue
            if again:
                os.killpg(process.pid, signal.SIGKILL)  # with what it started
            else:
                process.send_signal(number)


def _is_ignored(number: int) -> bool:
    """Whether ``nohup`` has the end of its terminal ignored."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
