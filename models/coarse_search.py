"""Entities searched in cells wider than those of the maps: what a finer grid's early stage learns from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.entity_queries import EntityQueries
from models.near_view import NearView
from models.ot_attention import TransportAttention


def search_cells(view: NearView, q: nn.Linear, queries: EntityQueries, cells: Tensor) -> Tensor:
    """Presence logits ``(B, K)`` of the cells ``(B, M, C)`` or ``(B, M, c, C)`` of an early stage."""
    seen = q(view(cells))  # (B, M, A), or (B, M, c, A)
    with torch.autocast(seen.device.type, enabled=False):
        cosine, _ = TransportAttention.cosine(seen, queries.query.expand(len(seen), -1, -1))  # (B, K, M)
        return queries.presence(cosine)


class CoarseSearch(nn.Module):
    """Whether an early stage shows each entity, asked of cells of 32 pixels with keys of their own.

    If the image model could change to please fine cells, any cell near a sign would come to answer for it, and the maps
    would miss the sign. So its second stage learns from wide cells, and the maps of fine ones read the first stage as it
    is: they are fitted by themselves, see ``modules/training/fitted_maps.py``.

    Departure: ours, with ``--grid 2x`` or ``--map_view fine``. ``--map_view patches`` and ``--entity_keys text`` go without.

    Args:
        num_entities: K.
        channels: C, of the second stage.
        width: A.
    """

    maps_fitted: Tensor  # how often the finer maps have been fitted

    def __init__(self, num_entities: int, channels: int, width: int) -> None:
        super().__init__()
        self.view = NearView(channels, width)
        self.q = nn.Linear(width, width)
        self.queries = EntityQueries(num_entities, width)
        self.register_buffer("maps_fitted", torch.tensor(0))

    def forward(self, stage: Tensor) -> Tensor:
        """Presence logits ``(B, K)`` of a second stage ``(B, C, height, width)``."""
        return search_cells(self.view, self.q, self.queries, self.view.cells(stage))
