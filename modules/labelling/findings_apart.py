"""Findings without a heading that follow ``Indication: cough.`` in the next line, with no empty line between."""

from __future__ import annotations

import re

from modules.corpus.section_asides import OF_THE_STUDY
from modules.corpus.section_titles import CONCLUSION, FINDINGS
from modules.labelling.spoken_of import speaks_of_a_finding

_FINDINGS = re.compile(rf"\b{FINDINGS}\b[^\w\n]{{0,5}}(?:[:=]|$)", re.IGNORECASE | re.MULTILINE)
_ASIDE = re.compile(rf"\W{{0,9}}{OF_THE_STUDY}\b[^\n:]{{0,30}}:[*_]*[^\S\n]*\w.*", re.IGNORECASE)
_HEADING = re.compile(
    rf"\W{{0,9}}(?:[\w'/-]+ ){{0,2}}(?:{OF_THE_STUDY}|{CONCLUSION})\b[^\n:.]{{0,30}}(?::|$)", re.IGNORECASE
)
_GOES_ON = re.compile(
    r"(?:\b(?:with|and|or|of|for|to|the|an?|in|on|by|from|at|no|new|right|left)|[,/-])\s*\Z", re.IGNORECASE
)
_OF_THE_PATIENT = re.compile(  # sentences that go on with a history
    r"\?|\b(?:patients?|histor\w+|years?|evaluate|assess|rule out|please|question|presents?|presenting|complain\w*|concern\w*|symptoms?|cough\w*|fevers?|pain|she|he|hx|y/?o)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[.!](?=\s|\Z)")


def with_findings_apart(report: str) -> str:
    """A report in which an empty line stands before findings that follow the line of a history or technique.

    They count where no heading of findings stands, as sentences of which one speaks of a finding and none of the patient.
    """
    if _FINDINGS.search(report):
        return report
    lines = report.split("\n")
    apart: list[str] = []
    for number, line in enumerate(lines):
        apart.append(line)
        if _ASIDE.fullmatch(line) and not _GOES_ON.search(line) and _are_findings(lines[number + 1 :]):
            apart.append("")
    return "\n".join(apart)


def _are_findings(lines: list[str]) -> bool:
    """Whether the lines up to an empty one or a heading read like findings."""
    ends = (number for number, line in enumerate(lines) if not line.strip() or _HEADING.match(line))
    text = " ".join(lines[: next(ends, len(lines))]).strip()
    sentences = text[:1].isupper() and text.endswith((".", "!")) and len(_ENDS.findall(text)) > 1
    return sentences and not _OF_THE_PATIENT.search(text) and speaks_of_a_finding(text)
