"""Which sentences of a report another report confirms, contradicts or does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from modules.labelling.labelers import Labeler
from modules.labelling.particulars import PARTICULARS, difference, particulars, report_particulars, sentences_with_stops
from modules.labels import BLANK, NEGATIVE

Particulars = Mapping[int, Mapping[str, set[str]]]

# One of PARTICULARS: both reports name the finding, and give it another side, grade or device.
VERDICTS = ("none", "unmatched", "agree", "only", "conflict", *PARTICULARS)
_NONE, _UNMATCHED, _AGREE, _ONLY, _CONFLICT = range(5)
_GRAVITY = (0, 1, 2, 6, 7, 5, 4, 3)  # of several findings in a sentence the gravest marks it


class MarkedSentence(NamedTuple):
    """A sentence, its mark (a position in ``VERDICTS``) and its findings as (column, state, verdict)."""

    text: str
    mark: int
    findings: list[tuple[int, int, int]]


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


def mark_sentences(
    reports: Sequence[str], others: np.ndarray, labeler: Labeler, other_reports: Sequence[str]
) -> list[list[MarkedSentence]]:
    """Compare every sentence with the labels of another report on the same study.

    "No finding" is a property of a whole report, so that no sentence is marked for it.

    Args:
        reports: n reports.
        others: ``(n, L)`` states of the other reports, in the labeler's columns.
        labeler: labels every distinct sentence once.
        other_reports: n texts of the other reports; a finding that both assert is also compared by side, grade and device.
    """
    split = [sentences_with_stops(report) for report in reports]
    distinct = sorted({sentence for sentences in split for sentence in sentences})
    if not distinct:
        return [[] for _ in reports]
    columns = [column for column, name in enumerate(labeler.conditions) if name != "no finding"]
    states = dict(zip(distinct, np.asarray(labeler(distinct)).tolist(), strict=True))
    marked = []
    for sentences, other, other_report in zip(split, np.asarray(others).tolist(), other_reports, strict=True):
        whole = report_particulars(other_report, labeler)
        own = [particulars(text, labeler) if whole else {} for text in sentences]
        marked.append(
            [
                _marked(text, states[text], other, columns, ours, whole)
                for text, ours in zip(sentences, own, strict=True)
            ]
        )
    return marked


def unmarked(sentences: Sequence[MarkedSentence]) -> list[MarkedSentence]:
    """The same sentences and findings where there is no other report to compare them with."""
    return [
        MarkedSentence(text, _NONE, [(column, state, _NONE) for column, state, _ in findings])
        for text, _, findings in sentences
    ]


def _marked(
    sentence: str, states: list[int], other: list[int], columns: list[int], ours: Particulars, theirs: Particulars
) -> MarkedSentence:
    findings = []
    for column in columns:
        if states[column] != BLANK:
            found = verdict(states[column], other[column])
            if found == _AGREE and states[column] != NEGATIVE and column in ours and column in theirs:
                found = VERDICTS.index(difference(ours[column], theirs[column]) or "agree")
            findings.append((column, states[column], found))
    gravest = max((found for _, _, found in findings), key=_GRAVITY.__getitem__, default=_NONE)
    return MarkedSentence(sentence, gravest, findings)
