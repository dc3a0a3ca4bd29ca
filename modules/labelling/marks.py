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


def plain_marks(text: str) -> str:
    """Dashes, arrows, signs and brackets before an answer as a colon."""
    return _SIGN.sub(r": \1", DASHED.sub(": ", IN_BRACKETS.sub(r": \1", text)))
