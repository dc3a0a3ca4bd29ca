"""Attention figures for papers: an image, where entities and retrieved sentences look, and the report written."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.revtaf import Revtaf
from modules.corpus.annotations import Study
from modules.corpus.datasets import ReportDataset, collate
from modules.corpus.images import read_image
from modules.corpus.text import split_sentences
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.options.flags import TestingOptions
from modules.records import atomic_write

COLUMNS = 4  # maps in a row: one row of entities, one of retrieved sentences
SIDE, BAR, LINE, GAP = 1.15, 0.35, 0.125, 0.3  # inches: a map, the colour bar, a line of text, room for the titles
IMAGE_SIDE = 448  # pixels of the drawn image; the network sees the same crop with fewer
TEXT_LINES = 7  # most lines of each report
FORMATS = {"png": {"dpi": 200}, "pdf": {"dpi": 300}}
STYLE: Any = {"font.size": 7, "pdf.fonttype": 42, "text.parse_math": False}  # real fonts in the PDF; "$" is a dollar


def plotted_studies(testing: TestingOptions, studies: Sequence[Study], ann_path: str) -> list[int]:
    """Positions of the studies that figures are drawn of: those of ``--plot_ids``, else the first ``--plot``.

    Raises:
        UserError: if an id is not in the split.
    """
    positions = {study.id: position for position, study in enumerate(studies)}
    for identifier in testing.plot_ids:
        if identifier not in positions:
            raise UserError(
                f"--plot_ids names {identifier}, which is not among the {len(studies)} studies of the {testing.split} "
                f"split of {ann_path}: give ids of that split"
            )
    first = range(min(testing.plot, len(studies)))
    return [positions[identifier] for identifier in testing.plot_ids] or list(first)


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
        fused = model.fuse(dataset.to_device(collate([sample], dataset.tokenizer.pad_id), device).study)
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

    lines = [f"Generated: {row['prediction']}"]
    if row["reference"]:  # a film of one's own has none
        lines.append(f"Reference: {row['reference']}")
    text = "\n\n".join(_cut(line, 132, TEXT_LINES) for line in lines)
    levels = [maps for maps in (entities, sentences) if maps]
    image_side = len(levels)  # the image spans as many columns as there are rows of maps
    tall, low = (SIDE + GAP) * len(levels), LINE * (text.count("\n") + 2)
    figure = Figure(figsize=(SIDE * (image_side + COLUMNS) + BAR, tall + low))
    across = [SIDE] * (image_side + COLUMNS) + [BAR]
    layout = figure.add_gridspec(
        len(levels), len(across), width_ratios=across, left=0, right=1, top=1 - GAP / (tall + low), bottom=low / (tall + low),
        wspace=0.05, hspace=GAP / SIDE,
    )  # fmt: skip
    _panel(figure.add_subplot(layout[:, :image_side]), image, _cut(row["id"], 20 * image_side, 1))
    scores = [grid for maps in levels for _, grid in maps]
    scale = {"vmin": min(grid.min() for grid in scores), "vmax": max(grid.max() for grid in scores)}
    for line, maps in enumerate(levels):
        for column, (title, grid) in enumerate(maps):
            axis = figure.add_subplot(layout[line, image_side + column])
            _panel(axis, image, _cut(title, 27, 2))
            extent = (0, image.shape[1], image.shape[0], 0)
            drawn = axis.imshow(grid, cmap="inferno", alpha=0.5, interpolation="nearest", extent=extent, **scale)
    margin = figure.add_subplot(layout[:, -1])
    margin.set_axis_off()
    bar = figure.colorbar(drawn, cax=margin.inset_axes((0, 0.1, 0.25, 0.8)))
    assert bar.solids is not None
    bar.solids.set_alpha(1)
    figure.text(0, (low - LINE) / (tall + low), text, va="top", ha="left", linespacing=1.25)
    return figure


def _panel(axis: Any, image: np.ndarray, title: str) -> None:
    axis.imshow(image)
    axis.set_axis_off()
    axis.set_title(title, fontsize=6.5, pad=2)


def _cut(text: str, width: int, most: int) -> str:
    """The first ``most`` lines of a text, with an ellipsis if there are more."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" \u2026"))
