"""The finished runs of ablations, as their file holds them.

A run is one JSON object, one line of ``docs/ablations/runs.jsonl``:

    benchmark   which data and training it belongs to; runs of one benchmark are compared
    row, seed   which ablation, and the seed of its training
    flags       what the row adds to the command of the full model; ``named`` are the options that those flags set
    shared      the options that the flags of all rows set; lines from before 2026-11-30 have none
    settings    every option of the training that is no place on a disk
    figures     flat, from ``metrics.json``: ``scores.test_BLEU_4``, ``grounding.rows.maps.hit_rate``, ...
    data, commit, dirty, hardware, finished
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from modules.messages import UserError
from modules.records import read_jsonl

LINE: dict[str, type] = {  # without which it cannot be compared
    "benchmark": str, "row": str, "seed": int, "flags": str, "named": list, "settings": dict, "figures": dict,
    "data": str, "commit": object, "dirty": object, "hardware": str,
}  # fmt: skip
Run = Mapping[str, Any]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The lines of finished runs.

    Raises:
        UserError: if there is no such file, or naming the line that is none of a finished run.
    """
    runs = read_jsonl(path)
    for number, run in enumerate(runs, 1):
        known = run if isinstance(run, Mapping) else {}
        missing = [name for name in LINE if name not in known]
        wrong = missing or [name for name, kind in LINE.items() if not isinstance(known[name], kind)]
        if wrong:
            found = f"no {wrong[0]}" if missing else f"{known[wrong[0]]!r} as its {wrong[0]}"
            raise UserError(
                f"value {number} of {path} is not the line of a finished run, it has {found}: give a file that "
                "tools/ablate.py wrote, or remove it there"
            )
        odd = [name for name, value in run["figures"].items() if not _is_number(value)]
        if odd:
            raise UserError(
                f"value {number} of {path} ({run['row']}, seed {run['seed']}) has {run['figures'][odd[0]]!r} as {odd[0]}, expected a "
                "number: remove the line, and the run is made again"
            )
    return runs


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -inf < value < inf


def latest_runs(runs: Iterable[Run], benchmark: str) -> dict[str, dict[int, Run]]:
    """The last finished run of every row and seed of a benchmark: row -> seed -> run, rows in order of appearance."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        if run["benchmark"] == benchmark:
            found.setdefault(run["row"], {})[run["seed"]] = run
    return found
