"""Does a model use the report that it retrieves, and do its texts and maps say different things?

The report loss of the same studies under five references: what it costs to be given another one says how far the decoder
reads it. Prompts hold the predicted states, as in generation. Nothing here changes the model or its data set.

    oracle           the training report whose words are most like the study's own: what perfect retrieval would give
    retrieved        what the model retrieves
    random           any training report
    most_different   the training report that differs from the study in most positive findings
    none             no reference

``text_cosine`` is the mean cosine between the projected texts of different entities of a study, ``map_correlation`` the mean
correlation between their maps: near 1 all entities are one, whatever else the losses say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.decoder_layers import PackedReports
from models.revtaf import FusedStudy, Revtaf, StudyInputs
from models.visual_encoder import Seen
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.datasets import Batch, ReportDataset, pad_sentences
from modules.distributed import autocast, gather_list
from modules.labels import POSITIVE
from modules.options.programs import MainTest
from modules.options.set_size import FEW_STEPS
from modules.retrieval.retriever import random_rows
from modules.retrieval.text_oracle import most_alike

COLLAPSED = 0.95  # text cosine or map correlation from which entities are called one
UNREAD = 0.002  # nats a token by which a random reference must cost more, else it is not read
MOST_STUDIES = 500


class Distinctness:
    """Collects ``text_cosine`` and ``map_correlation`` over a split; give it to ``generate_reports`` as ``watch``."""

    def __init__(self) -> None:
        self.of_studies: list[Sequence[float]] = []  # text cosine and map correlation of each

    @torch.no_grad()
    def __call__(self, batch: Batch, fused: FusedStudy) -> None:
        """Add the studies of a batch."""
        cosine = mean_of_pairs(F.normalize(fused.region_text.float(), dim=-1))
        maps = fused.region_map.float()
        correlation = mean_of_pairs(F.normalize(maps - maps.mean(dim=2, keepdim=True), dim=-1))
        self.of_studies += torch.stack([cosine, correlation], dim=1).tolist()  # (B, 2)

    def figures(self) -> dict[str, float]:
        """The two means over all studies of all processes, in whatever order; every process must ask."""
        cosine, correlation = (fsum(each) / len(each) for each in zip(*gather_list(self.of_studies), strict=True))
        return {"text_cosine": cosine, "map_correlation": correlation}


def mean_of_pairs(directions: Tensor) -> Tensor:
    """Mean inner product ``(B,)`` of different rows of ``(B, K, X)``."""
    K = directions.shape[1]
    total = directions.sum(dim=1).square().sum(dim=1) - directions.square().sum(dim=(1, 2))
    return total / (K * (K - 1))


def warnings(figures: Mapping[str, Any]) -> list[str]:
    """One sentence for each figure that says that a part of the method does nothing.

    ``text_cosine`` and ``map_correlation`` say that the entities have become one, ``reference_sensitivity`` that a random
    reference costs no more than the retrieved one. After fewer ``trained_steps`` than a model needs for its first words
    both are so, and one sentence says that it is too early.
    """
    what = {"text_cosine": "texts of different entities", "map_correlation": "maps of different entities"}
    losses = figures.get("reference_sensitivity")
    cost = losses["random"] - losses["retrieved"] if losses else UNREAD
    unread = (
        f"warning: a random reference costs {cost:.4f} nats a token more than the retrieved one, so next to nothing is read in "
        "it; try --enhancer towers, --oracle_epochs 2 or a larger --reference_memory, or --retrieval none, which is faster"
    )
    said = [unread] * (cost < UNREAD) + [
        f"warning: {name} is {figures[name]:.3f}: the {what[name]} are nearly one, so nothing can be read off them; try "
        "--align_pairs mentions, --entity_keys query or a smaller --align_weight"
        for name in what
        if figures[name] > COLLAPSED
    ]
    steps = figures.get("trained_steps")
    if said and steps is not None and steps < FEW_STEPS:
        return [f"what references, texts and maps are worth cannot be told after {steps} steps of training"]
    return said


def sensitivity_lines(measured: Mapping[str, Any]) -> list[str]:
    """What ``metrics.json`` says of these figures, in Markdown."""
    losses = {kind: value for kind, value in measured["reference_sensitivity"].items() if kind != "studies"}
    return [
        f"| report loss with reference | {' | '.join(losses)} |",
        f"|---|{'---:|' * len(losses)}",
        f"| nats per token | {' | '.join(f'{value:.4f}' for value in losses.values())} |",
        "",
        f"text cosine {measured['text_cosine']:.3f}, map correlation {measured['map_correlation']:.3f}",
        *warnings(measured),
    ]


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
