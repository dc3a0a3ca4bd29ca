"""Attention figures for papers: an image, where entities and retrieved sentences look, and the report written."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset, collate
from modules.corpus.images import read_image
from modules.corpus.text import split_sentences
from modules.labels import ENTITIES
from modules.records import atomic_write

COLUMNS = 4  # maps in a row: one row of entities, one of retrieved sentences
WIDTH = 7.2  # inches, two columns of a paper
IMAGE_SIDE = 448  # pixels of the drawn image; the network sees the same crop with fewer
TEXT_LINES = 7  # most lines of each report
FORMATS = {"png": {"dpi": 200}, "pdf": {"dpi": 300}}
STYLE = {"font.size": 7, "pdf.fonttype": 42, "text.parse_math": False}  # real fonts in the PDF; "$" is a dollar


@torch.no_grad()
def plot_studies(
    model: Revtaf,
    dataset: ReportDataset,
    rows: list[dict[str, Any]],
    positions: list[int],
    folder: Path,
    device: torch.device,
) -> list[Path]:
    """Write one PNG and one PDF per study.

    Each shows the image, the maps of its strongest entities, the maps of the first retrieved sentences, the generated
    report and its reference. All maps of a study share one colour scale.

    Args:
        model: trained network, in evaluation mode.
        dataset: with the reference rows that the reports were written with.
        rows: generated reports, in the order of the data set.
        positions: studies to draw, by position in the data set.
        folder: made if absent.
        device: of the model.

    Returns:
        The files.
    """
    paths = []
    for index in positions:
        sample = dataset[index]
        fused = model.fuse(collate([sample], dataset.tokenizer.pad_id).to(device).study)
        strongest = sample.region_scores.argsort(descending=True)[:COLUMNS].tolist()
        entities = [(f"{ENTITIES[k]} ({sample.region_scores[k]:.2f})", fused.region_map[0, k]) for k in strongest]
        reference = int(dataset.reference_rows[index])
        sentences = split_sentences(dataset.bank.reports[reference]) if reference >= 0 else []
        retrieved = list(zip(sentences, fused.reference_map[0], strict=False))[:COLUMNS]
        grids = [[(title, _grid(score)) for title, score in maps] for maps in (entities, retrieved)]
        pixels = read_image(dataset.image_dir / dataset.studies[index].image_path[0], IMAGE_SIDE).numpy()
        paths += _save(
            pixels.transpose(1, 2, 0), grids, rows[index], folder / re.sub(r"[^\w.-]+", "_", rows[index]["id"])
        )
    return paths


def _grid(score: torch.Tensor) -> np.ndarray:
    side = round(len(score) ** 0.5)
    return score.float().cpu().numpy().reshape(side, side)


def _save(image: np.ndarray, grids: list, row: dict[str, Any], stem: Path) -> list[Path]:
    """Draw one study and write it in every format."""
    import matplotlib as mpl  # on demand: only figures need it

    with mpl.rc_context(STYLE):
        figure = draw(image, grids[0], grids[1], row)
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in FORMATS]
        for path, (kind, how) in zip(paths, FORMATS.items(), strict=True):
            with atomic_write(path, "wb") as file:
                figure.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.02, **how)
    return paths


def draw(
    image: np.ndarray,
    entities: list[tuple[str, np.ndarray]],
    sentences: list[tuple[str, np.ndarray]],
    row: dict[str, Any],
) -> Any:
    """The figure of one study.

    Args:
        image: ``(height, width, 3)`` uint8 pixels.
        entities: title and square grid of scores, one per entity.
        sentences: the same for retrieved sentences; may be empty.
        row: ``id``, ``prediction`` and ``reference``.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    lines = [
        f"{name}: {_cut(row[key], 150, TEXT_LINES)}"
        for name, key in (("Generated", "prediction"), ("Reference", "reference"))
    ]
    maps = 1 + bool(sentences)
    text_height = 0.13 * sum(line.count("\n") + 2 for line in lines)
    figure = Figure(figsize=(WIDTH, 1.65 * maps + text_height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.02)
    layout = figure.add_gridspec(maps + 1, maps + COLUMNS, height_ratios=[1.65] * maps + [text_height])
    _panel(figure.add_subplot(layout[:maps, :maps]), image, _cut(row["id"], 40, 1))
    scores = [grid for _, grid in entities + sentences]
    scale = {"vmin": min(grid.min() for grid in scores), "vmax": max(grid.max() for grid in scores)}
    axes, drawn = [], None
    for line, panels in enumerate((entities, sentences)):
        for column, (title, grid) in enumerate(panels):
            axes.append(axis := figure.add_subplot(layout[line, maps + column]))
            _panel(axis, image, _cut(title, 26, 3))
            extent = (0, image.shape[1], image.shape[0], 0)
            drawn = axis.imshow(grid, cmap="inferno", alpha=0.5, interpolation="bicubic", extent=extent, **scale)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=30, pad=0.01)
    bar.set_label("score", labelpad=1)
    bar.solids.set_alpha(1)
    words = figure.add_subplot(layout[maps, :])
    words.axis("off")
    words.text(0, 1, "\n\n".join(lines), va="top", ha="left", transform=words.transAxes, linespacing=1.3)
    return figure


def _panel(axis: Any, image: np.ndarray, title: str) -> None:
    axis.imshow(image)
    axis.set_axis_off()
    axis.set_title(title, fontsize=6.5, pad=2)


def _cut(text: str, width: int, most: int) -> str:
    """The first ``most`` lines of a text, with an ellipsis if there are more."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" \u2026"))
