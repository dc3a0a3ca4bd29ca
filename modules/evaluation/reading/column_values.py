"""What the cells of a column look like: sentences, lists, the numbers of rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from modules.corpus.cells import is_empty
from modules.labels import CONDITIONS

_CLASSES = frozenset(
    (*CONDITIONS, "normal", "abnormal", "positive", "negative", "yes", "no", "present", "absent", "true", "false")
)
_SENTENCE = re.compile(r"[a-z]{2}.*\s[a-z]{2}", re.IGNORECASE | re.DOTALL)


def is_text(values: Sequence[object]) -> bool:
    """Whether a column holds sentences: most of its cells have several words that are not a list of conditions."""
    cells = [str(value) for value in values if not (is_empty(value) or isinstance(value, Mapping))]
    names = set(CONDITIONS)
    sentences = [
        cell
        for cell in cells
        if _SENTENCE.search(cell)
        and not {piece.strip(" []'\"").casefold() for piece in re.split(r"[,;|/]", cell)} <= names
        and ("." in cell or len(cell.split()) > 3)
    ]
    return len(sentences) * 2 > len(cells) > 0


def is_class(value: object) -> bool:
    """Whether a cell holds a number, a list, or names of conditions and of other classes: what a classifier is trained with."""
    if is_list(value) or isinstance(value, int | float):
        return True
    pieces = {piece.strip(" []'\"").casefold() for piece in re.split(r"[,;|]", str(value))}
    return pieces <= _CLASSES or bool(re.fullmatch(r"[\s\d.,;+\[\]-]+", str(value)))


def holds_classes(values: Sequence[object]) -> bool:
    """Whether all cells of a column that hold anything hold classes."""
    cells = [value for value in values if is_list(value) or not is_empty(value)]
    return bool(cells) and all(map(is_class, cells))


def are_row_numbers(values: Sequence[str]) -> bool:
    """Whether these are the numbers of rows, from 0 or from 1."""
    return any(list(values) == [str(i + first) for i in range(len(values))] for first in (0, 1))


def is_list(value: object) -> bool:
    """Whether a cell holds several values, or none: labels, not one text."""
    return isinstance(value, list) and len(value) != 1
