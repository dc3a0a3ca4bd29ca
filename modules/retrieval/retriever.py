"""Which training report a study is given as its reference."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.hyperbolic_encoder import LearnableRetrievalEnhancer
from models.manifolds import Euclidean, Manifold
from models.retrieval import RetrievalBank
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.retrieval.sharding import search_shards, shard_rows

BLOCK = 1024  # studies embedded at once: few enough to stay in the cache
QUERIES = 4096  # studies searched at once, each time reading the whole bank


@torch.no_grad()
def embed(enhancer: LearnableRetrievalEnhancer, region_scores: np.ndarray, device: torch.device) -> Tensor:
    """Points ``(n, H)`` of studies with entity scores ``(n, K)``."""
    enhancer.eval()
    points = None
    for start in range(0, len(region_scores), BLOCK):
        scores = np.asarray(region_scores[start : start + BLOCK], dtype=np.float32)
        block = enhancer(torch.from_numpy(scores).to(device))  # (BLOCK, H)
        if points is None:  # filled in place: a list of blocks would hold the bank twice
            points = block.new_empty(len(region_scores), block.shape[1])
        points[start : start + len(block)] = block
    return points


def retrieve(
    how: str,
    enhancer: LearnableRetrievalEnhancer,
    bank: TrainingBank,
    studies: Sequence[Study],
    region_scores: np.ndarray,
    *,
    exclude_same_patient: bool,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the reference report of every study; a study of the bank never finds itself.

    Args:
        how: ``"learned"`` (geodesic distance of the embeddings), ``"cosine"`` (of the raw entity scores), ``"random"``
            (depends on the seed and the id of the study alone) or ``"none"``.
        enhancer: the embedding network, on its device.
        bank: the training reports; embedded here, once. Of several processes each embeds and searches its share.
        studies: the queries.
        region_scores: ``(n, K)`` entity scores of the queries.
        exclude_same_patient: keep out the reports of the same patient too.
        seed: of the random choice.

    Returns:
        Bank rows ``(n,)``, -1 for none, and distances ``(n,)``, NaN where there is no distance.
    """
    rows = np.full(len(studies), -1)
    distances = np.full(len(studies), np.nan)
    if how == "none" or not len(studies):
        return rows, distances
    bank_groups, query_groups = bank.groups(studies, exclude_same_patient)
    if how == "random":
        for i, study in enumerate(studies):
            allowed = np.flatnonzero(bank_groups != query_groups[i])
            rng = np.random.default_rng([seed, zlib.crc32(study.id.encode())])
            rows[i] = allowed[rng.integers(len(allowed))]
        return rows, distances
    device = enhancer.layers[0].weight.device
    mine = shard_rows(len(bank))
    if how == "learned":
        manifold: Manifold = enhancer.manifold
        points, queries = (embed(enhancer, scores, device) for scores in (bank.region_scores[mine], region_scores))
    else:
        manifold = Euclidean(1.0)
        points, queries = (
            F.normalize(torch.from_numpy(np.asarray(scores, dtype=np.float32)).to(device), dim=-1)
            for scores in (bank.region_scores[mine], region_scores)
        )
    shard = RetrievalBank(manifold, points, torch.from_numpy(bank_groups[mine]).to(device))
    return search(shard, queries, query_groups, mine.start)


def search(
    bank: RetrievalBank, queries: Tensor, query_groups: np.ndarray, first_row: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest row and distance ``(n,)`` of ``queries`` ``(n, H)``.

    Args:
        bank: the whole bank; or, with ``first_row``, the rows of this process from there on, and then every process must
            call this function with the same queries.
        queries: points.
        query_groups: ``(n,)`` group of each query, -1 for none.
        first_row: row of the whole bank that comes first in a shard.
    """
    groups = torch.from_numpy(query_groups).to(queries.device)
    found = []
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        if first_row is None:
            found.append(bank.search(queries[part], groups[part]))
        else:
            found.append(search_shards(bank, first_row, queries[part], groups[part]))
    rows = torch.cat([rows[:, 0] for rows, _ in found]).cpu().numpy()
    distances = torch.cat([distances[:, 0] for _, distances in found]).cpu().numpy()
    return rows, distances
