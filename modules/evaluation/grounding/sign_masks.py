"""A test's maps of the signs beside the masks of SynthCXR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.revtaf import FusedStudy, Revtaf
from modules.corpus.annotations import Study
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import gather_list
from modules.evaluation.grounding.boxes import mask_file
from modules.evaluation.grounding.patch_probes import patch_features, probe_maps
from modules.evaluation.grounding.sign_scores import (
    SIGN_CONDITIONS,
    SIGNS,
    cell_coverage,
    centre_maps,
    constant_maps,
    grounding_table,
    location_maps,
    sign_maps,
)
from modules.labels import POSITIVE
from modules.options.flags import DataOptions
from modules.records import atomic_write

PROBE_STUDIES = 1200  # training studies that the probes see


def mask_dir(data: DataOptions, split: str) -> Path | None:
    """Folder of the drawn signs' masks, where the annotation has one beside it (SynthCXR)."""
    folder = Path(data.ann_path).with_name("masks")
    return folder if (folder / split).is_dir() and data.bank_dir == data.feature_dir else None


class SignMapKeeper:
    """Collects every study's maps of the signs; one of those that ``generate_reports`` shows its batches.

    Args:
        mask_dir: folder of the masks; None keeps nothing, because there is nothing to compare with.
    """

    def __init__(self, mask_dir: Path | None) -> None:
        self.mask_dir = mask_dir
        self._maps: list[tuple[int, np.ndarray]] = []

    @torch.no_grad()
    def __call__(self, batch: Batch, fused: FusedStudy) -> None:
        """Keep the maps of a batch."""
        if self.mask_dir is None:
            return
        maps = sign_maps(fused.region_map.float().cpu().numpy()).astype(np.float32)  # (B, G, M)
        self._maps += zip(batch.index, maps, strict=True)

    def gather(self) -> np.ndarray | None:
        """Maps ``(n, G, M)`` in the order of the data set, from all processes; every process must ask."""
        maps = dict(gather_list(self._maps))
        return np.stack([maps[index] for index in range(len(maps))]) if maps else None


def store_sign_maps(path: Path, maps: np.ndarray, image_size: int) -> None:
    """Write maps ``(n, G, M)`` in float16, with the side of the images that they are of."""
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, maps=maps.astype(np.float16), image_size=image_size)


def read_sign_maps(path: Path) -> tuple[np.ndarray, int]:
    """What :func:`store_sign_maps` wrote: maps ``(n, G, M)`` and the side of the images."""
    with np.load(path) as stored:
        return stored["maps"].astype(np.float32), int(stored["image_size"])


def read_coverage(mask_dir: Path, studies: Sequence[Study], image_size: int, grid: int) -> np.ndarray:
    """Coverage ``(n, G, M)`` of the patches by the drawn signs; zeros where a sign is not drawn.

    Raises:
        UserError: if a study has no mask file.
    """
    coverage = np.zeros((len(studies), len(SIGNS), grid * grid), np.float32)
    for n, study in enumerate(studies):
        with np.load(mask_file(mask_dir, study)) as masks:
            for name in set(masks.files) & set(SIGNS):
                coverage[n, SIGNS.index(name)] = cell_coverage(masks[name], image_size, grid)
    return coverage


def ground(
    model: Revtaf,
    maps: np.ndarray,
    dataset: ReportDataset,
    train: Sequence[Study],
    mask_dir: Path,
    device: torch.device,
    seed: int,
) -> dict:
    """Compare a test's maps with the masks, and with what needs no map.

    Args:
        model: whose patches the probes read.
        maps: of the signs, ``(n, G, M)``, see :class:`SignMapKeeper`.
        dataset: the split.
        train: studies of the training split, of the same data set.
        mask_dir: folder of the masks, ``<split>/<id>.npz``.
        device: of the model.
        seed: of the probes.

    Returns:
        ``grid`` and ``rows``, see :func:`modules.evaluation.grounding.sign_scores.grounding_table`.
    """
    size, grid = model.config.image_size, round(maps.shape[2] ** 0.5)
    coverage, seen = (read_coverage(mask_dir, split, size, grid) for split in (dataset.studies, train))
    train_labels = np.asarray(dataset.store["labels"])[dataset.store.rows("studies", [study.id for study in train])]
    shown, train_shown = (labels[:, SIGN_CONDITIONS] == POSITIVE for labels in (dataset.labels, train_labels))
    few = train[:PROBE_STUDIES]
    patches, known = (patch_features(model, dataset.image_dir, split, device) for split in (dataset.studies, few))
    rows = {
        "maps": maps,
        "chance": constant_maps(len(dataset), grid),
        "centre": centre_maps(len(dataset), grid),
        "location prior (training masks)": location_maps(len(dataset), seen, train_shown),
        "linear probe (labels)": probe_maps(known, train_shown[: len(few)], patches, seed),
        "linear probe (training masks)": probe_maps(known, seen[: len(few)], patches, seed),
    }
    return {"grid": grid, "rows": grounding_table(rows, coverage, shown)}
