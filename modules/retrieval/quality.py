"""Are the retrieved reports those of similar patients? Against cosine similarity, chance, and the best possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.text import postprocess_prediction
from modules.evaluation.metrics.clinical import class_sums, example_f1
from modules.evaluation.metrics.nlg import bleu_sums
from modules.evaluation.metrics.significance import intervals
from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means
from modules.labels import CHEXPERT_CONDITIONS, STATES
from modules.retrieval.retriever import Enhancer, Queries, Space, find_space, is_fitted, random_turns

TOP = 5  # retrieved reports whose labels are averaged
PAIRS = 1 << 25  # pairs of a query and a bank row held at once
Nearness = Callable[[slice], Tensor]  # queries -> (B, N), larger is nearer


@torch.no_grad()
def retrieval_quality(
    enhancer: Enhancer,
    dataset: ReportDataset,
    queries: Queries,
    thirds: Mapping[str, str],
    *,
    exclude_same_patient: bool,
    seed: int,
) -> dict[str, Any]:
    """Compare rankings of the bank by how well what they rank first agrees with the study's own labels and report.

    Args:
        enhancer: the embedding network, on its device.
        dataset: n studies with their bank, labels and reports, cleaned as those of the bank.
        queries: what is known of them without their labels and reports.
        thirds: head, medium or tail by condition.
        exclude_same_patient: keep out the reports of the same patient.
        seed: of the random ranking.

    Returns:
        For ``learned`` (of towers once they were fitted), ``states`` (where the images were looked at), ``cosine`` (of the
        raw entity scores), ``random`` and ``oracle`` (fewest differing labels): ``label_agreement_top1`` and ``_top5``, the
        share of conditions in the same state; ``label_f1_top1`` and ``_top5``, example-based F1 of the positive findings over
        the 14 conditions; ``mrr_label_nearest``, mean of 1 over the rank of the first report that no other beats in differing
        labels; ``bleu_4_top1`` of the report itself; ``intervals`` of these; ``f1_macro_top1``, ``f1_macro_tail_top1`` and
        ``per_class_f1_top1``.
    """
    device, bank = next(enhancer.parameters()).device, dataset.bank
    bank_labels = bank.labels.astype(np.int64)  # (N, L)
    groups = [torch.from_numpy(part).to(device) for part in bank.groups(queries.studies, exclude_same_patient)]
    of_bank, of_studies = (
        F.one_hot(torch.from_numpy(labels).to(device), len(STATES)).flatten(1).float()
        for labels in (bank_labels, dataset.labels)
    )  # (N, P L), (n, P L)
    order, starts = (torch.from_numpy(part).to(device) for part in random_turns(len(bank), queries.studies, seed))
    places = order.argsort()  # (N,) where in the shuffled bank a row stands

    def equal_labels(rows: slice) -> Tensor:
        return of_studies[rows] @ of_bank.T  # (B, N) conditions in the same state

    def random(rows: slice) -> Tensor:
        return -((places[None] - starts[rows, None]) % len(bank)).double()  # (B, N)

    available = {"learned": is_fitted(enhancer), "states": queries.state_logits is not None, "cosine": True}
    names = [name for name, is_available in available.items() if is_available]
    rankings = {name: _by_distance(find_space(name, enhancer, bank, queries, slice(None))) for name in names}
    rankings |= {"random": random, "oracle": equal_labels}
    figures = {}
    for name, nearness in rankings.items():
        top, ranks = _search_all(nearness, equal_labels, groups, name)
        bleu = _bleu(bank, top[:, 0], dataset.reports)
        figures[name] = _quality(bank_labels[top], dataset.labels, ranks, thirds, bleu)
    return figures


def _bleu(bank: TrainingBank, rows: np.ndarray, reports: Sequence[str]) -> StudySums:
    """BLEU-4 of the reports in ``rows`` ``(n,)`` of the bank."""
    sums = bleu_sums([postprocess_prediction(bank.reports[row]) for row in rows], reports)
    return StudySums(sums.values, lambda summed: {"bleu_4_top1": sums.figures(summed)["BLEU_4"]})


def _by_distance(space: Space) -> Nearness:
    """Nearness as minus the gap of :mod:`models.manifolds`, in float64: one inner product per pair."""
    manifold, x, y = space.manifold, space.queries.double(), space.rows.double()
    square = (y * manifold.flip(y)).sum(dim=-1, keepdim=True)  # (N, 1)
    keys = torch.cat([y, torch.ones_like(square), square], dim=-1) / manifold.shrink(y).unsqueeze(-1)  # (N, H + 2)
    flipped = manifold.flip(x)
    own = (x * flipped).sum(dim=-1, keepdim=True)  # (n, 1)
    questions = torch.cat([2 * flipped, -own, -torch.ones_like(own)], dim=-1)  # (n, H + 2)
    return lambda rows: questions[rows] @ keys.T


def _search_all(
    nearness: Nearness, equal_labels: Nearness, groups: Sequence[Tensor], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The first rows ``(n, k)`` of a ranking, and the rank ``(n,)`` of the first row whose labels none beats."""
    n, N = len(groups[1]), len(groups[0])
    k, step = max(1, min(TOP, N - 1)), max(1, PAIRS // N)
    top, ranks = [], []
    for start in tqdm(range(0, n, step), desc=f"retrieval: {name}", unit="block", leave=False):
        rows = slice(start, min(start + step, n))
        own = groups[1][rows, None] == groups[0][None]  # (B, N)
        near = nearness(rows).masked_fill(own, -torch.inf)
        equal = equal_labels(rows).masked_fill(own, -1)
        best = near.masked_fill(equal < equal.amax(dim=1, keepdim=True), -torch.inf).amax(dim=1, keepdim=True)
        ranks.append((near > best).sum(dim=1) + 1)
        top.append(near.topk(k, dim=1).indices)
    return torch.cat(top).cpu().numpy(), torch.cat(ranks).cpu().numpy()


def _quality(
    retrieved: np.ndarray, labels: np.ndarray, ranks: np.ndarray, thirds: Mapping[str, str], bleu: StudySums
) -> dict[str, Any]:
    """Figures of one ranking, from the labels ``retrieved`` ``(n, k, L)`` of what it ranks first."""
    agreement = (retrieved == labels[:, None]).mean(axis=2)  # (n, k)
    f1 = np.stack([example_f1(retrieved[:, j], labels) for j in range(retrieved.shape[1])], axis=1)  # (n, k)
    values = {
        "label_agreement_top1": agreement[:, 0],
        f"label_agreement_top{TOP}": agreement.mean(axis=1),
        "label_f1_top1": f1[:, 0],
        f"label_f1_top{TOP}": f1.mean(axis=1),
        "mrr_label_nearest": 1 / ranks,
    }
    sums = joined([means(values), bleu])
    classes = class_sums(retrieved[:, 0], labels).scores()
    per_class = {condition: classes[f"{condition}/f1"] for condition in CHEXPERT_CONDITIONS}
    return {
        **sums.scores(),
        "intervals": intervals(sums),
        "f1_macro_top1": float(np.mean(list(per_class.values()))),
        "f1_macro_tail_top1": float(np.mean([per_class[c] for c in CHEXPERT_CONDITIONS if thirds[c] == "tail"])),
        "per_class_f1_top1": per_class,
    }
