"""Tensors of all processes side by side, with the way back."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class Gather(torch.autograd.Function):
    """Every process's tensor on every process; a gradient is what all processes send back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """``(B, ...)`` of this process as ``(world * B, ...)`` of all."""
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """What came back for this process's rows, of all processes."""
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]
