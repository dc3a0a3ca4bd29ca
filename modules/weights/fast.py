"""One place that decides whether a model is made fast for its device."""

from __future__ import annotations

import torch
from torch import nn

from models.cpu.speed_up import speed_up as speed_up_on_cpu


def speed_up(
    model: nn.Module, device: torch.device, fast_cpu: bool = True, fast_gpu: bool = True, compiled: bool = False
) -> None:
    """Put in what is faster on the device of a model, in place; the results stay, up to rounding.

    Args:
        model: on its device.
        device: of the model.
        fast_cpu: ``--fast_cpu``.
        fast_gpu: ``--fast_gpu``.
        compiled: ``--compile``, for training.
    """
    if device.type == "cpu" and fast_cpu:
        speed_up_on_cpu(model)
    if device.type == "cuda" and fast_gpu:
        from models.gpu.speed_up import speed_up as speed_up_on_gpu

        speed_up_on_gpu(model, compiled)
