"""What a user reads when something is missing, wrong or interrupted."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

from modules.processes.early_stop import begin_work
from modules.processes.stops import stopping
from modules.processes.watch import launched, leave_silently, lost_another, may_speak, several

_POINTER = (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with git lfs pull")
STAND_INS = (  # how they begin, and what to do
    _POINTER,
    (b"<", "a web page: the address led to no file, or asked to log in; download it again"),
)
MOST_WORDS = 5  # of an id, a path or a heading that a message names: what has more may be a report
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """What a user did or gave is wrong: one sentence with what was found, what was expected, what to do.

    Everything else that a program raises is a bug of ours and keeps its traceback.
    """


class MissingError(UserError):
    """What a program needs is not there."""


class Needed(NamedTuple):
    """A file or folder that a program needs: where, what it is, how to get it."""

    path: str | Path
    what: str
    how: str


def require(needed: Sequence[Needed]) -> None:
    """Check that everything is there before any work begins.

    Raises:
        MissingError: listing all that is missing at once.
    """
    missing = [item for item in needed if not Path(item.path).exists()]
    if missing:
        lines = "\n".join(f"  {item.path}\n      {item.what}\n      {item.how}" for item in missing)
        verb = "file or folder is" if len(missing) == 1 else "files or folders are"
        raise MissingError(f"{len(missing)} {verb} missing:\n{lines}")


def require_file(path: str | Path) -> Path:
    """The path, if a file is there and no pointer of Git LFS to one; UserError says what there is instead."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a file in it")
    if not path.is_file():
        raise UserError(f"{path} does not exist: check the path")
    refuse_stand_ins(path, marks=(_POINTER,))  # the other ones may be what is wanted
    return path


def refuse_stand_ins(path: Path, name: str = "", marks: Sequence[tuple[bytes, str]] = STAND_INS) -> None:
    """Refuse what a server or git gave in place of a file; ``name`` is what a message calls it, its path if absent."""
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    for mark, what in marks:
        if start.startswith(mark):
            raise UserError(f"{name or path} is {what}")


def named(name: object) -> str:
    """A name that a file claims, as a message may quote it: on one line, with 80 letters at most.

    Where a name should stand, a report may stand, as in the first line of a table without headings. Of a text that may be
    one, only the number of letters is said.
    """
    text = str(name)
    words = text.split()
    sentence = len(words) > 1 and text.rstrip().endswith((".", "!", "?")) and words[-1] not in ("No.", "Nr.")
    if len(words) > MOST_WORDS or sentence:
        return f"a text of {len(text):,} letters"
    text = text[:80]
    return text if text.isprintable() else ascii(text)[1:-1]


def escaped(path: str | Path) -> str:
    """A path as it can be written down; bytes of it that are no UTF-8, as in names of another system, are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def quoted_name(name: object) -> str:
    """As :func:`named`, between quotes if it is a name: of headings above which none stands, and of what a user typed."""
    return repr(name)[:82] if named(name) == str(name) else named(name)


def quoted(cell: object) -> str:
    """A cell between quotes if it is one word, or a list of single ones; else only what it is.

    Two words may be a whole report in the wrong column.
    """
    if _holds_texts(cell):
        return f"a text of {len(cell):,} letters" if isinstance(cell, str) else f"a {type(cell).__name__} of texts"
    return quoted_name(cell)


def _holds_texts(value: object) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(map(_holds_texts, [*value, *value.values()] if isinstance(value, dict) else value))
    return len(str(value).split()) > 1


def shown_headings(names: Sequence[str], known: bool) -> str:
    """The cells of a first row, quoted if one is a known heading or all are single words; else they may be a study with its report.

    Args:
        names: the cells.
        known: whether one of them is a known heading.
    """
    if known or not any(map(_holds_texts, names)):
        return ", ".join(map(quoted_name, names)) or "none"
    if len(names) == 1:
        return "one cell, which is no known heading"
    return f"{len(names)} cells, none of which is a known heading"


_UP = "\x1b[A"  # moves the cursor of a terminal


class LogLines:
    """A stream into a file or a pipe: where a progress bar would be drawn over itself, it gets a line a minute.

    Args:
        stream: of a file or a pipe.
        seconds: between two lines.
    """

    def __init__(self, stream: IO[str], seconds: float = 60.0) -> None:
        self._stream, self._seconds = stream, seconds
        self._last, self._drawing = time.monotonic(), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ordinary text as it is, of a bar what is due."""
        if "\r" in text:
            self._drawing = True
            bar = text.split("\r")[-1].rstrip()
            if bar and time.monotonic() - self._last >= self._seconds:
                self._last = time.monotonic()
                self._stream.write(f"{bar}\n")
            return len(text)
        if text and not text.replace(_UP, ""):  # back from the line of a bar below another
            return len(text)
        if not (self._drawing and not text.strip()):  # the end of a bar's line
            self._stream.write(text)
            self._drawing = False
        return len(text)


@contextmanager
def in_a_log() -> Iterator[None]:
    """Let bars be lines where the error stream is no terminal."""
    before = sys.stderr
    if not before.isatty():
        sys.stderr = LogLines(before)
    try:
        yield
    finally:
        sys.stderr = before


def run(program: Callable[[], None], resume_hint: str = "run the same command again to continue") -> None:
    """Run a program; user errors become one sentence and exit status 2, a signal a hint and exit status 128 + signal.

    User errors are :class:`UserError`, and an ``OSError`` that names its file or says that the disk is full. Every other
    error keeps its traceback, which shows file and line, and exit status 1.
    Of several processes the first that fails speaks; one that only lost another is silent. A program whose output nobody
    reads any more ends in silence too.
    """
    name = Path(sys.argv[0]).name
    begin_work()
    os.umask(0o077)  # what is written holds patients' texts: for its owner only
    try:
        # one of several processes may wait for the others where no handler is called: it is ended at once, as by default
        with in_a_log(), nullcontext() if several() else stopping():
            program()
    except UserError as error:
        _say(f"{name}: error: {_own_words(error)}")
        sys.exit(2)
    except KeyboardInterrupt as error:
        if not several() or launched() or os.environ["RANK"] == "0":  # torchrun sends the signal to every process
            _say(f"\n{name}: interrupted: {resume_hint}")
        sys.exit(128 + getattr(error, "number", signal.SIGINT))
    except BrokenPipeError:
        if not _reader_left():
            raise
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if several() and (lost_another(error) or not may_speak()):
            leave_silently()
        if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK_IS_FULL):
            print(f"{name}: error: {_about_a_file(error, resume_hint)}", file=sys.stderr)
            sys.exit(2)
        _let_go(error)
        raise


def _let_go(error: BaseException | None) -> None:
    """Empty the frames of a traceback: processes that load data and are held there would be waited for without end."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _reader_left() -> bool:
    """Whether nobody reads what is printed any more, as after ``| head``; then the rest goes nowhere."""
    output = select.poll()
    output.register(1, select.POLLOUT)
    if not any(state & select.POLLERR for _, state in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


def _say(text: str) -> None:
    if may_speak():
        print(text, file=sys.stderr)


def _about_a_file(error: OSError, resume_hint: str) -> str:
    """What the operating system says, with the file that it says it of."""
    what, file = (error.strerror or str(error)).lower(), os.fsdecode(error.filename or "the disk")
    if error.errno in DISK_IS_FULL:
        return f"{file}: {what}: make room, then {resume_hint}"
    return f"{file}: {what}: check the path and its permissions"


def _own_words(error: Exception) -> str:
    """The message of an error; of one that a data-loading process raised, its last line without the class name."""
    text = str(error)
    if "DataLoader worker process" in text:
        last = text.strip().splitlines()[-1]
        return last.split(": ", 1)[-1]
    return text
