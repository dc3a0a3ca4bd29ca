"""Running the programs on broken inputs, in this process so that torch is imported once, and judging how they end."""

import contextlib
import io
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from modules.messages import UserError, run

ROOT = Path(__file__).parents[2]
SECRET = "Examplename cavitary"  # stands in every report, as short as one may be: no message may hold it
PARTS = (SECRET[:8], "cavitary")  # nor a part of it, such as its beginning
LONG = f"{SECRET} lesion in the right lung"  # where a heading or an id belongs, of which one of a few words is quoted
SECONDS, BYTES = 10, 2 << 30


@dataclass(frozen=True)
class Ending:
    """How a program ended: its status (0 if it returned), what it wrote, what was raised, how long, how much more memory."""

    status: int
    out: str
    err: str
    cause: BaseException | None
    seconds: float
    grown: int


def end_of(program, *argv) -> Ending:
    """Run a program's command line; any exception that it does not turn into a sentence is passed on."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, [f"{program.__name__.replace(chr(46), chr(47))}.py", *map(str, argv)]
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    status, cause = 0, None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run(program.main)
    except SystemExit as end:
        status, cause = end.code, end.__context__
    finally:
        sys.argv = before
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    return Ending(status, out.getvalue(), err.getvalue(), cause, time.perf_counter() - started, grown)


def sentence_of(ending: Ending) -> str:
    """What stands behind ``error:``; progress bars are before it."""
    return ending.err.rsplit("error: ", 1)[-1].strip()


def assert_bounded(ending: Ending, folder: Path) -> None:
    """In time, in memory, nothing half-written, and no report text in what was printed."""
    assert ending.seconds < SECONDS
    assert ending.grown < BYTES
    assert [path for path in folder.rglob(".*.tmp") if path.is_file()] == []
    printed = ending.out + ending.err
    assert not any(part in printed for part in PARTS), printed
    assert "Traceback" not in printed


def assert_refused(ending: Ending, folder: Path, words: str = "") -> None:
    """One sentence of ours, exit status 2, raised in our own code."""
    assert ending.status == 2, f"status {ending.status}: {ending.out[-500:]}{ending.err[-500:]}"
    sentence = sentence_of(ending)
    assert len(sentence) > 20
    assert words in sentence, sentence
    if ending.cause is not None:
        assert isinstance(ending.cause, UserError | OSError | ValueError), repr(ending.cause)
        last = traceback.extract_tb(ending.cause.__traceback__)[-1]
        assert Path(last.filename).is_relative_to(ROOT), f"raised by a library: {last.filename}: {sentence}"
    assert_bounded(ending, folder)


def assert_no_results(run_dir: Path) -> None:
    """A run that was refused leaves nothing, not even its claim to the folder."""
    assert not [*run_dir.rglob("*")]


def assert_left_out(ending: Ending, folder: Path, reason: str) -> None:
    """The program went on without the study, and counted it with its reason."""
    assert ending.status == 0, ending.err[-800:]
    assert f"left out: 1 ({reason})" in ending.out, ending.out[-800:]
    assert_bounded(ending, folder)
