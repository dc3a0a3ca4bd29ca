"""What the training data say about a test: how frequent a condition is there, and which sentences were there to copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.corpus.annotations import read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.corpus.text import clean_report
from modules.evaluation.metrics.clinical import frequency_thirds
from modules.labelling.labelers import Labeler
from modules.labels import CHEXPERT_CONDITIONS, MIMIC_POSITIVE_RATES, POSITIVE


@dataclass
class TrainingReports:
    """Positive rate of each of the 14 conditions ``(14,)``, the cleaned reports if known, and where both are from."""

    rates: np.ndarray
    reports: list[str] | None
    source: str

    @property
    def thirds(self) -> dict[str, str]:
        """Head, medium or tail by condition."""
        return frequency_thirds(self.rates)


def training_reports(
    bank: TrainingBank | None = None, annotation: str | Path | None = None, labeler: Labeler | None = None
) -> TrainingReports:
    """Read the training split from the first source that is given.

    Args:
        bank: retrieval bank of a prepared feature store.
        annotation: annotation file; its labels are used where all training studies have them, else ``labeler``.
        labeler: for an annotation without labels.

    Returns:
        The published MIMIC-CXR rates, and no reports, if nothing is given.

    Raises:
        UserError: if the annotation is missing; if it is wrong or has no training split.
    """
    columns = len(CHEXPERT_CONDITIONS)
    if bank is not None:
        rates = (bank.labels[:, :columns] == POSITIVE).mean(axis=0)
        return TrainingReports(rates, bank.reports, f"training split of the feature store ({len(bank):,} studies)")
    if annotation is None:
        return TrainingReports(np.array(MIMIC_POSITIVE_RATES), None, "published MIMIC-CXR training rates")
    studies = require_split(read_annotation(annotation), "train", annotation, "--train_ann")
    stated = [study.labels[:columns] for study in studies if study.labels]
    if len(stated) == len(studies):
        labels = np.array(stated)
    else:
        assert labeler is not None, "a labeler is needed where labels are missing"
        labels = labeler([study.report for study in studies])[:, :columns]
    source = f"training split of {Path(annotation).name} ({len(studies):,} studies)"
    return TrainingReports((labels == POSITIVE).mean(axis=0), [clean_report(study.report) for study in studies], source)


def open_bank(feature_dir: str | Path | None) -> TrainingBank | None:
    """The retrieval bank of a feature folder; UserError if the folder holds none."""
    return TrainingBank(FeatureStore.open(feature_dir).check()) if feature_dir else None
