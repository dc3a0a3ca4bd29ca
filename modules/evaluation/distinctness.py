"""Do the texts and the maps of different entities say different things?

``text_cosine`` is the mean cosine between the projected texts of different entities of a study, ``map_correlation`` the mean
correlation between their maps: near 1 all entities are one, whatever the losses say.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

import torch
from torch import Tensor
from torch.nn import functional as F

from models.revtaf import FusedStudy
from modules.corpus.datasets import Batch
from modules.distributed import gather_list


class Distinctness:
    """Collects ``text_cosine`` and ``map_correlation`` over a split; give it to ``generate_reports`` as ``watch``."""

    def __init__(self) -> None:
        self.of_studies: list[Sequence[float]] = []  # text cosine and map correlation of each

    @torch.no_grad()
    def __call__(self, batch: Batch, fused: FusedStudy) -> None:
        """Add the studies of a batch."""
        cosine = mean_of_pairs(F.normalize(fused.region_text.float(), dim=-1))
        maps = fused.region_map.float()
        correlation = mean_of_pairs(F.normalize(maps - maps.mean(dim=2, keepdim=True), dim=-1))
        self.of_studies += torch.stack([cosine, correlation], dim=1).tolist()  # (B, 2)

    def figures(self) -> dict[str, float]:
        """The two means over all studies of all processes, in whatever order; every process must ask."""
        cosine, correlation = (fsum(each) / len(each) for each in zip(*gather_list(self.of_studies), strict=True))
        return {"text_cosine": cosine, "map_correlation": correlation}


def mean_of_pairs(directions: Tensor) -> Tensor:
    """Mean inner product ``(B,)`` of different rows of ``(B, K, X)``."""
    K = directions.shape[1]
    total = directions.sum(dim=1).square().sum(dim=1) - directions.square().sum(dim=(1, 2))
    return total / (K * (K - 1))
