"""The objective: one tuple of losses, from which the total, the names and the columns of metrics.csv follow.

Adding a loss is a function of a :class:`Step` and a row of ``LOSSES``; its weight is a flag of ``main_train.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from models.config import RevtafConfig
from models.retrieval_towers import RetrievalTowers
from models.revtaf import PredictedPrompt, Revtaf, RevtafOutput
from modules.corpus.datasets import Batch
from modules.distributed import gather_with_gradient, rank, without_waiting, world_size
from modules.labels import CHEXPERT_CONDITIONS, POSITIVE
from modules.options.flags import TrainingOptions
from modules.training.losses import (
    IGNORED,
    alignment_loss,
    diagnosis_loss,
    known_pairs_loss,
    presence_loss,
    ranking_loss,
    reward_loss,
    same_and_other,
    text_similarity,
    token_loss,
    updated_prior,
)


@dataclass(frozen=True)
class DrawnReports:
    """What some drawn reports of each study of a batch are worth."""

    reward: Tensor  # (B, n) in [0, 1]
    log_probability: Tensor  # (B, n), the sum over the words of each


@dataclass(frozen=True)
class Step:
    """What a loss may look at: the batch of a step and what the model made of it."""

    model: Revtaf
    output: RevtafOutput  # of the forward pass over packed reports
    batch: Batch  # on the same device
    class_prior: Tensor  # (L,)
    options: TrainingOptions
    pairs: Tensor | None = None  # (B, K, S), what is known of entities and sentences; None where all pairs shall agree
    batches: tuple[Batch, ...] = ()  # all of this process that count as one step; only the batch if empty
    place: int = 0  # of the batch among them
    drawn: DrawnReports | None = None  # None where none were drawn in this epoch


@dataclass(frozen=True)
class Loss:
    """One term of the objective; metrics.csv, the progress bar and TensorBoard show it as ``loss_<name>``."""

    name: str
    compute: Callable[[Step], Tensor]  # unweighted: a mean, or several that add up
    weight: str | None = None  # flag that it is multiplied with; 1 if absent
    count: Callable[[RevtafConfig, Batch, Tensor | None], Tensor] | None = (
        None  # of what is averaged; studies if absent
    )
    only_with: str | None = None  # flag without which there is no such term


def report(step: Step) -> Tensor:
    """Write the report: reaches every part that the decoder reads."""
    logits, targets = step.output.token_logits, step.batch.packed.targets
    return token_loss(logits, targets, step.options.label_smoothing, step.model.report_decoder.word_loss)


def diagnosis(step: Step) -> Tensor:
    """Name the state of every condition: reaches diagnosis head, memory and visual encoder."""
    return diagnosis_loss(step.output.state_logits, step.batch.labels, step.class_prior)


def alignment(step: Step) -> Tensor:
    """Let entities and sentences that mean the same look at the same patches.

    Known pairs reach W_k of the attention alone; all pairs, as released, reach attention and projections.
    """
    output = step.output
    maps = output.region_map, output.reference_map, output.reference_mask
    if step.pairs is not None:
        return known_pairs_loss(step.pairs, *maps)
    return alignment_loss(text_similarity(output.region_text, output.reference_text), *maps, step.options.align_iou)


def presence(step: Step) -> Tensor:
    """Find every entity that the image shows in some patch: reaches entity queries, W_q and the visual encoder.

    On a finer grid it reaches the coarse search and the visual encoder; the maps are fitted apart, see ``fitted_maps.py``.
    """
    return presence_loss(step.output.presence_logits, step.batch.study.region_scores)


def ranking(step: Step) -> Tensor:
    """Make studies with similar labels neighbours: reaches the learnable retrieval enhancer.

    An anchor is ranked against the studies of the whole step, those of other batches and processes included, in the order
    that one large batch would have them in. Gradients flow back to every process, so that the mean over processes and
    batches is the loss of the step.
    """
    enhancer, batches = step.model.retrieval_enhancer, step.batches or (step.batch,)
    if isinstance(enhancer, RetrievalTowers):  # fitted between epochs, see towers.py
        return step.class_prior.new_zeros(())
    N, W, B = len(batches), world_size(), len(step.batch.labels)
    embedding, others = step.output.embedding, None
    assert embedding is not None, "without towers a study is embedded"
    if N * W > 1:
        points = [
            embedding if place == step.place else enhancer(batch.study.region_scores)
            for place, batch in enumerate(batches)
        ]
        labels = torch.cat([batch.labels for batch in batches])  # (N * B, L)
        every, labels = gather_with_gradient(torch.cat(points)), gather_with_gradient(labels)  # (W * N * B, ...)
        order = torch.arange(W * N * B, device=labels.device).view(W, N, B).transpose(0, 1).flatten()
        others = every[order], labels[order], (step.place * W + rank()) * B
    kind, temperature = step.options.rank_loss, step.options.rank_temperature
    return ranking_loss(enhancer.manifold, embedding, step.batch.labels, others, kind, temperature)


def reward(step: Step) -> Tensor:
    """Draw reports that say the findings of the study's own report: reaches the decoder and what it reads."""
    if step.drawn is None:  # an epoch before those with --scst
        return step.class_prior.new_zeros(())
    return reward_loss(step.drawn.reward, step.drawn.log_probability)


def count_tokens(config: RevtafConfig, batch: Batch, pairs: Tensor | None) -> Tensor:
    """Predicted tokens of a batch ``(1,)``."""
    return (batch.packed.targets != IGNORED).sum().reshape(1)


def count_aligned(config: RevtafConfig, batch: Batch, pairs: Tensor | None) -> Tensor:
    """Known pairs of a batch that mean the same and that do not ``(2,)``; where all pairs shall agree, sentences ``(1,)``."""
    mask = batch.study.reference_mask
    if not config.mask_padding:
        mask = torch.ones_like(mask)
    if pairs is None:
        return mask.sum().reshape(1)
    return torch.stack([part.sum() for part in same_and_other(pairs, mask)])


LOSSES = (
    Loss("report", report, count=count_tokens),
    Loss("diagnosis", diagnosis, weight="cls_weight"),
    Loss("alignment", alignment, weight="align_weight", count=count_aligned),
    Loss("ranking", ranking, weight="rank_weight"),
    Loss("presence", presence, weight="presence_weight"),
    Loss("reward", reward, weight="scst_weight", only_with="scst"),
)


def next_prior(positive_probability: np.ndarray, labels: np.ndarray, old_prior: Tensor) -> Tensor:
    """Class prior ``(L,)`` after a validation, 1 for the auxiliary conditions, which take no part; see :func:`losses.updated_prior`.

    Args:
        positive_probability: ``(n, L)``.
        labels: ``(n, L)`` states.
        old_prior: ``(L,)``, on any device.
    """
    C = len(CHEXPERT_CONDITIONS)
    probability, states = torch.from_numpy(positive_probability[:, :C]).float(), torch.from_numpy(labels[:, :C])
    updated = torch.ones_like(old_prior)
    updated[:C] = updated_prior(probability, states, old_prior[:C].cpu()).to(old_prior.device)
    return updated


def losses_of(options: TrainingOptions | None = None) -> list[Loss]:
    """The terms of a run with these flags; if absent, those that every run has."""
    return [loss for loss in LOSSES if not loss.only_with or (options and getattr(options, loss.only_with))]


def loss_names(options: TrainingOptions | None = None) -> list[str]:
    """Names of what :func:`objective` returns, in its order, for :func:`losses_of` the same flags."""
    return ["loss", *(f"loss_{loss.name}" for loss in losses_of(options))]


def weights_of(options: TrainingOptions) -> dict[str, float]:
    """What each term is multiplied with, by its name in :func:`loss_names`."""
    return {f"loss_{loss.name}": getattr(options, loss.weight) if loss.weight else 1.0 for loss in losses_of(options)}


def shares(config: RevtafConfig, batches: Sequence[Batch], pairs: Sequence[Tensor | None]) -> list[dict[str, Tensor]]:
    """What the losses of each batch of a step are multiplied with, so that they add up to those of one large batch.

    A mean over tokens or pairs counts as much as the batch has of them among all batches of all processes; one over studies
    is split evenly. As gradients are averaged over processes, the shares of a step sum to the number of processes.

    Args:
        config: of the model.
        batches: of this process.
        pairs: known of each, see :class:`Step`.
    """
    N, W = len(batches), world_size()
    if N * W == 1:
        return [{}]
    counted = [(loss.name, loss.count) for loss in LOSSES if loss.count]
    even = {loss.name: torch.tensor(1 / N) for loss in LOSSES if not loss.count}
    counts = [[count(config, *one) for _, count in counted] for one in zip(batches, pairs, strict=True)]
    own = torch.stack([torch.cat(of_batch) for of_batch in counts]).double()  # (N, counts)
    total = own.sum(dim=0)  # (counts,)
    if W > 1:
        dist.all_reduce(total)
    share = own.clamp_min(1) * W / total.clamp_min(1)  # a mean of nothing is one over 1
    sizes = [len(count) for count in counts[0]]
    return [even | dict(zip([name for name, _ in counted], part.float().split(sizes), strict=True)) for part in share]


def objective(step: Step, share: Mapping[str, Tensor] = MappingProxyType({})) -> dict[str, Tensor]:
    """The weighted sum ``loss`` and its unweighted terms ``loss_<name>``, all scalars, each times its share of the step."""
    losses = losses_of(step.options)
    terms = [(loss.compute(step) * share.get(loss.name, 1)).sum() for loss in losses]
    weights = weights_of(step.options).values()
    total = cast(Tensor, sum(weight * term for weight, term in zip(weights, terms, strict=True)))
    return dict(zip(loss_names(step.options), [total, *terms], strict=True))


def predicted_prompt(kind: str, batch: Batch, state_ids: Tensor) -> PredictedPrompt | None:
    """The studies whose prompts hold predicted states in training; None where none do.

    Departure: the released code trains on true states alone and writes from predicted ones; ``--prompt_states true`` does
    so.

    Args:
        kind: ``"true"``, ``"predicted"``, or ``"mixed"``, which draws every second study.
        batch: on its device.
        state_ids: ``(P,)`` token ids of the states, on that device.
    """
    if kind == "true":
        return None
    chosen = torch.rand(len(batch.index)) < (1.0 if kind == "predicted" else 0.5)  # (B,)
    return PredictedPrompt(without_waiting(chosen, state_ids.device), state_ids)


def initial_prior(labels: np.ndarray, base_rates: list[float] | None = None) -> Tensor:
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
