"""Where entities and retrieved sentences look, kept small while reports are generated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.revtaf import FusedStudy
from modules.corpus.datasets import Batch
from modules.distributed import gather_list

ENTITY_MAPS = 12  # strongest entities of a study whose maps are kept
LEVELS = 255


@dataclass
class StudyMaps:
    """Score maps of one study on the patch grid: k entities, then S retrieved sentences; one byte a patch."""

    entities: list[int]  # (k,), positions in ENTITIES, strongest first
    strengths: list[float]  # (k,), how strongly each shows in the image
    ranges: list[tuple[float, float]]  # (k + S,), the scores that byte 0 and byte 255 stand for
    levels: np.ndarray  # (k + S, M) uint8


class MapKeeper:
    """Collects the maps of the first studies of a split; give it to ``generate_reports`` as ``watch``.

    Args:
        studies: how many studies, from the beginning of the data set.
        entities: most entities kept of each.
    """

    def __init__(self, studies: int, entities: int = ENTITY_MAPS) -> None:
        self.studies, self.entities = studies, entities
        self._maps: dict[int, StudyMaps] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch, fused: FusedStudy) -> None:
        """Keep what was known of a batch, as far as its studies are wanted."""
        wanted = [b for b, index in enumerate(batch.index) if index < self.studies]
        if not wanted:
            return
        strengths, entities = batch.study.region_scores.topk(min(self.entities, fused.region_map.shape[1]), dim=1)
        at = entities[..., None].expand(-1, -1, fused.region_map.shape[2])  # (B, k, M)
        maps = torch.cat([fused.region_map.gather(1, at), fused.reference_map], dim=1).float()  # (B, k + S, M)
        low, high = maps.amin(dim=2), maps.amax(dim=2)  # (B, k + S)
        scaled = (maps - low[..., None]) / (high - low).clamp_min(1e-12)[..., None]
        levels = (scaled * LEVELS).round().to("cpu", torch.uint8).numpy()
        ranges = torch.stack([low, high], dim=2).tolist()
        k, sentences = entities.shape[1], batch.study.reference_mask.sum(dim=1).tolist()  # padding has no map to show
        for b in wanted:
            count = k + sentences[b]
            self._maps[batch.index[b]] = StudyMaps(
                entities=entities[b].tolist(),
                strengths=[round(strength, 4) for strength in strengths[b].tolist()],
                ranges=[(round(a, 4), round(z, 4)) for a, z in ranges[b][:count]],
                levels=levels[b, :count],
            )

    def gather(self) -> dict[int, StudyMaps]:
        """Maps by position in the data set, from all processes; every process must ask."""
        return dict(gather_list(list(self._maps.items())))
