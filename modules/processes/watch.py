"""What one of several processes does about the others: end when a process dies, hangs, or loses its launcher."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from modules.processes.early_stop import started_by

LOST = 70  # exit status of a process that ends because of another one, which has said why
SPOKEN = "REVTAF_SPOKEN"  # file that the launcher names: whoever makes it says what went wrong, the others are silent
SECONDS_BETWEEN = 0.5  # two looks at the others
LEAST = 5.0  # seconds for which process 0 may leave a question without an answer, however small --timeout is


def may_speak() -> bool:
    """Whether this process is the first of several to say what went wrong; alone it always is."""
    path = os.environ.get(SPOKEN) or _shared_by_torchrun()
    if not path:
        return True
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _shared_by_torchrun() -> str:
    """A file in the folder that ``torchrun`` gives the processes of one start for their errors; empty without it."""
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    return str(Path(own).parents[1] / "spoken") if own else ""


def processes_started() -> int:
    """How many processes a launcher started, also before they know of each other."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def several() -> bool:
    """Whether a launcher started this process as one of several."""
    return processes_started() > 1


def launched() -> bool:
    """Whether our own launcher started this process: it names a file for :func:`may_speak`, ``torchrun`` does not."""
    return bool(os.environ.get(SPOKEN))


def leave_silently() -> None:
    """End this process because of another one, which has said why."""
    time.sleep(SECONDS_BETWEEN)  # the one that failed is the first that the launcher sees
    sys.stdout.flush()
    os._exit(LOST)


def lost_another(error: BaseException) -> bool:
    """Whether an error says only that another process is gone."""
    from torch import distributed as dist  # on demand: --help needs no torch

    if isinstance(error, dist.DistError):
        return True
    words = ("Connection closed by peer", "Connection reset by peer", "gloo", "NCCL", "Broken pipe", "timed out")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


class Watch:
    """A thread that ends this process when its launcher is gone, or when some process stands still.

    All processes do the same things in the same order, and each counts them: the one that is furthest behind and does not
    move is the one that hangs.

    Args:
        rank: of this process.
        world: processes.
    """

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world, self.parent = rank, world, started_by()
        self.count, self.doing, self.timeout, self.patient = 0, "starting", 0.0, 0
        self.store: Any = None  # of torch.distributed, once the others are watched
        self.asked = float("inf")  # when process 0, which holds the store, was asked and has not answered yet
        if world > 1:
            for work in (self._run, self._await_answer):
                threading.Thread(target=work, daemon=True).start()

    def beat(self, doing: str) -> None:
        """Count one thing that every process does next."""
        self.count, self.doing = self.count + 1, doing

    def begin(self, timeout: float) -> None:
        """Watch the others too: all processes call this, and then none may stand still for ``timeout`` seconds."""
        if self.world == 1:
            return
        from torch import distributed as dist

        store = dist.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False,
            timeout=timedelta(seconds=max(timeout, LEAST)),
        )  # fmt: skip
        self.timeout, self.store = timeout, dist.PrefixStore("watch", store)

    def end(self) -> None:
        """Watch no longer."""
        self.store = None

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Let nobody take this process for one that hangs while it works in the block, however long that takes."""
        self.patient += 1
        try:
            yield
        finally:
            self.patient -= 1

    def _run(self) -> None:
        slowest_before, moved, begun = None, time.monotonic(), False  # when the slowest process last moved
        while True:
            time.sleep(SECONDS_BETWEEN)
            if os.getppid() != self.parent:
                os._exit(LOST)  # another training may already write where this one would
            store, now = self.store, time.monotonic()
            if store is None:
                begun = False
                continue
            states = self._exchange(store)
            if states is None:
                time.sleep(4 * SECONDS_BETWEEN)  # it may have ended as this one is about to
                if self.store is not None:
                    self._leave("lost contact with process 0")
                continue
            slowest = min(count for count, _, _ in states)
            if not begun or slowest != slowest_before or any(patient for _, patient, _ in states):
                slowest_before, moved, begun = slowest, now, True
            behind = [rank for rank, (count, _, _) in enumerate(states) if count == slowest]
            waited = now - moved
            if waited > self.timeout and len(behind) == self.world:
                self._leave(f"all {self.world} processes have stood still for {waited:.0f} s (--timeout): {self.doing}")
            if waited > self.timeout and self.rank in behind:
                self._leave(f"{self._name(self.rank)} has stood still for {waited:.0f} s (--timeout): {self.doing}")
            if waited > self.timeout + 2 * SECONDS_BETWEEN + 1:
                who = ", ".join(map(self._name, behind))
                self._leave(
                    f"{who} has stood still for {waited:.0f} s (--timeout) and says nothing: {states[behind[0]][2]}"
                )

    def _name(self, rank: int) -> str:
        """How messages call a process."""
        return f"process {rank} of {self.world}"

    def _await_answer(self) -> None:
        """End this process if process 0 does not answer: one that is stopped, or whose node is cut off, never does."""
        while True:
            time.sleep(SECONDS_BETWEEN)
            waited = time.monotonic() - self.asked
            if self.store is not None and waited > max(self.timeout, LEAST) + 2 * SECONDS_BETWEEN + 1:
                self._leave(f"{self._name(0)} has not answered for {waited:.0f} s (--timeout): {self.doing}")

    def _exchange(self, store: Any) -> list[tuple[int, bool, str]] | None:
        """Tell the others where this process is, and read where they are; None when that fails."""
        self.asked = time.monotonic()
        try:
            store.set(f"rank{self.rank}", f"{self.count}|{int(self.patient > 0)}|{self.doing}")
            states = [store.get(f"rank{rank}").decode().split("|", 2) for rank in range(self.world)]
        except RuntimeError:  # which all errors of torch.distributed are
            return None
        finally:
            self.asked = float("inf")
        return [(int(count), patient == "1", doing) for count, patient, doing in states]

    def _leave(self, sentence: str) -> None:
        if may_speak():
            sys.stderr.write(f"\nerror: {sentence}\n")
            sys.stderr.flush()
        os._exit(LOST)
