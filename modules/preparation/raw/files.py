"""Raw files as they are published: tables, compressed or not, and texts in a folder or in an unopened archive."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

ARCHIVES = (".zip", ".tgz", ".tar.gz", ".tar")


def read_table(path: str | Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV table with a header, plain or gzip-compressed, absent values as empty text.

    Args:
        path: ``.csv`` or ``.csv.gz`` file.
        columns: names that its header must hold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing or the file is cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: check the path")
    open_bytes = gzip.open if path.suffix == ".gz" else open
    try:
        with open_bytes(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path} has no column {', '.join(missing)} (found {', '.join(reader.fieldnames or ()) or 'none'}): "
                    "give the table as it is published"
                )
            yield from reader
    except (EOFError, OSError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        _reject(path, error)


def iterate_texts(source: str | Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file with a suffix in a folder, a zip or a tar archive, which stays unopened.

    Args:
        source: folder or archive.
        suffix: what the names end with, for example ``".txt"``.

    Yields:
        Path inside the source with ``/``, and the bytes; in the order of the names in a folder, of the archive else.

    Raises:
        ValueError: if the archive is damaged or of another kind.
    """
    source = Path(source)
    bar = tqdm(_texts(source, suffix), desc=source.name, unit="file", leave=False)
    try:
        yield from bar
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        _reject(source, error)


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


def _texts(source: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for place, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                if name.endswith(suffix):
                    path = Path(place, name)
                    yield path.relative_to(source).as_posix(), path.read_bytes()
    elif source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(suffix):
                    yield entry.filename, archive.read(entry)
    else:
        with tarfile.open(source, "r:*") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(suffix):
                    yield member.name, archive.extractfile(member).read()


def _reject(path: Path, error: Exception) -> NoReturn:
    raise ValueError(f"{path} cannot be read ({error}): it may be cut off, copy it again") from error
