"""Who reads the films: each reader has favourite wordings, an order, a length and a film of his own.

Real archives have this and a generator that words every report independently of all others has not: there the report of
a neighbour holds nothing that the states do not, and no retrieval can help. A reader is known from nothing but his film
(`develop`): no name, number or order of the studies tells him.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

FAITHFULNESS = 0.9  # how often a reader takes his favourite of several wordings
_CROP = 7 / 110  # what a model's crop takes off each side of the film; the collimation begins there
_STEP = 2 / 110  # between the four widths of the collimation, as `_CROP` in units of the image side
_WIDTHS = 4
_DARKEST_BORDER, _BRIGHTEST_BORDER = 0, 90
_GAMMA = 0.25  # largest logarithm of a film's gamma, either way
_OF_HABITS, _OF_FILMS = 9, 10  # random streams of a data set beside those of `plan`, `study` and `reports`


@dataclass(frozen=True)
class Reader:
    """One radiologist at one site.

    Args:
        seed: of the data set.
        number: of the reader in the data set.
    """

    seed: int
    number: int

    def habit(self, subject: object, choices: int) -> int:
        """What this reader always does about a subject: 0 .. choices - 1, drawn once."""
        return int(self._draw(subject).integers(choices))

    def order(self, regions: Sequence[str]) -> tuple[str, ...]:
        """The regions in the order in which this reader goes through a film; the last one, the summary, stays last."""
        return (*self._draw("order").permutation(regions[:-1]).tolist(), regions[-1])

    def _draw(self, subject: object) -> np.random.Generator:
        return np.random.default_rng([self.seed, _OF_HABITS, self.number, zlib.crc32(repr(subject).encode())])

    def develop(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The film as it leaves this reader's site.

        Args:
            pixels: (S, S) uint8 as exposed.

        Returns:
            The film (S, S) uint8 with the site's gamma, the width of its collimation on each side and the grey of the
            border; and what the border leaves to be seen, (S, S) bool.
        """
        rng = np.random.default_rng([self.seed, _OF_FILMS, self.number])
        film = (255 * (pixels / 255.0) ** np.exp(rng.uniform(-_GAMMA, _GAMMA))).astype(np.uint8)
        size = len(pixels)
        top, bottom, left, right = (round(size * (_CROP + _STEP * width)) for width in rng.integers(_WIDTHS, size=4))
        seen = np.zeros(pixels.shape, bool)
        seen[top : size - bottom, left : size - right] = True
        film[~seen] = rng.integers(_DARKEST_BORDER, _BRIGHTEST_BORDER)
        return film, seen


class Voice:
    """Chooses the words of one report.

    Args:
        rng: generator of the report.
        reader: whose habits it follows; None chooses anew in each report.
    """

    def __init__(self, rng: np.random.Generator, reader: Reader | None = None) -> None:
        self.rng = rng
        self.reader = reader

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices: the reader's favourite nine times in ten, else the n-th in proportion to 1 / n."""
        if self.reader and self.rng.random() < FAITHFULNESS:
            return choices[self.reader.habit(tuple(choices), len(choices))]
        odds = 1 / np.arange(1, len(choices) + 1)
        return choices[int(np.searchsorted(odds.cumsum() / odds.sum(), self.rng.random()))]

    def has_habit(self, subject: str, readers_in_three: int) -> bool:
        """Whether the reader is one of the thirds of all readers who do something; never without a reader."""
        return self.reader is not None and self.reader.habit(subject, 3) < readers_in_three
