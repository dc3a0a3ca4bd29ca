"""The classifier that states, for each condition, whether it is blank, positive, negative or uncertain."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DiagnosisHead(nn.Module):
    """One linear layer on image and recalled features.

    Row ``state * L + condition`` of its weights belongs to that state of that condition, as published.
    """

    def __init__(self, visual_dim: int, report_feature_dim: int, num_states: int, num_conditions: int) -> None:
        super().__init__()
        self.shape = (num_states, num_conditions)
        self.linear = nn.Linear(visual_dim + report_feature_dim, num_states * num_conditions)
        nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor, recalled: Tensor) -> Tensor:
        """Score every state of every condition.

        Args:
            pooled: ``(B, D)`` image features.
            recalled: ``(B, C)`` recalled report features.

        Returns:
            ``(B, P, L)`` logits, without the class prior.
        """
        return self.linear(torch.cat([pooled, recalled], dim=-1)).unflatten(-1, self.shape)  # (B, P, L)
