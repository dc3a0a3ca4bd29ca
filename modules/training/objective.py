"""The objective: one tuple of losses, from which the total, the names and the columns of metrics.csv follow.

Adding a loss is a function of a :class:`Step` and a row of ``LOSSES``; its weight is a flag of ``main_train.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf, RevtafOutput
from modules.corpus.datasets import Batch
from modules.distributed import gather_with_gradient, rank, world_size
from modules.flags import TrainingOptions
from modules.labels import CHEXPERT_CONDITIONS, POSITIVE
from modules.training.losses import alignment_loss, diagnosis_loss, ranking_loss, text_similarity, token_loss


@dataclass(frozen=True)
class Step:
    """What a loss may look at: the batch of a step and what the model made of it."""

    model: Revtaf
    output: RevtafOutput  # of the forward pass over packed reports
    batch: Batch  # on the same device
    class_prior: Tensor  # (L,)
    options: TrainingOptions


@dataclass(frozen=True)
class Loss:
    """One term of the objective; metrics.csv, the progress bar and TensorBoard show it as ``loss_<name>``."""

    name: str
    compute: Callable[[Step], Tensor]  # unweighted, a scalar
    weight: str | None = None  # flag that it is multiplied with; 1 if absent


def report(step: Step) -> Tensor:
    """Write the report: reaches every part that the decoder reads."""
    return token_loss(step.output.token_logits, step.batch.packed.targets, step.options.label_smoothing)


def diagnosis(step: Step) -> Tensor:
    """Name the state of every condition: reaches diagnosis head, memory and visual encoder."""
    return diagnosis_loss(step.output.state_logits, step.batch.labels, step.class_prior)


def alignment(step: Step) -> Tensor:
    """Let entities and sentences that mean the same look at the same patches: reaches attention and projections."""
    output = step.output
    similarity = text_similarity(output.region_text, output.reference_text)  # (B, K, S)
    maps = output.region_map, output.reference_map
    return alignment_loss(similarity, *maps, output.reference_mask, step.options.align_iou)


def ranking(step: Step) -> Tensor:
    """Make studies with similar labels neighbours: reaches the learnable retrieval enhancer.

    With several processes the embeddings of all of them are the others that an anchor is ranked against; gradients flow
    back to every process, so that the mean over processes is the loss of the whole batch.
    """
    if isinstance(step.model.retrieval_enhancer, RetrievalTowers):  # fitted between epochs, see towers.py
        return step.class_prior.new_zeros(())
    embedding, labels, others = step.output.embedding, step.batch.labels, None
    if world_size() > 1:
        others = gather_with_gradient(embedding), gather_with_gradient(labels), rank() * len(labels)
    manifold = step.model.retrieval_enhancer.manifold
    return ranking_loss(manifold, embedding, labels, others, step.options.rank_loss, step.options.rank_temperature)


LOSSES = (
    Loss("report", report),
    Loss("diagnosis", diagnosis, weight="cls_weight"),
    Loss("alignment", alignment, weight="align_weight"),
    Loss("ranking", ranking, weight="rank_weight"),
)


def loss_names() -> list[str]:
    """Names of what :func:`objective` returns, in its order."""
    return ["loss", *(f"loss_{loss.name}" for loss in LOSSES)]


def objective(step: Step) -> dict[str, Tensor]:
    """The weighted sum ``loss`` and its unweighted terms ``loss_<name>``, all scalars."""
    terms = [loss.compute(step) for loss in LOSSES]
    weights = [getattr(step.options, loss.weight) if loss.weight else 1 for loss in LOSSES]
    total = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    return dict(zip(loss_names(), [total, *terms], strict=True))


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
