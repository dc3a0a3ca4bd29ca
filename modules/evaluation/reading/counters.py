"""Do the ids of some rows look like what a program or a person counts with: numbers of any base, letters, words for numbers?

Such ids may have been given to rows that had moved before; then they say no more than the order does.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

_LONGEST = 24  # letters of a word for a number
_SIGNS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LAST = tuple(map(_SIGNS.index, "9fz"))  # of base 10, 16 and 36
_BORDERS = re.compile(r"[\W_]+")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")
_WORD = re.compile(rf"[^\W\d_]{{1,{_LONGEST}}}")


def count_up(values: Sequence[str | None]) -> bool:
    """Whether ids count the rows, upwards or downwards, in whatever steps and signs.

    Each place of ``case_10_test``, ``0x0f``, ``AB`` or ``0_3`` is a wheel of a counter: its signs are those that it shows, in their
    order. Ids that hold no digit at all are words; a person who numbers by ``one``, ``II`` or ``beta`` may do so anew. The same
    numbers may have been sorted as text.

    Args:
        values: ids by row, as they are compared; None where a row has none.
    """
    texts = [_ORDINAL.sub("", unicodedata.normalize("NFKC", value or "")) for value in values]
    if not all(texts) or len(set(texts)) < max(len(texts), 2):
        return False
    if all(_are_words(text) for text in texts) or _are_evenly_spaced(texts):
        return True
    columns = [column for column in _columns(texts) if len(set(column)) > 1]
    wheels = [sorted(set(column)) for column in columns]
    if not columns or not all(_are_evenly_spaced(wheel) or _is_wheel(wheel) for wheel in wheels):
        return False
    if any(_are_evenly_spaced(list(map(str, _ranks(column)))) for column in columns):
        return True  # one number counts the rows; what stands beside it counts too
    if len(columns) == 1:
        return texts == sorted(texts)
    return _turns(columns)


def _are_words(text: str) -> bool:
    """Whether an id consists of words without a digit."""
    return all(_WORD.fullmatch(word) for word in _BORDERS.split(text) if word)


def _columns(texts: Sequence[str]) -> list[list[str]]:
    """What stands between the marks of some ids, one column a place, without what all have there; numbers are padded."""
    pieces = [_BORDERS.split(text) for text in texts]
    if len({len(row) for row in pieces}) != 1:
        return []
    columns = []
    for column in map(list, zip(*pieces, strict=True)):
        before, behind = _shared(column), _shared([text[::-1] for text in column])
        cores = [text[before : len(text) - behind] if len(text) > before + behind else text[before:] for text in column]
        width = max(map(len, cores))
        columns.append([core.rjust(width, "0") for core in cores])
    return columns


def _shared(texts: Sequence[str]) -> int:
    """Characters that all texts begin with."""
    first, last = min(texts), max(texts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _are_evenly_spaced(texts: Sequence[str]) -> bool:
    """Whether these are numbers, each as far from the one before it as all others."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return False
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    return bool(steps) and steps[0] != 0 and max(steps) - min(steps) < 1e-6 * abs(steps[0])


def _is_wheel(texts: Sequence[str]) -> bool:
    """Whether texts in their order are counted with signs that leave none out, such as 0 to 9 and a to f."""
    places = list(zip(*texts, strict=True))
    return _turns(places) and all(_without_gap(set(signs)) for signs in places)


def _without_gap(signs: set[str]) -> bool:
    """Whether signs are neighbours, or begin anew at 0 behind the last one of a base: 10, 16 or 36."""
    codes = sorted(_SIGNS.find(sign) for sign in signs - {"0"})  # -1 of a sign that counts nothing
    if -1 in codes:
        return False
    gaps = sum(b != a + 1 for a, b in itertools.pairwise(codes))
    if gaps == 0:
        return True
    return gaps == 1 and "0" in signs and codes[0] == 1 and codes[-1] in _LAST  # 8, 9, a .. f, 10, 11


def _turns(places: Sequence[Sequence[str]]) -> bool:
    """Whether each row is the one before it, counted on: a place goes to its next sign when all behind it begin anew.

    Args:
        places: the signs of every place, row by row.
    """
    rows = list(zip(*map(_ranks, places), strict=True))
    last = [max(_ranks(place)) for place in places]
    if rows[0] > rows[-1]:
        rows.reverse()
    for old, new in itertools.pairwise(rows):
        turned = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
        behind = slice(turned + 1, None)
        anew = list(old[behind]) == last[behind] and not any(new[behind])
        if new[turned] != old[turned] + 1 or not anew:
            return False
    return True


def _ranks(column: Sequence[str]) -> list[int]:
    """The position of every value among all different ones in their order."""
    rank_of = {value: rank for rank, value in enumerate(sorted(set(column)))}
    return [rank_of[value] for value in column]
