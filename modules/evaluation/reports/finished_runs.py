"""The finished runs of ablations, as their file holds them.

A run is one JSON object, one line of ``docs/ablations/runs.jsonl``:

    benchmark   which data and training it belongs to; runs of one benchmark are compared
    row, seed   which ablation, and the seed of its training
    flags       what the row adds to the command of the full model; ``named`` are the options that those flags set
    shared      the options that the flags of all rows set; lines from before 2026-11-30 have none
    settings    every option of the training that is no place on a disk
    figures     flat, from ``metrics.json``: ``scores.test_BLEU_4``, ``grounding.rows.maps.hit_rate``, ...
    data, commit, dirty, hardware, seconds, finished
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from modules.messages import UserError
from modules.records import read_jsonl

LINE = (  # without which it cannot be compared
    "benchmark", "row", "seed", "flags", "named", "settings", "figures", "data", "commit", "dirty", "hardware",
)  # fmt: skip
Run = Mapping[str, Any]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The lines of finished runs.

    Raises:
        UserError: if there is no such file, or naming the line that is none of a finished run.
    """
    runs = read_jsonl(path)
    for number, run in enumerate(runs, 1):
        missing = [name for name in LINE if not isinstance(run, Mapping) or name not in run]
        if missing:
            raise UserError(
                f"value {number} of {path} is not the line of a finished run, it has no {missing[0]}: give a file that "
                "tools/ablate.py wrote, or remove it there"
            )
        figures = {"seed": run["seed"] if type(run["seed"]) is int else None, **run["figures"]}
        odd = [name for name, value in figures.items() if not (isinstance(value, int | float) and isfinite(value))]
        if odd:
            found = run["seed"] if odd[0] == "seed" else run["figures"][odd[0]]
            raise UserError(
                f"value {number} of {path} ({run['row']}, seed {run['seed']}) has {found!r} as {odd[0]}, expected a number: remove the "
                "line, and the run is made again"
            )
    return runs


def latest_runs(runs: Iterable[Run], benchmark: str) -> dict[str, dict[int, Run]]:
    """The last finished run of every row and seed of a benchmark: row -> seed -> run, rows in order of appearance."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        if run["benchmark"] == benchmark:
            found.setdefault(run["row"], {})[run["seed"]] = run
    return found
