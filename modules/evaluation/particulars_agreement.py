"""How often a report puts a finding on the side, and gives it the grade and the device, that its reference does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modules.labelling.labelers import RuleLabeler
from modules.labelling.particulars import PARTICULARS, agree_on, report_particulars


def agreement(reports: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of the findings that both reports of a study assert or suspect: how often are side, grade and device the same?

    Scores by condition cannot tell: ``left effusion`` and ``right effusion`` have one label. Findings are those that the
    rules read in each clause.

    Args:
        reports: n generated reports.
        references: the studies' own.

    Returns:
        By kind how many ``findings`` both reports say it of, and the share of them that is the ``same``, None of none.
    """
    labeler = RuleLabeler()
    counts = {kind: [0, 0] for kind in PARTICULARS}
    no_side = {column for column, name in enumerate(labeler.conditions) if name == "no finding"}  # of a whole report
    for pair in zip(reports, references, strict=True):
        ours, theirs = (report_particulars(text, labeler) for text in pair)
        for column in (ours.keys() & theirs.keys()) - no_side:
            for kind, count in counts.items():
                same = agree_on(kind, ours[column], theirs[column])
                count[0] += same is not None
                count[1] += same is True
    return {kind: {"findings": n, "same": same / n if n else None} for kind, (n, same) in counts.items()}


def agreement_line(found: Mapping[str, Mapping[str, Any]]) -> str:
    """:func:`agreement` in a sentence."""
    parts = [f"{kind} {one['same']:.3f} of {one['findings']}" for kind, one in found.items() if one["findings"]]
    return f"findings of both reports that agree in {', '.join(parts) or 'side, grade or device: none names one'}"
