"""One retrieval bank spread over processes: each holds and searches its rows, the best of all are merged."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from models.retrieval import RetrievalBank
from modules.distributed import rank, world_size
from modules.messages import UserError

TOO_FEW = (
    "fewer than {} studies of the retrieval bank may be retrieved for some query: add training studies or give "
    "--no-exclude_same_patient"
)


def shard_rows(size: int) -> slice:
    """The consecutive rows of a bank of ``size`` rows that this process holds; the shares differ by one at most."""
    return slice(size * rank() // world_size(), size * (rank() + 1) // world_size())


@torch.no_grad()
def search_shards(
    shard: RetrievalBank, first_row: int, queries: Tensor, groups: Tensor, k: int = 1
) -> tuple[Tensor, Tensor]:
    """Nearest rows of the whole bank: equal to :meth:`models.retrieval.RetrievalBank.search` in one process.

    Every process calls it with the same queries and gets the same answer; ``2 B k`` numbers per process are exchanged.

    Args:
        shard: bank of this process's rows; the group numbers are those of the whole bank.
        first_row: row of the whole bank that comes first in the shard.
        queries: ``(B, H)`` points.
        groups: ``(B,)`` group of each query, -1 for none.
        k: neighbours wanted.

    Returns:
        ``rows`` ``(B, k)`` of the whole bank and ``distances`` ``(B, k)`` in float64, nearest first, ties by row.

    Raises:
        UserError: on every process, if a query has fewer than ``k`` rows outside its group.
    """
    rows, distances = shard.search(queries, groups, k, partial=True)
    if world_size() > 1:
        everyone = [[torch.empty_like(part) for _ in range(world_size())] for part in (rows, distances)]
        for parts, mine in zip(everyone, (rows + first_row, distances), strict=True):
            dist.all_gather(parts, mine)
        rows, distances = (torch.cat(parts, dim=1) for parts in everyone)  # (B, world * k), in order of row where tied
        distances, order = distances.sort(dim=1, stable=True)
        rows = rows.gather(1, order)
    if len(queries) and distances[:, k - 1].isinf().any():
        raise UserError(TOO_FEW.format(k))
    return rows[:, :k], distances[:, :k]
