"""How parts of a model that no step of the training moves are fitted: the retrieval towers, and the maps of a finer grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

SMALL = 2_000_000  # parameters below which a CPU fits a part on one thread


@contextmanager
def threads_for(part: nn.Module) -> Iterator[None]:
    """One thread for a part whose products are so small that on two threads a step takes twice as long."""
    small = sum(parameter.numel() for parameter in part.parameters()) < SMALL
    # Not torch.set_num_threads, there and back: on two cores every later step of the model takes a tenth longer.
    with threadpool_limits(1 if small else None, user_api="openmp"):
        yield


def set_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int) -> None:
    """Set the learning rate of step ``step`` (from 0) of a fit of ``steps``: it falls from ``lr`` to 0 along half a cosine."""
    for group in optimizer.param_groups:
        group["lr"] = lr * (1 + np.cos(np.pi * step / steps)) / 2


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    """Make one step of a fit; returns the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def final_loss(losses: Sequence[float]) -> float:
    """Mean loss of the last tenth of the steps of a fit."""
    return float(np.mean(losses[-max(1, len(losses) // 10) :]))
