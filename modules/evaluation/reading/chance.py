"""Whether ids of two files that agree in some of their parts agree by chance: ``1`` of ``val/images/1.png`` is also a ``test/images/1.png``."""

from __future__ import annotations

import re
from collections.abc import Sequence

PARTS = re.compile(r"[/\\|:_]+")  # signs between the parts of an id
SEPARATORS = re.compile(r"[/\\|:_\s-]+")  # the same and those inside of parts
_NUMBER = re.compile(r"\d+")
_DATE = re.compile(r"(?:19|20)\d\d(?:[-.]?[01]\d(?:[-.]?[0-3]\d)?)?")  # a year or a day, which many studies share
_LONG = 6  # digits of all numbers of an id together: so many do not agree by chance
_SCATTERED = 4  # digits that are enough where the numbers do not count the studies
_NAME = 3  # letters and digits that are enough for a name or a code


def pieces_of(text: str | None) -> list[str]:
    """The pieces of an id between all its signs; ``.`` and ``..`` name no folder."""
    return [piece for piece in SEPARATORS.split(text or "") if piece.strip(".")]


def contradicts(first: str | None, second: str | None) -> bool:
    """Whether each of two ids has a part that the other has not, as ``val/1.png`` and ``test/1.png``; ``films/1.png`` holds ``1``."""
    ours, theirs = ({_bare(piece) for piece in pieces_of(text)} for text in (first, second))
    return not (ours <= theirs or theirs <= ours)


def _bare(piece: str) -> str:
    """A piece without the letter that MIMIC-CXR puts before patients and studies."""
    return piece[1:] if re.fullmatch(r"[ps]\d{8}", piece) else piece


def tells_apart(values: Sequence[str]) -> bool:
    """Whether parts on which two files agree name studies, whatever else the two write around them.

    Only places count in which at least half of the values differ: folders of a site, a year or a fold hold many studies. What
    all values begin with (``case``) does not count either, nor do dates. Of what remains, half of the values must hold

    - numbers of six digits together, or of four if they do not count the studies from 0 or 1, or
    - a name or a code of three letters and digits, if these are as manifold as the values.
    """
    distinct = sorted(set(values))
    split = [PARTS.split(value) for value in distinct]
    numbers: list[set[str]] = [set() for _ in distinct]
    tells = [False] * len(distinct)  # by value, whether one place of it tells enough
    for place in range(1, max(map(len, split), default=0) + 1):
        column = [pieces[-place] if len(pieces) >= place else "" for pieces in split]
        if 2 * len(set(column)) < len(distinct):
            continue
        rests = _without_start(column)
        for of_value, rest in zip(numbers, rests, strict=True):
            of_value |= _numbers(rest)
        tells = [before or now for before, now in zip(tells, _tell_alone(rests), strict=True)]
    return _half([alone or _digits(of_value) >= _LONG for alone, of_value in zip(tells, numbers, strict=True)])


def _without_start(column: Sequence[str]) -> list[str]:
    """What tells the values of one place from each other: nothing of dates, and not the letters that all begin with."""
    first, last = min(column), max(column)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b or a.isdigit()), len(first))
    start = same if first != last else 0
    return ["" if _DATE.fullmatch(value) else value[start:] for value in column]


def _tell_alone(rests: Sequence[str]) -> list[bool]:
    """Which values of one place tell enough by themselves: names, codes and numbers that do not count the studies."""
    shapes = {_NUMBER.sub("#", rest) for rest in rests}
    if len(shapes) > 1 and 2 * len(shapes) >= len(set(rests)):
        return [sum(map(str.isalnum, rest)) >= _NAME for rest in rests]
    numbers = [_numbers(rest) for rest in rests]
    single = [int(next(iter(found)) or 0) for found in numbers if len(found) == 1]
    counts = bool(single) and min(single) <= 1 and max(single) < 2 * len(set(single))
    scattered = _half([_digits(found) >= _SCATTERED for found in numbers])
    return [scattered and not counts] * len(rests)


def _numbers(text: str) -> set[str]:
    """The numbers of a text, each once: ``300_300`` tells no more than ``300``."""
    return {number.lstrip("0") for number in _NUMBER.findall(text)}


def _digits(numbers: set[str]) -> int:
    return sum(map(len, numbers))


def _half(found: Sequence[bool]) -> bool:
    """Whether at least half of some values are as they should be."""
    return 2 * sum(found) >= len(found)
