"""Which report a study is given as its reference: in training, in validation and in test."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter

import numpy as np

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.messages import UserError
from modules.options.flags import TrainingOptions
from modules.options.programs import MainTrain
from modules.retrieval.observation import ask
from modules.retrieval.retriever import Queries, retrieve
from modules.retrieval.text_oracle import most_alike

DROPPED = 0.1  # share of the training studies without a reference if --drop_references does not say
COMPARED = 4096  # reports of a large bank among which the most alike are looked for


def refuse_too_many(dataset: ReportDataset, k: int, options: MainTrain) -> None:
    """Refuse to give every training study more reports of others than there are.

    Args:
        dataset: the training studies.
        k: references of a study.
        options: ``retrieval``, ``train_retrieval``, ``exclude_same_patient``.

    Raises:
        UserError: saying how many there are.
    """
    how, no_patient = options.training.train_retrieval, options.training.exclude_same_patient
    if options.model.retrieval == "none":
        return
    limits = []  # how many there are, and the sentence that says so
    if how in ("label", "mixed"):
        stored, allowed = _label_neighbours(dataset, no_patient)
        fewest, most = int(allowed.sum(axis=1).min()), stored.shape[1]
        whose = f"each study has {most} label neighbours"
        if fewest < most:  # published ones know no patients
            whose = f"some training study has {fewest} label neighbours of other patients"
        limits.append((fewest, f"{whose} in its features: give fewer, or prepare with more --neighbours"))
    if how != "label":
        groups, _ = dataset.bank.groups([], no_patient)
        others, whose = len(groups) - int(np.bincount(groups).max()), "patients" if no_patient else "studies"
        advice = "give fewer, or more training studies"
        if no_patient:
            advice += ", or give --no-exclude_same_patient"
        limits.append((others, f"some training study has {others} reports of other {whose}: {advice}"))
    fewest, sentence = min(limits, key=itemgetter(0))
    if k > fewest:
        raise UserError(f"{k} references of a study are wanted (--references), and {sentence}")


def own_in_memory(dataset: ReportDataset) -> int:
    """How many studies have a report of their own patient in their memory."""
    memory = np.asarray(dataset.bank.store["memory_indices"])[dataset.rows]
    bank_groups, groups = dataset.bank.groups(dataset.studies, True)
    return int((bank_groups[memory] == groups[:, None]).any(axis=1).sum())


def set_references(
    model: Revtaf,
    dataset: ReportDataset,
    how: str,
    queries: Queries,
    exclude_same_patient: bool,
    seed: int,
) -> np.ndarray:
    """Give every study of ``dataset`` its retrieved reference reports; returns the distances ``(n,)`` of the first ones.

    Args:
        model: whose retrieval space is searched.
        dataset: its references are set.
        how: a choice of ``--retrieval``.
        queries: what is known of the studies, as :func:`modules.retrieval.observation.ask` returns it.
        exclude_same_patient: keep out the reports of the same patient too.
        seed: of random retrieval.

    Raises:
        UserError: if an oracle is asked about a study whose labels nobody knows.
    """
    if how == "label":
        without_report = sum(not study.report for study in dataset.studies)
        if without_report:
            raise UserError(
                f"{without_report} of {len(dataset)} studies have no report, and this model finds references by a study's own labels "
                "(--retrieval label, an oracle): give studies with reports, or another model"
            )
        queries = replace(queries, labels=dataset.labels)
    rows, distances = retrieve(
        how,
        model.retrieval_enhancer,
        dataset.bank,
        queries,
        exclude_same_patient=exclude_same_patient,
        seed=seed,
        k=model.config.references,
    )
    dataset.refer_to(rows)
    return distances[:, 0]


def find_references(
    model: Revtaf, dataset: ReportDataset, how: str, options: MainTrain, queries: Queries | None = None
) -> None:
    """Look at the images of ``dataset``, if ``how`` needs it, and give every study its reference.

    Args:
        model: as it is now.
        dataset: its references are set.
        how: a choice of ``--retrieval``.
        options: ``exclude_same_patient``, ``seed``, ``precision``, ``num_workers``, studies ``at_once``.
        queries: what is known of the studies, if they have been looked at since the last step of training.
    """
    queries = ask(model, dataset, how, options) if queries is None else queries
    set_references(model, dataset, how, queries, options.training.exclude_same_patient, options.runtime.seed)


def asks_its_own(training: TrainingOptions, epoch: int) -> bool:
    """Whether the references of an epoch's training studies are found by the model's own retrieval."""
    how = training.train_retrieval
    return how == "mixed" or (how == "own" and epoch > training.oracle_epochs)


def training_references(
    model: Revtaf, dataset: ReportDataset, options: MainTrain, epoch: int, queries: Queries | None = None
) -> None:
    """Choose the reference reports of every training study for an epoch (``--train_retrieval``).

    ``own`` retrieves as the model will in test, anew in each epoch and never the study itself; what the model has not
    learnt when the first epoch begins is replaced by the cosine of the entity scores. In its first epochs
    (``--oracle_epochs``) the references are the reports most like the study's own instead: a decoder that sees at the
    beginning what a reference is worth learns to read it, and goes on reading when references get worse. ``mixed`` takes the
    label-nearest reports for every other study. A share of the studies goes without (``--drop_references``), so that the
    decoder has seen what it is to have none.

    Departure: the released code always gives the label-nearest report, which no test study can have: ``--train_retrieval
    label``, of another patient unless ``--no-exclude_same_patient``, and then no study goes without unless ``--drop_references`` says so.

    Args:
        model: whose retrieval is used.
        dataset: the training studies; their references are set.
        options: ``retrieval``, ``train_retrieval``, ``oracle_epochs``, ``drop_references``, ``init_from`` and those of
            :func:`find_references`.
        epoch: with the seed it decides which studies get which kind (``mixed``) and which go without.
        queries: as in :func:`find_references`.
    """
    n, k, seed, how = len(dataset), model.config.references, options.runtime.seed, options.training.train_retrieval
    if options.model.retrieval == "none":
        dataset.refer_to(np.full((n, k), -1))
        return
    stored, others = _label_neighbours(dataset, options.training.exclude_same_patient)
    by_label = np.take_along_axis(stored, np.argsort(~others, axis=1, kind="stable")[:, :k], axis=1)
    if how == "label":
        rows = by_label
    elif asks_its_own(options.training, epoch):
        rows = _own_retrieval(model, dataset, options, epoch, queries)
    else:
        rows = _most_alike(dataset, options.training.exclude_same_patient, k, (seed, epoch))
    if how == "mixed":
        coin = np.random.default_rng([seed, epoch]).random(n) < 0.5
        rows = np.where(coin[:, None], by_label, rows)
    share = options.training.drop_references
    if share is None:
        share = 0.0 if how == "label" else DROPPED
    dropped = np.random.default_rng([seed, epoch, 1]).permutation(n)[: round(share * n)]
    rows = rows.copy()
    rows[dropped] = -1
    dataset.refer_to(rows)


def _label_neighbours(dataset: ReportDataset, exclude_same_patient: bool) -> tuple[np.ndarray, np.ndarray]:
    """Stored rows ``(n, K)`` of the label-nearest reports, and which of them may be given: published ones know no patients."""
    store = dataset.bank.store
    rows = np.asarray(store["label_neighbours"])[store.rows("training", [study.id for study in dataset.studies])]
    bank_groups, groups = dataset.bank.groups(dataset.studies, exclude_same_patient)
    return rows, bank_groups[rows] != groups[:, None]


def _most_alike(dataset: ReportDataset, exclude_same_patient: bool, k: int, seed: tuple[int, int]) -> np.ndarray:
    """Rows ``(n, k)`` of the reports most like each study's own among at most ``COMPARED`` that an epoch draws."""
    N = len(dataset.bank)
    among = np.random.default_rng(seed).choice(N, COMPARED, replace=False) if N > COMPARED else None
    groups = dataset.bank.groups(dataset.studies, exclude_same_patient)
    return most_alike([dataset.reports[i] for i in range(len(dataset))], dataset.bank, groups, k, among)


def _own_retrieval(
    model: Revtaf, dataset: ReportDataset, options: MainTrain, epoch: int, queries: Queries | None
) -> np.ndarray:
    """Rows ``(n, k)`` that the model's own retrieval finds."""
    how = options.model.retrieval
    learnt_with_the_model = how == "states" or (how == "learned" and model.config.enhancer == "scores")
    if learnt_with_the_model and epoch == 1 and not options.start.init_from:
        how = "cosine"
    find_references(model, dataset, how, options, queries)
    return dataset.read_rows


def reference_agreement(dataset: ReportDataset) -> dict[str, float]:
    """``reference_agreement``: mean share of equal labels of a study and its reference; nothing if no study has one.

    Training references of test quality agree as well with their studies as those of the validation split.
    """
    has_one = dataset.reference_rows >= 0
    if not has_one.any():
        return {}
    equal = dataset.bank.labels[dataset.reference_rows[has_one]] == dataset.labels[has_one]  # (n, L)
    return {"reference_agreement": float(equal.mean())}
