"""A few studies as a picture: maps beside the drawn signs, and which sentences of the report came from the retrieved one."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modules.corpus.images import RESIZE_RATIO
from modules.corpus.text import split_sentences
from modules.evaluation.grounding.sign_scores import ON_SIGN, SIGNS
from modules.labelling.labelers import Labeler
from modules.labelling.particulars import PARTICULARS, report_particulars
from modules.labels import POSITIVE
from modules.messages import UserError

MOST_STUDIES, MOST_SIGNS = 3, 2  # rows of the picture, and maps beside an image
SIDE, LINE = 1.7, 0.13  # inches: a panel, a line of text
COLUMN_WIDTH = 118  # letters in a line of a report
NOTE_LETTERS = 18  # of the note, in an inch
TAKEN = "#1f6fb4"  # colour of a sentence that stands in both reports
STYLE: Any = {"font.size": 8, "text.parse_math": False}
Panel = tuple[str, np.ndarray, np.ndarray]  # name of a sign, square grid of its map, its mask as the network sees it


class Choice(NamedTuple):
    """Studies to draw, by their positions, and how many they were chosen from."""

    drawn: list[int]  # at most MOST_STUDIES
    good: int  # all that show the same
    other_particulars: int  # further ones whose report names another side, grade or device
    with_sign: int


def choose_studies(
    rows: Sequence[Mapping[str, Any]], maps: np.ndarray, coverage: np.ndarray, shown: np.ndarray, labeler: Labeler
) -> Choice:
    """The first studies of a split that show what the method is meant to do, each with another first sign.

    In such a study the highest patch of every clear sign's map is on the sign, the report asserts what its reference
    asserts, in all conditions and with no other side, grade or device, and a sentence of it stands word for word in the
    retrieved report.

    Args:
        rows: of ``predictions.jsonl``.
        maps: of the signs, ``(n, G, M)``.
        coverage: of the patches by the masks, ``(n, G, M)``.
        shown: clear signs, ``(n, G)`` bool.
        labeler: reads the findings of sentences.

    Raises:
        UserError: if no study is like that.
    """
    with_sign = [n for n in range(len(rows)) if shown[n].any()]
    right = [n for n in with_sign if _all_hit(maps[n], coverage[n], shown[n]) and taken_sentences(rows[n])]
    right = [n for n in right if same_findings(rows[n], labeler)]
    good = [n for n in right if same_particulars(rows[n], labeler)]
    if not good:
        raise UserError(
            f"none of the {len(with_sign)} studies with a sign has maps on its signs and a right report with a sentence of "
            "the retrieved one: train longer, or test another split"
        )
    first = {int(shown[n].argmax()): n for n in reversed(good)}  # the first study of each first sign
    return Choice(sorted(first.values())[:MOST_STUDIES], len(good), len(right) - len(good), len(with_sign))


def same_findings(row: Mapping[str, Any], labeler: Labeler) -> bool:
    """Whether the generated report asserts the conditions that its reference asserts, and no other."""
    generated, reference = np.array(labeler([row["prediction"], row["reference"]])) == POSITIVE
    return bool((generated == reference).all())


def same_particulars(row: Mapping[str, Any], labeler: Labeler) -> bool:
    """Whether both reports give every finding the same sides, grades and devices, where both give some."""
    ours, theirs = (report_particulars(row[name], labeler) for name in ("prediction", "reference"))
    for column in ours.keys() & theirs.keys():
        for kind in PARTICULARS:
            # "left: slight" is a grade that names its side too
            said, wanted = ({value.split(": ")[-1] for value in one[column][kind]} for one in (ours, theirs))
            if said and wanted and said != wanted:
                return False
    return True


def _all_hit(maps: np.ndarray, coverage: np.ndarray, shown: np.ndarray) -> bool:
    most = coverage[shown].max(axis=1)
    highest = np.take_along_axis(coverage[shown], maps[shown].argmax(axis=1)[:, None], axis=1)[:, 0]
    return bool((most > 0).all() and (highest >= ON_SIGN * most).all())


def taken_sentences(row: Mapping[str, Any]) -> set[str]:
    """Sentences of a generated report that stand word for word in the first retrieved one."""
    return {*split_sentences(row["prediction"])} & {*split_sentences(row["retrieved_report"] or "")}


def crop_of(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask of the whole image as the network's view of ``size`` pixels shows it, 0..1, (size, size)."""
    whole = round(size * RESIZE_RATIO)
    large = Image.fromarray((255 * mask).astype(np.uint8)).resize((whole, whole), Image.Resampling.BICUBIC)
    start = (whole - size) // 2
    return np.asarray(large.crop((start, start, start + size, start + size)), np.float32) / 255


def draw_example(studies: Sequence[tuple[np.ndarray, Sequence[Panel], Mapping[str, Any]]], note: str) -> Any:
    """The picture: a row for each study with its image, the maps of its signs and its reports.

    Args:
        studies: of each the image ``(size, size)`` uint8 as the network sees it, its panels, and its ``prediction``,
            ``reference`` and ``retrieved_report``.
        note: the last line.

    Returns:
        A matplotlib figure.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines = [_report_lines(row) for _, _, row in studies]
    tall = [max(SIDE, LINE * len(of_study)) + 0.35 for of_study in lines]
    columns = 1 + max(min(len(panels), MOST_SIGNS) for _, panels, _ in studies)
    width = SIDE * columns + 6
    last = textwrap.wrap(note, round(NOTE_LETTERS * width))
    height = sum(tall) + 0.07 + LINE * len(last)
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for number, (image, panels, _) in enumerate(studies):
            top = height - sum(tall[:number]) - 0.25
            shown = [("image", None, None), *panels[:MOST_SIGNS]]
            for column, (title, grid, mask) in enumerate(shown):
                place = (column * SIDE / width, (top - SIDE) / height, SIDE / width * 0.97, SIDE / height * 0.97)
                _panel(figure.add_axes(place), image, title, grid, mask)
            left = (len(shown) * SIDE + 0.1) / width
            for at, (text, how) in enumerate(lines[number]):
                figure.text(left, (top - at * LINE) / height, text, va="top", fontsize=6.5, **how)
        figure.text(0, 0.04 / height, "\n".join(last), va="bottom", fontsize=6.5, color="0.35")
    return figure


def _panel(axis: Any, image: np.ndarray, title: str, grid: np.ndarray | None, mask: np.ndarray | None) -> None:
    """An image, or a map over it: patches as they are, for between them a map says nothing, and the highest framed."""
    from matplotlib.patches import Rectangle

    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    if grid is not None:
        side = len(image) / len(grid)
        axis.imshow(grid, cmap="inferno", alpha=0.45, interpolation="nearest", extent=(0, len(image), len(image), 0))
        row, column = np.unravel_index(grid.argmax(), grid.shape)
        axis.add_patch(Rectangle((column * side, row * side), side, side, fill=False, color="white", linewidth=1))
        axis.contour(mask, levels=[0.5], colors="cyan", linewidths=1)
    axis.set_axis_off()
    axis.set_title(title, fontsize=min(8, 200 / len(title)), pad=3)  # a long name must not reach the text beside it


def _report_lines(row: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Lines of the three reports of a study and how they look; what was taken from the retrieved one is coloured."""
    taken, lines = taken_sentences(row), []
    for heading, text in (
        ("Retrieved", row["retrieved_report"] or ""), ("Generated", row["prediction"]), ("Reference", row["reference"]),
    ):  # fmt: skip
        lines.append((heading, {"weight": "bold"}))
        packed: list[tuple[str, bool]] = []
        for sentence in split_sentences(text):
            here = sentence in taken and heading != "Reference"
            fits = packed and packed[-1][1] == here and len(packed[-1][0]) + len(sentence) < COLUMN_WIDTH
            packed = (
                [*packed[:-1], (f"{packed[-1][0]} {sentence}.", here)] if fits else [*packed, (f"{sentence}.", here)]
            )
        for words, here in packed:
            how = {"color": TAKEN if here else "black"}
            lines += [(part, how) for part in textwrap.wrap(words, COLUMN_WIDTH)]
    return lines


def sign_panels(maps: np.ndarray, masks: Mapping[str, np.ndarray], shown: np.ndarray, size: int) -> list[Panel]:
    """What :func:`draw_example` draws of a study's clear signs."""
    side = round(maps.shape[1] ** 0.5)
    return [
        (f"map of {sign}", maps[g].reshape(side, side), crop_of(masks[sign], size))
        for g, sign in enumerate(SIGNS)
        if shown[g]
    ]
