"""One update of the weights: the batches of all processes, and several of each, count as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

import torch
from torch import Tensor
from torch.profiler import record_function

from models.revtaf import Revtaf
from modules.corpus.datasets import Batch
from modules.distributed import autocast, watch, world_size
from modules.options.flags import TrainingOptions
from modules.training.conflict_averse import ConflictAverseGradients
from modules.training.finite import FiniteWatch, KeptStatistics
from modules.training.gradients import MeanGradients, copy_from_main
from modules.training.known_pairs import KnownPairs
from modules.training.memory import compute_twice, says_what_to_lower
from modules.training.normalisation import freeze_statistics, share_statistics
from modules.training.objective import Step, loss_names, objective, predicted_prompt, shares, weights_of
from modules.training.optimizers import build_optimizer, clip_gradients, gradient_norm
from modules.training.recorded_step import Inputs, RecordedSteps, recordable
from modules.training.self_critical import SelfCritical


class Update:
    """Forward, backward and optimizer.

    Args:
        model: on its device.
        options: of the training.
        precision: ``--precision``.
        device: of this process.
        state_ids: ``(P,)`` token ids of the states.
        known_pairs: what is known of the sentences of references; None where all pairs shall agree.
        recorded: whether a GPU repeats recorded steps, where it can: one process, one batch a step, nothing computed twice,
            no gradients apart, nothing drawn in this epoch.
        self_critical: draws reports where there is a reward.
    """

    def __init__(
        self,
        model: Revtaf,
        options: TrainingOptions,
        precision: str,
        device: torch.device,
        state_ids: Sequence[int] = (),
        known_pairs: KnownPairs | None = None,
        recorded: bool = False,
        self_critical: SelfCritical | None = None,
    ) -> None:
        self.state_ids, self.known_pairs = torch.tensor(state_ids, device=device), known_pairs
        self.self_critical = self_critical
        self.model, self.options, self.precision, self.device = model, options, precision, device
        if options.grad_checkpointing:
            compute_twice(model)
        self.own_statistics: list[Tensor] = []  # of process 0, where the processes do not share theirs
        if world_size() > 1 and options.sync_bn is False:
            self.own_statistics = [buffer for name, buffer in model.named_buffers() if "running_" in name]
        elif world_size() > 1:
            share_statistics(model, device)
        self.gradients: MeanGradients
        if options.cagrad:
            self.gradients = ConflictAverseGradients(model, weights_of(options), options.cagrad)
        else:
            self.gradients = MeanGradients(model)
        self.optimizer = build_optimizer(model, options.init_lr, options.weight_decay)
        self.finite = FiniteWatch(loss_names(options), device)
        self.statistics = KeptStatistics(model) if options.on_nan == "skip" else None
        self.recorded: RecordedSteps | None = None
        alone = device.type == "cuda" and world_size() == 1 and not (options.grad_checkpointing or options.cagrad)
        if recorded and alone and recordable(model.config, options.align_iou):
            self.recorded = RecordedSteps(model, self.losses, model.config.pad_id, loss_names(options))
        self.stage: Callable[[str], AbstractContextManager] = record_function  # --profile replaces it by a stopwatch

    @property
    def draws(self) -> bool:
        """Whether reports are drawn in this epoch."""
        return self.self_critical is not None and self.self_critical.active

    def train(self) -> None:
        """Set the model to training, before an epoch."""
        self.model.train()
        if self.options.freeze_bn:
            freeze_statistics(self.model)

    def losses(
        self,
        inputs: Inputs,
        share: Mapping[str, Tensor] = MappingProxyType({}),
        batches: tuple[Batch, ...] = (),
        place: int = 0,
    ) -> dict[str, Tensor]:
        """Forward pass over one of the batches of a step: ``loss``, the weighted sum, and its terms by name.

        Args:
            inputs: the batch, and what else a step reads.
            share: what each loss is multiplied with, see :func:`modules.training.objective.shares`.
            batches: all batches of the step; only this one if empty.
            place: of the batch among them.
        """
        batch = inputs.batch
        with autocast(self.device, self.precision):
            output = self.model(batch.study, batch.token_ids, batch.token_mask, batch.packed, inputs.prompt)
        drawn = self.self_critical(output, batch) if self.self_critical and self.draws else None
        step = Step(self.model, output, batch, inputs.class_prior, self.options, inputs.pairs, batches, place, drawn)
        return objective(step, share)

    def _inputs(self, batch: Batch, pairs: Tensor | None, class_prior: Tensor) -> Inputs:
        prompt = predicted_prompt(self.options.prompt_states, batch, self.state_ids)
        return Inputs(batch, pairs, prompt, class_prior)

    def __call__(self, number: int, batches: tuple[Batch, ...], class_prior: Tensor) -> Tensor:
        """Make one update.

        Args:
            number: of the step in its epoch, from 1.
            batches: of this process, on its device.
            class_prior: ``(L,)``.

        Returns:
            This process's share of the losses, in the order of ``loss_names``; the mean over processes is the loss of all.
        """
        if self.statistics:
            self.statistics.keep()
        known = self.known_pairs
        pairs = [None if known is None else known(batch.index, batch.study.reference_mask) for batch in batches]
        if self.recorded and len(batches) == 1 and not self.draws:
            inputs = self._inputs(batches[0], pairs[0], class_prior)
            watch().beat("a recorded step")
            with says_what_to_lower(self.model.config, batches[0], self.options, self.precision):
                values = self.recorded(inputs)
        else:
            values = self._passes(batches, pairs, class_prior)
        with self.stage("optimizer"):
            self._step_optimizer(number, batches, values)
        return values

    def _passes(self, batches: tuple[Batch, ...], pairs: list[Tensor | None], class_prior: Tensor) -> Tensor:
        """Forward and backward pass of every batch; returns the losses."""
        self.optimizer.zero_grad(set_to_none=True)
        self.gradients.begin()
        watch().beat("forward pass")
        values = torch.zeros(len(loss_names(self.options)), device=self.device)
        for place, share in enumerate(shares(self.model.config, batches, pairs)):
            self.gradients.last = place == len(batches) - 1
            with says_what_to_lower(self.model.config, batches[place], self.options, self.precision):
                with self.stage("forward"):
                    inputs = self._inputs(batches[place], pairs[place], class_prior)
                    losses = self.losses(inputs, share, batches, place)
                watch().beat("backward pass")
                with self.stage("backward"):
                    self.gradients.backward(losses)
                    values = values + torch.stack([value.detach().float() for value in losses.values()])
                    del losses  # and what they keep for the way back, before the next batch keeps its own
                    if self.gradients.last:
                        self.gradients.finish()
        copy_from_main(self.own_statistics)
        return values

    def _step_optimizer(self, number: int, batches: tuple[Batch, ...], values: Tensor) -> None:
        """Let the optimizer use the gradients, which are looked at and clipped."""
        parameters = list(self.model.parameters())
        index = [i for batch in batches for i in batch.index]
        self.finite.note(number, index, gradient_norm(parameters), values)
        clip_gradients(parameters, self.options.clip_grad_value)
        self.optimizer.found_inf = self.finite.left_out  # type: ignore[attr-defined]  # torch reads it: the update is left out where it is 1
        self.optimizer.step()
        if self.statistics:
            self.statistics.restore_if(self.finite.left_out)
