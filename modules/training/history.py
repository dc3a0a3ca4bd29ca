"""What a run leaves of its course: a row an epoch and a row every few steps, in tables, in TensorBoard and on the terminal."""

from __future__ import annotations

import csv
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from modules.options.flags import TrainingOptions
from modules.records import atomic_write, plain
from modules.training.objective import loss_names
from modules.training.run_options import drawn_in
from modules.training.run_state import RunState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EPOCHS_TABLE, STEPS_TABLE = "metrics.csv", "steps.csv"
COLUMNS = {  # of the terminal's table, by the name of the figure
    "epoch": "epoch", "loss": "loss", "loss_report": "report", "loss_diagnosis": "diagnosis", "val_BLEU_4": "BLEU-4",
    "val_ce_f1": "CE-F1", "val_ce_f1_macro": "CE-F1 macro", "val_text_cosine": "text cos.", "val_map_correlation": "map corr.",
    "lr": "lr", "seconds": "seconds",
}  # fmt: skip


class History:
    """The course of one run: ``metrics.csv``, ``steps.csv`` and one TensorBoard file, begun anew from what is known.

    Args:
        run_dir: folder of the run.
        epochs: rows of the finished epochs.
        before: epoch and step that the run goes on after; rows of later steps, left by a killed run, go.
        sums: steps and losses of that epoch until its last row of ``steps.csv``, if it has one.
        losses: their names; those that every run has if absent.
    """

    def __init__(
        self,
        run_dir: Path,
        epochs: Sequence[Mapping[str, Any]],
        before: tuple[int, int] = (1, 0),
        sums: Sequence[float] = (),
        losses: Sequence[str] | None = None,
    ) -> None:
        self.run_dir, self.last_sums, self.epoch = run_dir, list(sums), before[0]
        self.losses = losses or loss_names()
        self.events: SummaryWriter | None = None
        self.excepthook_before = threading.excepthook
        self.has_heading = False  # whether the terminal's table has its heading
        path = run_dir / STEPS_TABLE
        self.steps = [row for row in _read(path) if (int(row["epoch"]), int(row["step"])) <= before]
        in_table = list(self.steps[0]) if self.steps else []
        self.columns = list(dict.fromkeys([*in_table, "epoch", "step", "total_step", *self.losses, "lr"]))
        if self.steps or path.is_file():
            _write(path, self.steps, self.columns)
        for old in (run_dir / "tensorboard").glob("events.out.tfevents.*"):
            old.unlink()
        self.epochs: list[Mapping[str, Any]] = []
        if epochs:
            self.keep_epochs(epochs)

    @classmethod
    def of(cls, run_dir: Path, state: RunState, losses: Sequence[str]) -> History:
        """The course of a run that stands where ``state`` says."""
        return cls(run_dir, state.history, (state.epoch, state.step), state.shown, losses)

    def end_epoch(self, rows: Sequence[Mapping[str, Any]], options: TrainingOptions, best: bool) -> None:
        """Keep the rows of all finished epochs and show the last; ``best`` says whether it is the best so far."""
        self.keep_epochs(rows)
        heading = not self.has_heading
        print(table_row(rows[-1], options.monitor_metric, best, seconds_left(rows, options), heading))
        self.has_heading = True

    def keep_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the table of all epochs, and what is new of it into TensorBoard."""
        _write(self.run_dir / EPOCHS_TABLE, rows)
        for row in rows[len(self.epochs) :]:
            figures = {name: value for name, value in row.items() if name != "epoch" and value is not None}
            self._scalars(figures, row["epoch"])
        self.epochs = list(rows)
        self._events().flush()

    def keep_step(self, epoch: int, step: int, total: int, sums: Sequence[float], lr: float) -> None:
        """Append mean losses since the last such row to ``steps.csv`` and TensorBoard.

        Args:
            epoch: from 1.
            step: of the epoch, from 1.
            total: the same counted from the first of the run.
            sums: finite steps and losses of this epoch so far, means over the processes.
            lr: learning rate of the step.
        """
        last = self.last_sums if self.last_sums and self.epoch == epoch else [0.0] * len(sums)
        count, *parts = (now - then for now, then in zip(sums, last, strict=True))
        self.last_sums, self.epoch = list(sums), epoch
        if not count:  # no step since was finite
            return
        figures = dict(zip(self.losses, [part / count for part in parts], strict=True)) | {"lr": lr}
        row = {"epoch": epoch, "step": step, "total_step": total, **figures}
        with open(self.run_dir / STEPS_TABLE, "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            if not self.steps:
                writer.writeheader()
            writer.writerow(plain(row))
        self._scalars({f"step/{name}": value for name, value in figures.items()}, total)
        self.steps.append(row)  # last, since a new TensorBoard file begins with all rows of self.steps

    def close(self) -> None:
        """Bring TensorBoard's file to the disk."""
        try:
            if self.events is not None:
                self.events.close()
        finally:
            threading.excepthook = self.excepthook_before

    def _report_thread_error(self, error: threading.ExceptHookArgs) -> None:
        """Report the error of a thread, unless it is TensorBoard's and of the disk: the next call to TensorBoard raises that."""
        if not (issubclass(error.exc_type, OSError) and type(error.thread).__name__ == "_AsyncWriterThread"):
            self.excepthook_before(error)

    def _events(self) -> SummaryWriter:
        if self.events is None:
            from torch.utils.tensorboard import SummaryWriter  # on demand: it takes seconds to import

            threading.excepthook = self._report_thread_error
            self.events = SummaryWriter(str(self.run_dir / "tensorboard"))
            for row in self.steps:  # of the run before it was interrupted
                counts = ("epoch", "step", "total_step")
                figures = {f"step/{name}": float(cell) for name, cell in row.items() if name not in counts and cell}
                self._scalars(figures, int(row["total_step"]))
        return self.events

    def _scalars(self, figures: Mapping[str, float], at: int) -> None:
        for name, value in figures.items():
            self._events().add_scalar(name, value, at)


def _read(path: Path) -> list[dict[str, Any]]:
    """Whole rows of a table that a kill may have cut off."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def _write(path: Path, rows: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> None:
    """Write rows whose absent figures stay empty, the ``known`` columns first."""
    columns = list(known) if rows else []
    for row in rows:
        columns += [name for name in row if name not in columns]
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if columns:
            writer.writeheader()
        writer.writerows(plain(row) for row in rows)


def seconds_left(rows: Sequence[Mapping[str, Any]], options: TrainingOptions) -> float | None:
    """Seconds that a run will go on for, after the epochs of ``rows``.

    Epochs that draw reports and those that do not have a mean of their own; None while one of a kind lies ahead and none behind.
    """
    took: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        took[drawn_in(options, row["epoch"]) > 0].append(row["seconds"])
    ahead = [drawn_in(options, epoch) > 0 for epoch in range(len(rows) + 1, options.epochs + 1)]
    if any(not took[draws] for draws in ahead):
        return None
    return sum(sum(took[draws]) / len(took[draws]) for draws in ahead)


def table_row(row: Mapping[str, Any], monitor: str, best: bool, left: float | None, heading: bool = False) -> str:
    """An epoch as one row of the terminal's table.

    Args:
        row: figures of the epoch.
        monitor: the figure that chooses the best epoch.
        best: whether this is the best so far.
        left: seconds that the run will go on for; None if nobody knows.
        heading: put the names of the columns above it.
    """
    names = dict(COLUMNS)
    if monitor not in names:
        names[monitor] = monitor.removeprefix("val_")
    widths = {name: max(len(title), 7) for name, title in names.items()}
    cells = [f"{_cell(name, row.get(name)):>{widths[name]}}" for name in names]
    line = "  ".join([*cells, f"{'-' if left is None else _clock(left):>7}", "* best" if best else ""]).rstrip()
    titles = "  ".join([*(f"{title:>{widths[name]}}" for name, title in names.items()), f"{'left':>7}"])
    return f"{titles}\n{line}" if heading else line


def kept_line(state: RunState, monitor: str) -> str:
    """Which epoch's weights a run keeps as the best, and by what figure; nothing where its state does not say."""
    kept = next((row for row in state.history if row["epoch"] == state.best), None)
    if kept is None:
        return ""
    validations = sum(row.get(monitor) is not None for row in state.history)
    figure = "" if kept.get(monitor) is None else f", {monitor} {kept[monitor]:.3f}"
    chosen = f", of {validations} validations" if validations > 1 else ""
    return f"kept: epoch {state.best} of {len(state.history)}{figure}{chosen}"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "lr":
        return f"{value:.1e}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if name == "seconds" else f"{value:.3f}"


def _clock(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def bar_figures(names: Sequence[str], losses: Tensor, lr: float) -> dict[str, str]:
    """What the progress bar shows of a step; waits for the device."""
    names = [name.removeprefix("loss_") for name in names]
    return {name: f"{x:.3f}" for name, x in zip(names, losses.tolist(), strict=True)} | {"lr": f"{lr:.1e}"}
