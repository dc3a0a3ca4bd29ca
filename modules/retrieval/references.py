"""Which report a study is given as its reference: in training, in validation and in test."""

from __future__ import annotations

import numpy as np

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.programs import MainTrain
from modules.retrieval.observation import ask
from modules.retrieval.retriever import Queries, retrieve

DROPPED = 0.1  # share of the training studies without a reference if --drop_references does not say


def set_references(
    model: Revtaf, dataset: ReportDataset, how: str, queries: Queries, exclude_same_patient: bool, seed: int
) -> np.ndarray:
    """Give every study of ``dataset`` its retrieved reference report; returns the distances ``(n,)``.

    Args:
        model: whose retrieval space is searched.
        dataset: its reference rows are set.
        how: a choice of ``--retrieval``.
        queries: what is known of the studies, as :func:`modules.retrieval.observation.ask` returns it.
        exclude_same_patient: keep out the reports of the same patient too.
        seed: of random retrieval.
    """
    dataset.reference_rows, distances = retrieve(
        how,
        model.retrieval_enhancer,
        dataset.bank,
        queries,
        exclude_same_patient=exclude_same_patient,
        seed=seed,
    )
    return distances


def find_references(
    model: Revtaf, dataset: ReportDataset, how: str, options: MainTrain, queries: Queries | None = None
) -> None:
    """Look at the images of ``dataset``, if ``how`` needs it, and give every study its reference.

    Args:
        model: as it is now.
        dataset: its reference rows are set.
        how: a choice of ``--retrieval``.
        options: ``exclude_same_patient``, ``seed``, ``precision``, ``batch_size``, ``num_workers``.
        queries: what is known of the studies, if they have been looked at since the last step of training.
    """
    queries = ask(model, dataset, how, options) if queries is None else queries
    set_references(model, dataset, how, queries, options.training.exclude_same_patient, options.runtime.seed)


def training_references(
    model: Revtaf, dataset: ReportDataset, options: MainTrain, epoch: int, queries: Queries | None = None
) -> None:
    """Choose the reference report of every training study for an epoch (``--train_retrieval``).

    ``own`` retrieves as the model will in test, anew in each epoch and never the study itself; what the model has not
    learnt when the first epoch begins is replaced by the cosine of the entity scores. ``mixed`` takes the label-nearest
    report for every other study. A share of the studies goes without (``--drop_references``), so that the decoder has
    seen what it is to have none.

    Departure: the released code always gives the label-nearest report, which no test study can have: ``--train_retrieval
    label``, and then no study goes without unless ``--drop_references`` says so.

    Args:
        model: whose retrieval is used.
        dataset: the training studies; their reference rows are set.
        options: ``retrieval``, ``train_retrieval``, ``drop_references``, ``init_from`` and those of
            :func:`find_references`.
        epoch: with the seed it decides which studies get which kind (``mixed``) and which go without.
        queries: as in :func:`find_references`.
    """
    n = len(dataset)
    if options.model.retrieval == "none":
        dataset.reference_rows = np.full(n, -1)
        return
    rows = dataset.bank.store.rows("training", [study.id for study in dataset.studies])
    by_label = np.asarray(dataset.bank.store["label_neighbours"])[rows, 0]
    if options.training.train_retrieval == "label":
        dataset.reference_rows = by_label
    else:
        untrained = epoch == 1 and not options.start.init_from and options.model.retrieval in ("learned", "states")
        find_references(model, dataset, "cosine" if untrained else options.model.retrieval, options, queries)
    if options.training.train_retrieval == "mixed":
        coin = np.random.default_rng([options.runtime.seed, epoch]).random(n) < 0.5
        dataset.reference_rows = np.where(coin, by_label, dataset.reference_rows)
    share = options.training.drop_references
    if share is None:
        share = 0.0 if options.training.train_retrieval == "label" else DROPPED
    dropped = np.random.default_rng([options.runtime.seed, epoch, 1]).permutation(n)[: round(share * n)]
    dataset.reference_rows = dataset.reference_rows.copy()
    dataset.reference_rows[dropped] = -1


def reference_agreement(dataset: ReportDataset) -> dict[str, float]:
    """``reference_agreement``: mean share of equal labels of a study and its reference; nothing if no study has one.

    Training references of test quality agree as well with their studies as those of the validation split.
    """
    given = dataset.reference_rows >= 0
    if not given.any():
        return {}
    equal = dataset.bank.labels[dataset.reference_rows[given]] == dataset.labels[given]  # (n, L)
    return {"reference_agreement": float(equal.mean())}
