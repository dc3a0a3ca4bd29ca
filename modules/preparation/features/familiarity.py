"""Is an image like the images that the entity scorer learnt from? A distance in what its stages see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.entity_scorer import EntityScorer
from models.retrieval_towers import stages
from modules.corpus.annotations import Study
from modules.distributed import barrier, is_main
from modules.messages import UserError
from modules.options.programs import MainPrepare
from modules.preparation.features.entities import ImageDataset, read_images, score_blocks
from modules.weights.safe_files import load_tensors, read_metadata, save_tensors

FILE = "familiarity.safetensors"
IMAGES = 1000  # training images that the distance is fitted to
DIRECTIONS = 64  # in which the images of a stage may differ most; all others count alike
QUANTILE = 0.99  # of training images that count as like each other


class StageWatch:
    """Mean and spread over the patches of every channel, after each stage of a scorer's backbone."""

    def __init__(self) -> None:
        self.seen: list[list[np.ndarray]] = []  # by batch, by stage (B, 2 C)

    @contextmanager
    def on(self, scorer: EntityScorer) -> Iterator[None]:
        """Look while the block runs the scorer."""
        now: list[np.ndarray] = []

        def look(_: object, __: object, output: Tensor) -> None:
            patches = output.flatten(2) if output.dim() == 4 else output.transpose(1, 2)  # (B, C, M)
            spread, mean = torch.std_mean(patches.float(), dim=2, correction=0)
            now.append(torch.cat([mean, spread], dim=1).cpu().numpy())

        def end(_: object, __: object, ___: object) -> None:
            self.seen.append(list(now))
            now.clear()

        backbone = scorer.visual_encoder.backbone
        hooks = [stage.register_forward_hook(look) for stage in stages(backbone)]
        hooks.append(scorer.register_forward_hook(end))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def stages(self) -> list[np.ndarray]:
        """What was seen of all n images: ``(n, 2 C)`` by stage."""
        return [np.concatenate(parts) for parts in zip(*self.seen, strict=True)]


@dataclass
class Stage:
    """The training images after one stage: a Gaussian with a few free directions, the others of one variance."""

    mean: np.ndarray  # (F,)
    directions: np.ndarray  # (F, k)
    variances: np.ndarray  # (k + 1,), the last of all other directions

    @classmethod
    def of(cls, seen: np.ndarray) -> Stage:
        """Fit to ``(n, F)``."""
        mean = seen.mean(axis=0)
        _, lengths, directions = np.linalg.svd(seen - mean, full_matrices=False)
        variances = lengths**2 / max(len(seen) - 1, 1)
        k = min(DIRECTIONS, max(len(variances) // 4, 1))
        rest = variances[k:].sum() / max(seen.shape[1] - k, 1)
        floor = 1e-6 * variances.sum() / seen.shape[1] + 1e-12
        return cls(mean, directions[:k].T, np.maximum([*variances[:k], rest], floor))

    def distances(self, seen: np.ndarray) -> np.ndarray:
        """Mahalanobis distances ``(n,)`` of ``(n, F)``."""
        away = seen - self.mean
        along = away @ self.directions  # (n, k)
        rest = np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        return np.sqrt((along**2 / self.variances[:-1]).sum(axis=1) + rest / self.variances[-1])


@dataclass
class Familiarity:
    """How far an image is from the training images: its largest distance over the stages, each in units of its limit.

    Early stages tell another kind of image (a photograph, another scanner), late ones another scene (a film upside
    down); above 1 an image is unlike all but one in a hundred training images.
    """

    stages: list[Stage]
    limits: list[float]

    @classmethod
    def of(cls, seen: Sequence[np.ndarray]) -> Familiarity:
        """Fit to what the stages see of training images, ``(n, F)`` each.

        Limits come from the half that was not fitted, since a distance to what it was fitted to is too short.
        """
        halves = np.stack([_crossed(part) for part in seen])  # (stages, n)
        limits = np.quantile(halves, QUANTILE, axis=1)
        limits *= np.quantile((halves / limits[:, None]).max(axis=0), QUANTILE)  # of the largest of them all
        return cls([Stage.of(part) for part in seen], limits.tolist())

    def strangeness(self, seen: Sequence[np.ndarray]) -> np.ndarray:
        """Distances ``(n,)`` in units of the limit of what the stages see of n images."""
        each = [
            stage.distances(part) / limit for stage, part, limit in zip(self.stages, seen, self.limits, strict=True)
        ]
        return np.max(each, axis=0)

    def save(self, path: Path, scorer: str) -> None:
        """Write one file; ``scorer`` is the checksum of the scorer that looked."""
        tensors = {"limits": np.array(self.limits)}
        for number, stage in enumerate(self.stages):
            tensors |= {f"{number}.{name}": value for name, value in vars(stage).items()}
        save_tensors(
            path,
            {name: torch.from_numpy(np.float32(value)) for name, value in tensors.items()},
            said={"scorer": scorer},
        )

    @classmethod
    def load(cls, path: Path) -> Familiarity | None:
        """Read a file of :meth:`save`; None where an earlier preparation left none, UserError if it is none of these."""
        if not path.is_file():
            return None
        content = {name: value.double().numpy() for name, value in load_tensors(path).items()}
        try:
            limits = np.atleast_1d(content.pop("limits")).tolist()
            names = ("mean", "directions", "variances")
            parts = [Stage(*(content[f"{number}.{name}"] for name in names)) for number in range(len(limits))]
        except KeyError as error:
            raise UserError(f"{path} lacks {error.args[0]}: copy it again, or remove it") from None
        for number, part in enumerate(parts):
            if part.directions.shape != (part.mean.size, part.variances.size - 1):
                raise UserError(f"{path} holds shapes of stage {number} that do not belong together: copy it again")
        return cls(parts, limits)


def _crossed(seen: np.ndarray) -> np.ndarray:
    """Distances ``(n,)`` of every second image of ``seen`` ``(n, F)`` to a fit to the others, and the other way."""
    distances = np.empty(len(seen))
    even, odd = slice(0, None, 2), slice(1, None, 2)
    for fitted, measured in ((even, odd), (odd, even)):
        distances[measured] = Stage.of(seen[fitted]).distances(seen[measured])
    return distances


def learn_familiarity(
    scorer: EntityScorer, training: Sequence[Study], image_dir: Path, seed: int, num_workers: int
) -> Familiarity:
    """Look at up to ``IMAGES`` training images with the scorer that has learnt from them.

    Args:
        scorer: trained.
        training: training studies, at least two.
        image_dir: folder that their image paths start from.
        seed: chooses the images.
        num_workers: processes that read them.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(training))[:IMAGES])
    images = ImageDataset([training[place] for place in chosen], image_dir, scorer.config.image_size)
    watch = StageWatch()
    with watch.on(scorer):
        for _ in read_images(scorer, images, score_blocks(len(images)), num_workers):
            pass  # the watch keeps what is wanted
    return Familiarity.of(watch.stages())


def keep_familiarity(
    folder: Path, scorer: EntityScorer, checksum: str, training: Sequence[Study], options: MainPrepare
) -> None:
    """Write ``familiarity.safetensors`` into a feature folder, unless it is of the scorer with this checksum already.

    Args:
        folder: of the features.
        scorer: trained.
        checksum: of its file.
        training: training studies.
        options: of ``main_prepare.py``.
    """
    path, image_dir = folder / FILE, Path(options.data.image_dir)
    if is_main() and len(training) > 1 and not (path.is_file() and read_metadata(path).get("scorer") == checksum):
        seed, workers = options.runtime.seed, options.loading.num_workers
        learn_familiarity(scorer, training, image_dir, seed, workers).save(path, checksum)
    barrier()
