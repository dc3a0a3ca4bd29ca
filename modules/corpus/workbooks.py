"""The sheet of an Excel workbook that holds the studies, its cells as a person sees them.

A value that cells share by being merged belongs to each of their rows; a number that is shown with leading zeros has them.
What a person would see and a reader would not is refused: a formula that was never computed, a second sheet of studies.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn

from modules.messages import UserError

MAX_COLUMNS = 1000
WHOLE = 10**15  # numbers from here on have lost digits: Excel keeps 15 of them
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^>]*\bref="([A-Z]+)(\d+):[A-Z]+(\d+)"')
_UNCOMPUTED = re.compile(
    rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*"
    rb"</(?:\w+:)?c>"
)
_ESCAPED = re.compile(r"_x(000[9AD]|005F)_")

Rows = list[tuple[int, list[str]]]  # number of the row and its cells


def read_workbook(path: Path, content: bytes, named: Callable[[Rows], int], most: int) -> tuple[Rows, str]:
    """Rows of the sheet that shows most known headings; hidden sheets count only where there is no other.

    Args:
        path: for messages.
        content: of the file.
        named: how many known headings rows show.
        most: bytes that the file may unpack to.

    Returns:
        The rows with any text, and what was found.

    Raises:
        UserError: if it is no workbook, a damaged or too large one; if two sheets hold studies; if the sheet holds formulas
            whose values are not in the file.
    """
    try:
        import openpyxl  # on demand: only workbooks need it
    except ImportError:
        raise UserError(
            f"{path} is an Excel workbook, which openpyxl reads: pip install -r requirements/excel.txt, or save the sheet as CSV in UTF-8"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > most:
                raise UserError(f"{path} unpacks to more than {most >> 20} MB: save the sheet as CSV")
            if "xl/workbook.xml" not in archive.namelist():
                raise UserError(f"{path} is a zip archive and no table: give the table in it")
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            try:
                return _read(path, archive, book.worksheets, named)
            finally:
                book.close()
    except UserError:
        raise
    except Exception as error:  # whatever a damaged workbook makes openpyxl, zipfile and expat raise
        _reject(path, error)


def _read(path: Path, archive: zipfile.ZipFile, sheets: list[Any], named: Callable[[Rows], int]) -> tuple[Rows, str]:
    """:func:`read_workbook` of the sheets of an opened workbook."""
    found = [(sheet, list(_rows(path, sheet))) for sheet in sheets]
    found = [(sheet, rows) for sheet, rows in found if rows]
    shown = [(sheet, rows) for sheet, rows in found if sheet.sheet_state == "visible"] or found
    if not shown:
        return [], "no sheet with text"
    counts = [named(rows) for _, rows in shown]
    alike = [
        sheet.title for (sheet, rows), count in zip(shown, counts, strict=True) if count == max(counts) > 1 < len(rows)
    ]
    if len(alike) > 1:
        raise UserError(
            f"{path} holds studies in the sheets {', '.join(map(repr, alike[:4]))}: put all rows into one, or give one of them as CSV"
        )
    sheet, rows = shown[counts.index(max(counts))]
    source = archive.read(sheet._worksheet_path.lstrip("/"))
    cells = [attributes for attributes in _UNCOMPUTED.findall(source) if b't="str"' not in attributes]  # that one is ""
    if cells:
        first = re.search(rb'\br="(\w+)"', cells[0])
        where = f", first in {first[1].decode()}" if first else ""
        raise UserError(
            f"{path}, sheet {sheet.title!r}, holds {len(cells)} formulas whose values were never computed{where}: open and save it in Excel "
            "or LibreOffice, or give the values as CSV"
        )
    merged = _fill_merged(rows, source)
    others = [other.title for other, _ in found if other is not sheet]
    said = f"sheet {sheet.title!r}"
    if merged:
        said += f", the value of merged cells in each of their rows ({merged})"
    if others:
        said += f"; not read: {', '.join(map(repr, others))}"
    return rows, said


def _rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file claims to hold may be a million empty columns
    for line, values in enumerate(sheet.iter_rows(), start=1):
        if len(values) > MAX_COLUMNS:
            raise UserError(f"{path} has {len(values)} cells in row {line}, expected a table of studies")
        cells = [_cell_text(cell) for cell in values]
        if any(cells):
            yield line, cells


def _fill_merged(rows: Rows, source: bytes) -> int:
    """Give every row the value of the merged cell that reaches over it; returns to how many cells one was given."""
    by_line, filled = dict(rows), 0
    for letters, top, bottom in _MERGED.findall(source):
        column = 0
        for letter in letters:
            column = 26 * column + letter - ord("A") + 1
        first = by_line.get(int(top), [])
        value = first[column - 1] if column <= len(first) else ""
        if not value:
            continue
        for line, cells in by_line.items():
            if not int(top) < line <= int(bottom):
                continue
            cells += [""] * (column - len(cells))
            cells[column - 1] = value
            filled += 1
    return filled


def _cell_text(cell: Any) -> str:
    """What a person sees in a cell. A number that Excel has rounded is written with an exponent, by which readers know it."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value).strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1:  # no fraction, no NaN
        if abs(value) >= WHOLE:
            return f"{value:.14E}"
        digits = str(int(value))
        return digits.zfill(len(cell.number_format)) if re.fullmatch("0+", cell.number_format or "") else digits
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()  # Excel keeps a day as its midnight
    return value.isoformat() if isinstance(value, date | time) else str(value).strip()


def _reject(path: Path, error: Exception) -> NoReturn:
    raise UserError(f"{path} is a damaged Excel workbook ({type(error).__name__}): save it again, or as CSV") from error
