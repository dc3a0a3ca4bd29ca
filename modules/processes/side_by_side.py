"""Programs that run side by side, and end when the one that runs them is told to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from modules.processes.stops import PassingOn, Stopped, answer, answer_as


class SideBySide:
    """Runs programs from several threads, and passes the signals of its own program on to all of them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._pass_on = PassingOn(self._running)

    @contextmanager
    def passing_signals_on(self) -> Iterator[None]:
        """Pass signals on inside a ``with`` block of the main thread: the programs save and end, and :meth:`run` starts no other.

        Raises:
            Stopped: at the end of the block, if a signal has arrived.
        """
        before = answer(self._pass_on)
        try:
            yield
            self.check()  # it may have come when none was running
        finally:
            answer_as(before)
            self._pass_on = PassingOn(self._running)

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
        self.check()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
        )
        self._running.add(process)
        if self._pass_on.number:  # it came before the program was among those that are running
            process.send_signal(self._pass_on.number)
        try:
            status = process.wait()
        finally:
            self._running.discard(process)
        self.check()
        if status:
            raise subprocess.CalledProcessError(status, list(command))

    def check(self) -> None:
        """Raise :class:`Stopped` if a signal has arrived."""
        if self._pass_on.number:
            raise Stopped(self._pass_on.number)
