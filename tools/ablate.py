"""Train and test the full model and its ablations over several seeds; every finished run adds one line to a file.

python tools/ablate.py --quick
python tools/ablate.py --rows "full" "no retrieval" --seeds 3
python tools/ablate.py --table

Hardware and hours stand in each line of docs/ablations/runs.jsonl, and in docs/findings.md.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import flag
from modules.messages import UserError, run
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain, Program
from modules.records import FINISHED_RUNS
from modules.training.ablations import ABLATIONS, BENCHMARKS, QUICK, QUICK_ROWS, Ablation, Benchmark

OF_THE_RUNNER = {  # flags of a training that it gives itself, run by run
    "dataset_name", "ann_path", "image_dir", "feature_dir", "bank_dir", "save_dir", "seed", "resume", "overwrite", "profile",
}  # fmt: skip


@dataclass(kw_only=True)
class AblateOptions(Group):
    """The ablation."""

    quick: bool = flag(False, "a small data set, short trainings and the most telling rows")
    benchmark: str = flag(
        "whole",
        "6,000 drawings; 1,500 and shorter trainings; 6,600 others, by which nothing was chosen",
        choices=tuple(BENCHMARKS),
    )
    dataset_name: str = flag("synth_cxr", "another data set is taken as prepared", choices=tuple(DATASET_DEFAULTS))
    rows: tuple[str, ...] = flag((), "rows to run, by name; the full model is the one that others are compared with")
    seeds: int = flag(3, "trainings of each row", within="[1, 1000]")
    training: str = flag("", "flags of main_train.py for every row, in one word: '--epochs 2 --batch_size 8'")
    parallel: int = flag(0, "runs at a time; 0: one per GPU, two on CPUs", within="[0, 1024]")
    table: bool = flag(False, "only make the tables and plots again from the finished runs")
    root: str = flag("results/ablations", "where the runs are written, and drawn data under data/")
    runs: str = flag(f"{FINISHED_RUNS}/runs.jsonl", "file of the finished runs; tables and plots are written beside it")


@dataclass(kw_only=True)
class Ablate(Program):
    """Train and test the full model and its ablations over several seeds; a finished run is not repeated."""

    file = "tools/ablate.py"
    examples = ("python tools/ablate.py --quick", 'python tools/ablate.py --rows "full" "no retrieval" --seeds 3')

    ablation: AblateOptions


def chosen_rows(options: AblateOptions) -> list[Ablation]:
    """The rows to run, in the order of the grid.

    Raises:
        UserError: if a row is not in the grid.
    """
    names = options.rows or (QUICK_ROWS if options.quick else tuple(row.name for row in ABLATIONS))
    unknown = sorted({*names} - {row.name for row in ABLATIONS})
    if unknown:
        known = ", ".join(f'"{row.name}"' for row in ABLATIONS)
        raise UserError(
            f"--rows names {', '.join(unknown)}, which is none of {known}: see modules/training/ablations.py"
        )
    return [row for row in ABLATIONS if row.name in names]


def benchmark_of(options: AblateOptions) -> Benchmark:
    """The data and the training that the rows share; prepared data of one's own are a benchmark of their name."""
    if options.dataset_name == "synth_cxr":
        chosen = QUICK if options.quick else BENCHMARKS[options.benchmark]
    else:
        chosen = Benchmark(options.dataset_name, None, "")
    refuse_runners_own(options)
    return chosen._replace(training=f"{chosen.training} {options.training}".strip())


def refuse_two_data(given: Collection[str], options: AblateOptions) -> None:
    """Refuse data that are chosen twice; UserError names both flags."""
    chosen = ["--benchmark"] if "benchmark" in given else []
    if options.quick:
        chosen.append("--quick")
    if options.dataset_name != "synth_cxr":
        chosen.append(f"--dataset_name {options.dataset_name}")
    if len(chosen) > 1:
        raise UserError(f"{chosen[0]} chooses the data, and so does {chosen[1]}: leave out one of them")


def refuse_runners_own(options: AblateOptions) -> None:
    """Refuse what ``--training`` cannot set; UserError names it."""
    try:
        words = shlex.split(options.training)
    except ValueError as error:
        raise UserError(f"--training is {options.training!r}, whose quotes do not close: give '--epochs 2'") from error
    given = parse_options(MainTrain, ["--dataset_name", options.dataset_name, *words]).given
    named = {word.partition("=")[0] for word in words}
    own = sorted(name for name in given & OF_THE_RUNNER if name != "dataset_name" or "--dataset_name" in named)
    if own:
        raise UserError(
            f"--training sets {', '.join(f'--{name}' for name in own)}, which the ablation gives every run itself: leave it out; "
            "--seeds, --root and --dataset_name are flags of the ablation"
        )


def named_options(row: Ablation, benchmark: Benchmark, dataset_name: str) -> list[str]:
    """The options that a row sets, checked before anything is trained."""
    data = ["--dataset_name", dataset_name]
    parse_options(MainTrain, [*data, *shlex.split(benchmark.training), *shlex.split(row.flags)])  # do they go together?
    return sorted(parse_options(MainTrain, [*data, *shlex.split(row.flags)]).given - {"dataset_name"})


def main() -> None:
    """Run what is missing, then write the tables."""
    program = parse_options(Ablate)
    options = program.ablation
    refuse_two_data(program.given, options)
    idle = sorted(program.given - {"table", "runs"}) if options.table else []
    if idle:
        raise UserError(f"--table makes all tables of a file and trains nothing: leave out --{idle[0]}, or --table")
    from modules.evaluation.reports.ablation_files import write_ablation_files  # after parsing: it takes a second
    from modules.training.ablation_runs import run_ablation

    if not options.table:
        rows, benchmark = chosen_rows(options), benchmark_of(options)
        named = {row.name: named_options(row, benchmark, options.dataset_name) for row in rows}
        run_ablation(benchmark, rows, named, options)
    print(*write_ablation_files(Path(options.runs)), sep="\n")


if __name__ == "__main__":
    run(main)
