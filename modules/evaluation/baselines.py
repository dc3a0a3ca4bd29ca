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
    """Reports of the four baselines, by name; of three where the training images lie elsewhere (``--bank_dir``).

    No study is given its own report, which the bank holds with ``--split train``; those of the same patient stay in, as
    for the references that the model reads.
    """
    bank, pixels = dataset.bank, {}
    if data.bank_dir == data.feature_dir:
        nearest = nearest_by_pixels(bank, annotation["train"], dataset.studies, dataset.image_dir)
        pixels = {"nearest training image (pixels)": nearest}
    return {
        "most frequent training report": most_frequent_report(bank, dataset.studies),
        **pixels,
        "nearest training image (entities)": nearest_by_scores(bank, dataset.studies, dataset.region_scores),
        "nearest by predicted states": nearest_by_states(model, bank, queries),
    }


def most_frequent_report(bank: TrainingBank, studies: Sequence[Study]) -> list[str]:
    """The most frequent training report (the first of them, if several), for everyone; the next one of equals to its own."""
    (first, count), (second, next_count) = [*Counter(bank.reports).most_common(2), ("", 0)][:2]
    own = (
        {i for i, report in zip(bank.ids, bank.reports, strict=True) if report == first} if count == next_count else ()
    )
    return [second if study.id in own else first for study in studies]


def nearest_by_scores(bank: TrainingBank, studies: Sequence[Study], region_scores: np.ndarray) -> list[str]:
    """The training report whose image has the entity scores nearest to ``(n, K)``, by Euclidean distance."""
    return _nearest(bank, bank.region_scores, studies, region_scores)


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
    return _nearest(bank, _thumbnails(ordered, image_dir), studies, _thumbnails(studies, image_dir))


def _thumbnails(studies: Sequence[Study], image_dir: Path) -> np.ndarray:
    rows = []
    for study in tqdm(studies, desc="thumbnails", unit="image", leave=False):
        pixels = read_image(Path(image_dir) / study.image_path[0], 128).float().mean(dim=0)  # (128, 128)
        small = F.adaptive_avg_pool2d(pixels[None], THUMBNAIL).flatten()  # (1024,)
        rows.append((small - small.mean()) / (small.std() + 1e-6))
    return torch.stack(rows).numpy()


def _nearest(bank: TrainingBank, features: np.ndarray, studies: Sequence[Study], queries: np.ndarray) -> list[str]:
    points = torch.from_numpy(np.asarray(features, dtype=np.float32))
    bank_groups, query_groups = bank.groups(studies, exclude_same_patient=False)
    rows, _ = search(
        RetrievalBank(Euclidean(1.0), points, torch.from_numpy(bank_groups)),
        torch.from_numpy(np.asarray(queries, dtype=np.float32)),
        query_groups,
    )
    return [bank.reports[row] for row in rows[:, 0]]
