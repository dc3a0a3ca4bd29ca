"""Generate the reports of a split and score them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from models.beam_search import GenerationLimits
from models.revtaf import Revtaf
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.datasets import ReportDataset
from modules.distributed import autocast, gather_list, is_main
from modules.evaluation.clinical import clinical_scores
from modules.evaluation.nlg import nlg_scores
from modules.evaluation.retriever import retrieve
from modules.labels import CONDITIONS, POSITIVE
from modules.preparation.labelers import Labeler


def set_references(
    model: Revtaf, dataset: ReportDataset, how: str, exclude_same_patient: bool, seed: int
) -> np.ndarray:
    """Give every study of ``dataset`` its retrieved reference report; returns the distances ``(n,)``."""
    dataset.reference_rows, distances = retrieve(
        how,
        model.retrieval_enhancer,
        dataset.bank,
        dataset.studies,
        dataset.region_scores,
        exclude_same_patient=exclude_same_patient,
        seed=seed,
    )
    return distances


@torch.no_grad()
def generate_reports(
    model: Revtaf,
    dataset: ReportDataset,
    limits: GenerationLimits,
    *,
    device: torch.device,
    precision: str,
    batch_size: int,
    num_workers: int,
) -> list[dict[str, Any]]:
    """Write the report of every study of ``dataset``; its reference rows must be set.

    The studies are shared among the processes; every process gets the whole list.

    Returns:
        One row per study, in order: ``id``, ``image``, ``reference``, ``prediction``, ``states`` (one word per
        condition), ``positive_probability`` (L,), ``retrieved`` (id or None).
    """
    model.eval()
    tokenizer = dataset.tokenizer
    state_ids = torch.tensor(tokenizer.state_ids, device=device)
    loader = evaluation_loader(dataset, batch_size, num_workers)
    rows: list[tuple[int, dict[str, Any]]] = []
    with tqdm(total=len(dataset), desc="generate", unit="report", disable=not is_main()) as bar:
        for batch in loader:
            batch = batch.to(device, dataset.scorer)
            with autocast(device, precision):
                tokens, fused = model.generate(batch.study, tokenizer.start_id, state_ids, limits)
            probability = fused.state_logits.float().softmax(dim=1)  # (B, P, L)
            states = probability.argmax(dim=1).tolist()  # (B, L)
            for b, index in enumerate(batch.index):
                row = _row(dataset, index, tokenizer.decode(tokens[b].tolist()))
                row["states"] = states[b]
                row["positive_probability"] = [round(p, 4) for p in probability[b, POSITIVE].tolist()]
                rows.append((index, row))
            bar.update(len(batch.index))
            bar.set_postfix(words=len(rows[-1][1]["prediction"].split()))
    return [row for _, row in sorted(gather_list(rows), key=lambda pair: pair[0])]


def _row(dataset: ReportDataset, index: int, prediction: str) -> dict[str, Any]:
    study, retrieved = dataset.studies[index], int(dataset.reference_rows[index])
    return {
        "id": study.id,
        "image": study.image_path[0],
        "reference": dataset.reports[index],
        "prediction": prediction,
        "retrieved": dataset.bank.ids[retrieved] if retrieved >= 0 else None,
    }


class ReportScorer:
    """NLG and clinical-efficacy scores against fixed references, which are labelled once.

    Args:
        references: cleaned and cut reference reports.
        labeler: labels references and predictions alike.
    """

    def __init__(self, references: Sequence[str], labeler: Labeler) -> None:
        self.references, self.labeler = list(references), labeler
        self.reference_labels = labeler(self.references)  # (n, 14 or 18)

    def __call__(self, predictions: Sequence[str], meteor: bool = True) -> dict[str, float | None]:
        """Scores of ``predictions``, in the order of the references."""
        scores = nlg_scores(list(predictions), self.references, meteor=meteor)
        predicted = self.labeler(list(predictions))
        return {**scores, **clinical_scores(predicted, self.reference_labels, conditions=self.labeler.conditions)}


def state_scores(states: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Clinical efficacy of the predicted states ``(n, L)`` themselves, against the labels ``(n, L)``."""
    scores = clinical_scores(states, labels, conditions=CONDITIONS)
    return {name.replace("ce_", "state_"): value for name, value in scores.items() if name in ("ce_f1", "ce_f1_macro")}
