"""Statistics of the batch-normalisation layers: over the studies of all processes, of one, or frozen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.precision import at_least_float32
from modules.corpus.dataloaders import share_size
from modules.distributed import gather_with_gradient, world_size
from modules.options.flags import TrainingOptions


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over all processes on the CPU, where torch has none; every process has as many studies."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, D, height, width)`` by the mean and variance of the whole batch."""
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            wide = at_least_float32(x)
            mean = _of_all(wide.mean(dim=(0, 2, 3)))  # (D,)
            centred = wide - mean[:, None, None]
            variance = _of_all(centred.square().mean(dim=(0, 2, 3)))  # (D,)
            with torch.no_grad():
                n = world_size() * x.numel() / x.shape[1]
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                momentum = self.momentum or 0.0
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_((variance * n / (n - 1)).to(self.running_var.dtype), momentum)
            scale = self.weight * (variance + self.eps).rsqrt()
            return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def _of_all(mean: Tensor) -> Tensor:
    """Mean of the means ``(D,)`` of all processes; gradients flow back to each."""
    return gather_with_gradient(mean.unsqueeze(0)).mean(dim=0)


def share_statistics(model: nn.Module, device: torch.device) -> None:
    """Let every batch-normalisation layer of a model take its statistics over all processes (``--sync_bn``)."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # replaces the layers inside the model
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


def normalised_together(training: TrainingOptions, size: int, batch_size: int) -> int:
    """Studies of a step whose statistics are taken together, of ``size`` training studies; 0 if they are frozen."""
    if training.freeze_bn:
        return 0
    shared = world_size() if training.sync_bn is not False else 1
    return shared * share_size(size, batch_size, world_size())


def freeze_statistics(model: nn.Module) -> None:
    """Keep the statistics that the weights came with (``--freeze_bn``); call it after ``model.train()``."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
