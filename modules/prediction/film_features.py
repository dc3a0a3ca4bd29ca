"""What a feature folder holds of a data set's images, made in memory for images that belong to none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from models.entity_scorer import EntityScorer
from modules.corpus.annotations import Study
from modules.labels import CONDITIONS
from modules.preparation.features.entities import SCORE_BATCH, ImageDataset, read_images
from modules.retrieval.neighbours import memory_indices


class FilmFeatures:
    """The arrays that :class:`modules.corpus.datasets.ReportDataset` asks a feature store for, by name.

    Args:
        ids: of the films, in the order of the rows.
        arrays: ``region_scores`` ``(n, K)``, ``region_text`` ``(n, K, E)``, ``memory_indices`` ``(n, R)`` and ``labels``
            ``(n, L)``, all blank.
    """

    def __init__(self, ids: Sequence[str], arrays: dict[str, np.ndarray]) -> None:
        self._row_by_id = {identifier: row for row, identifier in enumerate(ids)}
        self._arrays = arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def rows(self, _: str, ids: Iterable[str]) -> np.ndarray:
        """Rows ``(n,)`` of films, as :meth:`modules.corpus.store.FeatureStore.rows` gives them."""
        return np.array([self._row_by_id[identifier] for identifier in ids], dtype=np.int64)


def film_features(
    films: Sequence[Study], scorer: EntityScorer, bank_mentions: np.ndarray, bank_ids: Sequence[str], memory_size: int
) -> FilmFeatures:
    """Score the entities of every film and look up its memory, as the preparation does for a data set.

    Args:
        films: n studies whose image paths are whole.
        scorer: the entity scorer that the model was trained with.
        bank_mentions: ``(N, K)`` mentions in the reports of the bank.
        bank_ids: N ids; ties go to the first.
        memory_size: reports R in the memory of a film.
    """
    n = len(films)
    blocks = [range(start, min(start + SCORE_BATCH, n)) for start in range(0, n, SCORE_BATCH)]
    parts = list(read_images(scorer, ImageDataset(films, Path("/"), scorer.config.image_size), blocks, num_workers=0))
    scores = np.concatenate([logits.sigmoid().cpu().numpy() for _, logits, _ in parts])  # (n, K)
    text = np.concatenate([text.float().cpu().numpy().astype(np.float16) for _, _, text in parts])  # (n, K, E)
    memory = memory_indices(
        scores,
        bank_mentions,
        memory_size,
        query_groups=np.full(n, -1),
        bank_groups=np.arange(len(bank_ids)),
        bank_ids=bank_ids,
    )
    labels = np.zeros((n, len(CONDITIONS)), dtype=np.int8)
    arrays = {"region_scores": scores, "region_text": text, "memory_indices": memory, "labels": labels}
    return FilmFeatures([film.id for film in films], arrays)
