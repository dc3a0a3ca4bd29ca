"""The feature store: what is prepared once and read by every run, one memory-mapped file per array.

    <folder>/manifest.json     shape, type, checksum, row axis and origin of every array; checksums of the files beside them
    <folder>/<axis>.json       ids of the rows: "studies" (all), "training" (the retrieval bank)
    <folder>/<array>.npy
    <folder>/training.jsonl    {"id", "patient", "report"} of every bank row, report cleaned

    array               shape        type      axis
    labels              (n, L)       int8      studies
    region_scores       (n, K)       float32   studies
    region_text         (n, K, E)    *         studies     absent with --features online
    memory_indices      (n, R)       int32     studies     rows of the bank
    report_features     (N, C)       *         training
    label_neighbours    (N, k)       int32     training    rows of the bank
    sentence_features   (total, C)   *         sentences
    sentence_offsets    (N + 1,)     int64     sentences   report i has the rows offsets[i] to offsets[i + 1]

* float16 or float32, --feature_dtype. "sentences" are the sentences of all training reports in order; they have no ids
of their own and go stale with "training". Beside the arrays lie base_probs.json (positive rate of the 14 conditions in
training, as published), made_from.json (what some films and reports were) and, if trained here, entity_scorer.pth.

``store_writing`` fills the folder; one program writes at a time, any number may read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.corpus.manifest import AGAIN, IDS_OF, MANIFEST, READ_WHOLE, SHAPES, check_numbers, map_array, read_manifest
from modules.distributed import is_main
from modules.labels import CHEXPERT_CONDITIONS, STATES
from modules.messages import UserError, named
from modules.records import plain, read_json, read_jsonl, sha256_of

BANK_REPORTS, BASE_RATES = "training.jsonl", "base_probs.json"
_UNFINISHED = (".[!.]*.tmp", ".*.unfinished.*", "*_unfinished.pth")  # not of a hidden file, which a training writes


class FeatureStore:
    """Read-only view of a feature folder; pickles as its path, so that data-loading processes map the same files."""

    def __init__(self, directory: Path, manifest: dict[str, Any]) -> None:
        self.directory = directory
        self._manifest = manifest
        self._arrays: dict[str, np.ndarray] = {}
        self._rows: dict[str, dict[str, int]] = {}

    @classmethod
    def open(cls, directory: str | Path, ann_path: str | Path | None = None) -> FeatureStore:
        """Open a folder; arrays are mapped when they are first asked for.

        Args:
            directory: feature folder.
            ann_path: annotation in use: the folder is checked, and one line is printed if the arrays were not made from it
                as it is now.

        Raises:
            UserError: if it has no manifest; if the manifest is not one of this project; with an annotation also if
                anything else is damaged.
        """
        directory = Path(directory)
        if not (directory / MANIFEST).is_file():
            raise UserError(f"{directory} holds no {MANIFEST}: build the features with main_prepare.py")
        store = cls(directory, read_manifest(directory))
        if ann_path:
            store.check()
        stale = store.stale(ann_path) if ann_path and is_main() else []
        if stale:
            print(
                f"warning: {', '.join(stale)} in {directory} were made from another annotation than {ann_path} is now: run "
                "main_prepare.py again, unless studies were only left out",
                file=sys.stderr,
            )
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureStore.open, (self.directory,)

    def __contains__(self, name: str) -> bool:
        return name in self._manifest["arrays"]

    def __getitem__(self, name: str) -> np.ndarray:
        """The array ``name``, mapped read-only.

        Raises:
            UserError: if its file is gone; if there is no such array, it was made for other studies, or its file is
                damaged.
        """
        if name not in self._arrays:
            entry = self.entry(name)
            if entry["ids_sha256"] != self._ids_checksum(entry["axis"]):
                raise UserError(
                    f"{name} in {self.directory} was made for other studies than the folder lists now: {AGAIN}"
                )
            array = map_array(self.directory, name, entry)
            self._check_rows(name, array)
            self._arrays[name] = array
        return self._arrays[name]

    def check(self) -> FeatureStore:
        """Itself, once all that is small and the heads of what is large were read: what would fail later fails here.

        Raises:
            UserError: if a file is gone; naming the file that is damaged or does not fit the others.
        """
        _ = self.base_rates
        for name, entry in self._manifest["arrays"].items():
            if entry["ids_sha256"] == self._ids_checksum(entry["axis"]):  # else it is refused when it is asked for
                self._check_values(name)
                if self[name].nbytes <= READ_WHOLE:
                    _check_array(self, name)
        if "training" in self._manifest["axes"] and (self.directory / BANK_REPORTS).is_file():
            _ = self.bank_reports
        return self

    def entry(self, name: str) -> dict[str, Any]:
        """``shape dtype sha256 axis ids_sha256 made_by code`` of an array; UserError if it is absent."""
        if name not in self:
            found, left = ", ".join(sorted(self._manifest["arrays"])) or "none", unfinished(self.directory)
            why = f"and left {left[0]}" if left else "or had other flags"
            raise UserError(
                f"{self.directory} has no array {name} (found {found}), as a build was interrupted {why}: {AGAIN}"
            )
        return self._manifest["arrays"][name]

    def _check_values(self, name: str) -> None:
        """Refuse an array whose shape, or whose row numbers and states, a program would stumble on."""
        array = self[name]
        shape = SHAPES.get(name, (None,) * array.ndim)
        fits = len(shape) == array.ndim and all(w in (None, h) for w, h in zip(shape[1:], array.shape[1:], strict=True))
        if not fits:
            expected = ", ".join("any" if width is None else str(width) for width in shape)
            raise UserError(f"{name} in {self.directory} has the shape {array.shape}, expected ({expected}): {AGAIN}")
        limit = len(STATES) if name == "labels" else None
        if name in ("label_neighbours", "memory_indices") and "training" in self._manifest["axes"]:
            limit = len(self.row_ids("training"))
        if limit is not None and array.size and not (array.min() >= 0 and array.max() < limit):
            raise UserError(f"{name} in {self.directory} holds numbers outside 0 to {limit - 1}: {AGAIN}")

    def _check_rows(self, name: str, array: np.ndarray) -> None:
        """Refuse an array of another length than its axis, and offsets that do not divide the sentences."""
        axis = self.entry(name)["axis"]
        rows = self._manifest["axes"][IDS_OF[axis]]["rows"]
        if axis != "sentences" and array.shape[:1] != (rows,):
            raise UserError(
                f"{name} in {self.directory} has the shape {array.shape} for {rows} {axis}: remove it and {AGAIN}"
            )
        if name == "sentence_offsets":
            total, reports = self.entry("sentence_features")["shape"][0], rows
            whole = array.shape == (reports + 1,) and array[0] == 0 and array[-1] == total
            if not whole or (np.diff(array) < 0).any():
                raise UserError(
                    f"{name} in {self.directory} does not divide the {total} sentences among {reports} reports: {AGAIN}"
                )

    def row_ids(self, name: str) -> tuple[str, ...]:
        """Study ids of the rows of an axis, or of an array of that axis; errors as for :meth:`rows`."""
        return tuple(self._row_by_id(name))

    def rows(self, name: str, ids: Iterable[str]) -> np.ndarray:
        """Rows ``(n,)`` int64 of studies in an axis, or in an array of that axis; ids in any order, repeats allowed.

        Raises:
            UserError: if the file of the ids is gone; if there is no such axis, its ids are damaged, or some studies
                are not among them.
        """
        row_by_id, ids = self._row_by_id(name), list(ids)
        missing = [identifier for identifier in ids if identifier not in row_by_id]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(ids)} studies have no features in {self.directory}, first "
                f"{', '.join(map(named, missing[:3]))}: {AGAIN} and the same annotation"
            )
        return np.array([row_by_id[identifier] for identifier in ids], dtype=np.int64)

    def _row_by_id(self, name: str) -> dict[str, int]:
        """Row of every study of an axis, or of an array of that axis, by its id."""
        axis = name if name in IDS_OF else self.entry(name)["axis"]
        assert axis != "sentences", "sentences have no ids: sentence_offsets says whose they are"
        if axis not in self._rows:
            path = self.directory / f"{axis}.json"
            ids = read_json(path)
            if sha256_of(path) != self._ids_checksum(axis):
                raise UserError(f"{path} has changed since it was written: {AGAIN}")
            rows = self._manifest["axes"][axis]["rows"]
            are_ids = isinstance(ids, list) and all(isinstance(i, str) for i in ids)
            if not are_ids or len(ids) != rows or len(set(ids)) != rows:
                raise UserError(f"{path} is no list of {rows} study ids, each once: {AGAIN}")
            self._rows[axis] = {identifier: row for row, identifier in enumerate(ids)}
        return self._rows[axis]

    @cached_property
    def bank_reports(self) -> list[dict[str, Any]]:
        """``id``, ``patient`` and cleaned ``report`` of every bank row; UserError if they are of another bank."""
        path = self.directory / BANK_REPORTS
        reports = read_jsonl(path)
        for number, row in enumerate(reports, start=1):
            patient = row.get("patient", 0) if isinstance(row, dict) else 0
            if not isinstance(patient, str | None) or not all(
                isinstance(row.get(key), str) for key in ("id", "report")
            ):
                raise UserError(f"line {number} of {path} is not {{id, patient, report}}: {AGAIN}")
        if [row["id"] for row in reports] != list(self.row_ids("training")):
            raise UserError(f"{path} does not list the training studies of its folder: {AGAIN}")
        self._check_file(BANK_REPORTS)
        return reports

    @cached_property
    def base_rates(self) -> list[float] | None:
        """Positive rate of the 14 conditions in the training split; None where an older preparation left none."""
        path = self.directory / BASE_RATES
        if not path.is_file():
            return None
        rates = read_json(path)
        if not are_rates(rates):
            raise UserError(f"{path} does not hold {len(CHEXPERT_CONDITIONS)} rates from 0 to 1: {AGAIN}")
        self._check_file(BASE_RATES)
        return rates

    def is_intact(self, name: str) -> bool:
        """Whether a file beside the arrays is the one that was written; False where an earlier preparation noted none."""
        path = self.directory / name
        return path.is_file() and self._manifest.get("files", {}).get(name) == sha256_of(path)

    def _check_file(self, name: str) -> None:
        if name in self._manifest.get("files", {}) and not self.is_intact(name):
            raise UserError(f"{self.directory / name} has changed since it was written: {AGAIN}")

    @property
    def checksums(self) -> dict[str, str]:
        """Checksum of every array, by name."""
        return {name: entry["sha256"] for name, entry in self._manifest["arrays"].items()}

    def stale(self, ann_path: str | Path) -> list[str]:
        """Arrays that were made from another annotation file, or from this one before it changed."""
        checksum = sha256_of(ann_path)
        made_by = {name: entry["made_by"] for name, entry in self._manifest["arrays"].items()}
        return sorted(name for name, made in made_by.items() if made.get("annotation", checksum) != checksum)

    def _ids_checksum(self, axis: str) -> str | None:
        return self._manifest["axes"].get(IDS_OF[axis], {}).get("sha256")


def is_current(directory: str | Path, name: str, made_by: Mapping[str, Any]) -> bool:
    """Whether an array is there, whole, for the studies listed now, and was made by the same options and inputs.

    Sizes are compared, contents are not; :func:`verify` does that.
    """
    try:
        store = FeatureStore.open(directory)
        return store.entry(name)["made_by"] == plain(made_by) and store[name] is not None
    except UserError:
        return False


def unfinished(directory: str | Path) -> list[str]:
    """Names of the files that only a build that is running, or one that was interrupted, has in a feature folder."""
    return sorted(path.name for pattern in _UNFINISHED for path in Path(directory).glob(pattern))


def verify(directory: str | Path) -> list[str]:
    """Read everything in a feature folder and compare it with the manifest; returns one sentence per problem."""
    try:
        store = FeatureStore.open(directory)
    except UserError as error:
        return [str(error)]
    checks: list[Callable[[], object]] = [partial(store.row_ids, axis) for axis in sorted(store._manifest["axes"])]
    checks += [partial(_check_array, store, name) for name in sorted(store._manifest["arrays"])]
    if "training" in store._manifest["axes"]:  # a test set retrieves from another folder
        checks += [lambda: store.bank_reports, lambda: store.base_rates]
    problems = []
    for check in tqdm(checks, desc="checksums", unit="file", leave=False):
        try:
            check()
        except UserError as error:
            problems.append(str(error))
    return problems


def _check_array(store: FeatureStore, name: str) -> None:
    check_numbers(store.directory / f"{name}.npy", store[name])
    if sha256_of(store.directory / f"{name}.npy") != store.entry(name)["sha256"]:
        raise UserError(f"{name}.npy in {store.directory} has changed since it was written: remove it and {AGAIN}")


def are_rates(rates: Any) -> bool:
    """Whether what a file holds is a rate from 0 to 1 for each of the 14 conditions."""
    numbers = isinstance(rates, list) and all(type(rate) in (int, float) and 0 <= rate <= 1 for rate in rates)
    return numbers and len(rates) == len(CHEXPERT_CONDITIONS)
