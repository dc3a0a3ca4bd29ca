"""Films that belong to no data set, as a data set of a model: what a feature folder holds of others is made in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from modules.corpus.annotations import Study
from modules.corpus.datasets import ReportDataset, sizes_read
from modules.labels import CONDITIONS
from modules.prediction.model_folder import TrainedModel
from modules.preparation.features.entities import ImageDataset, read_images, score_blocks
from modules.preparation.features.familiarity import StageWatch
from modules.retrieval.neighbours import memory_indices


class FilmFeatures:
    """The arrays that a :class:`modules.corpus.datasets.ReportDataset` asks a feature store for, by name.

    Args:
        ids: of the films, in the order of the rows.
        arrays: ``region_scores`` ``(n, K)``, ``region_text`` ``(n, K, E)``, ``memory_indices`` ``(n, R)`` and ``labels``
            ``(n, L)``, all blank.
    """

    def __init__(self, ids: Sequence[str], arrays: dict[str, np.ndarray]) -> None:
        self._row_by_id = {identifier: row for row, identifier in enumerate(ids)}
        self._arrays = arrays

    @property
    def checksums(self) -> dict[str, str]:
        """Empty: nothing is stored."""
        return {}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def rows(self, axis: str, ids: Iterable[str]) -> np.ndarray:
        """Rows ``(n,)`` of films, as :meth:`modules.corpus.store.FeatureStore.rows` gives them."""
        return np.array([self._row_by_id[identifier] for identifier in ids], dtype=np.int64)


def film_dataset(films: Sequence[Study], trained: TrainedModel) -> tuple[ReportDataset, np.ndarray]:
    """Films with their features as a data set, whose references are not yet set.

    Args:
        films: n studies whose image paths are whole.
        trained: the model, with its entity scorer and its bank.

    Returns:
        The data set, and how unlike the training images each film is, ``(n,)``, NaN where that was not measured.
    """
    features, strangeness = film_features(films, trained)
    sizes = sizes_read(trained.model.config)
    return ReportDataset(films, Path("/"), features, trained.bank, trained.tokenizer, **sizes), strangeness


def film_features(films: Sequence[Study], trained: TrainedModel) -> tuple[FilmFeatures, np.ndarray]:
    """Score the entities of every film and look up its memory, as the preparation does for a data set.

    Args:
        films: n studies whose image paths are whole.
        trained: the model, whose entity scorer looks at them and whose bank is remembered.

    Returns:
        The features, and how unlike the training images each film is, ``(n,)``, NaN where that was not measured.
    """
    n, scorer, bank_ids, watch = len(films), trained.scorer, trained.bank.ids, StageWatch()
    images = ImageDataset(films, Path("/"), scorer.config.image_size)
    with watch.on(scorer):
        parts = list(read_images(scorer, images, score_blocks(n), num_workers=0))
    scores = np.concatenate([logits.sigmoid().cpu().numpy() for _, logits, _ in parts])  # (n, K)
    text = np.concatenate([text.float().cpu().numpy().astype(np.float16) for _, _, text in parts])  # (n, K, E)
    memory = memory_indices(
        scores,
        trained.mentions,
        trained.memory_size,
        query_groups=np.full(n, -1),
        bank_groups=np.arange(len(bank_ids)),
        bank_ids=bank_ids,
    )
    labels = np.zeros((n, len(CONDITIONS)), dtype=np.int8)
    arrays = {"region_scores": scores, "region_text": text, "memory_indices": memory, "labels": labels}
    familiar = trained.familiarity
    strangeness = np.full(n, np.nan) if familiar is None else familiar.strangeness(watch.stages())
    return FilmFeatures([film.id for film in films], arrays), strangeness
