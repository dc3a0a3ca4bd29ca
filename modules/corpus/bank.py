"""The training reports as a memory: what may be retrieved, and what a retrieved report looks like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from modules.corpus.annotations import Study
from modules.corpus.store import BANK_REPORTS, FeatureStore
from modules.messages import UserError
from modules.records import read_jsonl


class TrainingBank:
    """Features of the training studies of a feature store, one row per study.

    Args:
        store: a prepared store; for a zero-shot test that of the data set the model was trained on.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.ids: tuple[str, ...] = store.row_ids("report_features")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def reports(self) -> list[str]:
        """Cleaned report of every row."""
        return [row["report"] for row in self.store.bank_reports]

    def cleaned_otherwise(self, cleaning: str, max_words: int) -> str:
        """How its reports were cleaned, if not so, as one clause; empty if alike or not known."""
        then, now = self.store.entry("report_features")["made_by"].get("cleaning"), f"{cleaning} {max_words}"
        if not then or then == now:
            return ""
        return f"references were cleaned as --cleaning and --max_words {then}, reports are as {now}"

    @cached_property
    def patients(self) -> list[str | None]:
        """Patient of every row, as far as known."""
        return [row["patient"] for row in self.store.bank_reports]

    @cached_property
    def region_scores(self) -> np.ndarray:
        """Entity scores ``(N, K)`` of the training images."""
        return np.asarray(self.store["region_scores"])[self.store.rows("studies", self.ids)]

    @cached_property
    def labels(self) -> np.ndarray:
        """States ``(N, L)`` of the training studies."""
        return np.asarray(self.store["labels"])[self.store.rows("studies", self.ids)]

    def sentences(self, row: int) -> np.ndarray:
        """Sentence features ``(S, C)`` of the report in ``row``; ``(0, C)`` for row -1, no report."""
        features = self.store["sentence_features"]
        if row < 0:
            return np.zeros((0, features.shape[1]), dtype=np.float32)
        offsets = self.store["sentence_offsets"]
        return np.array(features[offsets[row] : offsets[row + 1]], dtype=np.float32)

    def ends(self, rows: slice | np.ndarray) -> np.ndarray:
        """Features ``(n, 2 C)`` of the first and of the last sentence of the reports in ``rows``; zero if there is none."""
        features, offsets = self.store["sentence_features"], np.asarray(self.store["sentence_offsets"])
        first, behind = offsets[:-1][rows], offsets[1:][rows]
        ends = np.zeros((len(first), 2, features.shape[1]), dtype=np.float32)
        has_text = behind > first
        ends[has_text] = np.stack([features[first[has_text]], features[behind[has_text] - 1]], axis=1)
        return ends.reshape(len(first), -1)

    def memory(self, rows: np.ndarray) -> np.ndarray:
        """Report features ``(R, C)`` of ``rows`` ``(R,)``."""
        return np.array(self.store["report_features"][rows], dtype=np.float32)

    def groups(self, studies: Sequence[Study], exclude_same_patient: bool) -> tuple[np.ndarray, np.ndarray]:
        """Number the bank rows and queries so that equal numbers must not meet.

        A study shares the number of its own row; with ``exclude_same_patient`` all studies of a patient share one.

        Args:
            studies: the queries.
            exclude_same_patient: widen the exclusion from the study to its patient.

        Returns:
            ``(N,)`` numbers of the rows and ``(n,)`` numbers of the queries, -1 for a query that nothing excludes.
        """

        def key(identifier: str, patient: str | None) -> tuple[str, str]:
            return ("patient", patient) if exclude_same_patient and patient is not None else ("study", identifier)

        numbers: dict[tuple[str, str], int] = {}
        now = {study.id: study.patient for study in studies}
        patients = [  # one that a study has lost or got since the features were made would hide its own row from it
            stored if stored is not None and now.get(i) is not None else now.get(i, stored)
            for i, stored in zip(self.ids, self.patients, strict=True)
        ]
        rows = [numbers.setdefault(key(i, p), len(numbers)) for i, p in zip(self.ids, patients, strict=True)]
        return np.array(rows), np.array([numbers.get(key(study.id, study.patient), -1) for study in studies])


def patients_checksum(patients: Iterable[tuple[str, str | None]]) -> str:
    """Checksum of the ids and patients of a bank's rows, in order."""
    return hashlib.sha256(json.dumps([*map(list, patients)]).encode()).hexdigest()


def patients_of_bank(folder: Path) -> str | None:
    """:func:`patients_checksum` of the rows in a feature folder, None where there are none that can be read."""
    try:
        return patients_checksum((row["id"], row["patient"]) for row in read_jsonl(folder / BANK_REPORTS))
    except (OSError, UserError, KeyError, TypeError):
        return None
