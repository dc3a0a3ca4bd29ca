"""Probabilities beside findings as answers: ``Effusion (95%)`` says yes, ``Effusion: 0.03`` says no, what lies between leaves it open."""

from __future__ import annotations

import re

from modules.labelling.answers import FINDING

SURE, UNLIKELY = 0.9, 0.1
_CALLED = r"(?:confidence|probability|prob|likelihood|score|p)"
_SAID = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z _/-]{2,40}?)(?P<mark>[*_\"'`]{0,3}\s*(?:[:=|(\[\t]|\s[-\u2013\u2014]\s|\s)\s*)"
    rf"(?P<called>{_CALLED}(?:\s+of)?\s*[:=]?\s*)?(?:(?P<percent>\d{{1,3}}(?:\.\d+)?)\s*%|(?P<share>[01]?\.\d+))(?:\s*{_CALLED})?"
    r"(?=\s*(?:[,;|)\]}]|\.?$|\.\s|\s[A-Z]))",
    re.IGNORECASE | re.MULTILINE,
)
_GRADED = re.compile(rf"\s+{_CALLED}\s*[:=]\s*(?:very )?(low|medium|moderate|intermediate|high)\b", re.IGNORECASE)
_GRADES = {"high": "yes"}
_SIZED = re.compile("thora(?:x|ces)|ptx")  # 20 % of a pneumothorax may be its size


def answered_numbers(report: str) -> str:
    """A report whose findings have words for their probabilities; equal to it where it has none."""
    report = re.sub(r"\b[Pp]\(([A-Za-z _]+)\)\s*=", r"\1 =", report)
    several = len(re.findall(r"\d\s*%", report)) > 1

    def answer(match: re.Match[str]) -> str:
        name, percent = match["name"].lower(), match["percent"]
        bare = not (match["mark"].strip() or match["called"])
        if not FINDING.search(name) or (bare and not several):
            return match[0]
        if percent and not several and _SIZED.search(name):
            return match[0]
        share = float(percent) / 100 if percent else float(match["share"])
        return f"{match['name']}{match['mark'] if match['mark'].strip() else ': '}{_word(share)}"

    return _GRADED.sub(lambda match: f": {_GRADES.get(match[1].lower(), 'possible')}", _SAID.sub(answer, report))


def _word(share: float) -> str:
    return "no" if share <= UNLIKELY else "yes" if share >= SURE else "possible"
