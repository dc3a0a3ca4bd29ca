"""How fast a stage of the preparation is, and how long it would take for MIMIC-CXR."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from modules.distributed import is_main

MIMIC_STUDIES = 270_790  # of R2Gen's training split
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
def measured(stage: str, studies: int, quadratic: bool = False) -> Iterator[None]:
    """Print that a stage begins and, at its end, how many studies a second it went through.

    Args:
        stage: its name.
        studies: that it goes through.
        quadratic: its time grows with the square of the studies, as for a search among themselves.
    """
    if is_main():
        print(f"{stage}: {studies} studies ...", flush=True)
    started = time.perf_counter()
    yield
    if is_main():
        print(speed_line(stage, studies, time.perf_counter() - started, quadratic), flush=True)


def speed_line(stage: str, studies: int, seconds: float, quadratic: bool = False, unit: str = "studies") -> str:
    """One line: studies a second, and the time of a MIMIC-CXR that grows with the studies or with their square.

    Args: as for :func:`measured`; ``seconds`` that they took, ``unit`` what is counted.
    """
    seconds = max(seconds, 1e-6)
    longer = MIMIC_STUDIES / max(studies, 1)
    done = f"{stage}: {studies} {unit} in {_duration(seconds)}, {studies / seconds:,.1f} {unit}/s"
    if not _estimated["mimic"]:
        return done
    whole = _duration(seconds * (longer**2 if quadratic else longer))
    growth = f"with the square of the {unit}" if quadratic else "at this speed"
    return f"{done}; {MIMIC_STUDIES:,} would take {whole} {growth}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
