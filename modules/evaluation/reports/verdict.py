"""What a test says of a model in words: what it is better than, and how many reports are copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.evaluation.metrics.significance import holm

JUDGED = {"BLEU_4": "BLEU-4", "ce_f1_example": "F1"}  # figures that a model is held against baselines by
LEVEL = 0.05


def baseline_line(comparison: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Which baselines a model is better than; empty without any.

    Args:
        comparison: of ``metrics.json``: by ``"<model> minus <baseline>"`` and figure. The p values of ``JUDGED`` are
            corrected among themselves, since nothing else is said here.
    """
    found = [
        (title, key.split(" minus ", 1)[1], result[figure])
        for key, result in comparison.items()
        for figure, title in JUDGED.items()
        if figure in result
    ]
    said: dict[str, dict[str, list[str]]] = {"better than": {}, "no better than": {}, "worse than": {}}
    for (title, baseline, row), p in zip(found, holm([row["p"] for _, _, row in found]), strict=True):
        side = "no better than" if p >= LEVEL else "better than" if row["difference"] > 0 else "worse than"
        said[side].setdefault(baseline, []).append(title)
    parts = []
    for side, of in said.items():
        names = [f"{baseline} in {' and '.join(titles)}" for baseline, titles in of.items()]
        parts += [f"{side}: {', '.join(names)}"] if names else []
    rule = f"better or worse is p below {LEVEL:g}, paired, after Holm's correction over these {len(found)}"
    return f"{'; '.join(parts)} ({rule})" if parts else ""


def copies_line(diversity: Mapping[str, Any]) -> str:
    """How many reports are another's or a training report's, from ``diversity`` of ``metrics.json``."""
    whole, reports = diversity["whole_reports_from_training"], diversity["reports"]
    copied = "" if whole is None else f", {whole} are training reports word for word"
    return f"{diversity['distinct_reports']} of {reports} reports are distinct{copied}"
