"""Numbers of single studies whose sums over a set of studies give the figures of that set.

Every figure of this project, corpus BLEU as much as a mean, is a function of such sums. What it would be on other
studies drawn from the same population then costs one matrix product instead of scoring the texts again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StudySums:
    """What is summed, and what the sums mean.

    Args:
        values: ``(n, F)`` one row per study.
        figures: takes sums over sets of studies ``(R, F)`` and gives ``(R,)`` values by the name of the figure.
    """

    values: np.ndarray
    figures: Callable[[np.ndarray], dict[str, np.ndarray]]

    def scores(self) -> dict[str, float]:
        """The figures of all studies."""
        return {name: float(value[0]) for name, value in self.figures(self.values.sum(axis=0, keepdims=True)).items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole`` element by element, 0 where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def means(values: Mapping[str, np.ndarray]) -> StudySums:
    """Figures that are plain means of per-study values ``(n,)``."""
    names = tuple(values)
    columns = np.column_stack([np.ones(len(next(iter(values.values())))), *values.values()])  # (n, 1 + F)

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {name: ratio(sums[:, 1 + i], sums[:, 0]) for i, name in enumerate(names)}

    return StudySums(columns, figures)


def joined(parts: Sequence[StudySums]) -> StudySums:
    """Several kinds of sums over the same studies as one; later figures of one name replace earlier ones."""
    stops = np.cumsum([part.values.shape[1] for part in parts])

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        pieces = np.split(sums, stops[:-1], axis=1)
        return {
            name: value
            for part, piece in zip(parts, pieces, strict=True)
            for name, value in part.figures(piece).items()
        }

    return StudySums(np.concatenate([part.values for part in parts], axis=1), figures)


def renamed(part: StudySums, suffix: str) -> StudySums:
    """The same sums, with ``suffix`` after the name of every figure."""
    return StudySums(part.values, lambda sums: {f"{name}{suffix}": value for name, value in part.figures(sums).items()})
