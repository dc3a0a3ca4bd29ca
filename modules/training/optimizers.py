"""AdamW with two groups of weights, and the published learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import nn

from modules.options.flags import TrainingOptions


def build_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW without weight decay on biases, norms and other vectors; fused kernels where they exist.

    Args:
        model: its trainable parameters are optimised.
        lr: learning rate at the start.
        weight_decay: decay of matrices.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """Norm of all gradients together, a scalar on their device, before they are clipped."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def clip_gradients(parameters: Iterable[nn.Parameter], value: float) -> None:
    """Limit every element of every gradient to ``[-value, value]``: on a CPU in one pass, where torch takes two."""
    parameters = list(parameters)
    on_cpu = parameters[0].device.type == "cpu"
    torch.nn.utils.clip_grad_value_(parameters, value, foreach=not on_cpu)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up inside the first epoch, then a cosine that moves once per epoch, as published.

    Attributes:
        init_lr: learning rate after warm-up.
        min_lr: learning rate at the end.
        warmup_lr: learning rate of the first step; negative means ``init_lr``.
        warmup_steps: steps of warm-up.
        epochs: epochs of the whole run.
    """

    init_lr: float
    min_lr: float
    warmup_lr: float
    warmup_steps: int
    epochs: int

    @classmethod
    def of(cls, options: TrainingOptions) -> Schedule:
        """The schedule that the flags of a training describe."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    def lr(self, epoch: int, step: int) -> float:
        """Learning rate of step ``step`` (from 0) of epoch ``epoch`` (from 1)."""
        if epoch == 1:
            start = self.warmup_lr if self.warmup_lr >= 0 else self.init_lr
            return min(self.init_lr, start + (self.init_lr - start) * step / max(self.warmup_steps, 1))
        return self.min_lr + (self.init_lr - self.min_lr) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def apply(self, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> float:
        """Set and return the learning rate of this step."""
        lr = self.lr(epoch, step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return lr
