"""Layers as torch.compile makes them, and the table of words at a width that tensor cores take.

Only what repeats is compiled, a block of the image model and a layer of the decoder: that takes seconds where the whole network
takes minutes. The compiled layers serve training alone; everything else runs the plain ones.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.decoder_layers import score_layer
from models.ot_attention import TransportFusion
from models.visual_encoder import ResNetPatches

ALIGNED = 64  # half-precision products are several times slower with rows of another multiple


@cache
def _compiled(function: Any) -> Any:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)  # blocks of many shapes
    return torch.compile(function)


class CompiledBottleneck(Bottleneck):
    """torchvision's block, compiled in training."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, height, width)``."""
        return _compiled(Bottleneck.forward)(self, x) if self.training else super().forward(x)


class CompiledBasicBlock(BasicBlock):
    """torchvision's block, compiled in training."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D, height, width)``."""
        return _compiled(BasicBlock.forward)(self, x) if self.training else super().forward(x)


class CompiledPatches(ResNetPatches):
    """The beginning of a ResNet, compiled in training."""

    def begin(self, image: Tensor) -> Tensor:
        """A quarter of the height and width."""
        return _compiled(ResNetPatches.begin)(self, image) if self.training else super().begin(image)


class CompiledFusion(TransportFusion):
    """What follows the attention, compiled in training."""

    def add(self, patches: Tensor, message: Tensor) -> Tensor:
        """``(B, M, A)``."""
        if self.training:
            return _compiled(TransportFusion.add)(self, patches, message)
        return super().add(patches, message)


def compiled_layer(*args: Any) -> Tensor:
    """:func:`models.decoder_layers.score_layer`, compiled in training."""
    return _compiled(score_layer)(*args) if args[0].training else score_layer(*args)


class AlignedLinear(nn.Linear):
    """:class:`torch.nn.Linear` that multiplies with rows of zeros added to its weight, and leaves their products out."""

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        more = -self.out_features % ALIGNED
        if not more or x.device.type != "cuda":
            return super().forward(x)
        bias = None if self.bias is None else F.pad(self.bias, (0, more))
        return F.linear(x, F.pad(self.weight, (0, 0, 0, more)), bias)[..., : self.out_features]


COMPILED: dict[type[nn.Module], type[nn.Module]] = {
    Bottleneck: CompiledBottleneck,
    BasicBlock: CompiledBasicBlock,
    ResNetPatches: CompiledPatches,
    TransportFusion: CompiledFusion,
}
