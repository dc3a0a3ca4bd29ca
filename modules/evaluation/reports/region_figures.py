"""Films with the boxes that radiologists drew and the map of the finding, one figure a phrase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.pixels import open_image
from modules.evaluation.grounding.phrases import Phrase
from modules.evaluation.grounding.regions import View, finer
from modules.records import atomic_write

SIDE = 3.2  # inches


def draw_regions(
    folder: Path,
    phrases: Sequence[Phrase],
    films: Sequence[Path],
    views: Sequence[View],
    maps: Sequence[np.ndarray | None],
    cells: int,
    most: int,
) -> list[Path]:
    """Draw the first phrases that have a map.

    Args:
        folder: made if absent.
        phrases: n of them.
        films: image file of each.
        views: what the network saw of each.
        maps: ``(M,)`` of each, None where there is none.
        cells: side of the grid that they are interpolated to, as they are scored; 0 for their own patches.
        most: figures.

    Returns:
        The files.
    """
    from matplotlib.figure import Figure  # on demand: only figures need it

    paths: list[Path] = []
    for phrase, film, view, values in zip(phrases, films, views, maps, strict=True):
        if len(paths) == most:
            break
        if values is None:
            continue
        image = open_image(film)
        figure = Figure(figsize=(2 * SIDE, SIDE * image.height / image.width + 0.3))
        for place, with_map in enumerate((False, True), start=1):
            axis = figure.add_subplot(1, 2, place)
            axis.imshow(np.asarray(image), cmap="gray", extent=(0, image.width, image.height, 0))
            if with_map:
                extent = (view.left, view.left + view.width, view.top + view.height, view.top)
                scored = finer(values[None], cells)[0]
                side = round(len(scored) ** 0.5)
                axis.imshow(
                    scored.reshape(side, side), cmap="inferno", alpha=0.45, interpolation="nearest", extent=extent
                )
            _outline(axis, phrase, image.width, image.height)
            axis.set_xlim(0, image.width)
            axis.set_ylim(image.height, 0)
            axis.set_axis_off()
            axis.set_title(phrase.text[:50] if not with_map else "map over what the network sees", fontsize=8)
        name = re.sub(r"[^\w.-]+", "_", f"{len(paths):03d}_{phrase.image}_{phrase.finding}")[:150]
        with atomic_write(folder / f"{name}.png", "wb") as file:
            figure.savefig(file, format="png", dpi=150, bbox_inches="tight")
        paths.append(folder / f"{name}.png")
    return paths


def _outline(axis: Any, phrase: Phrase, width: int, height: int) -> None:
    from matplotlib.patches import Rectangle

    if phrase.mask is not None:
        axis.contour(phrase.mask.astype(float), levels=[0.5], colors="cyan", linewidths=1,
                     extent=(0, width, 0, height), origin="lower")  # fmt: skip
        return
    across, down = phrase.size or (width, height)
    for left, top, right, bottom in phrase.boxes * [width / across, height / down, width / across, height / down]:
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color="cyan", linewidth=1.2))
