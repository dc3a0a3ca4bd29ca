"""Writing weights: whole or not at all, with a checksum over the content, the last two states of a run kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
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


def verified_checksum(path: str | Path) -> str:
    """The checksum of a file of :func:`save_atomically`, after comparing it with the content.

    Raises:
        UserError: if the file is cut off, empty, or not what was written.
    """
    path = Path(path)
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = max(size - TRAILER - 2, 0)
        while left and (chunk := file.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        end = file.read()
    if not end[2:].startswith(MARK):
        raise UserError(
            f"{path} is cut off or was not written by this project ({size:,} bytes, no checksum at its end)"
        )
    if end != TRAILER.to_bytes(2, "little") + MARK + digest.hexdigest().encode():
        raise UserError(f"{path} is damaged: its content is not what was written (the checksum differs)")
    return digest.hexdigest()


def all_finite(weights: Mapping[str, Tensor]) -> bool:
    """Whether every weight and every running statistic is finite; waits for their device."""
    tensors = [value for value in weights.values() if value.is_floating_point() and value.numel()]
    largest = torch.stack([value.float() for value in torch._foreach_norm(tensors, float("inf"))])
    return bool(largest.isfinite().all())


def require_finite(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights that would write nonsense.

    Raises:
        UserError: if one is not finite.
    """
    if not all_finite(weights):
        bad = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
        raise UserError(
            f"{path} holds weights that are not finite ({len(bad)} tensors, first {bad[0]}): its training went wrong, give "
            "an earlier checkpoint"
        )
