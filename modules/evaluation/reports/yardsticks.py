"""What a figure must be held against: reports that look at no image, the best published row, and the most it can reach.

The reference itself reaches less than 1 in ROUGE-L and in example-based figures of the published chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from modules.evaluation.reports.published_rows import best_published

FREQUENT, OTHER, ITSELF = "most frequent report", "another patient's report", "the reference itself"


def yardsticks(references: Sequence[str], training: Sequence[str] | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Reports without an image, by name; none for a single study, which has no other patient.

    Args:
        references: n of them, as the systems' reports are scored.
        training: training reports; the most frequent report is theirs, else that of the references.
        seed: of who gets whose report.
    """
    if len(references) < 2:
        return {}
    order = np.random.default_rng(seed).permutation(len(references))
    others = {int(order[i]): references[order[i - 1]] for i in range(len(order))}  # one cycle: nobody keeps his own
    frequent = Counter(training or references).most_common(1)[0][0]
    another = [others[i] for i in range(len(references))]
    return {FREQUENT: [frequent] * len(references), OTHER: another, ITSELF: list(references)}


def good_values(
    columns: Mapping[str, str], yardstick_scores: Mapping[str, Mapping[str, float | None]], dataset: str | None
) -> dict[str, dict[str, float | str]]:
    """What is good, by figure: direction, the scores of the yardsticks, and the best published row of the same convention.

    Args:
        columns: figures that are shown.
        yardstick_scores: scores by name of :func:`yardsticks`.
        dataset: whose published rows to look at.
    """
    best = best_published(dataset)
    found: dict[str, dict[str, float | str]] = {}
    for figure in columns:
        known = {name: scores[figure] for name, scores in yardstick_scores.items() if scores.get(figure) is not None}
        published = {"best published": best[figure][0], "published by": best[figure][1]} if figure in best else {}
        found[figure] = {"direction": "higher is better", **known, **published}  # type: ignore[dict-item]
    return found


def good_lines(columns: Mapping[str, str], found: Mapping[str, Mapping[str, float | str]]) -> list[str]:
    """The same as text, one line a figure."""
    lines, named = [], {name for values in found.values() for name in values if name in (FREQUENT, OTHER, ITSELF)}
    for figure, title in columns.items():
        values = found[figure]
        said = [f"{name} {value:.3f}" for name, value in values.items() if isinstance(value, float)]
        if named and not named & values.keys():
            said.insert(0, "not computed for these yardsticks")
        by = f" ({values['published by']})" if "published by" in values else ""
        lines.append(f"  {title:18s} {'; '.join([str(values['direction']), *said])}{by}")
    return lines
