"""A table of word vectors that is looked up at one end of a network and multiplied with at the other.

Two separate uses give two gradients of the size of the table, to be added, which costs a CPU as much as a layer of the
decoder. Here the second use depends on the first, so that the gradients of the few rows are added to that of the table.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.cpu.linear import FastLinear, linear


def look_up(table: Tensor, ids: Tensor, padding: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows of ``table`` ``(V, C)`` for ``ids`` ``(N,)``, and the table for a second use that depends on these rows.

    No gradient comes from the row ``padding``, as in :class:`torch.nn.Embedding`.

    Returns:
        ``rows`` ``(N, C)`` and ``table`` ``(V, C)``.
    """
    return _TiedTable.apply(table, ids, padding)


class Handover:
    """Carries the table of one forward pass from its first use to its second."""

    def __init__(self) -> None:
        self.table: Tensor | None = None

    def take(self) -> Tensor | None:
        """The table that was left here, once."""
        table, self.table = self.table, None
        return table


class FirstUse(nn.Embedding):
    """:class:`torch.nn.Embedding` that leaves its table for the second use."""

    handover: Handover

    def forward(self, ids: Tensor) -> Tensor:
        """``(...)`` ids to ``(..., C)``."""
        self.handover.take()
        if not (torch.is_grad_enabled() and self.weight.requires_grad and self.weight.device.type == "cpu"):
            return super().forward(ids)
        rows, self.handover.table = look_up(self.weight, ids.flatten(), self.padding_idx)
        return rows.unflatten(0, ids.shape)


class SecondUse(FastLinear):
    """:class:`torch.nn.Linear` that multiplies with the table that was left for it, else with its weight."""

    handover: Handover

    def forward(self, x: Tensor) -> Tensor:
        """``(..., C)`` to ``(..., V)``."""
        table = self.handover.take()
        return linear(x, self.weight if table is None else table, self.bias)


def tie(words: nn.Embedding, output: nn.Linear) -> None:
    """Let two layers that share one weight share its gradient; their parameters stay what they are."""
    assert words.weight is output.weight
    words.__class__, output.__class__ = FirstUse, SecondUse
    cast(FirstUse, words).handover = cast(SecondUse, output).handover = Handover()


class _TiedTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, padding: int | None) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.padding = padding
        return F.embedding(ids, table), table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor, of_table: Tensor) -> tuple[Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        if ctx.padding is not None:
            of_rows = of_rows.masked_fill((ids == ctx.padding).unsqueeze(1), 0.0)
        return of_table.index_add_(0, ids, of_rows), None, None
