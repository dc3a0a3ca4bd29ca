"""Tables as people have them: separator, encoding and headings are found, not asked for.

.csv .tsv .txt, also .gz    separated by , ; tab or |; UTF-8 with or without mark, UTF-16, cp1252; an Excel line ``sep=;``
.xlsx                       the sheet with the most known headings, else the first that holds anything; see ``workbooks``

Lines above the headings, a title for instance, are passed over.

What was found is said in ``Table.read_as``. What cannot be told apart is refused: a text in another encoding, a quote that
is never closed, a row with more cells than headings.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.corpus.archives import open_unpacked
from modules.corpus.encodings import find_encoding
from modules.corpus.workbooks import MAX_COLUMNS, Rows, read_workbook
from modules.messages import UserError, require_file

TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".xlsx")
SEPARATORS = ",;\t|"
MAX_BYTES = 1 << 28  # of an unpacked table; MIMIC-CXR's reports in one table are 0.2 GB
MAX_CELL = 1 << 24  # characters
_ABOVE = 20  # first rows among which the heading is
_SAMPLE = 1 << 18  # bytes looked at for the separator
_OTHER_FILES = (
    (b"\xd0\xcf\x11\xe0", "an Excel file of the old kind (.xls): save it as .xlsx or CSV"),
    (b"<", "a page or XML: export the table as CSV"),
    (b"%PDF", "a PDF: export the table as CSV"),
    (b"PAR1\x15", "a parquet file: write the table as CSV"),
    (b"ARROW1", "a Feather file: write the table as CSV"),
    (b"SQLitefo", "an SQLite data base: write its table as CSV"),
    (b"{", "JSON: name it .json or .jsonl"),
    (b"[{", "JSON: name it .json or .jsonl"),
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
    rows: Rows
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
        if 1 < len(long) == len(self.rows) - 1 and {len(cells) for _, cells in self.rows[1:]} == {width + 1}:
            raise UserError(
                f"{self.path} has one cell more than headings ({width}) in every line: give the first column a heading if it has none, as R's "
                "write.table leaves that of the row names, or put texts that hold the separator between double quotes"
            )
        if long:
            raise UserError(
                f"{self.path} has more cells than headings ({width}) in line {_listed(long)}: put texts that hold the "
                "separator between double quotes"
            )
        for line, cells in self.rows[1:]:
            yield line, (cells + [""] * (width - len(cells)))[:width]


def plain_heading(name: str) -> str:
    """A heading without case, width, blanks and marks: ``"Study ID"``, ``"study_id"`` and ``"StudyID"`` are one."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


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
    content = read_unpacked(path)
    if content.startswith(b"PK"):
        rows, said = read_workbook(path, content, lambda found: _named(found, plain_known), MAX_BYTES)
        rows, below = _below_title(rows, plain_known)
        return Table(path, rows, said + below)
    for start, what in _OTHER_FILES:
        if b"".join(content[:200].split())[:8].startswith(start):
            raise UserError(f"{path} is no table but {what}")
    encoding = find_encoding(path, content)
    sample = content[:_SAMPLE].decode(encoding, "ignore")
    skip = re.match(r"\ufeff?\"?sep=(.)\"?[ \t]*\r?\n", sample)  # Excel's own line
    separator = skip[1] if skip else _separator(sample, plain_known, "\t" if ".tsv" in path.name else ",")
    rows, below = _below_title(list(_rows(path, content, encoding, separator))[1 if skip else 0 :], plain_known)
    if separator in ",;" and any(len(cells) < len(rows[0][1]) for _, cells in rows):
        _refuse_torn(path, content.decode(encoding), separator, rows[0][0])
    separated = "tab" if separator == "\t" else repr(separator)
    encoded = "UTF-8" if encoding == "utf-8-sig" else encoding
    return Table(path, rows, f"separated by {separated}, {encoded}{below}")


def read_text_file(path: str | Path) -> str:
    """The text of a file, its encoding found as that of a table.

    Raises:
        UserError: if it is no text, or in an encoding that cannot be told from others.
    """
    path = Path(path)
    content = read_unpacked(path)
    return content.decode(find_encoding(path, content))


def read_unpacked(path: Path) -> bytes:
    """The unpacked bytes of a file that fits the memory; UserError for one that is cut off, damaged or larger."""
    try:
        with open_unpacked(require_file(path)) as file:
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
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True)
        rows = list(itertools.islice(reader, 50))
        if len(rows) > 2:
            rows.pop()  # which may be cut
        rows = [row for row in rows if any(row)]
        named = _named(list(enumerate(rows)), known)
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows) if rows and len(rows[0]) > 1 else 0.0
        return named, even if named or even > 0.8 else 0.0, separator == usual

    try:
        return max(SEPARATORS, key=fit)
    except csv.Error:
        return usual


def _rows(path: Path, content: bytes, encoding: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and cells of every row with any text; UserError at the first that cannot be divided into cells."""
    csv.field_size_limit(MAX_CELL)
    # strict: a quote that is closed in the middle of a cell, or never, would join or tear rows in silence
    with io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                if "field limit" in str(error):
                    raise UserError(
                        f"{path} has a cell of more than {MAX_CELL:,} characters from line {line} on: it may lack a closing quote"
                    ) from None
                raise UserError(
                    f"{path} has a double quote that does not enclose a whole cell ({error}) from line {line} on: double "
                    "the quotes inside a text"
                ) from error
            if len(cells) > MAX_COLUMNS:
                raise UserError(f"{path} has {len(cells)} cells in line {line}, expected a table of studies")
            if any(cells):
                yield line, cells


def _named(rows: Rows, known: set[str]) -> int:
    """How many known headings the heading shows, a row at the top or below a title."""
    return max((len(known & {plain_heading(cell) for cell in cells}) for _, cells in rows[:_ABOVE]), default=0)


def _below_title(rows: Rows, known: set[str]) -> tuple[Rows, str]:
    """The rows from the heading on, and a word on where it stands if a title is above it.

    A row with two known headings is the heading; a title shows none.
    """
    for start, (line, cells) in enumerate(rows[:_ABOVE]):
        count = len(known & {plain_heading(cell) for cell in cells})
        if count and start == 0:
            break
        if count > 1:
            return rows[start:], f", headings in line {line}"
    return rows, ""


def _refuse_torn(path: Path, text: str, separator: str, heading: int) -> None:
    """Refuse a table of rows of several lengths in which a separator stands in prose, as in ``large, no effusion`` without quotes.

    A row that such a separator has torn may have as many cells as there are headings, in the wrong columns. In prose a blank
    follows the separator.
    """
    bare = re.sub(r'"[^"]*"', lambda quoted: '"' + "\n" * quoted[0].count("\n"), text).replace("\r\n", "\n").split("\n")
    torn = [line for line, cells in enumerate(bare, start=1) if re.search(rf"{separator} +[^\s\"{separator}]", cells)]
    if heading not in torn and torn:
        raise UserError(
            f"{path} has rows of several lengths, and a text without quotes that holds the separator {separator!r} in line "
            f"{_listed(torn)}: put texts between double quotes"
        )


def _listed(lines: Sequence[int]) -> str:
    """The first twenty numbers of lines, and how many more there are."""
    return ", ".join(map(str, lines[:20])) + (f" and {len(lines) - 20} more" if len(lines) > 20 else "")
