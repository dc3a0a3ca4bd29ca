"""Where a training stands: what its next step and its next row depend on and that is no weight."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modules.distributed import gather_list, mean_over_processes, rank
from modules.training.objective import loss_names


@dataclass
class RunState:
    """How far a run has come, and what its present epoch has taken and brought so far.

    Attributes:
        epoch: the present one, from 1.
        step: steps of this epoch that are done; all of them once only the validation is left.
        earlier: steps of the epochs before it, which another number of processes may have shared; None until :meth:`count`.
        seen: studies that it has trained on.
        seconds: what its steps have taken, those before an interruption included.
        beside: seconds of the epoch outside its steps: references, and fits of towers and maps.
        loss_towers: of the retrieval towers that were fitted after its steps, None before and if nothing reads them.
        loss_maps: of the maps of a finer grid, likewise.
        shown: sums of the epoch at its last row of ``steps.csv``, means over the processes; empty before the first.
        best: epoch whose weights are kept as the best; 0 before there is one.
        history: rows of the finished epochs.
    """

    epoch: int = 1
    step: int = 0
    earlier: int | None = None
    seen: int = 0
    seconds: float = 0.0
    beside: float = 0.0
    loss_towers: float | None = None
    loss_maps: float | None = None
    shown: list[float] = field(default_factory=list)
    best: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps that the run has made, in all epochs."""
        return (self.earlier or 0) + self.step

    def count(self, steps: int) -> None:
        """Say that the present epoch has so many steps.

        A state of an earlier version does not know the steps of the epochs before, which were as many in each.
        """
        if self.earlier is None:
            self.earlier = (self.epoch - 1) * steps

    def improves(self, metric: str, score: float | None) -> bool:
        """Whether an epoch with this score is better than the one whose weights are kept as the best.

        Without a score (METEOR may fail) it is, if the kept one has none either. A run of an earlier version does not say which
        epoch is kept: it is the one of its largest score.
        """
        kept = [row for row in self.history if self.best in (0, row["epoch"])]
        best = max((row[metric] for row in kept if row.get(metric) is not None), default=-math.inf)
        return best == -math.inf if score is None else score > best

    def since(self, figure: str) -> int:
        """Epochs since the last one whose row holds a figure, the present one included; all of them if none does."""
        return self.epoch - max((row["epoch"] for row in self.history if row.get(figure) is not None), default=0)

    def next_epoch(self, row: dict[str, Any]) -> None:
        """Finish the present epoch with its row."""
        self.history.append(row)
        self.earlier = self.steps
        self.epoch, self.step, self.seen = self.epoch + 1, 0, 0
        self.seconds = self.beside = 0.0
        self.loss_towers = self.loss_maps = None
        self.shown = []

    @contextmanager
    def beside_steps(self) -> Iterator[None]:
        """Counts the seconds of a block as those of the epoch outside its steps."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.beside += time.perf_counter() - started

    def as_dict(self) -> dict[str, Any]:
        """By name, for a checkpoint."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def of_every_process(sums: Tensor, device: torch.device) -> list[dict[str, Tensor]]:
    """What differs between the processes, in order of rank: sums of the epoch and random states."""
    own = {"sums": sums.cpu(), "rng": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda_rng"] = torch.cuda.get_rng_state(device)
    return gather_list([own])


def restore_process(run: Mapping[str, Any], state: RunState, losses: Sequence[str], device: torch.device) -> Tensor:
    """Set this process's random states to the saved ones; returns its sums. Only with as many processes as saved them.

    Args:
        run: state of a run in a checkpoint; one of an earlier version does not say where its last row of ``steps.csv`` was.
        state: of the run; its sums at that row are put into the order of ``losses``, in place.
        losses: names of the losses now.
        device: of this process.
    """
    own, names = run["processes"][rank()], run.get("losses", loss_names())
    torch.set_rng_state(own["rng"])
    if "cuda_rng" in own and device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda_rng"], device)
    sums = own["sums"].to(device)
    shown = run.get("shown", mean_over_processes(sums))
    state.shown = sums_by_name(torch.tensor(shown, dtype=torch.float64), names, losses).tolist() if shown else []
    return sums_by_name(sums, names, losses)


def sums_by_name(sums: Tensor, then: Sequence[str], now: Sequence[str]) -> Tensor:
    """Steps and losses of an epoch ``(1 + n,)`` in the order of the names ``now``; 0 for one that had no name ``then``."""
    known = dict(zip(then, sums[1:], strict=True))
    return torch.stack([sums[0], *(known.get(name, torch.zeros_like(sums[0])) for name in now)])


def stored_rows(rows: np.ndarray) -> Tensor:
    """Reference rows as a checkpoint keeps them."""
    return torch.from_numpy(np.asarray(rows).astype(np.int32))
