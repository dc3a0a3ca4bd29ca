"""Which of several reports in one text counts: the one below the last FINAL REPORT.

Readers of free-text reports and of the files that are scored share it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from modules.corpus.section_names import ADDENDUM

_FINAL = re.compile(  # on a line of its own, before the text of its line, or behind a sentence before the next heading
    r"^[^\S\n]*FINAL REPORT\b(?:[^\n:]*:?[^\S\n]*$|:?)"
    r"|(?<=[.?!_])[^\S\n]+FINAL REPORT\b(?=[^\S\n]+(?:[A-Z()/]+[^\S\n]+){0,3}[A-Z()/]+:)",
    re.MULTILINE,
)


def final_parts(report: str, counts: Callable[[str], object] = str.strip) -> list[str]:
    """What stands below the last FINAL REPORT, up to an addendum, then each addendum below it.

    A wet read, a preliminary report or an addendum above it does not count. An addendum below it is for the section that the
    report itself lacks.

    Args:
        report: the whole text.
        counts: whether a part is a report, or an addendum to be kept.
    """
    report = report.replace("\r\n", "\n").replace("\r", "\n")
    finals = [ADDENDUM.split(part) for part in _FINAL.split(report)[1:]]
    found = next((parts for parts in reversed(finals) if counts(parts[0])), None)
    if found:
        return [found[0], *filter(counts, found[1:])]
    return [part for part in ADDENDUM.split(_FINAL.sub("", report)) if counts(part)] or [report]
