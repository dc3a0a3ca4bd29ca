"""Give a report whose line ends were lost a paragraph for each of its headings again.

``HISTORY: COUGH COMPARISON: NONE FINDINGS: CLEAR IMPRESSION: NORMAL`` has no stop before its headings, by which readers
know them. Here a heading is known by the one before it on its line.
"""

from __future__ import annotations

import re

from modules.corpus.section_asides import HISTORY
from modules.corpus.section_names import ANOTHER, GOES_ON, OF_THE_FILM, RECORD, SIGNED_BY, WEIGHED

_ADVICE = r"recommendations?(?:\(s\))?"
_STUDY = r"exam(?:ination)?s?|techniques?|comparisons?"
_ASIDE = (
    rf"{HISTORY}|reason for (?:the )?(?:exam(?:ination)?|study)"
    rf"|{_ADVICE}|{RECORD}|(?:final report )?(?:{SIGNED_BY})"
)
_FINDINGS = r"(?:(?:impressions?|techniques?) ?(?:and|&|/) ?)?findings?(?: ?(?:and|&|/) ?impressions?)?"
_CONCLUSION = rf"(?:(?:final|overall|radiolog\w+) )?(?:impressions?(?: ?(?:and|&|/) ?{_ADVICE})?|conclusions?|interpretation|summary|opinion|assessment)"
_HEADING = re.compile(
    rf"(?<![^\s.:?!])(?:(?P<findings>{_FINDINGS}|report)|(?P<study>{_STUDY})|(?P<aside>{_ASIDE})|(?P<conclusion>{_CONCLUSION}))(?: ?:|(?<=signed by)(?= ))",
    re.IGNORECASE,
)
_TITLE = re.compile(rf"\s*(?:final |radiology )?report(?= )(?! (?:{SIGNED_BY})\b)", re.IGNORECASE)
_FINDINGS_OF_ANY = re.compile(rf"\b{_FINDINGS} ?:", re.IGNORECASE)
_MARKS = re.compile(r"(?:\s+[^\w\s.,?!)\]%\"'/]+)*\s*\Z")  # a bullet before the heading
_ENDED = re.compile(r"(?:[.?!:;|/-]|(?<!\S)\d{1,2}\))\s*\Z")  # readers know a heading behind these
_BESIDE = rf"(?:{ANOTHER}|{OF_THE_FILM})"  # words that say whose a section is, but where
_ALL_OF_IT = re.compile(
    rf"\s*(?:{_BESIDE}\b[\s,&/]*)+", re.IGNORECASE
)  # they are the heading before it: COMPARISON: CHEST CT FINDINGS:
_OF_A_SENTENCE = re.compile(  # or end a sentence: .. SEEN ON PRIOR CT IMPRESSION:
    rf"\b(?:on|from|to|of|by|in|with|at|since|than|per|over)(?:\s+the)?(?:\s+\w+){{0,2}}(?:\s+{_BESIDE})+\s*\Z",
    re.IGNORECASE,
)
_APART = re.compile(rf"[.?!](?:\s+{_BESIDE})+\s*\Z", re.IGNORECASE)  # COMPARISON: NONE. CLINICAL FINDINGS:
_FILMS_APART = re.compile(
    rf"(?<=[.?!])\s+(?=(?:(?:{OF_THE_FILM})\s+)+\Z)", re.IGNORECASE
)  # NO EFFUSION. CHEST X-RAY IMPRESSION:
_ANOTHERS = re.compile(rf"\b(?:{ANOTHER})\s*\Z", re.IGNORECASE)
_EARLIER = re.compile(r"\b(?:prior|previous|old|last|earlier|recent)\s*\Z", re.IGNORECASE)  # SINCE THE PRIOR EXAM:
_GOES_ON = re.compile(rf"(?:\b(?:{GOES_ON}|{WEIGHED}|{ANOTHER})|&)\s*\Z", re.IGNORECASE)
_FILMS = re.compile(rf"\b(?:{OF_THE_FILM})\s*\Z", re.IGNORECASE)


def with_paragraphs(report: str) -> str:
    """The report with an empty line before each heading that follows another on its line without the end of a sentence."""
    small = report.islower()
    plain = any(
        not _GOES_ON.search(report[max(0, one.start() - 60) : one.start()]) for one in _FINDINGS_OF_ANY.finditer(report)
    )
    return "\n".join(_apart(line, small, plain) for line in report.split("\n"))


def _apart(line: str, small: bool, plain: bool) -> str:
    """:func:`with_paragraphs` of a line; ``small`` where the report has no capital letter, for ``plain`` see :func:`_begins`."""
    title = _TITLE.match(line)
    kind, stop = ("title", title.end()) if title else ("", 0)
    pieces = [line[:stop]]
    for heading in _HEADING.finditer(line, stop):
        if not (small or heading[0][0].isupper()):
            continue
        if heading[0].lower().startswith("exam") and _EARLIER.search(line[stop : heading.start()]):
            continue
        text, last, kind = line[stop : heading.start()], kind, heading.lastgroup or ""
        begins = _begins(kind, last, text, plain)
        if begins and last and not _ENDED.search(text):
            apart = _FILMS_APART.sub("\n\n", text, count=1) if kind in ("findings", "conclusion") else text
            text = apart if apart != text else _MARKS.sub("\n\n", text, count=1)
        elif not begins and _ANOTHERS.search(text):
            kind = "aside"  # CLINICAL IMPRESSION: COPD FINDINGS:
        pieces += [text, heading[0]]
        stop = heading.end()
    return "".join([*pieces, line[stop:]])


def _begins(kind: str, last: str, text: str, plain: bool) -> bool:
    """Whether a heading of a kind begins a section behind the text of the last one, or is part of that text.

    Args:
        kind: of the heading.
        last: kind of the heading before it on its line, empty without one.
        text: between the two.
        plain: whether the report has findings that no word before them gives to another.
    """
    beside_it = last in ("study", "aside")
    if kind == "findings":
        if not beside_it:
            return False  # inside the findings it is a sentence, or changes nothing
        if not plain and (_ALL_OF_IT.fullmatch(text) or (last == "study" and not _APART.search(text))):
            return True
    elif beside_it and _ALL_OF_IT.fullmatch(text):
        return True
    elif kind in ("study", "aside") and not beside_it and _FILMS.search(text):
        return False  # FINDINGS: CHEST COMPARISON: NO CHANGE.
    return bool(_OF_A_SENTENCE.search(text)) or not _GOES_ON.search(text)
