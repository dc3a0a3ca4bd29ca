"""Where the time of training goes: a table of stages, and a trace of every operator (``--profile N``)."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from modules.corpus.dataloaders import evaluation_loader, training_loader
from modules.distributed import autocast, is_main
from modules.retrieval.references import training_references
from modules.training.trainer import Trainer

WARM_UP = 2  # steps before the clock starts
TRACED = 3  # steps whose operators are recorded, the last ones
LARGEST = 30 << 20  # bytes that a trace may take, compressed if it must be
STAGES = ("data", "forward", "backward", "optimizer", "eval")


class Stopwatch:
    """Seconds of each stage; waits for the device at both ends, so that a stage pays for its own work."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = {name: [] for name in STAGES}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block as one call of stage ``name`` and mark it in the trace."""
        self._wait()
        start = time.perf_counter()
        with record_function(name):
            yield
            self._wait()
        self.seconds[name].append(time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def table(self) -> str:
        """Markdown table: stage, calls, milliseconds per call, share of a training step (not for ``eval``)."""
        step = sum(sum(times) for name, times in self.seconds.items() if name != "eval")
        lines = ["| stage | calls | ms per call | share of step |", "|---|---:|---:|---:|"]
        for name, times in self.seconds.items():
            share = "" if name == "eval" else f"{sum(times) / step:.1%}"
            lines.append(f"| {name} | {len(times)} | {1000 * sum(times) / max(len(times), 1):.1f} | {share} |")
        return "\n".join(lines)


def profile_training(trainer: Trainer, steps: int) -> list[Path]:
    """Train ``steps`` steps and write the reports of one validation batch under the profiler; no checkpoint is written.

    Prints the stage table and writes ``profile.md`` (the table and the slowest operators) and ``trace.json`` (for
    chrome://tracing or ui.perfetto.dev; ``trace.json.gz`` where it would exceed 30 MB, none where that does too) into the run
    folder.

    Args:
        trainer: ready to train; its weights move.
        steps: training steps that are timed, after two that are not.

    Returns:
        The files written; of several processes those of the first, about itself.
    """
    device, options = trainer.device, trainer.options
    watch = Stopwatch(device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    training_references(trainer.model, trainer.train_set, options, trainer.state.epoch)
    trainer.train_set.augmentation = (options.runtime.seed, 1) if options.training.augment else None
    batches = _endless(trainer)
    trainer.update.recorded = None  # a recorded step has no stages
    trainer.model.train()
    for _ in range(WARM_UP):
        trainer.train_step(trainer.train_set.to_device(next(batches), device))
    trainer.update.stage = watch
    for _ in range(steps - TRACED):
        _timed_step(trainer, batches, watch)
    with profile(activities=activities, acc_events=True) as profiler:  # torch 2.11 warns where it does not say so
        for _ in range(min(steps, TRACED)):
            _timed_step(trainer, batches, watch)
        trainer.model.eval()
        _evaluate(trainer, watch)
    if not is_main():
        return []
    report, trace = trainer.run_dir / "profile.md", trainer.run_dir / "trace.json"
    operators = profiler.key_averages().table(
        sort_by=f"self_{device.type}_time_total", row_limit=25, max_name_column_width=60
    )
    print(watch.table())
    report.write_text(f"{watch.table()}\n\n```\n{operators}\n```\n", encoding="utf-8")
    profiler.export_chrome_trace(str(trace))
    if trace.stat().st_size > LARGEST:
        trace = _compressed(trace)
    size = trace.stat().st_size
    if size <= LARGEST:
        return [report, trace]
    trace.unlink()
    print(
        f"the trace took {size / 2**20:.0f} MB even compressed and was left out: profile.md has the slowest operators"
    )
    return [report]


def _timed_step(trainer: Trainer, batches: Iterator, watch: Stopwatch) -> None:
    with watch("data"):
        batch = trainer.train_set.to_device(next(batches), trainer.device)
    trainer.train_step(batch)


def _compressed(path: Path) -> Path:
    """A trace as ``.gz``, about a twentieth of it, which the same viewers open."""
    target = path.with_name(f"{path.name}.gz")
    with path.open("rb") as source, gzip.open(target, "wb") as file:
        shutil.copyfileobj(source, file)
    path.unlink()
    return target


def _endless(trainer: Trainer) -> Iterator:
    options, epoch = trainer.options, 1
    while True:
        yield from training_loader(
            trainer.train_set, options.loading.batch_size, options.runtime.seed, epoch, 0, options.loading.num_workers
        )
        epoch += 1


def _evaluate(trainer: Trainer, watch: Stopwatch) -> None:
    """Generate the reports of one validation batch, without references."""
    tokenizer, options = trainer.val_set.tokenizer, trainer.options
    batch = next(iter(evaluation_loader(trainer.val_set, options.loading.at_once, 0)))
    batch = trainer.val_set.to_device(batch, trainer.device)
    states = torch.tensor(tokenizer.state_ids, device=trainer.device)
    with watch("eval"), autocast(trainer.device, options.compute.precision):
        trainer.model.generate(batch.study, tokenizer.start_id, states, trainer.validation.search.limits)
