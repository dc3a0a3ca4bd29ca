"""Gradients of several processes: their mean, computed while the way back still runs, always in the same order.

torch's DistributedDataParallel orders its sums anew after the first step, and again after a resume, so that three processes
would not repeat themselves bit for bit; and it asks for a gradient of every weight, which some switches leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from modules.distributed import world_size

BUCKET = 25 << 20  # bytes that are sent at once


class MeanGradients:
    """The mean of the gradients of all processes; with one process it does nothing.

    Args:
        model: whose; its weights and statistics become those of process 0.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buckets: list[list[nn.Parameter]] = []
        self.last = False  # whether the present way back is the last of its step
        if world_size() == 1:
            return
        copy_from_main(model.state_dict().values())
        size = BUCKET
        self.place: dict[nn.Parameter, int] = {}
        for parameter in reversed([p for p in model.parameters() if p.requires_grad]):  # as the way back meets them
            if size >= BUCKET:
                self.buckets.append([])
                size = 0
            self.buckets[-1].append(parameter)
            self.place[parameter] = len(self.buckets) - 1
            size += parameter.numel() * parameter.element_size()
            parameter.register_post_accumulate_grad_hook(self._ready)
        self.begin()

    def begin(self) -> None:
        """Before a step."""
        self.missing = [len(bucket) for bucket in self.buckets]
        self.sent: list[tuple[list[nn.Parameter], Tensor, dist.Work]] = []
        self.next, self.last = 0, False

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """The way back of ``losses["loss"]``; the gradients of several batches add up."""
        losses["loss"].backward()

    def _ready(self, parameter: nn.Parameter) -> None:
        if not self.last:
            return
        self.missing[self.place[parameter]] -= 1
        while self.next < len(self.buckets) and not self.missing[self.next]:
            self._send()

    def _send(self) -> None:
        """Send the next bucket, on every process the same."""
        reached = [parameter for parameter in self.buckets[self.next] if parameter.grad is not None]
        self.next += 1
        if reached:
            flat = torch.cat([gradient_of(parameter).flatten() for parameter in reached])
            self.sent.append((reached, flat, dist.all_reduce(flat, async_op=True)))

    def finish(self) -> None:
        """After the last way back of a step: every gradient is the mean."""
        while self.next < len(self.buckets):
            self._send()
        for reached, flat, work in self.sent:
            work.wait()
            flat /= world_size()
            parts = flat.split([parameter.numel() for parameter in reached])
            gradients = [gradient_of(parameter) for parameter in reached]  # in place: they keep their memory format
            torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


def gradient_of(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that has one."""
    assert parameter.grad is not None
    return parameter.grad


def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of process 0, in place; every process calls it with as many of the same shapes."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
