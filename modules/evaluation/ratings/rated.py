"""Reports that radiologists have rated: what every layout of them is read into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modules.corpus.cells import is_empty
from modules.messages import UserError, quoted

_DECIMAL_COMMA = re.compile(r"\s*-?\d+,\d{1,2}\s*")  # three digits behind a comma may be thousands


@dataclass
class Rated:
    """Reports, their references, and what radiologists say of them.

    Args:
        texts: n generated reports.
        references: n references.
        studies: what each report belongs to, n; reports of one study, or patient where known, are drawn together.
        name: of the ratings.
        ratings: ``(n,)``, larger is better; None where only orders are known.
        pairs: rows of two reports that were rated side by side, ``(m, 2)``: their differences are compared.
        orders: first row, second row, and 1 where the first must score higher, 0 where both score the same, ``(m, 3)``.
        rows: age and indication by report, n or none, which CRIMSON reads.
        notes: what was left out.
    """

    texts: list[str]
    references: list[str]
    studies: list[str]
    name: str
    ratings: np.ndarray | None = None
    pairs: np.ndarray | None = None
    orders: np.ndarray | None = None
    rows: list[Mapping[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: Path, text: object, reference: object, study: str) -> None:
        """Add one report.

        Raises:
            UserError: if it, or its reference, is no text, or the reference is empty.
        """
        if not isinstance(text, str) or not isinstance(reference, str) or is_empty(reference):
            raise UserError(f"study {study} of {path} has no text where a report is expected: correct it")
        self.texts.append(text)
        self.references.append(reference)
        self.studies.append(study)


def finite_number(path: Path, name: str, cell: object) -> float:
    """A cell as a number, ``3,5`` too; neither an empty one nor ``nan`` is a rating.

    Raises:
        UserError: if it is none.
    """
    text = str(cell)
    try:
        value = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise UserError(f"the column {name!r} of {path} holds {quoted(cell)} and no number: correct it")
    return value
