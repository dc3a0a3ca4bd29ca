"""Lines that an archive or a hospital writes below a report: codes, names of its readers, a word on its dates.

Readers of free-text reports and of the files that are scored leave them out before they look for sections.
"""

from __future__ import annotations

import re

from modules.corpus.section_names import RECORD, SIGNATURE
from modules.corpus.section_titles import CONCLUSION, FINDINGS

_CODE = re.compile(  # "SUMMARY:2-ABNORMAL, PREVIOUSLY REPORTED" of CheXpert Plus; not "Summary: 2-view chest", "1-2 mm"
    r"(?:^|(?<=[.!?\n]))[^\S\n]*summary[^\S\n]*:?\s{0,4}[0-9][^\S\n]?-[^\S\n]?(?!\d|(?:views?|images?|films?|projections?|[cm]m|leads?|lumen|chamber|parts?|"
    r"vessels?|levels?|weeks?|months?|days?|years?)\b)[A-Z][^\n:]*?(?=\s*(?:\n|\Z|\baccession\b|\bthis report\b|\bend of\b|\bI have\b))",
    re.IGNORECASE | re.MULTILINE,
)
_ACCESSION = re.compile(
    r"(?:^|(?<=[.!?\n]))[^\S\n]*accession(?: (?:number|no\.?|#))?[^\S\n]*:\s{0,4}(?=\S{0,19}[\d_])\S{1,20}(?!\S)",
    re.IGNORECASE | re.MULTILINE,
)
_ANONYMISED = re.compile(
    r"this report has been (?:anonymi[sz]ed|de-?identified)\.(?:\s{1,4}all dates [^.\n]{0,150}\.)?", re.IGNORECASE
)
_NAME = r"[A-Z][\w'-]*\.?"
_DEGREE = r"(?:M\.?D\b\.?|Ph\.?D\b\.?|MB ?BS|MB ?BCh|MBChB|FRCR|FRCPC|FRANZCR|FFR|FACR|(?<=, )D\.?O\b\.?)"
_WITH_DEGREE = re.compile(rf"{_NAME}(?:,? {_NAME}){{1,3}},? {_DEGREE}(?:,? {_DEGREE})*")
_ROLE = (  # "Dr A Smith, ST4 Radiology. GMC: 123", "Dr. B Rao (MD Radiodiagnosis)"
    rf"(?:{_DEGREE}|DNB|DMRD|ST[1-8]|SpR|(?:[Cc]onsultant|[Ss]pecialist|[Rr]egistrar|[Rr]esident|[Ff]ellow|[Rr]adiologist|[Rr]adiology|[Rr]adiodiagnosis)\b"
    r"|(?:GMC|HCPC|Reg)\b\W{0,3}(?:(?:[Nn]o|[Nn]umber)\b\W{0,3})?\d+)"
)
_DOCTOR = re.compile(rf"(?:Dr|DR|Prof|PROF)\.? {_NAME}(?: {_NAME}){{0,3}}(?:[ ,./(&-]{{1,3}}{_ROLE})*[.)]{{0,2}}")
_LINE = re.compile(  # whole; what is said of the film has other words
    r"(?:by:\s.*|(?:(?:senior|chief|staff|attending|consultant|reporting|specialist|thoracic|chest) ){0,3}radiologist(?:, (?:gmc|hcpc)\W.*)?"
    r"|(?:gmc|hcpc)\W{1,3}(?:(?:no|number)\W{1,3})?\d+|(?:exam |report )?status:\s*(?:final|verified|complete\w*|signed|prelim\w*)\W*"
    r"|(?:name|signature|date):\s*\[[^\]\n]*\]|\[(?:your|radiologist|physician|doctor|name|signature|date|credentials)\b[^\]\n]*\]"
    rf"|[-*=_ ]*end[-*=_ ]*|[^\w\n]{{0,40}}{SIGNATURE}.*|(?:{RECORD})[^\S\n]*:.*|(?:date|time|reported)[^\S\n]*:[^\S\n]*\d.*)",
    re.IGNORECASE,
)
_SECTION = re.compile(rf"\b(?:{FINDINGS}|{CONCLUSION})\W{{0,3}}:", re.IGNORECASE)  # on the same line
_GOES_ON = re.compile(r"(?:\b(?:with|by|to|and|from|of|for|the|per|as|physician|doctor)|,)\s*\Z", re.IGNORECASE)


def without_archive_lines(report: str) -> str:
    """A report without its archive's codes, and without the lines at its end that name its readers or its state.

    A name counts on a line of its own, with a doctor's title or degree, where no sentence goes on to it.
    """
    for added in (_CODE, _ACCESSION, _ANONYMISED):
        report = added.sub("", report)
    report = report.rstrip()
    while report:
        above, _, last = report.rpartition("\n")
        if not _is_archives(last.strip(), above):
            break
        report = above.rstrip()
    return report


def _is_archives(line: str, above: str) -> bool:
    """Whether the last line of a text says nothing of the film; ``above`` is what stands before it."""
    if _SECTION.search(line):
        return False
    if _LINE.fullmatch(line) or _WITH_DEGREE.fullmatch(line):
        return True
    return bool(_DOCTOR.fullmatch(line)) and not _GOES_ON.search(above[-40:])
