"""Tables as people have them: separator, encoding and headings are found, not asked for.

.csv .tsv .txt, also .gz    separated by , ; tab or |; UTF-8 with or without mark, UTF-16, cp1252; an Excel line ``sep=;``
.xlsx                       the sheet with the most known headings, else the first that holds anything

What was found is said in ``Table.read_as``. What cannot be told apart is refused: a text in another encoding, a quote that
is never closed, a row with more cells than headings.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from modules.corpus.encodings import find_encoding
from modules.messages import UserError, require_file

TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".xlsx")
SEPARATORS = ",;\t|"
MAX_BYTES = 1 << 28  # of an unpacked table; MIMIC-CXR's reports in one table are 0.2 GB
MAX_CELL = 1 << 24  # characters
_MAX_COLUMNS = 1000
_SAMPLE = 1 << 18  # bytes looked at for the separator
_OTHER_FILES = (
    (b"\xd0\xcf\x11\xe0", "an Excel file of the old kind (.xls): save it as .xlsx or CSV"),
    (b"<", "a page or XML: export the table as CSV"),
    (b"%PDF", "a PDF: export the table as CSV"),
    (b"{", "JSON: name it .json or .jsonl"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table as text.

    Args:
        path: the file.
        rows: number of the line (of the row in a workbook) and cells, stripped of blanks; rows without any text are left
            out. The first is the heading, if the table has one.
        read_as: what was found, for the console: ``"separated by ';', cp1252"``.
    """

    path: Path
    rows: list[tuple[int, list[str]]]
    read_as: str

    @property
    def headings(self) -> list[str]:
        """Cells of the first row as they are written; empty if the table is."""
        return self.rows[0][1] if self.rows else []

    def column(self, names: Sequence[str]) -> int | None:
        """Index of the heading that is one of ``names``, the earliest name first, in any case, with blanks or without.

        Raises:
            UserError: if two headings are the same name.
        """
        plain = [plain_heading(heading) for heading in self.headings]
        for name in map(plain_heading, names):
            if plain.count(name) > 1:
                raise UserError(f"{self.path} has two columns {name!r}, expected one: rename or remove one of them")
            if name in plain:
                return plain.index(name)
        return None

    def body(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of every row below the heading; a row that is shorter than the heading gets empty cells.

        Raises:
            UserError: naming every line that has more cells than the heading: which of them are one text is not known.
        """
        width = len(self.headings)
        long = [line for line, cells in self.rows[1:] if len(cells) > width and any(cells[width:])]
        if long:
            raise UserError(
                f"{self.path} has more cells than headings ({width}) in line {_listed(long)}: put texts that hold the "
                "separator between double quotes"
            )
        for line, cells in self.rows[1:]:
            yield line, (cells + [""] * (width - len(cells)))[:width]


def plain_heading(name: str) -> str:
    """A heading without case, blanks and marks: ``"Study ID"``, ``"study_id"`` and ``"StudyID"`` are one."""
    return re.sub(r"[\W_]+", "", name).casefold()


def read_table_file(path: str | Path, known: Iterable[str] = ()) -> Table:
    """Read a table of any kind named above.

    Args:
        path: the file; its content decides what it is, not its name.
        known: headings that the caller looks for; the separator, and the sheet, that shows most of them is taken.

    Raises:
        UserError: if there is no such file; if it is no table, or one that cannot be read without guessing.
    """
    path = require_file(path)
    plain_known = {plain_heading(name) for name in known}
    content = _content(path)
    if content.startswith(b"PK"):
        return _read_workbook(path, content, plain_known)
    for start, what in _OTHER_FILES:
        if content.lstrip()[:8].startswith(start):
            raise UserError(f"{path} is no table but {what}")
    encoding = find_encoding(path, content)
    sample = content[:_SAMPLE].decode(encoding, "ignore")
    skip = re.match(r"\ufeff?\"?sep=(.)\"?[ \t]*\r?\n", sample)  # Excel's own line
    separator = skip[1] if skip else _separator(sample, plain_known, "\t" if ".tsv" in path.name else ",")
    rows = list(_rows(path, content, encoding, separator))[1 if skip else 0 :]
    name = {"utf-8-sig": "UTF-8"}.get(encoding, encoding)
    return Table(path, rows, f"separated by {'tab' if separator == chr(9) else repr(separator)}, {name}")


def read_text_file(path: str | Path) -> str:
    """The text of a file, its encoding found as that of a table.

    Raises:
        UserError: if it is no text, or in an encoding that cannot be told from others.
    """
    path = Path(path)
    content = _content(path)
    return content.decode(find_encoding(path, content))


def _content(path: Path) -> bytes:
    """The unpacked bytes of a file that fits the memory."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be unpacked ({type(error).__name__}): it may be cut off, copy it again"
        ) from error
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{path} holds more than {MAX_BYTES >> 20} MB, too much for one table: divide it, or give JSON lines"
        )
    return content


def _separator(sample: str, known: set[str], usual: str) -> str:
    """The separator that makes most known headings, or else rows of one length."""

    def fit(separator: str) -> tuple[int, float, bool]:
        rows = list(itertools.islice(csv.reader(io.StringIO(sample, newline=""), delimiter=separator), 50))
        rows = [row for row in rows[: len(rows) - (len(rows) > 2)] if any(row)]  # the last one may be cut
        named = len(known & {plain_heading(cell) for cell in rows[0]}) if rows else 0
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows) if rows and len(rows[0]) > 1 else 0.0
        return named, even if named or even > 0.8 else 0.0, separator == usual

    try:
        return max(SEPARATORS, key=fit)
    except csv.Error:
        return usual


def _rows(path: Path, content: bytes, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_CELL)
    # strict: a quote that is closed in the middle of a cell, or never, would join or tear rows in silence
    with io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(
                    f"{path} has a double quote that does not enclose a whole cell ({error}) from line {line} on: double "
                    "the quotes inside a text"
                ) from error
            if len(cells) > _MAX_COLUMNS:
                raise UserError(f"{path} has {len(cells)} cells in line {line}, expected a table of studies")
            if any(cells):
                yield line, cells


def _read_workbook(path: Path, content: bytes, known: set[str]) -> Table:
    """The sheet of an .xlsx file that shows most known headings."""
    try:
        import openpyxl  # on demand: only workbooks need it
    except ImportError:
        raise UserError(
            f"{path} is an Excel workbook, which openpyxl reads: pip install -r requirements/excel.txt, or save the sheet as CSV in UTF-8"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise UserError(f"{path} unpacks to more than {MAX_BYTES >> 20} MB: save the sheet as CSV")
            if "xl/workbook.xml" not in archive.namelist():
                raise UserError(f"{path} is a zip archive and no table: give the table in it")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        try:
            sheets = [(sheet.title, list(_sheet_rows(path, sheet))) for sheet in book.worksheets]
        finally:
            book.close()
    except UserError:
        raise
    except Exception as error:  # whatever a damaged workbook makes openpyxl, zipfile and expat raise
        _reject_workbook(path, error)
    title, rows = max(
        sheets or [("", [])],
        key=lambda sheet: (
            len(known & {plain_heading(c) for c in sheet[1][0][1]}) if sheet[1] else -1,
            len(sheet[1]) > 0,
        ),
    )
    others = sum(bool(rows) for _, rows in sheets) - 1
    return Table(path, rows, f"sheet {title!r}" + (f", {others} other sheets are not read" if others > 0 else ""))


def _sheet_rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file claims to hold may be a million empty columns
    for line, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        if len(values) > _MAX_COLUMNS:
            raise UserError(f"{path} has {len(values)} cells in row {line}, expected a table of studies")
        cells = [_cell_text(value) for value in values]
        if any(cells):
            yield line, cells


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # Excel keeps every number as a float
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _reject_workbook(path: Path, error: Exception) -> NoReturn:
    raise UserError(f"{path} is a damaged Excel workbook ({type(error).__name__}): save it again, or as CSV") from error


def _listed(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:20])) + (f" and {len(lines) - 20} more" if len(lines) > 20 else "")
