"""Filling a feature folder: whole arrays, or row by row by several processes and across interruptions.

An array enters the store in one step: it is filled under a temporary name, and its checksum enters the manifest only when
it is whole and renamed, so that a reader sees either the old array or the new one. What takes long is filled row by row
(:class:`FeatureRows`): a second file says which rows are done, every process fills its own, and what a kill leaves is
continued.

With several processes all of them call :func:`write_axis`, :func:`write_feature` and :func:`write_bank_reports`; the main
one writes and the others wait for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.manifest import IDS_OF, MANIFEST, read_manifest
from modules.corpus.store import BANK_REPORTS, BASE_RATES, is_current, unfinished
from modules.distributed import barrier, from_main, is_main
from modules.labels import CHEXPERT_CONDITIONS, POSITIVE
from modules.messages import UserError
from modules.records import (
    atomic_write,
    plain,
    provenance,
    read_json,
    sha256_of,
    temporary_name,
    write_json,
    write_jsonl,
)

FLUSH_ROWS = 1024  # rows that a kill may cost


def all_current(directory: str | Path, names: Iterable[str], made_by: Mapping[str, Any]) -> bool:
    """Whether every array is there as ``made_by`` says; the main process decides for all."""
    return from_main(lambda: all(is_current(directory, name, made_by) for name in names))


def write_axis(directory: str | Path, axis: str, ids: Sequence[str]) -> None:
    """Say which studies the rows of an axis are; arrays made for others become stale.

    Args:
        directory: feature folder, made if absent.
        axis: ``"studies"`` or ``"training"``.
        ids: study ids in the order of the rows; nothing is written if they are there already.

    Raises:
        UserError: if an id appears twice.
    """
    assert IDS_OF.get(axis) == axis
    directory, ids = Path(directory), list(ids)
    if len(set(ids)) < len(ids):
        raise UserError(f"{len(ids) - len(set(ids))} ids of the {axis} appear twice: give every study its own id")
    if is_main():
        _write_axis(directory, axis, ids)
    barrier()


def _write_axis(directory: Path, axis: str, ids: list[str]) -> None:
    """:func:`write_axis` in the main process."""
    content = json.dumps(ids, ensure_ascii=False).encode()
    checksum = hashlib.sha256(content).hexdigest()
    path = directory / f"{axis}.json"
    manifest = read_manifest(directory)
    if path.is_file() and manifest["axes"].get(axis, {}).get("sha256") == sha256_of(path) == checksum:
        return
    with atomic_write(path, "wb") as file:
        file.write(content)
    manifest["axes"][axis] = {"rows": len(ids), "sha256": checksum}
    write_json(directory / MANIFEST, manifest)


@contextmanager
def create_feature(
    directory: str | Path, name: str, *, shape: Sequence[int], dtype: Any, axis: str, made_by: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    """Make an array by filling it piece by piece in one process; it enters the store when the block has ended well.

    What an interrupted preparation left in the folder is removed first.

    Args:
        directory: feature folder.
        name: of the array.
        shape: its first length is that of the axis; free for ``"sentences"``.
        dtype: numeric numpy type.
        axis: ``"studies"``, ``"training"`` or ``"sentences"``; :func:`write_axis` comes first.
        made_by: options and inputs; :func:`modules.corpus.store.is_current` compares it.

    Yields:
        The array, on disk, zero at first.
    """
    directory, dtype = Path(directory), np.dtype(dtype)
    entry = _entry(directory, name, shape, dtype, axis, made_by)
    for leftover in directory.glob(".*.tmp"):
        if not leftover.name.endswith(f".{os.getpid()}.tmp"):
            leftover.unlink(missing_ok=True)
    temporary = temporary_name(directory / f"{name}.npy")
    try:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=tuple(shape))
        yield array
        array.flush()
        _enter(directory, name, temporary, entry)
    finally:
        temporary.unlink(missing_ok=True)


def write_feature(
    directory: str | Path, name: str, array: np.ndarray, *, axis: str, made_by: Mapping[str, Any]
) -> None:
    """Write a whole array; see :func:`create_feature`."""
    if is_main():
        shape, dtype = array.shape, array.dtype
        with create_feature(directory, name, shape=shape, dtype=dtype, axis=axis, made_by=made_by) as target:
            target[...] = array
    barrier()


def write_bank_reports(directory: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``id``, ``patient`` and cleaned ``report`` of every bank row, in the order of the ``"training"`` axis."""
    if is_main():
        write_jsonl(Path(directory) / BANK_REPORTS, rows)
        enter_file(Path(directory), BANK_REPORTS)
    barrier()


def write_base_rates(directory: str | Path, labels: np.ndarray, published: Sequence[float] | None = None) -> None:
    """Write the positive rate of the 14 conditions, which the class prior begins with, as ``base_probs.json``.

    Args:
        directory: feature folder.
        labels: ``(N, L)`` states of the training studies.
        published: rates to write instead.
    """
    rates = (labels[:, : len(CHEXPERT_CONDITIONS)] == POSITIVE).mean(axis=0).tolist()
    rates, path = list(published or rates), Path(directory) / BASE_RATES
    if is_main():
        if not (path.is_file() and read_json(path) == rates):
            write_json(path, rates)
        enter_file(path.parent, BASE_RATES)
    barrier()


def enter_file(directory: Path, name: str) -> None:
    """Note the checksum of a file beside the arrays; what a kill leaves between the two is written again."""
    manifest, checksum = read_manifest(directory), sha256_of(directory / name)
    files = manifest.setdefault("files", {})
    if files.get(name) != checksum:
        files[name] = checksum
        write_json(directory / MANIFEST, manifest)


class FeatureRows:
    """An array filled row by row, in any order, by any number of processes, across interruptions.

    The rows lie in a hidden file beside a list of those that are written; a program that is killed loses at most
    ``FLUSH_ROWS`` of them, and the next one with the same ``made_by`` writes only the rest. Processes write different
    rows, with plain positioned writes, so that they may sit on several machines that share the folder.

    Args: as for :func:`create_feature`; made by all processes together, as is :meth:`finish`.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str,
        *,
        shape: Sequence[int],
        dtype: Any,
        axis: str,
        made_by: Mapping[str, Any],
    ) -> None:
        self.directory, self.name, self.shape, self.dtype = Path(directory), name, tuple(shape), np.dtype(dtype)
        self._entry = _entry(self.directory, name, self.shape, self.dtype, axis, made_by)
        self._data, self._done, self._plan = (
            self.directory / f".{name}.unfinished.{kind}" for kind in ("npy", "done", "json")
        )
        if is_main() and not self._continues():
            self._begin()
        barrier()
        with open(self._data, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            self._start = file.tell()
        self._row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._pending: list[int] = []

    def _continues(self) -> bool:
        """Whether an earlier program left the beginning of the same array."""
        if not all(path.is_file() for path in (self._plan, self._data, self._done)):
            return False
        plan = {key: value for key, value in self._entry.items() if key != "code"}
        return read_json(self._plan) == plan and self._done.stat().st_size == self.shape[0]

    def _begin(self) -> None:
        self._plan.unlink(missing_ok=True)
        np.lib.format.open_memmap(self._data, mode="w+", dtype=self.dtype, shape=self.shape).flush()
        self._done.write_bytes(bytes(self.shape[0]))
        write_json(self._plan, {key: value for key, value in self._entry.items() if key != "code"})

    def waiting(self) -> np.ndarray:
        """Rows that nobody has written yet."""
        return np.flatnonzero(np.fromfile(self._done, dtype=np.uint8) == 0)

    def write(self, rows: Iterable[int], values: np.ndarray) -> None:
        """Write ``values`` ``(B, ...)`` into ``rows`` ``(B,)``."""
        with open(self._data, "r+b") as file:
            for row, value in zip(rows, np.asarray(values, dtype=self.dtype), strict=True):
                assert value.shape == self.shape[1:], f"{self.name} row {row} has the shape {value.shape}"
                file.seek(self._start + int(row) * self._row_bytes)
                file.write(value.tobytes())
                self._pending.append(int(row))
        if len(self._pending) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Put what was written on disk, then mark it as written."""
        with open(self._data, "r+b") as file, open(self._done, "r+b") as marks:
            os.fsync(file.fileno())
            for row in self._pending:
                marks.seek(row)
                marks.write(b"\1")
        self._pending.clear()

    def finish(self) -> None:
        """Enter the array into the store, once all processes have written all rows."""
        self.flush()
        barrier()
        if is_main():
            assert not len(self.waiting()), f"rows of {self.name} are missing"
            _enter(self.directory, self.name, self._data, self._entry)
            for path in (self._plan, self._done):
                path.unlink(missing_ok=True)
        barrier()


def remove_unfinished(directory: str | Path) -> None:
    """Remove what interrupted builds began and no stage wants any more."""
    if is_main():
        for name in unfinished(directory):
            (Path(directory) / name).unlink(missing_ok=True)
    barrier()


@cache
def code_version() -> dict[str, Any]:
    """Python, packages and commit that an array is made with; read once per process."""
    return provenance()


def _entry(
    directory: Path, name: str, shape: Sequence[int], dtype: np.dtype, axis: str, made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """What the manifest will say of an array, its checksum aside."""
    assert name.isidentifier()
    assert not dtype.hasobject
    ids = read_manifest(directory)["axes"][IDS_OF[axis]]
    assert axis == "sentences" or shape[0] == ids["rows"], f"{name} has {shape[0]} rows, its axis {ids['rows']}"
    entry = {"shape": list(shape), "dtype": dtype.name, "axis": axis, "ids_sha256": ids["sha256"]}
    return {**entry, "made_by": plain(made_by), "code": code_version()}


def _enter(directory: Path, name: str, file: Path, entry: dict[str, Any]) -> None:
    """Give a finished file its name and its place in the manifest."""
    entry = {**entry, "sha256": sha256_of(file)}
    manifest = read_manifest(directory)
    if manifest["arrays"].pop(name, None):  # so that an old entry never describes the new file
        write_json(directory / MANIFEST, manifest)
    os.replace(file, directory / f"{name}.npy")
    manifest["arrays"][name] = entry
    write_json(directory / MANIFEST, manifest)
