"""Attention figures: an image, where entities and retrieved sentences look, and the report that was written."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset, collate
from modules.corpus.text import split_sentences
from modules.labels import ENTITIES
from modules.records import temporary_name

ENTITY_MAPS, SENTENCE_MAPS = 2, 1


@torch.no_grad()
def plot_studies(
    model: Revtaf, dataset: ReportDataset, rows: list[dict[str, Any]], count: int, folder: Path, device: torch.device
) -> list[Path]:
    """Write one PNG per study for the first ``count`` studies.

    Each shows the image, the maps of its strongest entities, the map of a retrieved sentence and the generated report.

    Args:
        model: trained network, in evaluation mode.
        dataset: with the reference rows that the reports were written with.
        rows: generated reports, in the order of the data set.
        count: studies to draw.
        folder: made if absent.
        device: of the model.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(min(count, len(dataset))):
        sample = dataset[index]
        fused = model.fuse(collate([sample], dataset.tokenizer.pad_id).to(device, dataset.scorer).study)
        strongest = sample.region_scores.argsort(descending=True)[:ENTITY_MAPS].tolist()
        maps = [(f"entity: {ENTITIES[k]} ({sample.region_scores[k]:.2f})", fused.region_map[0, k]) for k in strongest]
        if dataset.reference_rows[index] >= 0:
            sentences = split_sentences(dataset.bank.reports[dataset.reference_rows[index]])
            pairs = zip(sentences, fused.reference_map[0], strict=False)
            maps += [(f"retrieved: {sentence}", score) for sentence, score in list(pairs)[:SENTENCE_MAPS]]
        path = folder / f"{Path(rows[index]['id']).name}.png"
        _draw(sample.image.numpy(), [(title, score.cpu().numpy()) for title, score in maps], rows[index], path)
        paths.append(path)
    return paths


def _draw(image: np.ndarray, maps: list[tuple[str, np.ndarray]], row: dict[str, Any], path: Path) -> None:
    """Write the panels of one study; ``image`` is ``(3, height, width)``, each map ``(M,)`` on a square grid."""
    from matplotlib.figure import Figure  # on demand: only figures need it

    pixels = image.transpose(1, 2, 0)
    figure = Figure(figsize=(2.6 * (1 + len(maps)), 4.0), layout="constrained")
    axes = figure.subplots(1, 1 + len(maps))
    for axis in axes:
        axis.imshow(pixels, cmap="gray")
        axis.axis("off")
    axes[0].set_title(row["id"], fontsize=8)
    for axis, (title, score) in zip(axes[1:], maps, strict=True):
        grid = round(len(score) ** 0.5)
        extent = (0, pixels.shape[1], pixels.shape[0], 0)
        axis.imshow(score.reshape(grid, grid), cmap="inferno", alpha=0.45, interpolation="bicubic", extent=extent)
        axis.set_title("\n".join(textwrap.wrap(title, 32)[:2]), fontsize=8)
    width = 46 * (1 + len(maps))
    text = textwrap.wrap(f"generated: {row['prediction']}", width) + textwrap.wrap(
        f"reference: {row['reference']}", width
    )
    figure.supxlabel("\n".join(text), fontsize=8, x=0.01, ha="left", family="monospace")
    temporary = temporary_name(path)
    figure.savefig(temporary, dpi=120, format="png")
    temporary.replace(path)
