"""Do reports that stand in the rows of their references speak of the same studies? Where ids are row numbers, only the texts say so."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

from modules.corpus.cells import is_empty

WINDOW = 250  # rows that are compared with each other: rows may have moved in a part of a file
LEVEL = 0.01  # largest share of other orders that may fit as well
ORDERS = 1000  # orders drawn at random; where there are fewer, all are tried
_FEW = 3  # so few rows have too few orders to say anything


def speaks_for_order(reports: Sequence[str], references: Sequence[str]) -> bool:
    """Whether reports are nearer to the references in their own rows than to those in others, in every part of the files.

    A permutation test: in each window of rows hardly any other order may have as high a mean likeness. Two or three rows
    have too few orders to say anything and are let pass.

    Args:
        reports: by row, ``""`` where there is none.
        references: of the same rows.
    """
    first: dict[tuple[str, str], int] = {}  # the images of one study are no evidence against each other
    for i, pair in enumerate(zip(reports, references, strict=True)):
        if not any(map(is_empty, pair)):
            first.setdefault(pair, i)
    rows = list(first.values())
    windows = np.array_split(np.array(rows, dtype=int), max(len(rows) // WINDOW, 1))
    return all(_fit([reports[i] for i in window], [references[i] for i in window]) for window in windows)


def no_nearer(name: str, reports: Sequence[str], references: Sequence[str]) -> str:
    """That the reports of ``name`` fit other studies as well as their own; empty if they do not."""
    if speaks_for_order(reports, references):
        return ""
    return f"the reports of {name} are no nearer to their own references than to those of other studies"


def _fit(reports: Sequence[str], references: Sequence[str]) -> bool:
    """The permutation test of one window of rows."""
    n = len(reports)
    if n <= _FEW:
        return True
    alike = _likeness(reports, references)  # (n, n)
    if math.factorial(n) <= ORDERS:
        orders = np.array(list(itertools.permutations(range(n))))  # (orders, n)
    else:
        rng = np.random.default_rng(0)
        orders = np.array([rng.permutation(n) for _ in range(ORDERS)])
    as_good = (alike[np.arange(n), orders].mean(axis=1) > alike.diagonal().mean() - 1e-6).mean()
    return bool(as_good <= max(LEVEL, 1 / len(orders)))


def _likeness(reports: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Cosine ``(n, n)`` of every report with every reference by the words that they hold, rare ones counting more."""
    bags = [set(re.findall(r"\w+", text.casefold())) for text in (*reports, *references)]
    column_of = {word: i for i, word in enumerate(sorted(set().union(*bags)))}
    weights = np.zeros((len(bags), len(column_of)), dtype=np.float32)  # of the words of each text
    for row, bag in zip(weights, bags, strict=True):
        row[[column_of[word] for word in bag]] = 1
    weights *= np.log(len(bags) / np.maximum(weights.sum(axis=0), 1)) + 1e-6
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-9)
    cosines: np.ndarray = weights[: len(reports)] @ weights[len(reports) :].T
    return cosines
