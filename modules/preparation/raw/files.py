"""Raw files as they are published: tables, compressed or not, and texts in a folder or in an unopened archive."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TextIO

from tqdm import tqdm

from modules.corpus.annotations import leading_out
from modules.corpus.archives import archive_members
from modules.corpus.encodings import find_encoding
from modules.corpus.tables import read_unpacked
from modules.messages import UserError, refuse_stand_ins, require_file, shown_headings

MAX_TEXT = 1 << 22  # bytes of one report; they have a few thousand
MAX_LINE = 1 << 20  # characters of one line of a table
SEPARATORS = ",;\t"
MAX_LINES = 5_000_000  # of a table; MIMIC-CXR's have 377,110


def read_table(path: str | Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a published CSV table with a header, absent values as empty text.

    It may have been saved anew: unpacked or packed whatever its name says, in UTF-16 or cp1252, with ``;`` or tabs, its headings
    in other case.

    Args:
        path: ``.csv`` or ``.csv.gz`` file.
        columns: names that its header must hold, by which the rows have their cells.

    Raises:
        UserError: if there is no such file; if a column is missing, or the file is cut off, damaged or in an unknown encoding.
    """
    path = require_file(path)
    refuse_stand_ins(path)
    csv.field_size_limit(MAX_LINE)
    content = read_unpacked(path)
    encoding = find_encoding(path, content)
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="") as file:
            lines = _lines(file, path)
            heading = next(lines, "")
            separator = max(SEPARATORS, key=heading.count)
            reader = csv.DictReader(chain([heading], lines), restval="", strict=True, delimiter=separator)
            headings = _named_alike(reader.fieldnames or (), columns)
            reader.fieldnames = headings
            missing = [name for name in columns if name not in headings]
            if missing:
                first = [name.split("\n")[0] for name in headings]  # a lost quote takes rows in
                shown = shown_headings(first, len(missing) < len(columns))[:200]
                raise UserError(
                    f"{path} has no column {', '.join(missing)} (found {shown or 'none'}): "
                    "give the table as it is published"
                )
            for row in reader:
                if None in row:
                    raise UserError(f"{path} has more cells than headings in line {reader.line_num}: copy it again")
                yield row
    except csv.Error as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): it may be cut off, copy it again") from error


def _named_alike(headings: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The headings; one that differs from a wanted column in case or blanks alone is given that column's name."""
    wanted = {name.casefold(): name for name in columns if name not in headings}
    return [wanted.get(name.strip().casefold(), name) for name in headings]


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """Lines of a table; UserError for a line or a number of lines that would fill the memory."""
    for _ in range(MAX_LINES):
        line = file.readline(MAX_LINE)
        if len(line) == MAX_LINE:
            raise UserError(f"{path} has a line of more than {MAX_LINE:,} characters: it is no table, copy it again")
        if not line:
            return
        yield line
    raise UserError(f"{path} has more than {MAX_LINES:,} lines: it is no table of this data set, copy it again")


def iterate_texts(source: str | Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file with a suffix in a folder, a zip or a tar archive, which stays unopened.

    Args:
        source: folder or archive.
        suffix: what the names end with, for example ``".txt"``.

    Yields:
        Path inside the source with ``/``, and the bytes. A folder is read in the order of its names, an archive in its own.

    Raises:
        UserError: if the archive is damaged or of another kind, a file is too large for a text, or a link leads out of
            the folder.
    """
    source = Path(source)
    if source.is_dir():
        texts = _folder_texts(source, suffix)
    else:
        texts = archive_members(source, lambda name: _is_text(name, suffix), MAX_TEXT)
    yield from tqdm(texts, desc=source.name, unit="file", leave=False)


def find_below(folder: str | Path, pattern: str, depth: int = 5) -> list[Path]:
    """Files and folders whose name matches a regular expression, in a folder and a few levels below it.

    Folders of patients (``p10`` to ``p19``) are not entered.

    Args:
        folder: where to begin.
        pattern: of the whole name, case ignored.
        depth: levels below the folder.
    """
    matches = re.compile(pattern, re.IGNORECASE).fullmatch
    found: list[Path] = []
    level = [Path(folder)]
    for _ in range(depth):
        below = []
        for place in level:
            for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
                if matches(entry.name):
                    found.append(Path(entry.path))
                if entry.is_dir() and not re.fullmatch(r"p1\d|\..*", entry.name):
                    below.append(Path(entry.path))
        level = below
    return found


def _is_text(name: str, suffix: str) -> bool:
    """Whether a file ends with the suffix and is not what macOS puts beside one (``._report.txt``)."""
    return name.endswith(suffix) and not PurePosixPath(name).name.startswith("._")


def _folder_texts(source: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """:func:`iterate_texts` of a folder."""
    for place, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if not _is_text(name, suffix) or not path.is_file():
                continue
            inside = path.relative_to(source).as_posix()
            if path.is_symlink() and leading_out(source, [inside]):
                raise UserError(f"{path} is a link that leads out of {source}: copy the text itself there")
            if path.stat().st_size > MAX_TEXT:
                raise UserError(
                    f"{path} has {path.stat().st_size:,} bytes, expected at most {MAX_TEXT:,}: it is no report"
                )
            yield inside, path.read_bytes()
