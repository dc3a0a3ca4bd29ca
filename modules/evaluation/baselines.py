"""Training reports handed out as they are: what a model must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from models.manifolds import Euclidean
from models.retrieval import RetrievalBank
from models.revtaf import Revtaf
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.images import read_image
from modules.options.flags import DataOptions
from modules.retrieval.retriever import Queries, retrieve, search

THUMBNAIL = 32  # side in pixels of the images that are compared


def baseline_reports(
    data: DataOptions, model: Revtaf, dataset: ReportDataset, queries: Queries, annotation: Mapping[str, list[Study]]
) -> dict[str, list[str]]:
    """Reports of the four baselines, by name; of three where the training images lie elsewhere (``--bank_dir``)."""
    bank, pixels = dataset.bank, {}
    if data.bank_dir == data.feature_dir:
        nearest = nearest_by_pixels(bank, annotation["train"], dataset.studies, dataset.image_dir)
        pixels = {"nearest training image (pixels)": nearest}
    return {
        "most frequent training report": most_frequent_report(bank, len(dataset)),
        **pixels,
        "nearest training image (entities)": nearest_by_scores(bank, dataset.region_scores),
        "nearest by predicted states": nearest_by_states(model, bank, queries),
    }


def most_frequent_report(bank: TrainingBank, count: int) -> list[str]:
    """The most frequent training report (the first of them, if several), for everyone."""
    return [Counter(bank.reports).most_common(1)[0][0]] * count


def nearest_by_scores(bank: TrainingBank, region_scores: np.ndarray) -> list[str]:
    """The training report whose image has the nearest entity scores ``(n, K)``, by Euclidean distance."""
    return _nearest(bank, bank.region_scores, region_scores)


def nearest_by_states(model: Revtaf, bank: TrainingBank, queries: Queries) -> list[str]:
    """The training report whose labels are likeliest under the states that the model predicts from the image."""
    rows = retrieve("states", model.retrieval_enhancer, bank, queries, exclude_same_patient=False, seed=0)[0]
    return [bank.reports[row] for row in rows[:, 0]]


def nearest_by_pixels(
    bank: TrainingBank, training: Sequence[Study], studies: Sequence[Study], image_dir: Path
) -> list[str]:
    """The training report whose image is nearest in pixels, as 32 x 32 thumbnails of zero mean and unit variance.

    Args:
        bank: training reports.
        training: training studies, in any order.
        studies: the queries.
        image_dir: folder that image paths start from.
    """
    by_id = {study.id: study for study in training}
    ordered = [by_id[identifier] for identifier in bank.ids]
    return _nearest(bank, _thumbnails(ordered, image_dir), _thumbnails(studies, image_dir))


def _thumbnails(studies: Sequence[Study], image_dir: Path) -> np.ndarray:
    rows = []
    for study in tqdm(studies, desc="thumbnails", unit="image", leave=False):
        pixels = read_image(Path(image_dir) / study.image_path[0], 128).float().mean(dim=0)  # (128, 128)
        small = F.adaptive_avg_pool2d(pixels[None], THUMBNAIL).flatten()  # (1024,)
        rows.append((small - small.mean()) / (small.std() + 1e-6))
    return torch.stack(rows).numpy()


def _nearest(bank: TrainingBank, features: np.ndarray, queries: np.ndarray) -> list[str]:
    points = torch.from_numpy(np.asarray(features, dtype=np.float32))
    rows, _ = search(
        RetrievalBank(Euclidean(1.0), points, torch.arange(len(points))),
        torch.from_numpy(np.asarray(queries, dtype=np.float32)),
        np.full(len(queries), -1),
    )
    return [bank.reports[row] for row in rows[:, 0]]
