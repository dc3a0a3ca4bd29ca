"""The table of a run: one row an epoch, in ``metrics.csv`` and TensorBoard, always written whole from the run's own rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.records import atomic_write, plain
from modules.training.objective import loss_names


def write_history(run_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write every epoch once: ``metrics.csv`` and one TensorBoard file, whatever an interrupted run left there.

    Args:
        run_dir: folder of the run.
        rows: of all epochs; ``epoch`` and figures by name, absent ones stay empty.
    """
    if not rows:
        return
    columns: list[str] = []
    for row in rows:
        columns += [name for name in row if name not in columns]
    with atomic_write(run_dir / "metrics.csv") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain(row) for row in rows)
    from torch.utils.tensorboard import SummaryWriter  # on demand: it takes seconds to import

    folder = run_dir / "tensorboard"
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, value, row["epoch"])


def print_row(row: Mapping[str, Any]) -> None:
    """Show the figures of an epoch."""
    for name, value in row.items():
        print(f"\t{name:15s}: {value:.4g}" if isinstance(value, float) else f"\t{name:15s}: {value}")


def shown(losses: Tensor, lr: float) -> dict[str, str]:
    """What the progress bar shows of a step; waits for the device."""
    names = [name.removeprefix("loss_") for name in loss_names()]
    return {name: f"{x:.3f}" for name, x in zip(names, losses.tolist(), strict=True)} | {"lr": f"{lr:.1e}"}
