"""Two towers: what an image shows and what a report says become points of one hyperbolic space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import RevtafConfig
from models.hyperbolic_encoder import HyperbolicLinear, LearnableRetrievalEnhancer
from models.manifolds import MANIFOLDS, Manifold
from models.visual_encoder import VisualEncoder

THUMBNAIL = 16  # side of the small image that the query tower sees
PLACES = 96  # along a side, at which rows and columns are averaged: borders and collimation show in them
GREYS = torch.linspace(-2.2, 2.3, 33).tolist()  # bounds of the histogram of normalised pixels: exposure shows in it
LEAST_PROBABILITY = 1e-4  # entity scores are kept this far from 0 and 1
LARGEST_INPUT = 65504.0  # of float16, in which they are kept: a deep ResNet with random weights goes beyond it


def stages(backbone: nn.Module) -> list[nn.Module]:
    """The parts of a visual backbone whose outputs the query tower sees: a ResNet's four stages, else the whole."""
    return [child for name, child in backbone.named_children() if name.startswith("layer")] or [backbone]


def stage_widths(backbone: nn.Module, visual_dim: int) -> list[int]:
    """Channels of the output of each stage; ``visual_dim`` for a backbone that is seen as a whole."""
    norms = [[part for part in stage.modules() if isinstance(part, nn.BatchNorm2d)] for stage in stages(backbone)]
    if len(norms) < 2 or not norms[0]:
        return [visual_dim]
    return [of_stage[-1].num_features for of_stage in norms]


def film_style(image: Tensor) -> Tensor:
    """How a film was taken: mean and deviation of its rows and columns, and how frequent each grey is.

    Args:
        image: ``(B, 3, height, width)`` normalised pixels.

    Returns:
        ``(B, 4 PLACES + 32)``.
    """
    grey = image[:, 0].float()  # (B, height, width)
    lines = [part for axis in (1, 2) for part in (grey.mean(dim=axis), grey.std(dim=axis, correction=0))]
    profiles = [F.adaptive_avg_pool1d(line.unsqueeze(1), PLACES).squeeze(1) for line in lines]  # (B, PLACES) each
    flat = grey.flatten(1)  # (B, height * width)
    darker = torch.stack([(flat < bound).sum(dim=1) for bound in GREYS], dim=1) / flat.shape[1]  # (B, 33)
    return torch.cat([*profiles, darker.diff(dim=1) * len(GREYS)], dim=1)


class Tower(nn.Module):
    """One ordinary layer on standardised inputs, then one layer of the manifold; the same in training as in test.

    Args:
        inputs: F, numbers that it sees.
        width: H.
        manifold: geometry, shared by both towers.
    """

    def __init__(self, inputs: int, width: int, manifold: Manifold) -> None:
        super().__init__()
        self.manifold = manifold
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, 4 * width)
        self.out = HyperbolicLinear(4 * width, width)

    def standardise(self, x: Tensor) -> None:
        """Take mean and deviation from ``x`` ``(N, F)``, the inputs of the training split."""
        deviation, mean = torch.std_mean(x.float(), dim=0, correction=0)
        self.deviation.copy_(deviation)
        self.mean.copy_(mean)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """Embed inputs.

        Args:
            x: ``(B, F)``.
            dropout: rate at which inputs are hidden.

        Returns:
            ``(B, H)`` points (``H + 1`` coordinates on the hyperboloid) in the weights' dtype.
        """
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.out.weight.dtype
            x = (x.to(dtype) - self.mean) / (self.deviation + 0.03)  # an input that never varies stays small
            hidden = self.hidden(F.dropout(x, dropout)).relu()  # (B, 4 H)
            # manifold.linear would take lifted vectors back to the tangent space, map them there and lift them again
            tangent = (hidden @ self.out.weight.T).double() / hidden.shape[1] ** 0.5  # (B, H)
            return self.manifold.lift_and_translate(tangent, self.out.bias.double(), dtype).to(dtype)


class RetrievalTowers(nn.Module):
    """The learnable retrieval enhancer with two towers, so that a report itself is the key.

    Args:
        num_entities: K.
        levels: channels of all stages of the visual encoder together.
        num_states: P.
        num_conditions: L.
        report_feature_dim: C.
        width: H.
        manifold: ``"poincare"``, ``"lorentz"`` or ``"euclidean"``, with equally many parameters.
        curvature: c, positive.
        learn_curvature: whether c is a parameter.
        inputs: ``"style"`` shows the query tower :func:`film_style` and the key tower how a report begins and ends: a site
            and its reader are known by them. ``"thumbnail"`` shows a small image, and the report as a whole alone.

    Departure: the released enhancer embeds the entity scores of the query's image and of the bank's images alike, and what a
    report of the bank says is never looked at: ``--enhancer scores``.
    """

    def __init__(
        self,
        *,
        num_entities: int,
        levels: int,
        num_states: int,
        num_conditions: int,
        report_feature_dim: int,
        width: int,
        manifold: str,
        curvature: float,
        learn_curvature: bool,
        inputs: str = "style",
    ) -> None:
        super().__init__()
        self.num_states = num_states
        self.sees_style = inputs == "style"
        self.manifold = MANIFOLDS[manifold](curvature, learn_curvature and manifold != "euclidean")
        states = num_states * num_conditions
        film = 4 * PLACES + len(GREYS) - 1 if self.sees_style else THUMBNAIL**2
        report = 3 * report_feature_dim if self.sees_style else report_feature_dim
        self.query = Tower(num_entities + 2 * levels + states + film, width, self.manifold)
        self.key = Tower(states + report, width, self.manifold)
        self.log_scale = nn.Parameter(torch.tensor(2.0))  # of the squared distances that the towers are trained on

    @property
    def fitted(self) -> bool:
        """Whether a fit has begun, which first takes mean and deviation from what the towers see."""
        return bool(self.query.mean.any() or self.key.mean.any())

    def query_inputs(
        self, region_scores: Tensor, stages: Sequence[Tensor], state_logits: Tensor, image: Tensor
    ) -> Tensor:
        """What the query tower sees of images, within float16; no gradient flows back.

        Args:
            region_scores: ``(B, K)`` entity scores.
            stages: outputs ``(B, channels, h, w)`` of the stages of the visual encoder, of which the early ones know the film
                and the late ones the findings; or the patches ``(B, M, channels)`` of a backbone that is seen as a whole.
            state_logits: ``(B, P, L)`` predicted states.
            image: ``(B, 3, height, width)`` normalised pixels.

        Returns:
            ``(B, F)`` float32.
        """
        scores = region_scores.float().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).logit()
        states = state_logits.float().log_softmax(dim=1).flatten(1)  # (B, P L)
        if self.sees_style:
            film = film_style(image)  # (B, 4 PLACES + 32)
        else:
            film = F.adaptive_avg_pool2d(image[:, :1].float(), THUMBNAIL).flatten(1)  # (B, side * side)
        levels = []  # (B, channels) each
        for stage in stages:
            places = (stage.transpose(1, 2) if stage.dim() == 3 else stage.flatten(2)).float()  # (B, channels, M)
            levels += [places.mean(dim=2), places.amax(dim=2)]
        inputs = torch.cat([scores, *levels, states, film], dim=1).detach()  # (B, F)
        return inputs.clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def key_inputs(self, labels: Tensor, report_features: Tensor, ends: Tensor) -> Tensor:
        """What the key tower sees of reports.

        Args:
            labels: ``(N, L)`` states.
            report_features: ``(N, C)``.
            ends: ``(N, 2 C)`` features of the first and of the last sentence.

        Returns:
            ``(N, G)`` float32.
        """
        states = F.one_hot(labels.long(), self.num_states).transpose(1, 2).flatten(1)  # (N, P L)
        style = [ends.float()] if self.sees_style else []
        return torch.cat([states.float(), report_features.float(), *style], dim=1)  # (N, G)

    def forward(self, query_inputs: Tensor) -> Tensor:
        """Points ``(B, H)`` of images, from :meth:`query_inputs`."""
        return self.query(query_inputs)


def build_enhancer(config: RevtafConfig, encoder: VisualEncoder) -> LearnableRetrievalEnhancer | RetrievalTowers:
    """The learnable retrieval enhancer: of entity scores as published, or two towers that training fits by themselves."""
    geometry: dict[str, Any] = {
        "num_entities": config.num_entities,
        "width": config.hyperbolic_dim,
        "manifold": config.manifold,
        "curvature": config.curvature,
        "learn_curvature": config.learn_curvature,
    }
    if config.enhancer == "scores":
        return LearnableRetrievalEnhancer(layers=config.hyperbolic_layers, **geometry)
    return RetrievalTowers(
        levels=sum(stage_widths(encoder.backbone, encoder.width)),
        num_states=config.num_states,
        num_conditions=config.num_conditions,
        report_feature_dim=config.report_feature_dim,
        inputs=config.tower_inputs,
        **geometry,
    ).requires_grad_(False)
