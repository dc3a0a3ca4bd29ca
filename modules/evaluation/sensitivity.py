"""Does a model use the report that it retrieves?

The report loss of the same studies under five references: what it costs to be given another one says how far the decoder
reads it. Prompts hold the predicted states, as in generation. Nothing here changes the model or its data set.

    oracle           the training report whose words are most like the study's own: what perfect retrieval would give
    retrieved        what the model retrieves
    random           any training report
    most_different   the training report that differs from the study in most positive findings
    none             no reference
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from models.decoder_layers import PackedReports
from models.revtaf import Revtaf, StudyInputs
from models.visual_encoder import Seen
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.datasets import Batch, ReportDataset, pad_sentences
from modules.distributed import autocast, gather_list
from modules.labels import POSITIVE
from modules.options.programs import MainTest
from modules.retrieval.retriever import random_rows
from modules.retrieval.text_oracle import most_alike

MOST_STUDIES = 500


@torch.no_grad()
def loss_by_reference(
    model: Revtaf, dataset: ReportDataset, device: torch.device, options: MainTest
) -> dict[str, float]:
    """:func:`reference_sensitivity` of a test; every process must ask."""
    return reference_sensitivity(
        model, dataset, device=device, precision=options.compute.precision, batch_size=options.loading.batch_size,
        num_workers=options.loading.num_workers, seed=options.runtime.seed,
    )  # fmt: skip


def reference_sensitivity(
    model: Revtaf,
    dataset: ReportDataset,
    *,
    device: torch.device,
    precision: str,
    batch_size: int,
    num_workers: int,
    seed: int,
) -> dict[str, float]:
    """Report loss in nats per token under each of the five references, over at most ``MOST_STUDIES`` studies.

    Args:
        model: in evaluation.
        dataset: its reference rows must be set; studies are taken evenly from it.
        device: of the model.
        precision: of the forward pass.
        batch_size: studies at once.
        num_workers: processes that read images.
        seed: of the random references.

    Returns:
        ``oracle``, ``retrieved``, ``random``, ``most_different``, ``none``, and the number of ``studies``.
    """
    model.eval()
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), MOST_STUDIES)).round().astype(int))
    part = dataset.part(chosen)
    references = reference_kinds(part, seed)
    state_ids = torch.tensor(part.tokenizer.state_ids, device=device)
    sums: list[tuple[float, ...]] = []
    for batch in evaluation_loader(part, batch_size, num_workers):
        batch = part.to_device(batch, device)
        with autocast(device, precision):
            seen, state_logits = model.diagnose(batch.study.image, batch.study.memory)
            everyone = torch.ones(len(batch.index), dtype=torch.bool, device=device)
            reports = batch.packed.with_states(model.prompted(state_ids[state_logits.argmax(dim=1)]), everyone)
            losses = [_loss(model, part, batch, seen, reports, rows[batch.index]) for rows in references.values()]
        sums.append((*losses, len(reports.targets)))
    *losses, tokens = np.array(gather_list(sums)).sum(axis=0)
    return {**{kind: float(loss / tokens) for kind, loss in zip(references, losses, strict=True)}, "studies": len(part)}


def _loss(
    model: Revtaf, dataset: ReportDataset, batch: Batch, seen: Seen, reports: PackedReports, rows: np.ndarray
) -> float:
    """Summed token loss of a batch whose references are the bank reports in ``rows`` ``(B, k)``."""
    study = batch.study
    text, mask = pad_sentences([torch.from_numpy(dataset.bank.sentences(int(row))) for row in rows[:, 0]])
    words = torch.tensor([dataset.reference_words(of_study) for of_study in rows], dtype=torch.long)
    other = {"reference_text": text, "reference_mask": mask, "reference_tokens": words}
    study = StudyInputs(**{**vars(study), **{name: value.to(seen.patches.device) for name, value in other.items()}})
    logits = model.report_decoder.predict(model.align(seen, study)["fused"], reports)
    return F.cross_entropy(logits.float(), reports.targets, reduction="sum").item()


def reference_kinds(dataset: ReportDataset, seed: int) -> dict[str, np.ndarray]:
    """Bank rows ``(n, k)`` of each of the five references; a study of the bank is never given its own report."""
    row_of = {identifier: row for row, identifier in enumerate(dataset.bank.ids)}
    own = np.array([row_of.get(study.id, -1) for study in dataset.studies])  # (n,), -1 outside the bank
    (n, k), N = dataset.read_rows.shape, len(dataset.bank)
    bank_groups, query_groups = dataset.bank.groups(dataset.studies, False)
    positive = dataset.bank.labels == POSITIVE  # (N, L)
    differing = [
        _largest((positive != (labels == POSITIVE)).sum(axis=1).astype(np.float32), row, k)
        for labels, row in zip(dataset.labels, own, strict=True)
    ]
    return {
        "oracle": most_alike([dataset.reports[i] for i in range(n)], dataset.bank, (np.arange(N), own), k),
        "retrieved": dataset.read_rows,
        "random": random_rows(bank_groups, query_groups, dataset.studies, seed, k),
        "most_different": np.array(differing),
        "none": np.full((n, k), -1),
    }


def _largest(values: np.ndarray, left_out: int, k: int) -> np.ndarray:
    """Positions ``(k,)`` of the largest of ``values`` ``(N,)``, not ``left_out``; the first of equal ones first."""
    if left_out >= 0:
        values[left_out] = -np.inf
    return np.argsort(-values, kind="stable")[:k]
