"""The learnable retrieval enhancer: entity scores of an image become a point in hyperbolic space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from models.manifolds import MANIFOLDS


class HyperbolicLinear(nn.Module):
    """Weights of one layer: a linear map and a translation; the manifold computes with them."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width_out, width_in))
        self.bias = nn.Parameter(torch.zeros(width_out))
        nn.init.xavier_uniform_(self.weight, gain=2**0.5)


class LearnableRetrievalEnhancer(nn.Module):
    """Hyperbolic feed-forward network over the entity scores of an image.

    Source: Ganea et al., Hyperbolic Neural Networks, NeurIPS 2018, section 3.2.

    Args:
        num_entities: K.
        width: H.
        layers: hyperbolic layers.
        manifold: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``.
        curvature: c, positive.
        learn_curvature: whether c is a parameter.
    """

    def __init__(
        self, *, num_entities: int, width: int, layers: int, manifold: str, curvature: float, learn_curvature: bool
    ) -> None:
        super().__init__()
        self.manifold = MANIFOLDS[manifold](curvature, learn_curvature and manifold != "euclidean")
        widths = [num_entities, *[width] * layers]
        self.layers = nn.ModuleList(HyperbolicLinear(a, b) for a, b in pairwise(widths))

    def forward(self, region_scores: Tensor) -> Tensor:
        """Embed studies.

        Args:
            region_scores: ``(B, K)`` entity scores, read as tangent vectors at the origin.

        Returns:
            ``(B, H)`` points of the manifold (``H + 1`` coordinates on the hyperboloid), in the weights' dtype.
        """
        layers = cast(Sequence[HyperbolicLinear], self.layers)
        dtype = layers[0].weight.dtype
        with torch.autocast(region_scores.device.type, enabled=False):
            point = self.manifold.lift(region_scores.double(), dtype)  # (B, K)
            for layer in layers:
                point = self.manifold.linear(point, layer.weight.double(), dtype)  # (B, H)
                point = self.manifold.translate(point, layer.bias.double(), dtype)
                point = self.manifold.relu(point, dtype)
        return point.to(dtype)
