"""What stands before nearly every report of a file and is none of it: the number of its row, or what a column of it would be called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from modules.corpus.section_names import OF_THE_FILM
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.headings import PLAIN, side_of

_COUNTER = re.compile(  # "Report 1:", "Case No. 1 - ", "[1]", "#1", "1/6", "1_", "Study 1\n"; not "1.5 cm", "5:30", "3/4/2010" nor "2-view"
    r"(?P<before>[^\w\s]{0,3}\s?(?:[A-Za-z]{2,20}\.?[\s_-]?){0,3}#?)(?P<number>\d{1,12})"
    r"(?:(?P<mark>\s?(?:/|of)\s?\d{1,6}(?![\d/])|\**[:.)\]|_](?!\d)|\s+[-\u2013\u2014|](?=\s)|[\t\n])|(?=\s))(?=\W*\w)"
)
_NUMBER = re.compile(r"\d+")
_LABEL = re.compile(r"[^\w\s]*\s*((?:[A-Za-z][\w'-]*[ _]){0,3}[A-Za-z][\w'-]*)[ *]*(?::|=|[-=]>|\n)")
_ASIDE = re.compile(rf"\b(?:{OF_THE_FILM}|preliminary)\b\s*", re.IGNORECASE)  # beside the name: "Chest X-ray Report"
_NAMES = frozenset(("a", "q", "answer", "answers", "result", "results", "data"))  # which are no headings of texts


def label_before(texts: Sequence[str]) -> list[str]:
    """The labels of the texts that begin with one, first to last; none if not more than half do."""
    for found in (_counters(texts), _names(texts)):
        if 2 * len(found) > len(texts) > 1:
            return found
    return []


def _counters(texts: Sequence[str]) -> list[str]:
    """What counts the texts: numbers among the same words and signs, each of them once; where no sign marks them, from 0 or 1 on."""
    matches = [match for match in map(_COUNTER.match, map(str.lstrip, texts)) if match]
    shapes = [(match["before"].casefold(), _NUMBER.sub("", match["mark"] or "")) for match in matches]
    shape = Counter(shapes).most_common(1)[0][0] if shapes else ("", "")
    same = [match for match, one in zip(matches, shapes, strict=True) if one == shape]
    numbers = sorted(int(match["number"]) for match in same)
    marked = bool(shape[1]) or shape[0].endswith("#")
    counted = len(numbers) > 2 and numbers[0] in (0, 1) and numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    once = len(set(numbers)) == len(numbers)
    return [match[0].strip() for match in same] if counted or (marked and once) else []


def _names(texts: Sequence[str]) -> list[str]:
    """Names before a colon by which a file calls generated reports, references, or texts; not those of what a report describes."""
    names = [match[1] for match in map(_LABEL.match, map(str.lstrip, texts)) if match]
    return [name for name in names if _is_heading(name) or _is_heading(_ASIDE.sub("", name))]


def _is_heading(name: str) -> bool:
    plain = plain_heading(name)
    return side_of(name) in ("generated", "reference") or plain in PLAIN["report"] or plain in _NAMES
