"""The differences of an ablation as a picture: a panel for each figure, a line for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure as Picture

from modules.evaluation.reports.ablation_table import REFERENCE_ROW, Figure, differences, row_values
from modules.evaluation.reports.run_lines import Run

_PANEL, _LINE, _MARGIN = 2.6, 0.28, 1.1  # inches


def plot_differences(path: Path, rows: Mapping[str, Mapping[int, Run]], figures: Sequence[Figure]) -> bool:
    """Draw every row's difference to the reference row: the mean, its 95 % interval, and each seed.

    Args:
        path: PNG file.
        rows: row -> seed -> run.
        figures: of which those that some row shares with the reference row get a panel.

    Returns:
        Whether there was anything to draw.
    """
    found = differences(rows, figures)
    shown = [figure for figure in figures if any(figure.title in pairs for pairs in found.values())]
    names = [row for row, pairs in found.items() if pairs]
    if not names:
        return False
    size = (1.9 + _PANEL * len(shown), _MARGIN + _LINE * len(names))
    picture = Picture(figsize=size, layout="constrained")
    axes = picture.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, figure in zip(axes, shown, strict=True):
        base = row_values(rows[REFERENCE_ROW], figure)
        axis.axvline(0, color="0.6", linewidth=1)
        for height, row in enumerate(names):
            pair = found[row].get(figure.title)
            if pair is None:
                continue
            values = row_values(rows[row], figure)
            seeds = [values[seed] - base[seed] for seed in values.keys() & base.keys()]
            axis.plot(seeds, [height] * len(seeds), "o", color="0.7", markersize=3)
            if pair.low is not None:
                axis.plot([pair.low, pair.high], [height, height], color="C0", linewidth=1.5)
            axis.plot([pair.difference], [height], "D", color="C0", markersize=5)
        axis.set_title(figure.title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.margins(y=0.08)
        axis.locator_params(axis="x", nbins=4)  # their numbers do not touch
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    picture.supxlabel(f"row minus {REFERENCE_ROW}; diamond and bar: mean and 95 % interval over seeds", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=110, metadata={"Software": None})
    return True
