"""The runs of an ablation: which are missing, and how one is trained and tested."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch

from modules.evaluation.reports.run_lines import read_runs
from modules.messages import UserError
from modules.options.flags import GenerationOptions
from modules.options.parsing import flat, parse_options
from modules.options.programs import MainTrain
from modules.processes.side_by_side import SideBySide
from modules.records import ROOT, append_jsonl, plain, read_run_options
from modules.training.ablation_lines import PLACES, run_line, seconds_of_epochs
from modules.training.ablation_progress import progress
from modules.training.ablations import Ablation, Benchmark, Job
from modules.training.run_options import begun_with

CPU_RUNS = 2  # at a time without a GPU: two runs on a thread each are faster than one after the other on two
SEARCH = tuple(field.name for field in fields(GenerationOptions))  # options of the search for reports
# Options that a resumed training may change, which makes another model of it.
DECIDING = ("epochs", "val_every", "monitor_metric", "scst", "scst_epochs", "scst_weight", "scst_rarity")
PROGRAMS = SideBySide()  # that are running
_LAST_WORDS = 15  # lines of a failed run that are shown


class Settings(Protocol):
    """What the command line of ``tools/ablate.py`` chooses."""

    dataset_name: str
    seeds: int
    parallel: int
    root: str
    runs: str


def run_ablation(
    benchmark: Benchmark, rows: Sequence[Ablation], named: Mapping[str, Sequence[str]], settings: Settings
) -> None:
    """Train and test every row with every seed that has no line yet.

    Args:
        benchmark: data and training that the rows share.
        rows: in the order in which they run, all seeds of one before the next.
        named: the options that each row sets.
        settings: places, seeds and runs at a time.

    Raises:
        UserError: if runs failed; the others are finished first. Before any run, if a folder holds one of other epochs, or
            the data could not be prepared.
        Stopped: after a signal, once the runs have saved what they have.
    """
    places = _places(benchmark, settings)
    finished = finished_runs(Path(settings.runs), benchmark.name)
    folder = Path(settings.root) / benchmark.name
    wanted = [
        Job(row, seed, folder / row.name.replace(" ", "_") / str(seed))
        for row in rows
        for seed in range(1, settings.seeds + 1)
    ]
    missing = [
        job
        for job in wanted
        if not is_as_asked(finished.get((job.row.name, job.seed)), job.row, benchmark, settings.dataset_name)
    ]
    print(progress(wanted, missing, 0.0, 0, 1))
    if not missing:
        return
    shared = shared_options(benchmark, settings.dataset_name)
    for job in missing:
        before = finished.get((job.row.name, job.seed), {}).get("shared", ())
        names = dict.fromkeys([*DECIDING, *shared, *before])
        _refuse_another(job, options_of(job.row, benchmark, settings.dataset_name), names)
    with PROGRAMS.passing_signals_on():
        if benchmark.drawing is not None:
            _prepare(["main_prepare.py", *places, *shlex.split(benchmark.drawing)], folder / "prepare.log")
        failed = _run_all(missing, wanted, benchmark, named, settings)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(missing)} runs failed: see {', '.join(failed)}, then run the same again"
        )


def _prepare(words: Sequence[str], log: Path) -> None:
    """Draw and prepare the data, or reuse them; UserError with the last words of a program that failed."""
    try:
        _call(words, log, os.environ)
    except subprocess.CalledProcessError as error:
        raise UserError(f"the data could not be prepared, see {log}:\n{_last_words(log, 1)}") from error


def finished_runs(path: Path, benchmark: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The last line of every finished run of a benchmark, by row and seed."""
    runs = read_runs(path) if path.is_file() else []
    return {(run["row"], run["seed"]): run for run in runs if run["benchmark"] == benchmark}


def is_as_asked(run: Mapping[str, Any] | None, row: Ablation, benchmark: Benchmark, dataset_name: str) -> bool:
    """Whether a finished run was trained with the flags that its row has now, and with those that all rows share.

    Args:
        run: its line; None if there is none.
        row: what is asked for.
        benchmark: whose training flags are compared, those of ``--training`` among them, with what the run was given. What
            neither names may have other defaults since.
        dataset_name: of the data.
    """
    if run is None or run["flags"] != row.flags:
        return False
    shared = {*shared_options(benchmark, dataset_name), *run.get("shared", ())}
    options, then = options_of(row, benchmark, dataset_name), run["settings"]
    return all(then[name] == options[name] for name in shared & then.keys() & options.keys())


def shared_options(benchmark: Benchmark, dataset_name: str) -> list[str]:
    """The options that the flags of all rows set."""
    return sorted(parse_options(MainTrain, ["--dataset_name", dataset_name, *shlex.split(benchmark.training)]).given)


def options_of(row: Ablation, benchmark: Benchmark, dataset_name: str) -> dict[str, Any]:
    """The options of the trainings of a row, as ``options.json`` would hold them."""
    words = ["--dataset_name", dataset_name, *shlex.split(benchmark.training), *shlex.split(row.flags)]
    return plain(flat(parse_options(MainTrain, words)))


def _refuse_another(job: Job, options: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse to go on with a training of other flags: resumed, it would be neither of the two; UserError names them."""
    there = begun_with(job.folder)
    other = [name for name in names if name in options and there.get(name, options[name]) != options[name]]
    if other:
        differences = ", ".join(f"{name} {there[name]} there, {options[name]} here" for name in other)
        raise UserError(
            f"{job.folder} holds a training with other flags ({differences}): give another --root, or remove the folder"
        )


def _places(benchmark: Benchmark, settings: Settings) -> list[str]:
    """Flags that say where the data are: prepared ones at their usual place, drawn ones in the benchmark's folder."""
    words = ["--dataset_name", settings.dataset_name]
    if benchmark.drawing is None:
        return words
    data = Path(settings.root) / "data" / benchmark.name
    for flag, name in (("--ann_path", "annotation.json"), ("--image_dir", "images"), ("--feature_dir", "features")):
        words += [flag, str(data / name)]
    return words


def _run_all(
    missing: Sequence[Job], wanted: Sequence[Job], benchmark: Benchmark, named: Mapping, settings: Settings
) -> list[str]:
    """Run the missing jobs, as many at a time as there are devices; returns the logs of those that failed."""
    gpus = torch.cuda.device_count()
    at_once = min(settings.parallel or gpus or CPU_RUNS, len(missing))
    devices: SimpleQueue[dict[str, str]] = SimpleQueue()
    for worker in range(at_once):
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}  # what is set already holds
        devices.put({"CUDA_VISIBLE_DEVICES": str(worker % gpus)} if gpus else {**threads, **os.environ})
    started, left = time.monotonic(), list(missing)
    broken: list[Job] = []

    def work(job: Job) -> None:
        device = devices.get()
        try:
            run_one(job, benchmark, named[job.row.name], settings, device)
        finally:
            devices.put(device)

    pool = ThreadPoolExecutor(at_once)
    try:
        waiting = {pool.submit(work, job): job for job in missing}
        for future in as_completed(waiting):
            job = waiting[future]
            left.remove(job)
            if isinstance(future.exception(), subprocess.CalledProcessError):
                broken.append(job)
                print(f"{job.row.name}, seed {job.seed}, failed:\n{_last_words(job.folder / 'log.txt')}")
            else:
                future.result()
            seconds = time.monotonic() - started
            print(progress(wanted, left, seconds, len(missing) - len(left), at_once, broken), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return [str(job.folder / "log.txt") for job in broken]


def run_one(
    job: Job, benchmark: Benchmark, named: Sequence[str], settings: Settings, device: Mapping[str, str]
) -> None:
    """Train and test one row with one seed, or continue it, and append its line.

    Args:
        job: which, and where it is written.
        benchmark: data and training that the rows share.
        named: the options that the row sets.
        settings: places of the data and of the line.
        device: what of the environment says which GPU or how many threads are its own.

    Raises:
        subprocess.CalledProcessError: if a program failed; its words are in ``log.txt``.
    """
    places = _places(benchmark, settings)
    environment = {**os.environ, **device}
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "log.txt"
    own = ["--save_dir", str(job.folder), "--seed", str(job.seed)]
    command = [*places, *own, *shlex.split(benchmark.training), *shlex.split(job.row.flags)]
    options = plain(flat(parse_options(MainTrain, command)))
    trained = trained_alike(job, options) or job.folder
    if trained == job.folder:
        resume = ["--resume"] if (job.folder / "current_checkpoint.pth").is_file() else []
        _call(["main_train.py", *command, *resume], log, environment)
    started = time.monotonic()
    test = [*places, *own, *searched_as(options), "--load_pretrained", str(trained / "model_best.pth")]
    _call(["main_test.py", *test, "--show", "0", "--no-viewer", "--no-meteor"], log, environment)
    options = {**read_run_options(trained / "options.json"), **{name: options[name] for name in SEARCH}}
    chosen = {"named": list(named), "shared": shared_options(benchmark, settings.dataset_name)}
    seconds = time.monotonic() - started
    append_jsonl(settings.runs, run_line(job, benchmark.name, chosen, options, trained, seconds, environment))


def trained_alike(job: Job, options: Mapping[str, Any]) -> Path | None:
    """Where another row has trained the model of a job: a row from which it differs in the search for reports alone.

    Only a training whose one validation follows its last epoch is the same: an earlier one chooses the model by its reports.

    Args:
        job: whose model is looked for, among the rows beside it.
        options: of its training, as ``options.json`` would hold them.

    Returns:
        The folder of a finished training of the same seed, or None if there is none.
    """
    if options["val_every"] < options["epochs"]:
        return None
    own = _trained_as(options)
    for path in sorted(job.folder.parent.parent.glob(f"*/{job.seed}/options.json")):
        folder = path.parent
        alike = folder != job.folder and _trained_as(read_run_options(path)) == own
        if alike and len(seconds_of_epochs(folder)) == options["epochs"]:
            return folder
    return None


def _trained_as(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options of a run decides its model, the seed apart."""
    return {name: value for name, value in options.items() if name not in PLACES and name not in SEARCH}


def searched_as(options: Mapping[str, Any]) -> list[str]:
    """Flags of ``main_test.py`` that search for reports as the validations of a training with these options did."""
    if options["beam_size"] == 1:
        options = {**options, "rerank": "none"}  # one beam leaves no choice
    words = []
    for name in SEARCH:
        words += [f"--{name}", str(options[name])]
    return words


def _call(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run one of the programs of the project; everything it says goes to the end of the log."""
    PROGRAMS.check()
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        print(f"\n$ {shlex.join(words)}", file=file, flush=True)
        PROGRAMS.run([sys.executable, str(ROOT / words[0]), *words[1:]], file, environment)


def _last_words(log: Path, most: int = _LAST_WORDS) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()
    return "\n".join(f"    {line}" for line in lines[-most:])
