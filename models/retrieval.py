"""Exact nearest-neighbour search in the bank of training studies."""

from __future__ import annotations

import torch
from torch import Tensor

from models.manifolds import Manifold

SPARE = 64  # rows re-ranked beyond those asked for; covers what float64 rounding can swap among near-duplicates


class RetrievalBank:
    """Embeddings of all training studies, searched by geodesic distance.

    "Nearest" is a largest inner product on every manifold (:meth:`models.manifolds.PoincareBall.keys`), so the search
    is a blockwise float64 matrix product; the few best rows are then re-ranked by the distance itself. The memory held
    is one block, whatever N and B; no ``(B, N, H)`` tensor is built.

    Args:
        manifold: geometry of the embeddings.
        embeddings: ``(N, H)`` points.
        groups: ``(N,)`` integers; a query never retrieves a row of its own group. Give every row its own number to
            exclude a study itself, or one number per patient to exclude the patient.
        block: rows compared at once.
    """

    def __init__(self, manifold: Manifold, embeddings: Tensor, groups: Tensor, block: int = 32768) -> None:
        assert len(embeddings) == len(groups)
        self.manifold = manifold
        self.embeddings = embeddings
        self.groups = groups
        self.block = block

    def __len__(self) -> int:
        return len(self.embeddings)

    @torch.no_grad()
    def search(self, queries: Tensor, groups: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        """Nearest rows of other groups.

        Args:
            queries: ``(B, H)`` points.
            groups: ``(B,)`` group of each query, -1 for none.
            k: neighbours wanted.

        Returns:
            ``rows`` ``(B, k)`` and their ``distances`` ``(B, k)`` in float64, nearest first, ties by row.

        Raises:
            ValueError: if a query has fewer than ``k`` rows outside its group.
        """
        wanted = min(k + SPARE, len(self))
        query = self.manifold.queries(queries)  # (B, H + 2)
        best = query.new_full((len(query), 0), -torch.inf)  # (B, up to wanted)
        rows = torch.zeros_like(best, dtype=torch.long)
        for start in range(0, len(self), self.block):
            stop = min(start + self.block, len(self))
            score = query @ self.manifold.keys(self.embeddings[start:stop]).T  # (B, block)
            score.masked_fill_(groups[:, None] == self.groups[None, start:stop], -torch.inf)
            top, index = score.topk(min(wanted, stop - start), dim=1)
            best, order = torch.cat([best, top], dim=1).topk(min(wanted, best.shape[1] + top.shape[1]), dim=1)
            rows = torch.cat([rows, index + start], dim=1).gather(1, order)
        return self._rerank(queries, rows, best.isinf(), k)

    def _rerank(self, queries: Tensor, rows: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Order the shortlist ``rows`` ``(B, W)`` by float64 distance, then by row, and keep ``k``."""
        free = (~excluded).sum(dim=1).min() if len(rows) else k
        if free < k:
            raise ValueError(
                f"the retrieval bank has {len(self)} studies and only {int(free)} of them may be retrieved for some "
                f"query, but {k} are wanted: add training studies or drop --exclude_same_patient"
            )
        rows, order = rows.sort(dim=1)
        distances = torch.stack([
            self.manifold.distance(query[None], self.embeddings[candidates])[0]
            for query, candidates in zip(queries, rows, strict=True)
        ]) if len(rows) else rows.double()  # (B, W)  # fmt: skip
        distances = distances.masked_fill(excluded.gather(1, order), torch.inf)
        distances, order = distances.sort(dim=1, stable=True)
        return rows.gather(1, order)[:, :k], distances[:, :k]
