"""Recall: one query per image reads the features of similar training reports."""

from __future__ import annotations

from torch import Tensor, nn


class RecallLayer(nn.Module):
    """Post-norm decoder layer whose query position enters queries and keys of self-attention, never values."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, query_position: Tensor, memory: Tensor) -> Tensor:
        """Update ``target`` ``(B, 1, C)`` from ``memory`` ``(B, R, C)``."""
        placed = target + query_position
        target = self.norm1(target + self.dropout(self.self_attn(placed, placed, target, need_weights=False)[0]))
        recalled = self.multihead_attn(target + query_position, memory, memory, need_weights=False)[0]  # (B, 1, C)
        target = self.norm2(target + self.dropout(recalled))
        hidden = self.dropout(self.linear1(target).relu())  # (B, 1, feedforward)
        return self.norm3(target + self.dropout(self.linear2(hidden)))


class RecallDecoder(nn.Module):
    """Stack of :class:`RecallLayer` with a final LayerNorm."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(RecallLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, query_position: Tensor, memory: Tensor) -> Tensor:
        """Read ``memory`` ``(B, R, C)`` with ``query_position`` ``(B, 1, C)``, starting from a zero target."""
        target = query_position.new_zeros(query_position.shape)
        for layer in self.layers:
            target = layer(target, query_position, memory)
        return self.norm(target)


class MemoryEncoder(nn.Module):
    """Self-attention among the retrieved reports, without positions: their order carries no meaning."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True) for _ in range(layers)
        )

    def forward(self, memory: Tensor) -> Tensor:
        """Encode ``memory`` ``(B, R, C)``."""
        for layer in self.layers:
            memory = layer(memory)
        return memory


class ReportMemory(nn.Module):
    """Transformer over the features of the R most similar training reports, queried by the pooled image.

    One query attends to itself alone, so that the query and key weights of the decoder's self-attention have no effect: their
    gradients are exactly zero (they exist, so no parameter is unused). In the first layer, whose target is zero, the value
    matrix has none either.

    Source: the memory-augmented classification branch of PromptMRG (AAAI 2024), as kept by REVTAF.

    Args:
        visual_dim: D.
        width: C, divisible by ``heads``.
        layers: encoder layers, and as many decoder layers.
        heads: attention heads.
        feedforward: width of the feed-forward layers.
        dropout: dropout rate.
    """

    def __init__(self, *, visual_dim: int, width: int, layers: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.query = nn.Linear(visual_dim, width)
        self.encoder = MemoryEncoder(layers, width, heads, feedforward, dropout)
        self.decoder = RecallDecoder(layers, width, heads, feedforward, dropout)
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, pooled: Tensor, memory: Tensor) -> Tensor:
        """Recall what the retrieved reports say about this image.

        Args:
            pooled: ``(B, D)`` image features.
            memory: ``(B, R, C)`` features of similar training reports.

        Returns:
            ``(B, C)`` recalled features.
        """
        query_position = self.query(pooled).unsqueeze(1)  # (B, 1, C)
        return self.decoder(query_position, self.encoder(memory)).squeeze(1)  # (B, C)
