"""Where one line holds several findings, each with its answer: ``effusion: none; edema: mild``."""

from __future__ import annotations

import re

from modules.labelling.answers import FINDING, state_of
from modules.labelling.listed import ORGAN

_NEXT_HEADING = re.compile(  # where one line holds several answers
    r"(?:[,;.]\s+|(?<=[a-z0-9+?)-])\s+(?<=(?i:none|sent|tive|ible|rmal|lear|s no|:\sno|\syes|\w:\s[01]|:\s-1)\s))(?=[A-Z][A-Za-z /-]{2,40}:\s)|,\s+(?=[a-z_ ]{4,40}:\s)"
)
_BETWEEN = re.compile(r"\s*[;|]\s*|[,.]\s+|\s+/\s+|\s+(?:but|and|while)\s+")
NAME = re.compile(r"\s*(?:[-*]\s+)?(?P<name>[A-Za-z][A-Za-z0-9 _/-]{1,40}?)\s*[:?=(]")


def entries_of(text: str) -> list[str]:
    """The pieces of a line, each with one finding and its answer; the line itself where it holds no more than one."""
    return [piece for part in _NEXT_HEADING.split(text) for piece in _entries(part)]


def _entries(text: str) -> list[str]:
    """The pieces of a line that names several findings, each with its answer: ``effusion: none; edema: mild``."""
    if not begins_name(text):
        return [text]
    cuts, start = [], 0
    for mark in _BETWEEN.finditer(text):
        if begins_name(text[mark.end() :]):
            cuts.append(text[start : mark.start()])
            start = mark.end()
    return [*cuts, text[start:]]


def begins_name(text: str) -> bool:
    """Whether it begins with the name of a finding, an organ or a state, and a mark."""
    match = NAME.match(text)
    return match is not None and (
        bool(ORGAN.fullmatch(match["name"].strip()))
        or bool(FINDING.search(match["name"].lower().replace("_", " ")))
        or state_of(match["name"]) is not None
    )
