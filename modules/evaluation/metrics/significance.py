"""How far figures would move on other studies, and whether two systems differ.

Studies are resampled, not figures: an interval answers "what if other patients had been tested", not "what if the
network had been trained again", for which several trainings are needed. What is resampled is

    BLEU       n-gram matches, n-gram counts and lengths of every study; pooled again in every resample
    METEOR     match, chunk and length statistics of every study; pooled again in every resample
    ROUGE_L    the value of every study
    CIDEr      the value of every study; document frequencies stay those of the whole reference set
    ce_*       true positives, predictions and positives per condition; example-based values per study

so that 1,000 resamples cost one product of a (1,000, n) with an (n, F) matrix.

Source: percentile bootstrap (Efron 1979; Koehn 2004 for BLEU); approximate randomisation (Noreen 1989); Holm 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.evaluation.metrics.sufficient_sums import StudySums
from modules.messages import UserError

RESAMPLES = 1000
RANDOMISATIONS = 10_000
LEVEL = 0.95
_BLOCK = 1 << 22  # weights held at once


class Difference(NamedTuple):
    """A figure of one system minus that of another: value, 95 % interval, p, and p after Holm's correction."""

    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def _resampled(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums ``(resamples, F)`` over n studies drawn with replacement from the n rows of ``values``."""
    n = len(values)
    step = max(1, _BLOCK // n)
    blocks = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)  # how often each study was drawn
        blocks.append(weights.astype(np.float64) @ values)
    return np.concatenate(blocks)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(
    sums: StudySums, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """Bootstrap percentile interval of every figure.

    Args:
        sums: of the n scored studies.
        resamples: sets of n studies drawn with replacement, at least 1.
        seed: of the draws.
        level: share of the resamples that the interval covers.

    Returns:
        Low and high end by figure; none of one study, which says nothing of others.
    """
    if len(sums.values) < 2:
        return {}
    figures = sums.figures(_resampled(sums.values, resamples, np.random.default_rng(seed)))
    return {name: _interval(values, level) for name, values in figures.items()}


def compare(
    system: StudySums,
    baseline: StudySums,
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    randomisations: int = RANDOMISATIONS,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compare two systems on the same studies, in the same order.

    The interval of the difference is a paired bootstrap: both systems are scored on the same resampled studies. ``p``
    is a two-sided approximate randomisation test: if the systems did not differ, swapping their reports of any studies
    would not matter. It is the share of random swaps whose difference is at least as large as the one found, that one
    counted, so it is never 0, and 1 for a system against itself. ``p_holm`` here counts ``names`` as one family; use
    :func:`with_holm` for several comparisons.

    Args:
        system: sums of the system.
        baseline: sums of the other system, with the same columns and figures.
        names: figures to compare.
        resamples: of the bootstrap.
        randomisations: random swaps.
        seed: of both.

    Returns:
        By figure.

    Raises:
        UserError: if the systems were scored on different numbers of studies.
    """
    ours, theirs = system.values, baseline.values
    if ours.shape != theirs.shape:
        raise UserError(
            f"the systems have {ours.shape[0]} and {theirs.shape[0]} studies and {ours.shape[1]} and {theirs.shape[1]} "
            "statistics; expected the same of both: score them against the same references, with the same flags"
        )
    F = ours.shape[1]
    both = _resampled(np.concatenate([ours, theirs], axis=1), resamples, np.random.default_rng(seed))
    first, second = system.figures(both[:, :F]), baseline.figures(both[:, F:])
    observed = _differences(system, ours.sum(axis=0)[None], theirs.sum(axis=0)[None], names)
    p = _randomisation_p(system, baseline, observed, randomisations, np.random.default_rng([seed, 1]))
    found = {
        name: Difference(
            float(observed[name][0]),
            *_interval(first[name] - second[name], LEVEL),
            p[name],
            1.0,
        )
        for name in names
    }
    return with_holm([found])[0]


def _randomisation_p(
    system: StudySums,
    baseline: StudySums,
    observed: dict[str, np.ndarray],
    randomisations: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Share of random swaps that differ as much as ``observed``, by figure."""
    ours, theirs, n = system.values.sum(axis=0), baseline.values.sum(axis=0), len(system.values)
    change = baseline.values - system.values
    at_least = dict.fromkeys(observed, 1)  # the swap of nothing is one of them
    step = max(1, _BLOCK // n)
    for start in range(0, randomisations, step):
        rows = min(step, randomisations - start)
        swaps = rng.integers(2, size=(rows, n), dtype=np.int8).astype(np.float64)
        moved = swaps @ change  # (rows, F)
        swapped = _differences(system, ours + moved, theirs - moved, tuple(observed))
        for name, difference in observed.items():
            # Sums are added in another order than those observed: equal differences may differ in the last digits.
            at_least[name] += int((np.abs(swapped[name]) >= abs(difference[0]) - 1e-10).sum())
    return {name: count / (randomisations + 1) for name, count in at_least.items()}


def _differences(sums: StudySums, ours: np.ndarray, theirs: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    first, second = sums.figures(ours), sums.figures(theirs)
    return {name: first[name] - second[name] for name in names}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p values as they stand among all of ``p_values``, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def with_holm(comparisons: Sequence[dict[str, Difference]]) -> list[dict[str, Difference]]:
    """The same comparisons with ``p_holm`` over all figures of all of them as one family."""
    keys = [(i, name) for i, comparison in enumerate(comparisons) for name in comparison]
    adjusted = dict(zip(keys, holm([comparisons[i][name].p for i, name in keys]), strict=True))
    return [
        {name: difference._replace(p_holm=adjusted[i, name]) for name, difference in comparison.items()}
        for i, comparison in enumerate(comparisons)
    ]
