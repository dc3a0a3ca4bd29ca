"""How reports are searched for: what of a study is compared with what of the bank, and the search itself.

``--retrieval``, the references of training studies, the rows of the retrieval table and the baselines all search here, so
that "cosine" and "random" mean the same in all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.hyperbolic_encoder import LearnableRetrievalEnhancer
from models.manifolds import Euclidean, Manifold
from models.retrieval import RetrievalBank
from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.labels import POSITIVE, STATES
from modules.messages import UserError
from modules.retrieval.likelihood import label_points, state_points
from modules.retrieval.sharding import TOO_FEW, search_shards, shard_rows

BLOCK = 1024  # studies embedded at once: few enough to stay in the cache
QUERIES = 4096  # studies that are searched for at once; every time the whole bank is read

Enhancer = LearnableRetrievalEnhancer | RetrievalTowers


def is_fitted(enhancer: Enhancer) -> bool:
    """Whether there is anything learned to retrieve by: towers of an interrupted training may still be random."""
    return not isinstance(enhancer, RetrievalTowers) or enhancer.fitted


def require_fitted(model: Revtaf, path: str | Path) -> None:
    """Refuse a model whose references would be found by retrieval towers that no fit has begun: at random.

    Raises:
        UserError: naming the file.
    """
    if model.config.retrieval == "learned" and not is_fitted(model.retrieval_enhancer):
        raise UserError(
            f"{path} is of a training that was interrupted before its retrieval towers were fitted, so it would find references "
            "at random: continue that training with --resume"
        )


@dataclass
class Queries:
    """The studies that reports are searched for, and what is known of them without their own reports."""

    studies: Sequence[Study]
    region_scores: np.ndarray  # (n, K)
    state_logits: Tensor | None = None  # (n, P, L), where the model has looked at the images
    tower_inputs: Tensor | None = None  # (n, F), the same, if the model has towers
    labels: np.ndarray | None = None  # (n, L), for an oracle alone: they are known from the studies' own reports

    def __len__(self) -> int:
        return len(self.studies)

    def part(self, positions: np.ndarray) -> Queries:
        """The studies at ``positions`` ``(k,)``."""
        parts = self.state_logits, self.tower_inputs, self.labels
        known: tuple[Any, ...] = tuple(None if part is None else part[positions] for part in parts)
        return Queries([self.studies[position] for position in positions], self.region_scores[positions], *known)


@dataclass
class Space:
    """Points that are compared: the nearest row answers a query."""

    manifold: Manifold
    rows: Tensor  # (N, H), or this process's share of them
    queries: Tensor  # (n, H)


@torch.no_grad()
def embed(network: nn.Module, inputs: np.ndarray | Tensor | _KeyInputs, device: torch.device) -> Tensor:
    """Points ``(n, H)`` of studies with inputs ``(n, F)``: entity scores, or what one of two towers sees."""
    network.eval()
    points = torch.empty(0, device=device)
    for start in range(0, max(len(inputs), 1), BLOCK):  # of no studies too: a process may have none of a small bank
        part = np.asarray(inputs[start : start + BLOCK], dtype=np.float32)
        block = network(torch.from_numpy(part).to(device))  # (BLOCK, H)
        if not start:  # filled in place: a list of blocks would hold the bank twice
            points = block.new_empty(len(inputs), block.shape[1])
        points[start : start + len(block)] = block
    return points


def embed_bank(enhancer: Enhancer, bank: TrainingBank, rows: slice | np.ndarray, device: torch.device) -> Tensor:
    """Points ``(n, H)`` of ``rows`` of the bank: of what their reports say if there are towers, else of their images."""
    if not isinstance(enhancer, RetrievalTowers):
        return embed(enhancer, bank.region_scores[rows], device)
    return embed(enhancer.key, _KeyInputs(enhancer, bank, np.arange(len(bank))[rows]), device)


class _KeyInputs:
    """What the key tower sees of ``rows``, made block by block: of MIMIC-CXR all of it at once would be gigabytes."""

    def __init__(self, towers: RetrievalTowers, bank: TrainingBank, rows: np.ndarray) -> None:
        self.towers, self.bank, self.rows = towers, bank, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Tensor:
        return what_reports_say(self.towers, self.bank, self.rows[part])


def what_reports_say(towers: RetrievalTowers, bank: TrainingBank, rows: slice | np.ndarray) -> Tensor:
    """What the key tower sees ``(n, G)`` of ``rows`` of the bank."""
    features = np.asarray(bank.store["report_features"][rows], dtype=np.float32)
    return towers.key_inputs(*map(torch.from_numpy, (bank.labels[rows], features, bank.ends(rows))))


def find_space(how: str, enhancer: Enhancer, bank: TrainingBank, queries: Queries, rows: slice) -> Space:
    """The space that ``--retrieval learned``, ``cosine``, ``states`` or ``label`` searches.

    Args:
        how: ``"learned"`` (geodesic distance of the embeddings), ``"cosine"`` (of the raw entity scores), ``"states"``
            (likelihood of the bank's labels under the predicted states) or ``"label"`` (conditions in another state).
        enhancer: the embedding network, on its device.
        bank: the training reports.
        queries: n studies.
        rows: of the bank to put there.
    """
    device = next(enhancer.parameters()).device
    if how == "learned":
        inputs = queries.region_scores if queries.tower_inputs is None else queries.tower_inputs.numpy()
        return Space(enhancer.manifold, embed_bank(enhancer, bank, rows, device), embed(enhancer, inputs, device))
    if how == "label":
        assert queries.labels is not None, "an oracle has labels: modules.retrieval.references.set_references"
        labels = (torch.from_numpy(part.astype(np.int64)).to(device) for part in (bank.labels[rows], queries.labels))
        return Space(Euclidean(1.0), *(F.one_hot(part, len(STATES)).flatten(1).float() for part in labels))
    both = (bank.region_scores[rows], queries.region_scores)
    bank_scores, scores = (torch.from_numpy(np.asarray(part, dtype=np.float32)).to(device) for part in both)
    if how == "cosine":
        return Space(Euclidean(1.0), F.normalize(bank_scores, dim=-1), F.normalize(scores, dim=-1))
    assert how == "states", how
    assert queries.state_logits is not None, "look at the images first: modules.retrieval.observation.ask"
    bank_points = label_points(torch.from_numpy(bank.labels[rows]).to(device), bank_scores)
    rate = torch.from_numpy((bank.labels == POSITIVE).mean(axis=0)).to(device)  # (L,)
    return Space(Euclidean(1.0), bank_points, state_points(queries.state_logits.to(device), rate, scores))


def random_turns(size: int, studies: Sequence[Study], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The random ranking: every study goes round one shuffled bank from a place of its own.

    It costs a number per study, and depends on the seed, the size of the bank and the id of the study alone.

    Returns:
        The shuffled rows ``(size,)``, and where in them each study begins ``(n,)``.
    """
    order = np.random.default_rng(seed).permutation(size)
    starts = [np.random.default_rng([seed, zlib.crc32(study.id.encode())]).integers(size) for study in studies]
    return order, np.array(starts, dtype=np.int64)


def random_rows(
    bank_groups: np.ndarray, query_groups: np.ndarray, studies: Sequence[Study], seed: int, k: int = 1
) -> np.ndarray:
    """The first ``k`` rows ``(n, k)`` of other groups in the random ranking of every study.

    Raises:
        UserError: if a study has fewer.
    """
    N = len(bank_groups)
    order, starts = random_turns(N, studies, seed)
    width = min(N, k + int(np.bincount(bank_groups).max()))  # as many as may have to be passed over
    turn = order[(starts[:, None] + np.arange(width)) % N]  # (n, width)
    own = bank_groups[turn] == query_groups[:, None]  # (n, width)
    if (width - own.sum(axis=1)).min() < k:
        raise UserError(TOO_FEW.format(k))
    first = np.argsort(own, axis=1, kind="stable")[:, :k]  # (n, k)
    return np.take_along_axis(turn, first, axis=1)


def retrieve(
    how: str,
    enhancer: Enhancer,
    bank: TrainingBank,
    queries: Queries,
    *,
    exclude_same_patient: bool,
    seed: int,
    k: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the reference reports of every study; a study of the bank never finds itself.

    Args:
        how: a choice of ``--retrieval``: see :func:`find_space`, :func:`random_turns`; ``"none"`` finds nothing.
        enhancer: the embedding network, on its device.
        bank: the training reports; put into the space here, once. Of several processes each searches its share.
        queries: n studies.
        exclude_same_patient: keep out the reports of the same patient too.
        seed: of the random ranking.
        k: references of a study.

    Returns:
        Bank rows ``(n, k)``, nearest first, -1 for none, and distances ``(n, k)``, NaN where there is no distance.
    """
    distances = np.full((len(queries), k), np.nan)
    if how == "none" or not len(queries):
        return np.full((len(queries), k), -1), distances
    bank_groups, query_groups = bank.groups(queries.studies, exclude_same_patient)
    if how == "random":
        return random_rows(bank_groups, query_groups, queries.studies, seed, k), distances
    mine = shard_rows(len(bank))
    space = find_space(how, enhancer, bank, queries, mine)
    groups = torch.from_numpy(bank_groups[mine]).to(space.rows.device)
    return search(RetrievalBank(space.manifold, space.rows, groups), space.queries, query_groups, mine.start, k)


def search(
    bank: RetrievalBank, queries: Tensor, query_groups: np.ndarray, first_row: int | None = None, k: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest rows and distances ``(n, k)`` of ``queries`` ``(n, H)``.

    Args:
        bank: the whole bank; or, with ``first_row``, the rows of this process from there on, and then every process must
            call this function with the same queries.
        queries: points.
        query_groups: ``(n,)`` group of each query, -1 for none.
        first_row: row of the whole bank that comes first in a shard.
        k: neighbours wanted.
    """
    groups = torch.from_numpy(query_groups).to(queries.device)
    answers = []
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        if first_row is None:
            answers.append(bank.search(queries[part], groups[part], k))
        else:
            answers.append(search_shards(bank, first_row, queries[part], groups[part], k))
    rows, distances = (torch.cat(parts).cpu().numpy() for parts in zip(*answers, strict=True))
    return rows, distances
