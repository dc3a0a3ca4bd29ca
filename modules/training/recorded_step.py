"""A training step on a GPU as a CUDA graph: recorded once for each shape of batch, then started as a whole.

Forward and backward pass are about six thousand small kernels, which a host starts one by one more slowly than a card runs
them. A recording needs tensors that keep shape and place: a batch is copied into tensors of a few shapes, padded further than
it was, and the gradients stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from models.config import RevtafConfig
from models.decoder_layers import PackedReports
from models.optimal_transport import SHARP
from models.revtaf import PredictedPrompt, StudyInputs
from models.visual_encoder import resnet_grid
from modules.corpus.datasets import Batch
from modules.training.gradients import gradient_of
from modules.training.known_pairs import UNKNOWN
from modules.training.losses import IGNORED

SENTENCES, TOKENS, ROWS = 8, 16, 256  # what sentences, tokens of a report and tokens of a batch are rounded up to
MOST = 32  # recordings; a batch of yet another shape is computed step by step


def recordable(config: RevtafConfig, align_iou: str = "soft") -> bool:
    """Whether no part of a step asks the card for a number, which a recording could not repeat, and none reads padding.

    A learned curvature asks for one, and so does a sharp plan; POT solves on the host. A system of more than 128 patches and a
    backbone of Hugging Face may ask. With ``--no-mask_padding`` padded sentences are sent to the patches, so that a step with
    more padding is another step.
    """
    patches = resnet_grid(config.image_size, config.grid == "2x") ** 2
    has_no_plan = config.attention != "ot" or config.ot_plan == "single"
    plan_stays_on_card = config.ot_solver == "sinkhorn" and config.ot_epsilon >= SHARP and patches <= 128
    masked = (
        config.mask_padding and align_iou == "soft"
    )  # the threshold of the released overlap depends on padded maps too
    return (
        (has_no_plan or plan_stays_on_card) and masked and not config.learn_curvature and config.visual_folder is None
    )


@dataclass
class Inputs:
    """What a step reads, on the device of the model."""

    batch: Batch
    pairs: Tensor | None  # (B, K, S)
    prompt: PredictedPrompt | None
    class_prior: Tensor  # (L,)


Compute = Callable[[Inputs], dict[str, Tensor]]  # the losses by name; ``loss`` is their weighted sum


def rounded_up(number: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is not below ``number``."""
    return -(-number // unit) * unit


def widened(inputs: Inputs, pad_id: int) -> Inputs:
    """The same step over tensors of few shapes: padded sentences, tokens, and rows without a token."""
    batch = inputs.batch
    (B, S), packed = batch.study.reference_mask.shape, batch.packed
    rows, wide_S = len(packed.ids), rounded_up(S, SENTENCES)
    wide_T = rounded_up(batch.token_ids.shape[1] - 1, TOKENS) + 1  # the decoder reads one less
    more = rounded_up(rows, ROWS) - rows

    def wider(x: Tensor, size: int, value: float, dim: int = 1) -> Tensor:
        if x.shape[dim] == size:
            return x
        shape = list(x.shape)
        shape[dim] = size - x.shape[dim]
        return torch.cat([x, x.new_full(shape, value)], dim=dim)

    before, after = packed.shape[1], wide_T - 1
    place = packed.place // before * after + packed.place % before
    reports = PackedReports(
        ids=wider(packed.ids, rows + more, pad_id, dim=0),
        position=wider(packed.position, rows + more, 0, dim=0),
        place=wider(place, rows + more, B * after, dim=0),
        scored=wider(packed.scored, len(packed.scored) + more, rows - 1, dim=0),
        targets=wider(packed.targets, len(packed.targets) + more, IGNORED, dim=0),
        shape=(B, after),
        filled=True,
    )
    study = replace(
        batch.study,
        reference_text=wider(batch.study.reference_text, wide_S, 0),
        reference_mask=wider(batch.study.reference_mask, wide_S, False),
    )
    wide = replace(
        batch,
        study=study,
        token_ids=wider(batch.token_ids, wide_T, pad_id),
        token_mask=wider(batch.token_mask, wide_T, False),
        packed=reports,
        plain_image=None,
    )
    pairs = None if inputs.pairs is None else wider(inputs.pairs, wide_S, UNKNOWN, dim=2)
    return replace(inputs, batch=wide, pairs=pairs)


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """Every tensor that a step reads, always in the same order."""
    batch, packed = inputs.batch, inputs.batch.packed
    tensors = [getattr(batch.study, field.name) for field in fields(StudyInputs)]
    tensors += [batch.token_ids, batch.token_mask, batch.labels]
    tensors += [getattr(packed, name) for name in packed.arrays()]
    tensors += [inputs.class_prior]
    tensors += [] if inputs.pairs is None else [inputs.pairs]
    tensors += [] if inputs.prompt is None else [inputs.prompt.chosen, inputs.prompt.state_ids]
    return tensors


def copied(inputs: Inputs) -> Inputs:
    """The same in tensors of their own."""
    batch, packed, prompt = inputs.batch, inputs.batch.packed, inputs.prompt
    study = StudyInputs(**{name: value.clone() for name, value in vars(batch.study).items()})
    reports = replace(packed, **{name: getattr(packed, name).clone() for name in packed.arrays()})
    tokens = {name: getattr(batch, name).clone() for name in ("token_ids", "token_mask", "labels")}
    return Inputs(
        replace(batch, study=study, packed=reports, **tokens),
        None if inputs.pairs is None else inputs.pairs.clone(),
        None if prompt is None else PredictedPrompt(prompt.chosen.clone(), prompt.state_ids.clone()),
        inputs.class_prior.clone(),
    )


class Gradients:
    """The gradients of a model, always at the same places.

    Args:
        model: after a backward pass: a weight without a gradient then has none ever.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [p for p in model.parameters() if p.grad is not None]
        self.values = [torch.zeros_like(p) for p in self.parameters]

    def keep(self) -> None:
        """Copy the gradients that the weights have."""
        torch._foreach_copy_(self.values, [gradient_of(parameter) for parameter in self.parameters])

    def put(self) -> None:
        """Give the weights these gradients."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            parameter.grad = value


class RecordedSteps:
    """Computes losses and gradients of batches by recordings, one for each shape.

    Args:
        model: on its device.
        compute: the forward pass and the losses.
        pad_id: of the vocabulary.
        loss_names: what is returned, in order.
    """

    def __init__(self, model: nn.Module, compute: Compute, pad_id: int, loss_names: Sequence[str]) -> None:
        self.model, self.compute, self.pad_id, self.names = model, compute, pad_id, loss_names
        self.gradients: Gradients | None = None
        self.recordings: dict[tuple, tuple[Inputs, torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, inputs: Inputs) -> Tensor:
        """One forward and one backward pass; the weights have their gradients.

        Returns:
            The losses, in the order of ``loss_names``.
        """
        wide = widened(inputs, self.pad_id)
        shapes = tuple(tuple(x.shape) for x in tensors_of(wide))
        if shapes not in self.recordings and len(self.recordings) < MOST:
            self.recordings[shapes] = self._record(copied(wide))
        if shapes not in self.recordings:
            self.model.zero_grad(set_to_none=True)
            return self._pass(wide)
        recorded, graph, losses = self.recordings[shapes]
        for place, value in zip(tensors_of(recorded), tensors_of(wide), strict=True):
            place.copy_(value)
        assert self.gradients is not None
        self.gradients.put()
        graph.replay()
        return losses.clone()

    def _pass(self, inputs: Inputs) -> Tensor:
        losses = self.compute(inputs)
        losses["loss"].backward()
        return torch.stack([losses[name].detach().float() for name in self.names])

    def _record(self, inputs: Inputs) -> tuple[Inputs, torch.cuda.CUDAGraph, Tensor]:
        """Record a pass; random numbers and running statistics are then as they were before it was tried out."""
        state, buffers = torch.cuda.get_rng_state(), [buffer.clone() for buffer in self.model.buffers()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose and prepare what they run
                self.model.zero_grad(set_to_none=True)
                self._pass(inputs)
        torch.cuda.current_stream().wait_stream(stream)
        if self.gradients is None:
            self.gradients = Gradients(self.model)
        graph, pool = torch.cuda.CUDAGraph(), next((g.pool() for _, g, _ in self.recordings.values()), None)
        mode = "thread_local"  # meanwhile the thread of a data loader may pin memory
        with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
            self.model.zero_grad(set_to_none=True)  # else every gradient would be added by a kernel of its own
            losses = self._pass(inputs)
            self.gradients.keep()
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        torch.cuda.set_rng_state(state)
        return inputs, graph, losses
