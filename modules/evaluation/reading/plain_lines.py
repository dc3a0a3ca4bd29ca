"""Files that hold a report a line, or one column of them, without a heading; their rows are matched by order."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from modules.corpus.tables import Table, read_text_file, read_unpacked
from modules.evaluation.reading.headings import is_known, side_of
from modules.messages import UserError, quoted

_ID_BEFORE = re.compile(  # "12: ..", "s50414267, ..", "case-3\t..", "a) ..", "films/1.png ..", also between double quotes
    r"[\s\"']*([sp]?\d+(?=[\t,;:|.)\] \"])|\S*\d{3,}\S*?(?=[\t,;:|\s\"])|[\w-]*\d(?=[\t:|\"])|[A-Za-z](?=[\t:|)\"])|\S+\.(?:jpe?g|jpe|jfif|png|dcm|txt))\S?\s*\S"
)
_CELLS_APART = re.compile(r"\"[\t ,;|]+\"|\t|\|{2,}")  # the first as R's write.table parts them


def report_lines(path: Path) -> list[str]:
    """The lines of a text file, a report each; ``""`` for an empty one.

    Raises:
        UserError: if the lines are more than one report each.
    """
    text = io.StringIO(read_text_file(path), newline=None)  # str.splitlines would also cut at U+2028, a form feed
    lines = [line.strip() for line in text]
    _refuse_more(path, lines)
    return lines


def only_column(table: Table) -> list[str]:
    """The cells of the only column of a table; ``""`` for an empty row.

    Raises:
        UserError: if the cells are more than one report each.
    """
    path = table.path
    if read_unpacked(path).startswith(b"PK"):  # a workbook, which has no text without its cells
        by_row = dict(table.rows)
        cells = [by_row.get(row, [""])[0] for row in range(1, max(by_row) + 1)]
    else:
        # a character of no text: the commas of a report without quotes do not cut it
        rows = list(csv.reader(io.StringIO(read_text_file(path), newline=""), delimiter="\x1f"))
        cells = [row[0].strip() if row else "" for row in rows]
    _refuse_more(path, cells)
    return cells


def _refuse_more(path: Path, cells: Sequence[str]) -> None:
    """Refuse lines that are more than one report each: a heading above them, ids before them, or the cells of a table.

    Above ids and cells the first line may be a heading; R's names no column of the row numbers. Above sentences it may be one
    if it is one word, known words, or a few words without the stop that all others have.
    """
    ids = [match[1] for match in map(_ID_BEFORE.match, cells) if match]
    filled = [cell for cell in cells if cell]
    headed = bool(filled) and not _ID_BEFORE.match(filled[0])
    if 1 < len(ids) == len(set(ids)) == len(filled) - headed:
        raise UserError(
            f"every report in {path} begins with what may be its id, first {quoted(ids[0])}: write a table study_id,report, or remove them"
        )
    above, *apart = [len(_CELLS_APART.findall(cell)) for cell in filled] or [0]
    even = bool(apart) and min(apart) == max(apart) > 0
    if even and (above == apart[0] or (above == apart[0] - 1 and len(apart) > 1)):
        raise UserError(
            f"every line of {path} holds {apart[0] + 1} cells, expected one report: write a table (.tsv, .csv) with a heading for each"
        )
    first, *others = filled or [""]
    stopless = len(first.split()) <= 5 and first[-1:] not in ".!?" and all(cell[-1] in ".!?" for cell in others)
    one_word = is_known(first) or side_of(first) or re.fullmatch(r"[\w-]+", first)
    if others and (stopless or (one_word and sum(" " in cell for cell in others) * 2 >= len(others))):
        shown = f"{len(first.split())} words" if " " in first else repr(first)  # they may be a report too
        raise UserError(f"{path} begins with {shown}, which may be a heading: call it report in a table, or remove it")
