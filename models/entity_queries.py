"""What the patches of an image are asked about each entity, and whether it was found."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SHARPNESS = 0.1  # in cosine: patches that fall this far behind the best one hardly count
FINE_SHARPNESS = 0.02  # the same for patches of fine cells, whose means lie close together
GAIN = 3.0  # with the scale of 2 that learning starts from, a cosine of 1 at one patch of nine is 4.7 above the bias


def sharpness_of(map_view: str) -> float:
    """By how much of a cosine patches count less in the maps of a ``--map_view``."""
    return FINE_SHARPNESS if map_view == "fine" else SHARPNESS


class EntityQueries(nn.Module):
    """One learned key per entity, the same for every image, and how its map tells whether the entity is present.

    Departure: the released code compares patches with the image-conditioned text of an entity, so that a text may say
    what the image shows and its map need not. ``--entity_keys text`` does so.

    Args:
        num_entities: K.
        width: A.
        map_view: what a patch is compared by.
    """

    def __init__(self, num_entities: int, width: int, map_view: str = "near") -> None:
        super().__init__()
        self.sharpness = sharpness_of(map_view)
        self.query = nn.Parameter(torch.randn(num_entities, width) / math.sqrt(width))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.full((num_entities,), -2.0))

    def presence(self, region_map: Tensor) -> Tensor:
        """Logits ``(B, K)`` of entities whose maps are ``region_map`` ``(B, K, M)``: a soft maximum over the patches."""
        M = region_map.shape[2]
        best = self.sharpness * ((region_map / self.sharpness).logsumexp(dim=2) - math.log(M))  # (B, K)
        return self.scale * GAIN * best + self.bias
