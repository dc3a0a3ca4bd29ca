"""The four loss terms of a batch, from the network's output and the flags."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import torch
from torch import Tensor

from models.revtaf import Revtaf, RevtafOutput
from modules.corpus.datasets import Batch
from modules.distributed import gather_with_gradient, rank, world_size
from modules.labels import CHEXPERT_CONDITIONS, POSITIVE
from modules.training.losses import (
    LossTerms,
    alignment_loss,
    diagnosis_loss,
    ranking_loss,
    text_similarity,
    token_loss,
)


def initial_prior(labels: np.ndarray, base_rates: list[float] | None = None) -> torch.Tensor:
    """Class prior ``(L,)``: positive rate of the 14 conditions over its maximum, 1 for the auxiliary ones.

    Args:
        labels: ``(n, L)`` states of the training studies. A condition without positives gets half a positive.
        base_rates: rates of the 14 conditions that were prepared or published; those of ``labels`` if absent.
    """
    n, C = len(labels), len(CHEXPERT_CONDITIONS)
    rates = base_rates if base_rates is not None else (labels[:, :C] == POSITIVE).mean(axis=0)
    positives = (np.asarray(rates, dtype=np.float64) * n).clip(min=0.5)  # (14,)
    prior = torch.ones(labels.shape[1])  # (L,)
    prior[:C] = torch.from_numpy(positives / positives.max()).float()
    return prior


def loss_terms(model: Revtaf, output: RevtafOutput, batch: Batch, class_prior: Tensor, options: Namespace) -> LossTerms:
    """Compare the output of a batch with its reports and labels.

    With several processes the embeddings of all of them are the others that an anchor is ranked against; gradients flow
    back to every process, so that the mean over processes is the loss of the whole batch.

    Args:
        model: whose output it is.
        output: of the forward pass over packed reports.
        batch: on the same device.
        class_prior: ``(L,)``.
        options: ``label_smoothing``, ``align_iou``, ``rank_loss``, ``rank_temperature``.
    """
    others = None
    if world_size() > 1:
        points, labels = gather_with_gradient(output.embedding), gather_with_gradient(batch.labels)
        others = (points, labels, rank() * len(batch.labels))
    return LossTerms(
        report=token_loss(output.token_logits, batch.packed.targets, options.label_smoothing),
        diagnosis=diagnosis_loss(output.state_logits, batch.labels, class_prior),
        alignment=alignment_loss(
            text_similarity(output.region_text, output.reference_text),
            output.region_map,
            output.reference_map,
            output.reference_mask,
            options.align_iou,
        ),
        ranking=ranking_loss(
            model.retrieval_enhancer.manifold,
            output.embedding,
            batch.labels,
            others,
            options.rank_loss,
            options.rank_temperature,
        ),
    )
