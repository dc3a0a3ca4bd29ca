"""What reports call their findings and their impression, the marks beside such a heading, and the titles above them.

Readers of free-text reports and of the files that are scored share them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from modules.corpus.nothing_said import says_nothing
from modules.corpus.section_names import ADDENDUM

FINDINGS = r"(?:findings?(?:\(s\))?|observations?)"
CONCLUSION = (
    r"(?:impressions?(?:\(s\))?|conclusions?|interpretations?|summary|opinion|assessment|bottom line|impr?|concl)"
)
_BESIDE = rf"(?:{FINDINGS}|{CONCLUSION}|recommendations?(?:\(s\))?|plan|diagnos[ei]s)"
SUMMED_UP = rf"{CONCLUSION}[^\S\n]+of[^\S\n]+(?:the[^\S\n]+)?{FINDINGS}"  # "Summary of Findings", a conclusion
DESCRIBED = (  # a title of the findings in a report that has no heading of theirs
    r"(?:(?:(?:image|film|x-?ray|radiograph(?:ic)?|radiological|detailed) )?(?:description|analysis))"
)
NAMES = (  # "FINDINGS/IMPRESSION", "Assessment and Plan", "Impression (Summary)", "FINDINGS, CHEST"
    rf"(?:(?:{SUMMED_UP}|{FINDINGS}|{CONCLUSION})(?:\s*(?:and|&|/)\s*{_BESIDE})?(?:[^\S\n]*[(\[][^()\[\]\n]{{2,40}}[)\]]|,(?-i:[A-Z /&,]{{3,40}}(?=:)))?(?![^\W_]))"
)
MARKS = (  # before a heading that begins a line: "> ## ", "1. **", "=== ", "(", an emoji
    r"(?:(?:[>#*_=~+-]|[(\[](?=[^()\[\]:\n]{1,40}[)\]])|[^\w\s\x00-\x7f]|(?:\d{1,2}|[IVX]{1,4}|[A-F])[.)](?=[\s*_]))[^\S\n]*)*(?=[^\W_]|\[)"
)
MARKS_BEHIND = r"(?:[*_=~#:)\]>-][^\S\n]*)*(?:\n[^\S\n]*[=-]{3,}[^\S\n]*(?=\n))?"  # also of one that is underlined
_FINAL_LINE = re.compile(r"^[^\S\n]*FINAL REPORT\b.*$", re.MULTILINE)
_FINAL = re.compile(  # at the beginning of a line, or behind a sentence before the next heading
    r"^[^\S\n]*FINAL REPORT\b"
    r"|(?<=[.?!_])[^\S\n]+FINAL REPORT\b(?=[^\S\n]+(?:(?:CLINICAL|TYPE OF|REASON FOR)[^\S\n]+)?"
    r"(?:FINDINGS|IMPRESSION|EXAM(?:INATION)?|INDICATION|HISTORY|INFORMATION|TECHNIQUE|COMPARISON|STUDY|CHEST)\b[^:\n]{0,40}:)",
    re.MULTILINE,
)
_FILMED = r"chest|radiographs?|radiography|views?|films?|x-?rays?|xr|cr|dx|cxr|portable|lateral|pa|ap|studies|study|examinations?|exams?|report"
_TITLE = re.compile(  # "AP CHEST, 5:24 A.M., ___", "PA AND LATERAL VIEWS OF THE CHEST"; each piece can be read in one way
    rf"(?=.*(?:\b(?:{_FILMED})\b|__))(?:(?:(?:{_FILMED}|final|radiology|type|date|single|upright|supine|erect|semi-?(?:erect|upright)|frontal|oblique|decubitus|lat"
    r"|one|two|three|postero-?anterior|antero-?posterior|images?|imaging|projections?|bedside|routine|standard|reference|performed|obtained|taken|dated"
    r"|of|the|and|with|only|at|on|from|in|[ap]\.?m|jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
    r"|january|february|march|april|august|september|october|november|december)\b|_{2,}(?!_)|x{3,}(?!x)|\d{1,4}(?!\d))[\s.,;/&()*#:-]*)+",
    re.IGNORECASE,
)
_OF_THE_VIEW = re.compile(  # "Portable AP radiograph of the chest was reviewed in comparison to ___."
    r"(?:[\w-]+ ){0,6}(?:radiographs?|views?|films?|images?|study|studies|examination)(?: of the chest)? (?:was|were|is|are) "
    r"(?:reviewed|compared|obtained|provided|submitted|performed)\b"
    r"(?!.*\b(?:show|demonstrat|reveal|suggest|indicat|identif|no|not|normal|clear|without)\w*)[^.;]*\.?",
    re.IGNORECASE,
)


def kind_of_title(name: str) -> str:
    """What a name of :data:`NAMES` is of: ``"findings"``, ``"impression"``, or ``"both"`` in one."""
    name = re.sub(r"\s*(?:[(\[][^()\[\]]{2,}[)\]]|,.*)\Z", "", name)
    if re.fullmatch(rf"(?i){SUMMED_UP}", name):
        return "impression"
    findings, conclusion = (re.search(rf"(?i)\b{names}", name) for names in (FINDINGS, CONCLUSION))
    if findings and conclusion:
        return "both"
    return "findings" if findings else "impression"


def without_titles(text: str) -> str:
    """A text that stands under no heading, without what only says which films were looked at, and when.

    Returns:
        The text; ``""`` if it says nothing else.
    """
    first, _, below = text.strip().partition("\n")
    while _is_title(first, below.strip(" ")):
        first, _, below = below.strip().partition("\n")
    text = f"{first}\n{below}".strip()
    return "" if says_nothing(text) or _OF_THE_VIEW.fullmatch(" ".join(text.split())) else text


def _is_title(line: str, below: str) -> bool:
    """Whether a line only says what was examined, and no sentence goes on from it to what stands below."""
    line = line.strip(" *#")
    sentence = re.search(r"(?i)(?<!\b[ap]\.m)\.\Z", line)  # "Two-view chest." above others
    title = line.endswith((":", "_", ".")) and not below[:1].islower()
    ends = below[:1] in ("", "\n") or (not sentence and (title or re.match("[A-Z][a-z]", below)))
    return bool(" " in line and ends and _TITLE.fullmatch(line))


def final_parts(report: str, counts: Callable[[str], object] = str.strip) -> list[str]:
    """What stands below the last FINAL REPORT, up to an addendum, then each addendum below it.

    A wet read, a preliminary report or an addendum above it does not count. An addendum below it is for the section that the
    report itself lacks.

    Args:
        report: the whole text.
        counts: whether a part is a report, or an addendum to be kept.
    """
    report = report.replace("\r\n", "\n").replace("\r", "\n")
    finals = [ADDENDUM.split(_below(part)) for part in _FINAL.split(report)[1:]]
    found = next((parts for parts in reversed(finals) if counts(parts[0])), None)
    if found:
        return [found[0], *filter(counts, found[1:])]
    report = _FINAL_LINE.sub("", report)  # FINAL REPORT: 01/02/2020, a status below the report
    return [part for part in ADDENDUM.split(report) if counts(part)] or [report]


def _below(final: str) -> str:
    """A final report without the rest of its title's line, unless that begins the text; a text behind a colon is a REPORT."""
    first, _, below = final.partition("\n")
    rest = first.strip(" \t:")
    if not re.search(r"[a-z]|:\s*\S", rest) or _is_title(rest, below.strip(" ")):
        return below
    return f"REPORT{first}\n{below}" if first.lstrip().startswith(":") else f"{rest}\n{below}"
