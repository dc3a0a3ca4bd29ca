"""A healthy frontal chest as a radiograph sees it: how much each ray is attenuated, organ by organ.

Coordinates are the anatomy's own: x from -0.5 (left edge of the image, the patient's right) to 0.5, y from 0 (top) to
1. Organs with soft outlines are implicit functions on the pixel grid; thin structures are strokes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIGN_OF_SIDE = {"right": -1.0, "left": 1.0}
LUNG_TOP = 0.085
WIDEST = 0.74  # height at which the chest is widest


@dataclass(frozen=True)
class Anatomy:
    """Shape of one patient's chest, lengths in units of the image side.

    Args:
        seed: of the vessels and of the rib cage's irregularities.
        chest: half width of the rib cage at its widest.
        domes: height of the right and the left hemidiaphragm.
        base: height of the heart's lower edge.
        flatness: of the right and the left hemidiaphragm, 0 domed .. 1 flat.
        heart: width of the heart over the width of the chest.
        mediastinum: half width of the upper mediastinum.
        knob: radius of the aortic knob.
        unfolding: how far the descending aorta bulges to the left.
        spine_bend: sideways excursion of the spine, positive to the patient's left.
        rib_slope: how steeply the ribs fall.
        vessels: strength of the vascular markings.
        fat: thickness of the soft tissue, 0..1.
        breasts: strength of the breast shadows, 0 for none.
        aeration: how dark the lungs are, 1 on average.
    """

    seed: int
    chest: float
    domes: tuple[float, float]
    base: float
    flatness: tuple[float, float]
    heart: float
    mediastinum: float
    knob: float
    unfolding: float
    spine_bend: float
    rib_slope: float
    vessels: float
    fat: float
    breasts: float
    aeration: float


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient's anatomy within the normal range."""

    def normal(mean: float, deviation: float) -> float:
        return float(mean + deviation * np.clip(rng.standard_normal(), -1.8, 1.8))

    right = normal(0.715, 0.012)
    return Anatomy(
        seed=int(rng.integers(2**31)),
        chest=normal(0.375, 0.012),
        domes=(right, right + normal(0.018, 0.008)),
        base=right - 0.01,
        flatness=(normal(0.15, 0.08), normal(0.15, 0.08)),
        heart=normal(0.445, 0.022),
        mediastinum=normal(0.062, 0.005),
        knob=normal(0.036, 0.003),
        unfolding=normal(0.0, 0.004),
        spine_bend=normal(0.0, 0.004),
        rib_slope=normal(0.1, 0.02),
        vessels=normal(1.0, 0.15),
        fat=float(rng.random()),
        breasts=float(max(rng.random() - 0.5, 0.0)),
        aeration=normal(1.0, 0.05),
    )


def breathe(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """The same patient on another day: the depth of the breath and the heart's filling differ a little."""
    shift = float(0.012 * np.clip(rng.standard_normal(), -1.8, 1.8))
    heart = anatomy.heart * float(1 + 0.015 * np.clip(rng.standard_normal(), -1.8, 1.8))
    return replace(lower_diaphragm(anatomy, shift), heart=heart)


def lower_diaphragm(anatomy: Anatomy, shift: float) -> Anatomy:
    """The same chest in a deeper breath: both domes and the heart on them lie lower by `shift`."""
    right, left = anatomy.domes
    return replace(anatomy, domes=(right + shift, left + shift), base=anatomy.base + shift)


class View:
    """The pixel grid in anatomical coordinates: the patient stands a little off centre, turned and near or far.

    Args:
        size: pixels of the square image's side.
        shift: of the patient, (2,), units of the image side.
        angle: of the patient, radians.
        scale: of the patient.
    """

    def __init__(
        self, size: int, shift: tuple[float, float] = (0.0, 0.0), angle: float = 0.0, scale: float = 1.0
    ) -> None:
        self.size = size
        self._matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self._offset = np.array(shift) + 0.5
        axis = (np.arange(size) + 0.5) / size
        back = np.linalg.inv(self._matrix)
        x, y = np.meshgrid(axis - self._offset[0], axis - self._offset[1])
        self.x = (back[0, 0] * x + back[0, 1] * y).astype(np.float32)  # (S, S)
        self.y = (back[1, 0] * x + back[1, 1] * y + 0.5).astype(np.float32)  # (S, S)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Anatomical points (..., 2) in units of the image side."""
        return (points - (0.0, 0.5)) @ self._matrix.T + self._offset

    def step(self, distance: np.ndarray, width: float = 0.008) -> np.ndarray:
        """0 where a signed distance is negative, 1 where positive, between them a ramp of two pixels at least."""
        return np.clip(0.5 + distance / max(width, 2 / self.size), 0, 1)

    def blob(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """Bell of height 1 with these half widths, (S, S)."""
        return np.exp(-(((self.x - x) / width) ** 2) - ((self.y - y) / height) ** 2)

    def coarse(self, values: np.ndarray) -> np.ndarray:
        """Smooth field through a few random values, (S, S)."""
        small = Image.fromarray(values.astype(np.float32))
        return np.asarray(small.resize((self.size, self.size), Image.Resampling.BICUBIC))


class Strokes:
    """A layer of lines and areas, drawn at twice the resolution and averaged; overlaps do not add up."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._image = Image.new("L", (2 * view.size, 2 * view.size))
        self._draw = ImageDraw.Draw(self._image)

    def _pixels(self, points: np.ndarray) -> list:
        return (self._view.to_image(points) * 2 * self._view.size).tolist()

    def line(self, points: np.ndarray, width: float, value: float = 1.0) -> None:
        """A line through points (T, 2), or lines (n, T, 2); thinner than a pixel it is fainter instead."""
        pixels = width * 2 * self._view.size
        whole = max(1, round(pixels))
        fill = round(255 * min(1.0, value * pixels / whole))
        for line in self._pixels(np.reshape(points, (-1, *np.shape(points)[-2:]))):
            self._draw.line([tuple(point) for point in line], fill=fill, width=whole, joint="curve")

    def area(self, points: np.ndarray, value: float = 1.0) -> None:
        """A filled polygon with corners (T, 2)."""
        self._draw.polygon([tuple(point) for point in self._pixels(points)], fill=round(255 * value))

    def layer(self, blur: float = 0.0) -> np.ndarray:
        """The layer in 0..1, (S, S), blurred by `blur` units of the image side."""
        image = self._image.reduce(2)
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(blur * self._view.size))
        return np.asarray(image, np.float32) / 255


class Chest:
    """The layers of one chest.

    Args:
        anatomy: shape of the organs.
        view: pixel grid.
    """

    def __init__(self, anatomy: Anatomy, view: View) -> None:
        self.anatomy = anatomy
        self.view = view
        self.lungs = {side: self._lung(side) for side in SIGN_OF_SIDE}  # 0..1, (S, S) each

    def lateral(self, y: np.ndarray | float) -> np.ndarray:
        """Distance of the lung's lateral edge from the midline at a height."""
        above = np.clip((WIDEST - y) / (WIDEST - LUNG_TOP), 0, 1)
        below = np.clip(y - WIDEST, 0, None)
        return 0.115 + (self.anatomy.chest - 0.115) * np.sqrt(1 - above**2.3) - 0.25 * below

    def medial(self, y: np.ndarray | float) -> np.ndarray:
        """Distance of the lung's medial edge from the midline at a height, heart aside."""
        above = np.clip((WIDEST - y) / (WIDEST - LUNG_TOP), 0, 1)
        return 0.045 + 0.07 * above**9

    def dome(self, side: str, u: np.ndarray | float) -> np.ndarray:
        """Height of the hemidiaphragm at a distance from the midline: falls to the costophrenic angle."""
        index = int(side == "left")
        drop = 0.135 * (1 - 0.75 * self.anatomy.flatness[index])
        return self.anatomy.domes[index] + drop * np.abs((u - 0.15) / (self.anatomy.chest - 0.15)) ** 2.4

    def outside(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Distances from the midline to this side, and into the lung from its lateral and apical edge, both (S, S)."""
        u = self.view.x * SIGN_OF_SIDE[side]
        return u, np.minimum(self.lateral(self.view.y) - u, (self.view.y - LUNG_TOP) * 1.2)

    def _lung(self, side: str) -> np.ndarray:
        u, inward = self.outside(side)
        edge = np.minimum(inward, u - self.medial(self.view.y))
        return self.view.step(edge, 0.012) * self.view.step(self.dome(side, u) - self.view.y)

    @cached_property
    def lung(self) -> np.ndarray:
        """Both lungs, 0..1, (S, S)."""
        return self.lungs["right"] + self.lungs["left"]

    @cached_property
    def depth(self) -> np.ndarray:
        """How deep the lung is along the ray, 0 at its edges .. 1, (S, S); does not depend on the diaphragm."""
        u = np.abs(self.view.x)
        inward = np.minimum(self.lateral(self.view.y) - u, (self.view.y - LUNG_TOP) * 0.8)
        return np.sqrt(np.clip(np.minimum(inward, u - 0.02) / 0.13, 0, 1))

    def heart_shape(self) -> tuple[float, float, float, float]:
        """Centre x, centre y, half width and half height of the heart."""
        width = self.anatomy.heart * self.anatomy.chest
        height = 0.125 + 0.3 * (width - 0.165)
        return 0.3 * width, self.anatomy.base - 0.75 * height, width, height

    @cached_property
    def heart(self) -> np.ndarray:
        """The heart's shadow, 0..1, (S, S): a ventricle leaning to the left and the right atrium."""
        x, y, width, height = self.heart_shape()
        dx, dy = self.view.x - x, self.view.y - y
        along, across = 0.9 * dx + 0.42 * dy, 0.9 * dy - 0.42 * dx
        ventricle = 1 - np.sqrt((along / (width * 0.98)) ** 2 + (across / height) ** 2)
        ax, ay = self.view.x - (x - 0.55 * width), self.view.y - (y - 0.03)
        atrium = 1 - np.sqrt((ax / (0.47 * width)) ** 2 + (ay / (1.05 * height)) ** 2)
        return self.view.step(np.maximum(ventricle * height, atrium * 0.5 * width), 0.016)

    @cached_property
    def mediastinum(self) -> np.ndarray:
        """Great vessels and everything else in the midline, 0..1, (S, S)."""
        y = self.view.y
        upper = np.clip((0.56 - y) / 0.16, 0, 1)
        half = 0.056 + (self.anatomy.mediastinum - 0.056) * upper + 0.03 * np.clip((0.15 - y) / 0.15, 0, 1)
        half -= 0.012 * np.cos((y - 0.3) * 14)
        band = self.view.step(half - np.abs(self.view.x), 0.014)
        knob_x, knob_y = self.knob_centre()
        knob = self.anatomy.knob - np.hypot(self.view.x - knob_x, self.view.y - knob_y)
        trunk = 0.04 - np.hypot(self.view.x - self.anatomy.mediastinum + 0.024, 0.5 * (y - 0.42))
        left = self.view.step(np.maximum(knob, trunk), 0.014)
        return np.maximum(band, np.maximum(left, self._descending_aorta()))

    def knob_centre(self) -> tuple[float, float]:
        """Centre of the aortic knob, on the left edge of the mediastinum."""
        return self.anatomy.mediastinum - 0.016 + 0.35 * (self.anatomy.knob - 0.036), 0.31

    def _descending_aorta(self) -> np.ndarray:
        along = (self.view.y - 0.32) / 0.36
        bulge = 0.05 + self.anatomy.unfolding * np.sin(np.pi * np.clip(along, 0, 1))
        inside = self.view.step(bulge - np.abs(self.view.x - 0.012), 0.014)
        return inside * self.view.step(self.view.y - 0.32) * self.view.step(0.7 - self.view.y)
