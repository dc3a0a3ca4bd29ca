"""Tubes, lines, pacemakers and what surgeons leave behind."""

from __future__ import annotations

import numpy as np

from modules.preparation.synthetic.anatomy import SIGN_OF_SIDE, Strokes
from modules.preparation.synthetic.plan import Sign
from modules.preparation.synthetic.radiograph import Radiograph


def draw_device(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Draw one device; see `signs` for the arguments.

    Returns:
        (S, S) bool, where it is.
    """
    strokes = Strokes(film.view)
    side = SIGN_OF_SIDE.get(sign.side, 1.0)
    match sign.kind:
        case "endotracheal tube":
            _endotracheal_tube(strokes, rng)
        case "nasogastric tube":
            bend = 0.012 * rng.uniform(-1, 1)
            _curve(strokes, [(0.005, 0.0), (0.012 + bend, 0.3), (0.02, 0.6), (0.05, 0.76), (0.14, 0.83)], 0.008)
        case "central line":
            _central_line(strokes, side, rng)
        case "pacemaker":
            _pacemaker(strokes, side, rng)
        case "sternotomy wires":
            _sternotomy_wires(strokes, rng)
        case "surgical clips":
            _clips(strokes, side, rng)
        case "chest tube":
            end = (side * (0.17 + 0.03 * rng.random()), 0.2 + 0.04 * rng.random())
            path = [(side * 0.5, 0.62), (side * 0.36, 0.56), (side * 0.29, 0.4), end]
            _curve(strokes, path, 0.016, 0.55)
            _curve(strokes, path, 0.005, 1.0)
    layer = strokes.layer(0.0008)
    film.add(0.62 * contrast * layer)
    return layer > 0.05


def _curve(strokes: Strokes, corners: list[tuple[float, float]], width: float, value: float = 1.0) -> None:
    """A smooth line through corners (Catmull and Rom's spline)."""
    points = np.array([corners[0], *corners, corners[-1]], float)
    t = np.linspace(0, 1, 8)[:, None]
    pieces = []
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    strokes.line(np.concatenate(pieces), width, value)


def _endotracheal_tube(strokes: Strokes, rng: np.random.Generator) -> None:
    tip = 0.26 + 0.03 * rng.random()
    path = np.array([[0.0, 0.0], [-0.003, 0.15], [-0.004, tip]])
    strokes.line(path, 0.024, 0.35)
    for edge in (-0.01, 0.01):
        strokes.line(path + np.array([edge, 0]), 0.006)
    strokes.line(path[-1] + np.array([[-0.01, 0], [0.01, 0.006]]), 0.006)


def _central_line(strokes: Strokes, side: float, rng: np.random.Generator) -> None:
    tip = (-0.05, 0.4 + 0.05 * rng.random())  # the superior vena cava is on the right, wherever the line comes from
    if rng.random() < 0.5:
        corners = [(side * 0.13, 0.0), (side * 0.1, 0.12), (side * 0.055, 0.22), (-0.052, 0.32), tip]
    else:
        corners = [(side * 0.42, 0.17), (side * 0.25, 0.15), (side * 0.12, 0.19), (-0.05, 0.29), tip]
    _curve(strokes, corners, 0.009)


def _pacemaker(strokes: Strokes, side: float, rng: np.random.Generator) -> None:
    x, y = side * (0.27 + 0.02 * rng.random()), 0.185 + 0.02 * rng.random()
    turn = np.linspace(0, 2 * np.pi, 20)
    box = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    box = np.sign(box) * np.abs(box) ** 0.55 * (0.05, 0.042) + (x, y)
    strokes.area(box, 1.0)
    start = (x - side * 0.04, y - 0.01)
    _curve(strokes, [start, (side * 0.13, 0.17), (-0.045, 0.28), (-0.06, 0.5), (-0.075, 0.57), (-0.05, 0.6)], 0.008)
    _curve(strokes, [start, (side * 0.13, 0.18), (-0.04, 0.29), (-0.05, 0.52), (0.02, 0.65), (0.1, 0.665)], 0.008)


def _sternotomy_wires(strokes: Strokes, rng: np.random.Generator) -> None:
    turn = np.linspace(0, 2 * np.pi, 12)
    for y in np.linspace(0.24, 0.62, 6):
        centre = np.array([0.004 * rng.standard_normal(), y + 0.005 * rng.standard_normal()])
        ring = np.stack([0.017 * np.cos(turn), 0.012 * np.sin(turn)], axis=1) + centre
        strokes.line(ring, 0.006)
        strokes.line(centre + np.array([[0.0, 0.01], [0.012, 0.022]]), 0.006)


def _clips(strokes: Strokes, side: float, rng: np.random.Generator) -> None:
    centre = np.array([side * (0.14 + 0.03 * rng.random()), 0.36 + 0.05 * rng.random()])
    for _ in range(7):
        place = centre + 0.032 * rng.standard_normal(2)
        angle = rng.uniform(0, np.pi)
        half = 0.009 * np.array([np.cos(angle), np.sin(angle)])
        strokes.line(np.array([place - half, place + half]), 0.008)
