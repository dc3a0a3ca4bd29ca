"""The training reports whose words are most like a study's own: what perfect retrieval would give.

Only a study whose report is known can have them: training studies, and measurements that are marked as an oracle's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.corpus.bank import TrainingBank
from modules.messages import UserError
from modules.retrieval.sharding import TOO_FEW

# How scikit-learn's HashingVectorizer counts the runs of one to four words of a report, as columns of one sparse row.
NGRAMS = {"ngram_range": (1, 4), "token_pattern": r"\S+", "n_features": 2**20, "alternate_sign": False}
BLOCK = 256  # reports compared at once


def most_alike(
    reports: Sequence[str],
    bank: TrainingBank,
    groups: tuple[np.ndarray, np.ndarray],
    k: int = 1,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """Bank rows with the largest cosine of 1- to 4-gram counts with known reports.

    Args:
        reports: n reports, cleaned as those of the bank.
        bank: the training reports.
        groups: of the bank's rows ``(N,)`` and of the reports ``(n,)``, as :meth:`TrainingBank.groups` gives them; a report is
            never given one of its own group.
        k: rows wanted.
        among: rows of the bank to choose from; all if absent.

    Returns:
        ``(n, k)``, the most alike first, ties by row.

    Raises:
        UserError: if a report has fewer than k of other groups.
    """
    from sklearn.feature_extraction.text import HashingVectorizer  # on demand: it takes seconds to import

    count = HashingVectorizer(**NGRAMS, dtype=np.float32).transform
    among = np.arange(len(bank)) if among is None else np.sort(among)
    words = count([bank.reports[row] for row in among]).T.tocsc()  # (n-grams, N)
    nearest = []
    for start in range(0, len(reports), BLOCK):
        part = slice(start, start + BLOCK)
        alike = (count(list(reports[part])) @ words).toarray()  # (B, N)
        own = groups[1][part, None] == groups[0][among]  # (B, N)
        if (len(among) - own.sum(axis=1)).min() < k:
            raise UserError(TOO_FEW.format(k))
        alike[own] = -np.inf
        nearest.append(among[np.argsort(-alike, axis=1, kind="stable")[:, :k]])
    return np.concatenate(nearest)
