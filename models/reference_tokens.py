"""The retrieved reports word by word, as columns that the report decoder reads beside the fused patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PREDECESSORS = 2  # words before a word, in its column too: who has just written them finds the next one there


class ReferenceTokens(nn.Module):
    """Columns of the words of one or more reference reports, one behind the other.

    Departure: in the released code the words of the reference reach the decoder as one message per patch, from which none
    of them can be read; ``--reference_memory 0`` does so.

    Args:
        tokens: T, columns of every study, whatever the length of its references.
        hidden: width of the decoder's word vectors.
        width: of the columns, that of the fused patches.
    """

    def __init__(self, tokens: int, hidden: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(tokens, hidden))
        self.project = nn.Linear((1 + PREDECESSORS) * hidden, width)
        self.norm = nn.LayerNorm(width)
        self.empty = nn.Parameter(torch.zeros(width))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Columns ``(B, T, 2 A)``.

        Args:
            words: ``(B, T, hidden)`` word vectors.
            mask: ``(B, T)`` true for real tokens; the columns of the others are one learned vector.
        """
        words = words + self.position
        seen = [F.pad(words, (0, 0, back, 0))[:, : words.shape[1]] for back in range(1 + PREDECESSORS)]
        columns = self.norm(self.project(torch.cat(seen, dim=2)))  # (B, T, 2 A)
        return torch.where(mask.unsqueeze(2), columns, self.empty.to(columns.dtype))
