"""Training steps whose batch is worked on in shares: the same bytes, whichever process works on which share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from modules.distributed import rank, world_size


class SharedSteps:
    """The mean gradient of the shares of a batch, however many processes work on them.

    Every share has its own stream of random numbers and starts from the running statistics of the step before; the shares
    are then added in their order. So neither the number of processes nor their speed shows in the weights, as long as
    each process computes with the same number of threads. Processes beyond the number of shares have nothing to do.

    Args:
        model: network with the same weights in every process.
        shares: batches that a step takes together.
        seed: seed of the random streams.
    """

    def __init__(self, model: nn.Module, shares: int, seed: int) -> None:
        self.model = model
        self.shares = shares
        self.mine = range(rank(), shares, world_size())
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        kept = model.state_dict()  # other buffers are constants
        self.buffers = [buffer for name, buffer in model.named_buffers() if name in kept]
        self.sizes = [1, *(part.numel() for part in [*self.parameters, *self.buffers])]  # the loss first
        self.streams = {}
        for share in self.mine:
            torch.manual_seed(seed * shares + share)
            self.streams[share] = self._stream()

    def step(self, loss_of: Callable[[], Tensor]) -> Tensor:
        """Leave the mean gradient of the shares in every ``.grad`` and their mean statistics in the buffers.

        Args:
            loss_of: runs the network on this process's next share and returns the scalar loss; called once for each of
                ``mine``, in that order.

        Returns:
            The mean loss, a scalar on the model's device.
        """
        before = [buffer.clone() for buffer in self.buffers]
        total: Tensor | None = None
        for first in range(0, self.shares, world_size()):
            share = first + rank()
            vector = self._work(share, loss_of, before) if share < self.shares else None
            for source in range(min(world_size(), self.shares - first)):
                part = self._from_process(source, vector)
                total = part if total is None else total.add_(part)
        assert total is not None, "there is a share at least"
        return self._spread(total.div_(self.shares))

    def _work(self, share: int, loss_of: Callable[[], Tensor], before: list[Tensor]) -> Tensor:
        """Loss, gradients and statistics of one share as one vector ``(sum(sizes),)`` of float32."""
        for buffer, value in zip(self.buffers, before, strict=True):
            buffer.copy_(value)
        self.model.zero_grad(set_to_none=True)
        self._continue_stream(share)
        loss = loss_of()
        loss.backward()
        self.streams[share] = self._stream()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        assert len(gradients) == len(self.parameters), "every parameter takes part in the loss"
        # a count of batches fits a float32 too, up to 2 ** 24
        return torch.cat([part.detach().reshape(-1).float() for part in (loss, *gradients, *self.buffers)])

    def _from_process(self, source: int, vector: Tensor | None) -> Tensor:
        """The vector of process ``source``; ``vector`` is this one's."""
        if vector is None or source != rank():
            vector = torch.empty(sum(self.sizes), device=self.parameters[0].device)
        if world_size() > 1:
            dist.broadcast(vector, source)
        return vector

    def _spread(self, mean: Tensor) -> Tensor:
        """Put a vector of :meth:`_work` into the gradients and the buffers; returns its loss."""
        loss, *parts = mean.split(self.sizes)
        for parameter, part in zip(self.parameters, parts, strict=False):
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(part.view(parameter.shape))
        for buffer, part in zip(self.buffers, parts[len(self.parameters) :], strict=True):
            buffer.copy_(part.view(buffer.shape))
        return loss.squeeze(0)

    def _stream(self) -> list[Tensor]:
        device = self.parameters[0].device
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])

    def _continue_stream(self, share: int) -> None:
        torch.set_rng_state(self.streams[share][0])
        for state in self.streams[share][1:]:
            torch.cuda.set_rng_state(state, self.parameters[0].device)
