"""Dashes, arrows, signs and brackets between a finding and its answer: each stands for a colon."""

from __future__ import annotations

import re

from modules.labelling.answers import FINDING, PURE, SIDES

IN_BRACKETS = re.compile(rf"\s*[(\[]\s*({PURE})\s*(?:,[^()\[\]]*)?[)\]]", re.IGNORECASE)
DASHED = re.compile(
    rf"(?<=[\w)])\s*(?:\s[-\u2013\u2014]+\s|\s*(?:->|=>|\u2192|=|\.{{3,}}|\t)\s*)\s*(?=(?:{SIDES}\s+)?(?:{PURE})\s*(?:[.,;|]|\s[-\u2013\u2014]\s|$)|(?:possible|questionable|suspected|equivocal)\s(?![^.,;]*{FINDING.pattern}))",
    re.IGNORECASE,
)
_SIGN = re.compile(
    r"(?<=[a-z])\s+([-+\u2212\u2013]|\+\s?/\s?-|\u00b1|[-+\u2212]ve|[\u2713\u2714\u2705\u2717\u2718\u274c\U0001f6ab])\s*(?=$|[.,;])",
    re.IGNORECASE,
)
_BOXED = re.compile(  # "Effusion: [ ]", where no other box of the line is meant
    r"(?P<name>[A-Za-z][A-Za-z0-9 _/()-]{1,60}?)[*_]{0,3}\s*(?:[:=|?]|->|\s[-\u2013\u2014])[*_]{0,3}\s*(?:"
    r"(?P<empty>(?:\[\s*-?\s*\]|\(\s*-?\s*\)|\u2610)(?!\s*(?:no|none|not|absent|negative|normal)\b)(?:[ \t]+[a-z]+){0,2})"
    r"|(?P<ticked>(?:\[\s*[xX\u2713\u2714+]\s*\]|\(\s*[xX]\s*\))(?:[ \t]*(?:yes|present|positive|seen))?))"
    r"(?=[ \t]*(?:$|[.,;|\n]|and\b)|[ \t]+[A-Z][A-Za-z /-]{2,40}?\s*[:=])",
)


def answered_boxes(text: str) -> str:
    """Boxes behind the colon of a finding as answers: an empty one says no."""
    return _BOXED.sub(_as_answer, text)


def _as_answer(match: re.Match[str]) -> str:
    answer = "no" if match["empty"] is not None else "yes"
    return f"{match['name']}: {answer}" if FINDING.search(match["name"].lower()) else match[0]


def plain_marks(text: str) -> str:
    """Dashes, arrows, signs and brackets before an answer as a colon."""
    return _SIGN.sub(r": \1", DASHED.sub(": ", IN_BRACKETS.sub(r": \1", text)))
