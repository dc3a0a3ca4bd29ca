"""Reading published files piece by piece: lists of numbers, folders and archives of .npy files, sentences of any number."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.corpus.archives import TAR_ENDINGS, archive_members
from modules.corpus.spelling import DICOM, PICTURES
from modules.corpus.store_writing import FLUSH_ROWS
from modules.messages import UserError
from modules.records import atomic_write, iterate_jsonl, plain

MAX_ARRAY = 1 << 26  # bytes of one .npy file; the embeddings of an image have 0.2 MB
_INNER_LIST = re.compile(rb"\[[^\[\]]*\]")
_CHUNK = 1 << 20  # bytes read at once
_LARGEST = 1 << 62  # whole number


def number_rows(path: Path) -> Iterator[list]:
    """Lists of numbers, one at a time, of a file with one JSON list a line or with one JSON list of lists.

    Raises:
        UserError: if it is cut off or holds something else.
    """
    with open(path, "rb") as file:
        nested = re.match(rb"\s*\[\s*\[", file.read(_CHUNK)) is not None
    for number, row in enumerate(_nested_rows(path) if nested else iterate_jsonl(path), start=1):
        numbers = isinstance(row, list) and all(type(value) in (int, float) for value in row)
        if not numbers or any(type(value) is int and abs(value) > _LARGEST for value in row):
            raise UserError(f"row {number} of {path} is not a list of numbers: copy the file again")
        yield row


def row_width(path: Path) -> int:
    """Numbers in the first row of such a file; UserError if it has none."""
    row = next(number_rows(path), None)
    if row is None:
        raise UserError(f"{path} is empty: copy it again")
    return len(row)


def _nested_rows(path: Path) -> Iterator[Any]:
    """The lists in a file with one JSON list of lists, which is never in memory as a whole."""
    rest = b""
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            rest += chunk
            end = 0
            for match in _INNER_LIST.finditer(rest):
                try:
                    yield json.loads(match[0])
                except ValueError as error:
                    raise UserError(f"{path} is not a JSON list of lists: copy it again") from error
                end = match.end()
            rest = rest[end:]
            if len(rest) > MAX_ARRAY:
                raise UserError(f"{path} holds a row of more than {MAX_ARRAY >> 20} MB: copy it again")
    if rest.strip() != b"]":
        raise UserError(f"{path} ends in the middle of its list: it is cut off, copy it again")


def mark_of(path: Path) -> str:
    """A text by which a file, or a folder by its first file, is known again: name, size and time."""
    first = path
    if path.is_dir():  # another build's has the same name
        for folder, folders, names in os.walk(path):
            folders.sort()
            if names:
                first = Path(folder, min(names))
                break
    return f"{path.name} {first.stat().st_size} bytes of {first.stat().st_mtime_ns}"


class EmbeddingFiles:
    """One array per image: a folder ``<name>`` with an .npy file per image path, or an archive of it.

    Args:
        folder: where the folder or the archive lies.
        name: of the folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        archives = [folder / f"{name}{suffix}" for suffix in TAR_ENDINGS if (folder / f"{name}{suffix}").is_file()]
        self.path = folder / name if (folder / name).is_dir() or not archives else archives[0]

    def width(self, studies: Sequence[Study]) -> int:
        """Width of the first array that is found.

        Raises:
            UserError: if none is, as in a folder or an archive of other images; if it is no list of rows.
        """
        row, value = next(self._arrays(studies, range(len(studies))), (-1, np.empty(0)))
        image = studies[row].image_path[0]
        if row < 0:
            raise UserError(
                f"{self.path} holds no array of any of the {len(studies)} images of the annotation, expected {self.name}/{_key(image)}.npy "
                "and their like: give the annotation that the files were published with, or copy them again"
            )
        self._check_shape(value, (None, None), image)
        return value.shape[1]

    def _check_shape(self, value: np.ndarray, shape: tuple[int | None, int | None], image: str) -> None:
        """Refuse an array of another shape; None stands for any length."""
        if value.ndim != 2 or any(want not in (None, have) for have, want in zip(value.shape, shape, strict=True)):
            raise UserError(
                f"the array of {image} in {self.path} has the shape {value.shape}, expected "
                f"{tuple('any' if want is None else want for want in shape)}: copy it again"
            )

    def read(
        self, studies: Sequence[Study], waiting: Sequence[int] | np.ndarray, shape: tuple[int | None, int], what: str
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Arrays of the ``waiting`` rows in the order in which they lie on disk.

        Args:
            studies: all rows.
            waiting: rows wanted.
            shape: of each array; None for any length.
            what: word for the progress bar.

        Yields:
            Row and array.

        Raises:
            UserError: if an array is damaged or of another shape, or arrays are missing.
        """
        missing = set(map(int, waiting))
        with tqdm(total=len(studies), initial=len(studies) - len(missing), desc=what, unit="file") as bar:
            for row, value in self._arrays(studies, sorted(missing)) if missing else ():
                self._check_shape(value, shape, studies[row].image_path[0])
                if not np.isfinite(value).all():
                    raise UserError(
                        f"the array of {studies[row].image_path[0]} in {self.path} holds NaN: copy it again"
                    )
                if row in missing:
                    missing.discard(row)
                    bar.update()
                    yield row, value
        if missing:
            names = ", ".join(studies[row].image_path[0] for row in sorted(missing)[:3])
            raise UserError(
                f"{self.path} lacks the arrays of {len(missing)} of {len(studies)} images, first {names}: copy them there and "
                "run the same command again, which continues, or remove the studies from the annotation"
            )

    def _arrays(self, studies: Sequence[Study], rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Row and array of every study of ``rows`` whose array is there, in the order in which they lie on disk."""
        if self.path.is_dir():
            for row in rows:
                image = studies[row].image_path[0]
                found = [p for p in (self.path / f"{_key(image)}.npy", self.path / f"{image}.npy") if p.is_file()]
                if found:
                    yield row, _array(found[0].read_bytes(), found[0])
            return
        wanted: dict[str, list[int]] = {}
        for row in rows:
            wanted.setdefault(_key(studies[row].image_path[0]), []).append(row)
        for name, content in self._members(wanted):
            value = _array(content, f"{name} in {self.path}")
            for row in wanted[_key(self._below(name))]:
                yield row, value

    def _members(self, wanted: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Name and content of every member that is wanted, read from front to back."""
        return archive_members(
            self.path, lambda name: name.endswith(".npy") and _key(self._below(name)) in wanted, MAX_ARRAY
        )

    def _below(self, name: str) -> str:
        """A member's path below the folder that the archive was made of."""
        head, folder, tail = f"/{name}".partition(f"/{self.name}/")
        return tail if folder else head.removeprefix("/").removeprefix("./")


def _key(path: str) -> str:
    """An image path, or that of its array, without .npy and without the image's suffix."""
    path = path.removesuffix(".npy")
    pure = PurePosixPath(path)
    return str(pure.with_suffix("")) if pure.suffix.lower() in (*PICTURES, *DICOM) else path


def _array(content: bytes, where: object) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # a damaged head makes numpy raise almost anything
        raise UserError(f"{where} is not a whole .npy array: copy it again") from error


class SentenceSpool:
    """Sentence features in the order in which they are found, on disk, until every report's number is known.

    A killed program leaves its spool, and the next one with the same ``made_by`` adds the rest.

    Args:
        folder: feature folder.
        reports: N.
        width: C.
        dtype: float16 or float32.
        made_by: what the features depend on.
    """

    def __init__(self, folder: Path, reports: int, width: int, dtype: np.dtype, made_by: Mapping[str, Any]) -> None:
        self.width, self.dtype = width, np.dtype(dtype)
        self.counts = np.full(reports, -1, dtype=np.int64)  # (N,), -1 for a report that waits
        self.order: list[int] = []  # reports as they lie in the spool
        self._data, self._index = (folder / f".sentences.unfinished.{kind}" for kind in ("bin", "jsonl"))
        self._head = json.dumps(plain({"reports": reports, "width": width, "dtype": self.dtype.name, **made_by})) + "\n"
        self._lines: list[str] = []

    def __enter__(self) -> SentenceSpool:
        kept = self._recover()
        with atomic_write(self._index) as file:
            file.write(self._head + "".join(f"{json.dumps([row, int(self.counts[row])])}\n" for row in self.order))
        self._file, self._list = open(self._data, "r+b" if kept else "w+b"), open(self._index, "a", encoding="utf-8")
        self._file.truncate(self._bytes(self.counts[self.order].sum()))
        self._file.seek(0, io.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()
        self._list.close()

    def _bytes(self, sentences: int) -> int:
        return int(sentences) * self.width * self.dtype.itemsize

    def _recover(self) -> bool:
        """Take over what an earlier program left; a line or a row that it did not finish is dropped."""
        if not (self._index.is_file() and self._data.is_file()):
            return False
        lines = self._index.read_text(encoding="utf-8").splitlines(keepends=True)
        size, total = self._data.stat().st_size, 0
        if not lines or lines[0] != self._head:
            return False
        for line in lines[1:]:
            if not line.endswith("]\n"):
                break
            row, count = json.loads(line)
            if self._bytes(total + count) > size:
                break
            total += count
            self.counts[row] = count
            self.order.append(row)
        return True

    def waiting(self) -> np.ndarray:
        """Reports without sentences so far."""
        return np.flatnonzero(self.counts < 0)

    def add(self, row: int, sentences: np.ndarray) -> None:
        """Add the sentences ``(S, C)`` of a report; one row of zeros if it has none, so that it has a row to look at."""
        if not len(sentences):
            sentences = np.zeros((1, self.width))
        self._file.write(np.ascontiguousarray(sentences, dtype=self.dtype).tobytes())
        self._lines.append(f"{json.dumps([row, len(sentences)])}\n")
        self.counts[row] = len(sentences)
        self.order.append(row)
        if len(self._lines) >= FLUSH_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._file.flush()
        self._list.write("".join(self._lines))
        self._list.flush()
        self._lines.clear()

    def offsets(self) -> np.ndarray:
        """First sentence of every report, and the number of all ``(N + 1,)``."""
        return np.cumsum([0, *self.counts], dtype=np.int64)

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Reports and their sentences ``(S, C)``, in the order of the spool."""
        spool = np.memmap(self._data, dtype=self.dtype, mode="r").reshape(-1, self.width)
        start = 0
        for row in self.order:
            yield row, spool[start : start + self.counts[row]]
            start += self.counts[row]
