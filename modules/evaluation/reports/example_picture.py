"""One study as a picture: maps beside the drawn signs, and which sentences of the report came from the retrieved one."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from modules.corpus.images import RESIZE_RATIO
from modules.corpus.text import split_sentences
from modules.evaluation.grounding import ON_SIGN, SIGNS
from modules.messages import UserError

MOST_SIGNS = 3  # panels beside the image
SIDE, LINE = 2.0, 0.15  # inches: a panel, a line of text
COLUMN_WIDTH = 46  # letters in a line of one of the three reports
TAKEN = "#1f6fb4"  # colour of a sentence that stands in both reports
STYLE = {"font.size": 8, "text.parse_math": False}


def choose_study(
    rows: Sequence[Mapping[str, Any]], maps: np.ndarray, coverage: np.ndarray, shown: np.ndarray
) -> tuple[int, int, int]:
    """The first study of a split that shows what the method is meant to do.

    It has at least two clear signs with a place, the highest patch of each one's map is on the sign, the report states
    what its reference states (CE F1 of 1), and a sentence of it stands both in the retrieved report and in the reference.

    Args:
        rows: of ``predictions.jsonl``, with their scores.
        maps: of the signs, ``(n, G, M)``.
        coverage: of the patches by the masks, ``(n, G, M)``.
        shown: clear signs, ``(n, G)`` bool.

    Returns:
        Its position, how many such studies there are, and how many have two clear signs.

    Raises:
        UserError: if no study is like that.
    """
    several = [n for n in range(len(rows)) if shown[n].sum() >= 2]
    good = [n for n in several if _all_hit(maps[n], coverage[n], shown[n]) and rows[n]["scores"]["ce_f1"] == 1]
    good = [n for n in good if taken_sentences(rows[n]) & {*split_sentences(rows[n]["reference"])}]
    if not good:
        raise UserError(
            f"none of the {len(several)} studies with two signs has maps on both and a report like its reference with a "
            "sentence of the retrieved one: train longer, or test another split"
        )
    return good[0], len(good), len(several)


def _all_hit(maps: np.ndarray, coverage: np.ndarray, shown: np.ndarray) -> bool:
    most = coverage[shown].max(axis=1)
    highest = np.take_along_axis(coverage[shown], maps[shown].argmax(axis=1)[:, None], axis=1)[:, 0]
    return bool((most > 0).all() and (highest >= ON_SIGN * most).all())


def taken_sentences(row: Mapping[str, Any]) -> set[str]:
    """Sentences of a generated report that stand word for word in the retrieved one."""
    return {*split_sentences(row["prediction"])} & {*split_sentences(row["retrieved_report"] or "")}


def crop_of(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask of the whole image as the network's view of ``size`` pixels shows it, 0..1, (size, size)."""
    whole = round(size * RESIZE_RATIO)
    large = Image.fromarray((255 * mask).astype(np.uint8)).resize((whole, whole), Image.Resampling.BICUBIC)
    start = (whole - size) // 2
    return np.asarray(large.crop((start, start, start + size, start + size)), np.float32) / 255


def draw_example(
    image: np.ndarray, signs: Sequence[tuple[str, np.ndarray, np.ndarray]], row: Mapping[str, Any], note: str
) -> Any:
    """The picture of one study.

    Args:
        image: ``(size, size)`` uint8, the network's view.
        signs: name, square grid of the map, and mask ``(size, size)`` of each sign; the first ``MOST_SIGNS`` are drawn.
        row: ``prediction``, ``reference`` and ``retrieved_report``.
        note: the last line.

    Returns:
        A matplotlib figure.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    taken = taken_sentences(row)
    reports = [
        ("Retrieved training report", row["retrieved_report"] or ""),
        ("Generated report (blue: word for word in the retrieved one)", row["prediction"]),
        ("Reference", row["reference"]),
    ]
    columns = [[(line, s in taken) for s in split_sentences(text) for line in _lines(s)] for _, text in reports]
    signs = signs[:MOST_SIGNS]
    low = LINE * (max(map(len, columns)) + 4)
    width, height = SIDE * (1 + MOST_SIGNS), SIDE + 0.25 + low
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for panel, (title, grid, mask) in enumerate([("image", None, None), *signs]):
            place = (panel * SIDE / width, low / height, SIDE / width * 0.98, SIDE / height)
            axis = figure.add_axes(place)
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            if grid is not None:
                extent = (0, len(image), len(image), 0)
                axis.imshow(grid, cmap="inferno", alpha=0.45, interpolation="bicubic", extent=extent)
                axis.contour(mask, levels=[0.5], colors="cyan", linewidths=1)
            axis.set_axis_off()
            axis.set_title(title, fontsize=8, pad=3)
        for column, ((heading, _), lines) in enumerate(zip(reports, columns, strict=True)):
            left = column / 3
            figure.text(left, 1 - (SIDE + 0.25 + LINE) / height, heading, va="top", weight="bold", fontsize=7)
            for number, (line, from_retrieved) in enumerate(lines):
                top = 1 - (SIDE + 0.25 + LINE * (number + 2)) / height
                figure.text(left, top, line, va="top", color=TAKEN if from_retrieved else "black", fontsize=7)
        figure.text(0, 0.02, note, va="bottom", fontsize=6.5, color="0.35")
    return figure


def _lines(sentence: str) -> list[str]:
    return textwrap.wrap(f"{sentence}.", COLUMN_WIDTH, subsequent_indent="   ")


def sign_panels(
    maps: np.ndarray, masks: Mapping[str, np.ndarray], shown: np.ndarray, size: int
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """What :func:`draw_example` draws of a study's clear signs: name, grid of the map, mask in the network's view."""
    side = round(maps.shape[1] ** 0.5)
    return [
        (f"map of {sign}", maps[g].reshape(side, side), crop_of(masks[sign], size))
        for g, sign in enumerate(SIGNS)
        if shown[g]
    ]
