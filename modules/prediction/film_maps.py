"""Where a trained model looks for findings on films that belong to no data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from models.entity_scorer import EntityScorer
from modules.corpus.annotations import Study
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.images import normalise_pixels, read_image
from modules.prediction.film_features import film_dataset
from modules.prediction.model_folder import TrainedModel

TOGETHER = 64  # films read at once
ROWS = ("entity maps", "softmax attention", "entity scorer's attention")
PHRASES = "phrase maps"


class FilmMaps:
    """Maps of all entities, as three parts of a model give them.

    ``entity maps`` are the model's cosines; ``softmax attention`` is what the same cosines become under a softmax over the
    entities, the attention that transport replaces; ``entity scorer's attention`` the mean attention of the scorer's
    queries, on its own grid. ``phrase maps`` are the model's cosines for texts that it is given in place of a report.

    Args:
        trained: the model and everything that it reads.
        device: where to compute.
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        self.trained, self.device = trained, device

    @property
    def size(self) -> int:
        """Side of the model's input in pixels."""
        return self.trained.model.config.image_size

    def read(
        self, paths: Sequence[Path], phrases: Sequence[np.ndarray] | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Maps ``(K, M)`` by row of ``ROWS``, film by film.

        Args:
            paths: n films.
            phrases: for each film the vectors of its phrases ``(S, C)``; then ``PHRASES`` has their maps ``(S, M)``, each as if
                the phrase were the only sentence of the reference.
        """
        for start in tqdm(range(0, len(paths), TOGETHER), desc="maps", unit="batch", disable=None):
            part = slice(start, start + TOGETHER)
            yield from self._maps_of([Path(path).resolve() for path in paths[part]], phrases and phrases[part])

    @torch.no_grad()
    def _maps_of(self, paths: Sequence[Path], phrases: Sequence[np.ndarray] | None) -> list[dict[str, np.ndarray]]:
        """The maps of films that are read in one batch; see :meth:`read`."""
        trained, config = self.trained, self.trained.model.config
        films = [
            Study(id=f"{i} {path}", image_path=(str(path),), report="", split="test") for i, path in enumerate(paths)
        ]
        dataset, _ = film_dataset(films, trained)
        (batch,) = evaluation_loader(dataset, len(films), 0, [list(range(len(films)))])
        study = dataset.to_device(batch, self.device).study
        if phrases is not None:
            texts = pad_sequence([torch.from_numpy(vectors) for vectors in phrases], batch_first=True)  # (B, S, C)
            real = torch.arange(texts.shape[1]) < torch.tensor([len(vectors) for vectors in phrases])[:, None]  # (B, S)
            study.reference_text, study.reference_mask = texts.to(study.reference_text), real.to(self.device)
        fused = trained.model.fuse(study)
        cosines = fused.region_map.float()  # (B, K, M)
        softmax = (cosines / config.ot_epsilon).softmax(dim=1)  # (B, K, M)
        size = trained.scorer.config.image_size
        image = normalise_pixels(torch.stack([read_image(path, size) for path in paths]).to(self.device))
        scorer = scorer_attention(trained.scorer, image)  # (B, K, M)
        maps: list[dict[str, np.ndarray]] = [
            dict(zip(ROWS, (part[i].cpu().numpy() for part in (cosines, softmax, scorer)), strict=True))
            for i in range(len(films))
        ]
        for i, vectors in enumerate(phrases or ()):
            maps[i][PHRASES] = fused.reference_map[i, : len(vectors)].float().cpu().numpy()  # (S, M)
        return maps


@torch.no_grad()
def scorer_attention(scorer: EntityScorer, image: Tensor) -> Tensor:
    """Attention ``(B, K, M)`` of the entity queries to the patches, the mean over heads and layers.

    Args:
        scorer: whose layers are read.
        image: ``(B, 3, height, width)`` normalised images.
    """
    attention: list[Tensor] = []  # of each layer

    def keep(module: nn.MultiheadAttention, inputs: tuple[Tensor, ...], _: object) -> None:
        query, key, value = inputs[:3]
        weights = module.forward(query, key, value, need_weights=True)[1]
        assert weights is not None
        attention.append(weights)

    layers: list[Any] = [layer.multihead_attn for layer in scorer.layers]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    scorer.eval()(image)
    for hook in hooks:
        hook.remove()
    return torch.stack(attention).mean(dim=0)
