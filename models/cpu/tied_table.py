"""A table of word vectors that is looked up at one end of a network and multiplied with at the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def look_up(table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of ``table`` ``(V, C)`` for ``ids`` ``(N,)``, and the table for a second use that depends on these rows.

    Two separate uses would give two gradients of the size of the table, to be added. On a CPU, where this costs as much
    as a layer of the decoder, the gradients of the few rows are added to that of the second use instead.

    Returns:
        ``rows`` ``(N, C)`` and ``table`` ``(V, C)``.
    """
    if table.device.type != "cpu":
        return F.embedding(ids, table), table
    return _TiedTable.apply(table, ids)


class _TiedTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        return F.embedding(ids, table), table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor, of_table: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        return of_table.index_add_(0, ids, of_rows), None
