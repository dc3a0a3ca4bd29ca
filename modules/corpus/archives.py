"""Packed files, which stay as they are on disk: the members of a zip or tar archive one at a time, and what gzip packed."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from modules.messages import UserError, refuse_stand_ins

TAR_ENDINGS = (".tgz", ".tar.gz", ".tar")


def archive_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files, in the order of the archive; links are never followed.

    Args:
        path: ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` file.
        wanted: says of a name in the archive whether its file is wanted.
        limit: most bytes of a file.

    Raises:
        UserError: if the archive is damaged, or a wanted file is encrypted, packed in an unknown way or larger.
    """
    read = _zip_members if path.suffix.lower() == ".zip" else _tar_members
    refuse_stand_ins(path)
    try:
        yield from read(path, wanted, limit)
    except UserError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, tarfile, gzip and zlib raise almost anything
        raise UserError(
            f"{path} is damaged or cut off ({type(error).__name__}): copy it again and run the same command again"
        ) from error


def open_unpacked(path: str | Path) -> IO[bytes]:
    """Open a file for reading; one that gzip has packed is unpacked on the way, whatever its name says."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb") if packed else open(path, "rb"))


def _zip_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not wanted(entry.filename):
                continue
            if entry.flag_bits & 1:
                raise UserError(f"{entry.filename} in {path} is encrypted: unpack the archive and give the folder")
            _check_size(path, entry.filename, entry.file_size, limit)
            try:
                with archive.open(entry) as file:  # which ends where the entry said it would
                    content = file.read()
            except NotImplementedError:
                raise UserError(
                    f"{entry.filename} in {path} is packed in a way that is not known here: unpack the archive and give the folder"
                ) from None
            yield entry.filename, content


def _tar_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    with open_unpacked(path) as opened:
        bounded = _Bounded(opened, path, limit)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep the head of every file
                content = archive.extractfile(member) if wanted(member.name) and member.isfile() else None
                if content is not None:
                    _check_size(path, member.name, member.size, limit)
                    yield member.name, content.read()
            whole = bounded.last == bytes(tarfile.BLOCKSIZE)  # tarfile takes a damaged or absent head for the end
            while rest := opened.read(1 << 20):  # to the checksum, which stands at the very end
                whole = whole and not rest.strip(b"\0")
            if not whole:
                raise UserError(
                    f"{path} is damaged, cut off or of several archives: it does not end where its files do; copy it again and "
                    "run the same command again"
                )


def _check_size(path: Path, name: str, size: int, limit: int) -> None:
    if size > limit:
        raise UserError(
            f"{name} in {path} has {size:,} bytes, expected at most {limit:,}: it is not what it is called, copy it again"
        )


class _Bounded(io.RawIOBase):
    """A file of which nobody reads more than ``limit`` bytes at once: a tar head may ask for any number.

    ``last`` is what was read last.
    """

    def __init__(self, file: IO[bytes], path: Path, limit: int) -> None:
        self._file, self._path, self._limit = file, path, max(limit, 1 << 20)
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """Read exactly as many bytes, at the end fewer."""
        if not 0 <= size <= self._limit:
            raise UserError(f"{self._path} has a head of {size:,} bytes: it is no usable archive, copy it again")
        self.last = self._file.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._file.tell()
