"""How fast a stage is, what a whole job would take, and asking before days are spent."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from modules.distributed import is_main
from modules.messages import UserError

MIMIC_ITEMS = 270_790  # of R2Gen's training split, an image each
ENOUGH = 2_000  # items below which a speed says nothing of a large data set: starts and small batches fill the time
DAY = 24 * 3600  # seconds; a job that takes longer is asked about
_estimated = {"mimic": True}  # whether lines say what a whole MIMIC-CXR would take


@contextmanager
def estimates_for_mimic(wanted: bool) -> Iterator[None]:
    """Whether the lines printed inside end with an estimate for MIMIC-CXR: of no use to anybody else."""
    before = dict(_estimated)
    _estimated["mimic"] = wanted
    try:
        yield
    finally:
        _estimated.update(before)


@contextmanager
def measured(stage: str, items: int, power: int | None = 1) -> Iterator[None]:
    """Print that a stage begins and, at its end, how many items of the annotation a second it went through.

    Args:
        stage: its name.
        items: that it goes through: studies, or their images with ``--items image``.
        power: its time grows with this power of the items, 2 for a search among themselves; None where it follows a
            schedule that another data set ends elsewhere.
    """
    if is_main():
        print(f"{stage}: {items} items ...", flush=True)
    started = time.perf_counter()
    yield
    if is_main():
        print(speed_line(stage, items, time.perf_counter() - started, power), flush=True)


def speed_line(stage: str, items: int, seconds: float, power: int | None = 1, unit: str = "items") -> str:
    """One line: items a second and, of enough of them, the time of a MIMIC-CXR.

    Args: as for :func:`measured`; ``seconds`` that they took, ``unit`` what is counted.
    """
    seconds = max(seconds, 1e-6)
    line = f"{stage}: {items} {unit} in {duration(seconds)}, {items / seconds:,.1f} {unit}/s"
    if not _estimated["mimic"] or power is None or not ENOUGH <= items < MIMIC_ITEMS:
        return line
    whole = duration(seconds * (MIMIC_ITEMS / items) ** power)
    how = f"with the square of the {unit}" if power == 2 else "at this speed"
    return f"{line}; {MIMIC_ITEMS:,} would take {whole} {how}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 7 * DAY else f"{seconds / DAY:.0f} days"


class Cost(NamedTuple):
    """What one piece of work takes: seconds, how they were found, bytes that it leaves on disk."""

    work: str
    seconds: float
    basis: str
    disk: float = 0.0


def cost_table(costs: Sequence[Cost]) -> list[str]:
    """The costs and their sum as a Markdown table."""
    whole = Cost("together", sum(cost.seconds for cost in costs), "", sum(cost.disk for cost in costs))
    lines = ["| work | time | on disk | measured |", "|---|---:|---:|---|"]
    for cost in (*costs, whole):
        taken = duration(cost.seconds) if cost.seconds else ""  # a line about memory takes no time
        lines.append(f"| {cost.work} | {taken} | {_size(cost.disk)} | {cost.basis} |")
    return lines


def _size(size: float) -> str:
    """Bytes as a person says them; empty for none."""
    if not size:
        return ""
    return f"{size / 1e9:,.1f} GB" if size >= 5e7 else f"{size / 1e6:,.1f} MB"


def agree_to_long(costs: Sequence[Cost]) -> None:
    """Ask before a job of more than a day, unless ``--yes`` was given, which the caller looks at.

    Raises:
        UserError: if the answer is no, or nobody is there to answer.
    """
    seconds = sum(cost.seconds for cost in costs)
    if seconds <= DAY:
        return
    print(*cost_table(costs), sep="\n")
    question = f"this takes about {duration(seconds)} on this machine"
    if not sys.stdin.isatty():
        raise UserError(f"{question}: begin with --yes, or look for what shortens it with --estimate")
    if input(f"{question}. Begin? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError(f"{question} and was not begun: --estimate shows what takes how long")
