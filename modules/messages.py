"""What a user reads when something is missing, wrong or interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from modules.watch import leave_silently, lost_another, may_speak, several


class UserError(ValueError):
    """What a user did or gave is wrong: one sentence with what was found, what was expected, what to do."""


class Needed(NamedTuple):
    """A file or folder that a program needs: where, what it is, how to get it."""

    path: str | Path
    what: str
    how: str


def require(needed: Sequence[Needed]) -> None:
    """Check that everything is there before any work begins.

    Raises:
        FileNotFoundError: listing all that is missing at once.
    """
    missing = [item for item in needed if not Path(item.path).exists()]
    if missing:
        lines = "\n".join(f"  {item.path}\n      {item.what}\n      {item.how}" for item in missing)
        verb = "file or folder is" if len(missing) == 1 else "files or folders are"
        raise FileNotFoundError(f"{len(missing)} {verb} missing:\n{lines}")


def run(program: Callable[[], None], resume_hint: str = "run the same command again to continue") -> None:
    """Run a program; user errors become one sentence and exit status 2, a signal a hint and exit status 128 + signal.

    Of several processes the first that fails speaks; one that only lost another is silent.
    """
    name = Path(sys.argv[0]).name
    os.umask(0o077)  # what is written holds patients' texts: for its owner only
    try:
        program()
    except (ValueError, FileNotFoundError) as error:
        _say(f"{name}: error: {_own_words(error)}")
        sys.exit(2)
    except KeyboardInterrupt as error:
        _say(f"\n{name}: interrupted: {resume_hint}")
        sys.exit(128 + getattr(error, "number", signal.SIGINT))
    except Exception as error:
        if several() and (lost_another(error) or not may_speak()):
            leave_silently()
        raise


def _say(text: str) -> None:
    if may_speak():
        print(text, file=sys.stderr)


def _own_words(error: Exception) -> str:
    """The message of an error; of one that a data-loading process raised, its last line without the class name."""
    text = str(error)
    if "DataLoader worker process" in text:
        last = text.strip().splitlines()[-1]
        return last.split(": ", 1)[-1]
    return text
