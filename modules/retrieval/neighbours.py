"""Similar training studies, found before training: by equal labels, and by what an image shows.

Both searches compare every study with every training study in blocks, which the processes share. Similarities are whole
numbers, joined with the place of the row's id in their sorted list into one number per pair: ties go to the first id on
every device, whatever the order of the annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from modules.distributed import gather_list, is_main, shard
from modules.labelling.mentions import mention_targets
from modules.labels import STATES
from modules.messages import UserError

LEAST_PROBABILITY = 0.001  # entity scores and rates are kept this far from 0 and 1
_UNIT = 2**-16  # log ratios are rounded to multiples of it, in nats
_EXACT_FLOAT32 = 2**24  # whole numbers up to this are exact in float32


def label_neighbours(
    labels: np.ndarray,
    patients: Sequence[str | None] | None,
    k: int,
    block_size: int = 256,
    device: str | torch.device = "cpu",
    ids: Sequence[str] | None = None,
) -> np.ndarray:
    """The training studies that differ in the fewest labels; ties go to the first id.

    Args:
        labels: ``(N, L)`` states 0 to 3.
        patients: N patients, None where unknown, to leave out studies of the same patient; only the study itself is
            left out if absent.
        k: neighbours wanted.
        block_size: studies compared at once; memory grows with ``block_size * N``.
        device: where to compute.
        ids: N study ids; ties go to the lowest row if absent.

    Returns:
        ``(N, k)`` int32 rows, nearest first.

    Raises:
        UserError: if a study has fewer than k candidates.
    """
    # Equal labels of two studies are counted by one product of one-hot codes. The counts are small whole numbers, exact in
    # floating point, so that equal counts are really ties, which the order of the ids decides.
    N, L = labels.shape
    groups = _patient_groups(patients, N)
    one_hot = F.one_hot(torch.from_numpy(labels.astype(np.int64)).to(device), len(STATES)).flatten(1)  # (N, L * P)
    dtype = torch.float32 if (L + 1) * N < _EXACT_FLOAT32 else torch.float64
    one_hot = one_hot.to(dtype)
    order = _tie_order(ids, N)
    bank = one_hot[torch.from_numpy(order).to(one_hot.device)].T.contiguous()  # (L * P, N)
    exclusion = _Exclusion(groups, groups[order])

    def nearest(start: int, block: slice) -> np.ndarray:
        rows, allowed = _best(one_hot[block] @ bank, exclusion.of(block), k)
        if allowed.min() < k:
            row = start + int(allowed.argmin())
            raise UserError(
                f"the training study in row {row} has {int(allowed.min())} other studies to choose from but {k} are "
                "wanted: lower --neighbours, add training studies or give --no-exclude_same_patient"
            )
        return order[rows.cpu().numpy()]

    return _search(nearest, (N, k), block_size, "label neighbours")


def memory_indices(
    query_scores: np.ndarray,
    bank_mentions: np.ndarray,
    r: int,
    query_groups: np.ndarray,
    bank_groups: np.ndarray,
    block_size: int = 256,
    device: str | torch.device = "cpu",
    bank_ids: Sequence[str] | None = None,
) -> np.ndarray:
    """The training reports that the entity scores of an image explain best.

    A report says ``t_k`` of entity k with weight ``w_k``, the targets and weights that the entity scorer learns from
    (:func:`modules.labelling.mentions.mention_targets`). With ``s_k`` the score of the entity in the image and
    ``b_k`` its rate, the weighted mean of ``t_k`` over the bank, the report is worth

        sum over k of  w_k * (t_k * log(s_k / b_k) + (1 - t_k) * log((1 - s_k) / (1 - b_k))),

    the logarithm of how much likelier the image makes the report than it is without one; without ``b_k`` the most
    ordinary reports would win whatever the image. Ties go to the first id.

    Args:
        query_scores: ``(n, K)`` in [0, 1].
        bank_mentions: ``(N, K)`` mentions, see :mod:`modules.labelling.mentions`.
        r: reports wanted; where fewer may be used, these repeat in order until there are r.
        query_groups: ``(n,)`` whole numbers, -1 for none.
        bank_groups: ``(N,)`` whole numbers from 0; a report of the query's own group is never used.
        block_size: queries at once; memory grows with ``block_size * N``.
        device: where to compute.
        bank_ids: N study ids; ties go to the lowest row if absent.

    Returns:
        ``(n, r)`` int32 rows of the bank, best first.

    Raises:
        UserError: if a query may use no report.

    Departure: the published rows come from MedCLIP similarities of images and reports.
    """
    order = _tie_order(bank_ids, len(bank_mentions))
    of_reports = mention_targets(bank_mentions[order])
    targets, weights = (torch.from_numpy(part).to(device, torch.float64).T for part in of_reports)  # (K, N) each
    rate = ((weights * targets).sum(1) / weights.sum(1)).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)  # (K,)
    statements = torch.cat([weights * targets, weights * (1 - targets)])  # (2 K, N), whole halves: see _even_whole
    exclusion = _Exclusion(query_groups, np.asarray(bank_groups)[order])

    def explained(start: int, block: slice) -> np.ndarray:
        clipped = np.clip(query_scores[block].astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        scores = torch.from_numpy(clipped).to(device)  # (B, K)
        evidence = torch.cat([(scores / rate).log(), ((1 - scores) / (1 - rate)).log()], dim=1)  # (B, 2 K)
        rows, allowed = _best(_even_whole(evidence) @ statements, exclusion.of(block), r)
        if allowed.min() < 1:
            raise UserError(
                f"the study in row {start + int(allowed.argmin())} may use none of the {len(bank_mentions)} training "
                "reports: add training studies of other patients or give --no-exclude_same_patient"
            )
        repeated = torch.arange(r, device=rows.device) % allowed.clamp(max=r)[:, None]  # (B, r)
        return order[rows.gather(1, repeated).cpu().numpy()]

    return _search(explained, (len(query_scores), r), block_size, "memory")


def _search(find: Callable[[int, slice], np.ndarray], shape: tuple[int, int], block_size: int, name: str) -> np.ndarray:
    """Put the rows that ``find`` returns for every block together; each process finds its share of the blocks."""
    found = []
    starts = shard(list(range(0, shape[0], block_size)))
    for start in tqdm(starts, desc=name, unit="block", leave=False, disable=not is_main() or len(starts) < 2):
        found.append((start, find(start, slice(start, min(start + block_size, shape[0])))))
    rows = np.empty(shape, dtype=np.int32)
    for start, block in gather_list(found):
        rows[start : start + len(block)] = block
    return rows


def _tie_order(ids: Sequence[str] | None, size: int) -> np.ndarray:
    """Rows ``(N,)`` in the order in which ties are decided."""
    return np.arange(size) if ids is None else np.array(sorted(range(size), key=ids.__getitem__), dtype=np.int64)


class _Exclusion:
    """Which rows of the bank a query must not find: those of its own group."""

    def __init__(self, query_groups: np.ndarray, bank_groups: np.ndarray) -> None:
        self.order = np.argsort(bank_groups, kind="stable")
        grouped = np.asarray(bank_groups)[self.order]
        self.starts = np.searchsorted(grouped, query_groups, side="left")
        self.counts = np.searchsorted(grouped, query_groups, side="right") - self.starts

    def of(self, block: slice) -> tuple[Tensor, Tensor]:
        """Positions of forbidden pairs: query within the block, and row."""
        starts, counts = self.starts[block], self.counts[block]
        query = np.repeat(np.arange(len(counts)), counts)
        nth = np.arange(len(query)) - np.repeat(counts.cumsum() - counts, counts)  # counts from 0 within each query
        return torch.from_numpy(query), torch.from_numpy(self.order[np.repeat(starts, counts) + nth])


def _best(similarity: Tensor, excluded: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Rows ``(B, min(k, N))`` of the largest whole ``similarity`` ``(B, N)``, and how many are allowed ``(B,)``.

    ``similarity`` is overwritten: a second array of its size would cost more time than the search.
    """
    # Number and tie-break in one key: similarity * N - row. A row is below N, so it only orders equal similarities, and one
    # topk finds what sorting by two keys would.
    B, N = similarity.shape
    key = similarity.mul_(N).sub_(torch.arange(N, device=similarity.device, dtype=similarity.dtype))  # (B, N)
    query, row = (positions.to(key.device) for positions in excluded)
    key[query, row] = -torch.inf
    return key.topk(min(k, N), dim=1).indices, N - torch.bincount(query, minlength=B)


def _patient_groups(patients: Sequence[str | None] | None, size: int) -> np.ndarray:
    """A number for each study; studies of equal numbers must not meet. A study without a patient has one of its own."""
    numbers: dict[object, int] = {}
    names = range(size) if patients is None else [i if name is None else name for i, name in enumerate(patients)]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _even_whole(nats: Tensor) -> Tensor:
    """Log ratios, in multiples of half a ``_UNIT``, as even whole numbers: halves of them, and any sum, are exact."""
    return (nats / _UNIT).round() * 2
