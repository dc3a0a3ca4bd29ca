"""A finding that somebody boxed on an image, and what a box is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.messages import UserError

PROPORTIONS = 0.02  # how far those of a resized film may be rounded


@dataclass(frozen=True)
class Phrase:
    """One finding on one image, and where it is.

    Args:
        image: id of the image.
        path: of the image below the image folder, None where only the id is known.
        patient: the same for all images of a patient; the image where patients are not known.
        finding: what it is counted under, lower case.
        text: the words that say it.
        boxes: ``(n, 4)`` left, top, right, bottom.
        size: width and height that the boxes are measured in; (1, 1) for shares, None for the pixels of the image file.
        mask: ``(h, w)`` bool of the whole image in place of boxes.
    """

    image: str
    path: str | None
    patient: str
    finding: str
    text: str
    boxes: np.ndarray
    size: tuple[float, float] | None = None
    mask: np.ndarray | None = None


def checked(path: Path, image: str, boxes: Sequence[Sequence[float]], width: float, height: float) -> np.ndarray:
    """Boxes ``(n, 4)``; half a pixel beyond the image is rounding, more is a mistake.

    Args:
        path: of the file, for messages.
        image: its id, likewise.
        boxes: left, top, right, bottom.
        width: of the image that they are measured in; 1 for shares of it, infinite where it is not known.
        height: likewise.

    Raises:
        UserError: if one is no box inside the image, or in shares where pixels are expected.
    """
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (ValueError, TypeError):  # words, rows of several lengths
        found = np.empty(0)
    slack = 0.01 if width == 1 else 2.0
    good = found.ndim == 2 and found.shape[1:] == (4,) and np.isfinite(found).all()
    if (
        not good
        or (found[:, 2:] <= found[:, :2]).any()
        or found.min() < -slack
        or (found[:, 2:] > [width + slack, height + slack]).any()
    ):
        raise UserError(
            f"{path} has boxes of the image {image} that are none ({str(boxes)[:80]}): expected left and top before right and "
            "bottom, inside the image"
        )
    if width != 1 and (found[:, 2:] <= 1).all(axis=1).any():
        raise UserError(f"{path} has boxes of the image {image} in shares of it ({str(boxes)[:80]}): expected pixels")
    return found


def require_on_film(phrase: Phrase, film: Path, width: int, height: int) -> None:
    """Check that the boxes of a phrase can be of this film.

    Args:
        phrase: its boxes, and the size that they are measured in.
        film: the file, for messages.
        width: of the film in the file.
        height: likewise.

    Raises:
        UserError: if a box lies beyond the film, or the boxed image had other proportions: the film was resized or cut since.
    """
    size = phrase.size if phrase.mask is None else (phrase.mask.shape[1], phrase.mask.shape[0])
    if size is None:
        checked(film, phrase.image, phrase.boxes.tolist(), width, height)
    elif size != (1, 1):
        across, down = size
        if abs(across * height / (down * width) - 1) > PROPORTIONS:
            raise UserError(
                f"{film} has {width} x {height} pixels, the image that was boxed {across:g} x {down:g}: give films that were not cut"
            )
