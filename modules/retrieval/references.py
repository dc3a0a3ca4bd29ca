"""Which report a study is given as its reference: in training, in validation and in test."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.retrieval.retriever import Queries, retrieve


def set_references(
    model: Revtaf, dataset: ReportDataset, how: str, exclude_same_patient: bool, seed: int
) -> np.ndarray:
    """Give every study of ``dataset`` its retrieved reference report; returns the distances ``(n,)``."""
    dataset.reference_rows, distances = retrieve(
        how,
        model.retrieval_enhancer,
        dataset.bank,
        Queries(dataset.studies, dataset.region_scores),
        exclude_same_patient=exclude_same_patient,
        seed=seed,
    )
    return distances


def training_references(model: Revtaf, dataset: ReportDataset, options: Namespace, epoch: int) -> None:
    """Choose the reference report of every training study for an epoch (``--train_retrieval``).

    Args:
        model: whose retrieval space is searched.
        dataset: the training studies; their reference rows are set.
        options: ``retrieval``, ``train_retrieval``, ``exclude_same_patient``, ``seed``.
        epoch: with the seed it decides which studies get which kind (``mixed``).
    """
    if options.retrieval == "none":
        dataset.reference_rows = np.full(len(dataset), -1)
        return
    rows = dataset.bank.store.rows("training", [study.id for study in dataset.studies])
    by_label = np.asarray(dataset.bank.store["label_neighbours"])[rows, 0]
    if options.train_retrieval == "label":
        dataset.reference_rows = by_label
        return
    set_references(model, dataset, options.retrieval, options.exclude_same_patient, options.seed)
    if options.train_retrieval == "mixed":
        coin = np.random.default_rng([options.seed, epoch]).random(len(dataset)) < 0.5
        dataset.reference_rows = np.where(coin, by_label, dataset.reference_rows)
