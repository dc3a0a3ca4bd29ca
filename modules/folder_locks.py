"""Locks on folders: of several programs only one writes into a folder at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from modules.messages import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

LOCK, RESULTS_LOCK = ".lock", ".results.lock"  # of a training, or of features; and of a test


@contextmanager
def locked(folder: Path, lock: str = LOCK, flag: str = "--save_dir") -> Iterator[None]:
    """Hold a folder, made if absent, so that no other program writes into it; a killed holder lets go.

    The lock file stays, unless what it was made for ends in an error and has written nothing: a start that is refused leaves
    no trace. Training and tests have one each, as they write other files.

    Raises:
        UserError: if another program holds it, or nothing can be written there.
    """
    path = folder / lock
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        before = {*folder.iterdir()}
        file = hold(path, flag)
    except OSError as error:
        raise UserError(_unwritable(folder, error, flag)) from error
    with file:
        file.truncate(0)
        file.write(holder())
        file.flush()
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if {*folder.iterdir()} - before == {path}:
                    path.unlink()  # while it is held
                    if new:
                        folder.rmdir()
            raise


def refuse_held(folder: Path, flag: str = "--save_dir", lock: str = LOCK) -> None:
    """Refuse a folder that another program holds, before long work that is to end in it; nothing is written."""
    if (folder / lock).is_file():
        with suppress(OSError):
            hold(folder / lock, flag).close()


def holder() -> str:
    """This process, as a lock file names it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def hold(path: Path, flag: str, shared: bool = False) -> IO[str]:
    """The lock file, made if absent and held until it is closed.

    Args:
        path: of the lock file.
        flag: that the folder was given with.
        shared: whether others may hold it too who share it.

    Raises:
        OSError: if it cannot be made.
        UserError: if another program holds it.
    """
    while True:
        file = open(path, "a+")  # noqa: SIM115, held by the caller
        if fcntl is None:
            return file
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                file.seek(0)
                who = file.read().strip() or "another process"
            raise UserError(
                f"{path.parent} is in use by {who}: wait for it, stop it, or give another {flag}"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its holder ended in an error and has removed it: two would hold two files


def _unwritable(folder: Path, error: OSError, flag: str) -> str:
    what = "is a file" if os.path.isfile(folder) else f"cannot be written to ({error.strerror or error})"
    return f"{flag} {folder} {what}: give a folder that you may write to"
