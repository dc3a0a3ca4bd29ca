"""Two towers: what an image shows and what a report says become points of one hyperbolic space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.hyperbolic_encoder import HyperbolicLinear
from models.manifolds import MANIFOLDS, Manifold

THUMBNAIL = 16  # side of the small image that the query tower sees: film, borders and exposure show in it
INPUT_DROPOUT = 0.3  # of what a tower sees
LEAST_PROBABILITY = 1e-4  # entity scores are kept this far from 0 and 1


class Standardise(nn.Module):
    """Take inputs to mean 0 and variance 1 by running statistics, in training as in test: a batch changes nothing."""

    MOMENTUM = 0.02  # of the running statistics

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise ``x`` ``(B, F)``; in training the statistics follow it."""
        if self.training:
            with torch.no_grad():
                self.batches += 1
                share = max(self.MOMENTUM, 1 / float(self.batches))  # a plain mean over the first batches
                difference = x.mean(dim=0) - self.mean
                spread = (x - self.mean - difference).square().mean(dim=0)
                self.variance.lerp_(spread + (1 - share) * difference.square(), share)
                self.mean.add_(share * difference)
        return (x - self.mean) * (self.variance + 1e-3).rsqrt()


class Tower(nn.Module):
    """Standardised inputs, one ordinary layer, one layer of the manifold.

    Args:
        inputs: numbers that it sees.
        width: H.
        manifold: geometry, shared by both towers.
    """

    def __init__(self, inputs: int, width: int, manifold: Manifold) -> None:
        super().__init__()
        self.manifold = manifold
        self.standardise = Standardise(inputs)
        self.dropout = nn.Dropout(INPUT_DROPOUT)
        self.hidden = nn.Linear(inputs, 4 * width)
        self.out = HyperbolicLinear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Points ``(B, H)`` (``H + 1`` coordinates on the hyperboloid) of inputs ``(B, F)``, in the weights' dtype."""
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.out.weight.dtype
            hidden = self.hidden(self.dropout(self.standardise(x.to(dtype)))).relu()  # (B, 4 H)
            tangent = hidden.double() / hidden.shape[1] ** 0.5
            point = self.manifold.linear(self.manifold.lift(tangent, dtype), self.out.weight.double(), dtype)  # (B, H)
            return self.manifold.translate(point, self.out.bias.double(), dtype).to(dtype)


class RetrievalTowers(nn.Module):
    """The learnable retrieval enhancer with two towers, so that a report itself is the key.

    Departure: the released enhancer embeds the entity scores of the query and of the bank's images alike, and never looks at
    what a report of the bank says: ``--enhancer scores``.

    Args:
        num_entities: K.
        visual_dim: D.
        num_states: P.
        num_conditions: L.
        report_feature_dim: C.
        width: H.
        manifold: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``, with equally many parameters.
        curvature: c, positive.
        learn_curvature: whether c is a parameter.
    """

    def __init__(
        self,
        *,
        num_entities: int,
        visual_dim: int,
        num_states: int,
        num_conditions: int,
        report_feature_dim: int,
        width: int,
        manifold: str,
        curvature: float,
        learn_curvature: bool,
    ) -> None:
        super().__init__()
        self.num_states = num_states
        self.manifold = MANIFOLDS[manifold](curvature, learn_curvature and manifold != "euclidean")
        states = num_states * num_conditions
        self.query = Tower(num_entities + visual_dim + states + THUMBNAIL**2, width, self.manifold)
        self.key = Tower(states + report_feature_dim, width, self.manifold)
        self.log_scale = nn.Parameter(torch.tensor(2.0))  # of the squared distances in the ranking loss

    def forward(self, region_scores: Tensor, pooled: Tensor, state_logits: Tensor, image: Tensor) -> Tensor:
        """Embed images; no gradient leaves the tower.

        Args:
            region_scores: ``(B, K)`` entity scores.
            pooled: ``(B, D)`` image features.
            state_logits: ``(B, P, L)`` predicted states.
            image: ``(B, 3, height, width)`` normalised pixels.

        Returns:
            ``(B, H)`` points.
        """
        thumbnail = F.adaptive_avg_pool2d(image[:, :1].float(), THUMBNAIL).flatten(1)
        scores = region_scores.float().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).logit()
        states = state_logits.float().log_softmax(dim=1).flatten(1)  # (B, P L)
        return self.query(torch.cat([scores, pooled.float(), states, thumbnail], dim=1).detach())

    def embed_reports(self, labels: Tensor, report_features: Tensor) -> Tensor:
        """Embed reports by what they say.

        Args:
            labels: ``(N, L)`` states.
            report_features: ``(N, C)``.

        Returns:
            ``(N, H)`` points.
        """
        said = F.one_hot(labels.long(), self.num_states).transpose(1, 2).flatten(1)  # (N, P L)
        return self.key(torch.cat([said.float(), report_features.float()], dim=1))
