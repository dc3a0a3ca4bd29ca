"""Which sentences of a report another report confirms, contradicts or does not have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.labelling.labelers import Labeler
from modules.labels import BLANK, NEGATIVE

# Of several findings in a sentence the one that stands later here marks it.
VERDICTS = ("none", "unmatched", "agree", "only", "conflict")
_NONE, _UNMATCHED, _AGREE, _ONLY, _CONFLICT = range(len(VERDICTS))
_AFTER_STOP = re.compile(r"(?<=[.!?])\s+")


class MarkedSentence(NamedTuple):
    """A sentence, its mark (a position in ``VERDICTS``) and its findings as (column, state, verdict)."""

    text: str
    mark: int
    findings: list[tuple[int, int, int]]


def sentences_with_stops(report: str) -> list[str]:
    """Sentences of a raw or cleaned report with their stops; joined by spaces they give the report again."""
    return [piece for piece in _AFTER_STOP.split(report.strip()) if piece]


def verdict(state: int, other: int) -> int:
    """What a state of the other report says about a state (not blank) of this one.

    The same state agrees, another one is a conflict. Where the other report is silent, a finding is here only, and a
    denial is merely unmatched: leaving out what is absent is no disagreement.
    """
    if other == state:
        return _AGREE
    if other != BLANK:
        return _CONFLICT
    return _UNMATCHED if state == NEGATIVE else _ONLY


def mark_sentences(reports: Sequence[str], others: np.ndarray, labeler: Labeler) -> list[list[MarkedSentence]]:
    """Compare every sentence with the labels of another report on the same study.

    "No finding" is a property of a whole report, so that no sentence is marked for it.

    Args:
        reports: n reports.
        others: ``(n, L)`` states of the other reports, in the labeler's columns.
        labeler: labels every distinct sentence once.
    """
    split = [sentences_with_stops(report) for report in reports]
    distinct = sorted({sentence for sentences in split for sentence in sentences})
    if not distinct:
        return [[] for _ in reports]
    columns = [column for column, name in enumerate(labeler.conditions) if name != "no finding"]
    states = dict(zip(distinct, np.asarray(labeler(distinct)).tolist(), strict=True))
    return [
        [_marked(sentence, states[sentence], other, columns) for sentence in sentences]
        for sentences, other in zip(split, np.asarray(others).tolist(), strict=True)
    ]


def _marked(sentence: str, states: list[int], other: list[int], columns: list[int]) -> MarkedSentence:
    findings = [(c, states[c], verdict(states[c], other[c])) for c in columns if states[c] != BLANK]
    return MarkedSentence(sentence, max((found[2] for found in findings), default=_NONE), findings)
