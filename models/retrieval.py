"""Exact nearest-neighbour search in the bank of training studies."""

from __future__ import annotations

import torch
from torch import Tensor

from models.manifolds import Manifold

SPARE = 128  # rows in a shortlist beyond those asked for
TILE = 512  # queries whose scores are held at once
STRIDE = 16  # scores of which the maximum is compared first
RERANKED = 16  # queries re-ranked at once


class RetrievalBank:
    """Embeddings of all training studies, searched by geodesic distance.

    The gap that ranks the rows (see :mod:`models.manifolds`) is one inner product per pair, so the search is a blockwise
    matrix product; the few best rows are then re-ranked by the float64 distance itself. The product is made in float32
    around the mean of the bank, and of the gap only a lower bound is kept: the rounding error that the product can have
    at most is taken off. A query is done when the last row it wants is nearer than that bound allows any row outside the
    shortlist to be. The others (near-duplicates) go through the same search in float64, and what is still undecided (more
    equal rows than the shortlist holds) is compared with every row. The result is that of float64 brute force, always.

    Beside the embeddings the memory holds 48 bytes a row and some blocks and tiles; no ``(B, N, H)`` tensor is built and
    the bank is read once, row by row, so it may be a tensor over a memory-mapped file.

    Args:
        manifold: geometry of the embeddings.
        embeddings: ``(N, H)`` points.
        groups: ``(N,)`` integers from 0; a query never retrieves a row of its own group. Give every row its own number to
            exclude a study itself, or one number per patient to exclude the patient.
        block: rows compared at once in float32.
    """

    @torch.no_grad()
    def __init__(self, manifold: Manifold, embeddings: Tensor, groups: Tensor, block: int = 16384) -> None:
        assert len(embeddings) == len(groups)
        self.manifold = manifold
        self.embeddings = embeddings
        self.groups = groups
        self.block = block
        parts = embeddings.split(max(1, block // 16))
        mean = sum(part.sum(dim=0, dtype=torch.float64) for part in parts) / max(len(embeddings), 1)
        self.centre = torch.as_tensor(mean, device=embeddings.device).float()  # (H,), so that float32 holds it exactly
        # Written in place: small results kept between large temporaries would pin the memory of all of these.
        self.square, self.size, self.shrink = embeddings.new_empty(3, len(embeddings), dtype=torch.float64)  # (N,) each
        for number, part in enumerate(parts):
            rows = slice(number * len(parts[0]), number * len(parts[0]) + len(part))
            self.square[rows], self.size[rows] = self._squares(part)
            self.shrink[rows] = manifold.shrink(part)
        self.by_group = groups.sort(stable=True)

    def __len__(self) -> int:
        return len(self.embeddings)

    @torch.no_grad()
    def search(self, queries: Tensor, groups: Tensor, k: int = 1, partial: bool = False) -> tuple[Tensor, Tensor]:
        """Nearest rows of other groups.

        Args:
            queries: ``(B, H)`` points.
            groups: ``(B,)`` group of each query, -1 for none.
            k: neighbours wanted.
            partial: where there are fewer, fill up with row -1 at infinite distance.

        Returns:
            ``rows`` ``(B, k)`` and their ``distances`` ``(B, k)`` in float64, nearest first, ties by row.

        Raises:
            ValueError: if a query has fewer than ``k`` rows outside its group, unless ``partial``.
        """
        excluded = self._excluded(groups)
        self._check(len(queries), excluded[0], k, partial)
        rows = torch.full((len(queries), k), -1, device=queries.device)
        distances = torch.full((len(queries), k), torch.inf, dtype=torch.float64, device=queries.device)
        pending = torch.arange(len(queries) if len(self) else 0, device=queries.device)
        exact_float32 = torch.get_float32_matmul_precision() == "highest"
        for dtype in (torch.float32, torch.float64) if exact_float32 else (torch.float64,):
            if len(pending):
                bound, shortlist = self._shortlist(queries, pending, excluded, min(k + SPARE, len(self)), dtype)
                best, nearest = self._rerank(queries[pending], shortlist, bound.isinf(), k)  # (n, k or fewer) each
                rows[pending, : best.shape[1]], distances[pending, : best.shape[1]] = best, nearest
                # no row outside the shortlist can be nearer than this
                outside = self.manifold.distance_of_gap(-bound[:, -1].clamp_max(0), queries[pending].double())  # (n,)
                complete = outside.isinf() | (bound.shape[1] == len(self))  # no row is left outside
                pending = pending[~complete & (distances[pending, -1] >= outside)]
        for query in pending.tolist():
            rows[query], distances[query] = self._compare_all(queries[query], excluded[1][excluded[0] == query], k)
        return rows.masked_fill(distances.isinf(), -1), distances

    def _squares(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Squared length in the manifold's signature and in the Euclidean one, from the centre: ``(N,)`` float64 each."""
        moved = points.double() - self.centre.double()
        return (moved * self.manifold.flip(moved)).sum(dim=1), moved.square().sum(dim=1)

    def _excluded(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of a query and a row that must not meet, as two equally long lists of positions."""
        ordered, order = self.by_group
        low, high = (torch.searchsorted(ordered, groups.contiguous(), right=right) for right in (False, True))
        counts = high - low
        query = torch.arange(len(groups), device=groups.device).repeat_interleave(counts)
        nth = torch.arange(len(query), device=groups.device) - (counts.cumsum(0) - counts)[query]
        return query, order[low[query] + nth]

    def _check(self, count: int, excluded: Tensor, k: int, partial: bool) -> None:
        free = len(self) - torch.bincount(excluded, minlength=count)
        if count and free.min() < k and not partial:
            raise ValueError(
                f"the retrieval bank has {len(self)} studies and only {int(free.min())} of them may be retrieved for "
                f"some query, but {k} are wanted: add training studies or give --no-exclude_same_patient"
            )

    def _slack(self, dtype: torch.dtype) -> float:
        """Most that rounding moves a gap, over ``(|x|^2 + |y|^2) / shrink(y)``.

        A sum of n products is wrong by at most n / 2 eps times the sum of their magnitudes, here 2 (|x|^2 + |y|^2);
        16 more cover the rounding of the factors, eps of float64 that of the distances compared in the end.
        """
        width = self.embeddings.shape[1] + 16
        return width * (torch.finfo(dtype).eps + torch.finfo(torch.float64).eps)

    def _keys(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Rows ``(n, H + 2)``: ``[y, 1, |y|^2 - slack] / shrink(y)``."""
        wide = torch.promote_types(dtype, self.embeddings.dtype)
        moved = (self.embeddings[rows].to(wide) - self.centre.to(wide)).to(dtype)  # (n, H)
        shrink = self.shrink[rows]
        keys = moved.new_empty(len(moved), moved.shape[1] + 2)  # (n, H + 2)
        torch.div(moved, shrink.to(dtype).unsqueeze(1), out=keys[:, :-2])
        keys[:, -2] = 1 / shrink
        keys[:, -1] = (self.square[rows] - self._slack(dtype) * self.size[rows]) / shrink
        return keys

    def _questions(self, queries: Tensor, dtype: torch.dtype) -> Tensor:
        """Queries ``(B, H + 2)`` whose inner product with :meth:`_keys` is minus the least possible gap."""
        moved = queries.double() - self.centre.double()  # (B, H)
        square, size = self._squares(queries)
        constants = torch.stack([self._slack(dtype) * size - square, -torch.ones_like(square)], dim=1)
        return torch.cat([2 * self.manifold.flip(moved), constants], dim=1).to(dtype)

    def _shortlist(
        self, queries: Tensor, pending: Tensor, excluded: tuple[Tensor, Tensor], wanted: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Largest possible scores ``(B, wanted)`` of the queries ``pending`` ``(B,)``, best first, and their rows."""
        questions = self._questions(queries[pending], dtype).split(TILE)
        best = [tile.new_full((len(tile), wanted), -torch.inf) for tile in questions]  # (TILE, wanted) each
        rows = [torch.zeros_like(scores, dtype=torch.long) for scores in best]
        place = torch.full((len(queries),), -1, device=queries.device)  # of each query among those that are pending
        place[pending] = torch.arange(len(pending), device=queries.device)
        query, row = place[excluded[0]], excluded[1]  # the pairs that must not meet
        block = max(1, self.block * 32 // torch.finfo(dtype).bits)  # as many bytes in float64
        with torch.autocast(queries.device.type, enabled=False):
            for start in range(0, len(self), block):
                keys = self._keys(slice(start, start + block), dtype)  # (n, H + 2)
                inside = (row >= start) & (row < start + block)
                for number, tile in enumerate(questions):
                    scores = tile @ keys.T  # (TILE, n)
                    mine = inside & (query >= number * TILE) & (query < (number + 1) * TILE)
                    scores[query[mine] - number * TILE, row[mine] - start] = -torch.inf
                    top, index = _largest(scores, wanted)
                    best[number], order = torch.cat([best[number], top], dim=1).topk(wanted, dim=1)
                    rows[number] = torch.cat([rows[number], index + start], dim=1).gather(1, order)
        return torch.cat(best), torch.cat(rows)

    def _rerank(self, queries: Tensor, rows: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Order the shortlist ``rows`` ``(B, W)`` by float64 distance, then by row, and keep ``k``."""
        rows, order = rows.sort(dim=1)
        distances = torch.empty_like(rows, dtype=torch.float64)  # (B, W), in place as in __init__
        for query, candidates, out in zip(*(x.split(RERANKED) for x in (queries, rows, distances)), strict=True):
            out.copy_(self.manifold.distance(query.unsqueeze(1), self.embeddings[candidates]).squeeze(1))
        distances = distances.masked_fill(excluded.gather(1, order), torch.inf)
        distances, order = distances.sort(dim=1, stable=True)
        return rows.gather(1, order)[:, :k], distances[:, :k]

    def _compare_all(self, query: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Brute force for one ``query`` ``(H,)``: rows ``(k,)`` and distances ``(k,)``."""
        parts = self.embeddings.split(max(1, self.block // 8))
        distances = torch.cat([self.manifold.distance(query[None], part)[0] for part in parts])  # (N,)
        distances[excluded] = torch.inf
        distances, rows = distances.sort(stable=True)
        return rows[:k], distances[:k]


def _largest(scores: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """The ``wanted`` largest of ``scores`` ``(B, n)`` and their columns, unordered.

    The largest scores lie in the columns whose maximum over ``STRIDE`` columns is among the largest: comparing these
    maxima first leaves a small part of the scores to be sorted.
    """
    B, n = scores.shape
    groups = n // STRIDE
    if n % STRIDE or groups <= wanted:
        return scores.topk(min(wanted, n), dim=1)
    strided = scores.view(B, STRIDE, groups)
    chosen = strided.amax(dim=1).topk(wanted, dim=1, sorted=False).indices.unsqueeze(1).expand(-1, STRIDE, -1)
    columns = chosen + groups * torch.arange(STRIDE, device=scores.device)[:, None]  # (B, STRIDE, wanted)
    top, index = strided.gather(2, chosen).flatten(1).topk(wanted, dim=1, sorted=False)
    return top, columns.flatten(1).gather(1, index)
