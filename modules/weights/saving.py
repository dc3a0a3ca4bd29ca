"""Writing weights: whole or not at all, with a checksum over the content, the last two states of a run kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from models.revtaf import Revtaf
from modules.messages import UserError
from modules.records import temporary_name

FORMAT = "revtaf/1"
CURRENT, PREVIOUS, BEST = "current_checkpoint.pth", "previous_checkpoint.pth", "model_best.pth"
MARK = b"sha256:"
TRAILER = len(MARK) + 64  # bytes: the comment of the zip archive that torch writes
CHUNK = 1 << 20


class _Checked:
    """Sums up what torch writes, and appends the checksum as the comment of its archive.

    An error of the disk is kept until torch has ended: thrown into its writer it would end the process.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest, self.held = file, hashlib.sha256(), b""
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        content = self.held + bytes(data)
        self.held = content[-2:]  # the last two bytes of the archive say how long its comment is
        self.digest.update(content[:-2])
        if self.error is None:
            try:
                self.file.write(content[:-2])
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: :meth:`finish` does it."""

    def finish(self) -> str:
        """Write the checksum, bring everything to the disk; returns the checksum."""
        if self.error is not None:
            raise self.error
        checksum = self.digest.hexdigest()
        self.file.write(TRAILER.to_bytes(2, "little") + MARK + checksum.encode())
        self.file.flush()
        os.fsync(self.file.fileno())
        return checksum


def save_atomically(value: Any, path: Path) -> str:
    """``torch.save`` to a temporary name beside ``path``, onto the disk, then rename.

    Returns:
        The checksum of the content, 64 hexadecimal digits.

    Raises:
        UserError: if the disk is full or refuses; what was there is as it was.
    """
    return _write(value, Path(path), keep=None)


def save_generation(value: Any, folder: Path) -> str:
    """Save as the current state of a run; the state before it becomes the previous one. See :func:`save_atomically`."""
    return _write(value, folder / CURRENT, keep=folder / PREVIOUS)


def _write(value: Any, path: Path, keep: Path | None) -> str:
    """Write a file under a temporary name, then give it its own; what was there is kept as ``keep``, if that is given."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:  # given a path, torch would write its name into the file
            checked = _Checked(file)
            torch.save(value, cast(IO[bytes], checked))
            checksum = checked.finish()
        if keep is not None and path.is_file():
            _second_name(path, keep)
        os.replace(temporary, path)
        _sync(path.parent)
        return checksum
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): make room or give another --save_dir; the files that "
            "are there are whole"
        ) from error
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def _second_name(path: Path, keep: Path) -> None:
    """Let ``keep`` be what ``path`` is, at no moment without a ``path`` where the disk knows hard links."""
    link = temporary_name(keep)
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, keep)
        return
    os.replace(link, keep)
    link.unlink(missing_ok=True)  # which it leaves where both are one file: a writer was killed after this line before


def _sync(folder: Path) -> None:
    """Bring a rename to the disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_checkpoint(path: Path, model: Revtaf, run: dict[str, Any]) -> str:
    """Write weights, configuration and the state of the run; see :func:`save_atomically`."""
    return save_atomically(content_of(model, run), path)


def content_of(model: Revtaf, run: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds."""
    return {"format": FORMAT, "config": asdict(model.config), "state_dict": model.state_dict(), "run": run}


def last_bytes(path: str | Path) -> bytes:
    """Where the checksum of a file of :func:`save_atomically` stands."""
    with open(path, "rb") as file:
        file.seek(-min(TRAILER, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.read()


def stated_checksum(path: str | Path) -> str:
    """The checksum at the end of a file of :func:`save_atomically`; it is compared when the file is loaded.

    Raises:
        UserError: if there is none.
    """
    end = last_bytes(path)
    if not end.startswith(MARK):
        raise UserError(
            f"{path} is cut off, has grown or was not written by this project ({Path(path).stat().st_size:,} bytes, no "
            "checksum at its end)"
        )
    return end[len(MARK) :].decode(errors="replace")


def verified_checksum(path: str | Path) -> str:
    """The checksum of a file of :func:`save_atomically`, after comparing it with the content.

    Raises:
        UserError: if the file is cut off, has grown, is empty, or not what was written.
    """
    path, stated = Path(path), stated_checksum(path)
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = max(size - TRAILER - 2, 0)
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        end = file.read()
    if end[:2] != TRAILER.to_bytes(2, "little") or stated != digest.hexdigest():
        raise UserError(f"{path} is damaged: its content is not what was written (the checksum differs)")
    return stated


def nonfinite_tensors(content: Any) -> list[str]:
    """Names of the tensors in nested dictionaries and lists that hold a number that is none; waits for their devices."""
    return [name for name, value in _tensors("", content) if not bool(value.isfinite().all())]


def _tensors(name: str, content: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors of fractions by where they stand; those that are no whole arrays are refused by who reads them."""
    if isinstance(content, Tensor):
        if is_whole(content) and content.is_floating_point():
            yield name, content
        return
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    for key, value in content.items() if isinstance(content, Mapping) else ():
        yield from _tensors(f"{name}.{key}" if name else str(key), value)


def is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is a plain array that holds as many numbers as it claims."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    return plain and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
