"""One drawing function per sign of the lungs, the pleura and the bones.

Each takes the radiograph, the sign, its contrast (1 = as dense as a clear sign gets, in units of the lung's contrast)
and size (1 = moderate), changes the radiograph's layers and returns the mask of what it changed, (S, S) bool.
Signs that are a shape of an organ (a wide heart, a raised diaphragm) are in `study`.
"""

from __future__ import annotations

import numpy as np

from modules.preparation.synthetic.anatomy import SIGN_OF_SIDE, Strokes
from modules.preparation.synthetic.plan import Sign, severity_level
from modules.preparation.synthetic.radiograph import Radiograph, rib_lines, spine_centre, vessel_layer

_ZONE_HEIGHT = {"upper": 0.25, "mid": 0.41, "lower": 0.59}
_VISIBLE = 0.03  # a change above this share of the lung's contrast belongs to the mask


def _sides(sign: Sign) -> tuple[str, ...]:
    return ("right", "left") if sign.side == "bilateral" else (sign.side,)


def _centre(film: Radiograph, sign: Sign, rng: np.random.Generator) -> tuple[float, float]:
    """A place in the sign's zone, well inside the lung and clear of the heart."""
    y = _ZONE_HEIGHT[sign.zone] + 0.03 * rng.uniform(-1, 1)
    inner, outer = (0.17 if sign.zone == "lower" else 0.1), float(film.chest.lateral(y))
    u = inner + (outer - inner) * rng.uniform(0.4, 0.68)
    return SIGN_OF_SIDE[sign.side] * u, y


def _put(film: Radiograph, layer: np.ndarray) -> np.ndarray:
    """Add a layer, return its mask."""
    film.add(layer)
    return np.abs(layer) > _VISIBLE


def _outline(film: Radiograph, x: float, y: float, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Distance from a centre over an uneven radius: below 1 inside, (S, S)."""
    dx, dy = film.view.x - x, film.view.y - y
    angle = np.arctan2(dy, dx)
    uneven = 1 + sum(
        share * np.cos(k * angle + phase)
        for k, share, phase in zip((2, 3, 5), (0.18, 0.14, 0.08), rng.uniform(0, 6.3, 3), strict=True)
    )
    return np.hypot(dx, dy) / (radius * uneven)


def draw_opacity(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """A haze without an edge."""
    x, y = _centre(film, sign, rng)
    layer = np.zeros_like(film.density)
    for _ in range(3):
        dx, dy = 0.04 * size * rng.uniform(-1, 1, 2)
        layer += film.view.blob(x + dx, y + dy, 0.085 * size * rng.uniform(0.8, 1.2), 0.08 * size)
    return _put(film, 0.2 * contrast * layer * film.chest.lungs[sign.side])


def draw_lesion(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """A round, sharply bounded nodule or mass."""
    x, y = _centre(film, sign, rng)
    radius = 0.04 * size**1.3
    distance = np.hypot(film.view.x - x, (film.view.y - y) * rng.uniform(0.9, 1.1))
    ball = np.sqrt(np.clip(1 - (distance / (1.15 * radius)) ** 2, 0, 1))
    layer = film.view.step(radius - distance, 0.012) * (0.4 + 0.6 * ball)
    return _put(film, 0.7 * contrast * layer * film.chest.lungs[sign.side])


def draw_edema(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Haze around both hila like a bat's wings, thick vessels, septal lines at the bases."""
    view = film.view
    texture = 1 + 0.25 * view.coarse(rng.standard_normal((7, 7)))
    wings = sum(
        view.blob(side * 0.14, 0.43, 0.1 * size, 0.15 * size) + 0.5 * view.blob(side * 0.17, 0.58, 0.1 * size, 0.08)
        for side in SIGN_OF_SIDE.values()
    )
    septa = Strokes(view)
    for side in SIGN_OF_SIDE.values():
        for y in 0.56 + 0.025 * np.arange(7):
            outer = float(film.chest.lateral(y)) - 0.004
            septa.line(np.array([[side * outer, y], [side * (outer - 0.04 - 0.02 * rng.random()), y + 0.004]]), 0.005)
    thick = np.clip(vessel_layer(film.chest, 0.9) - vessel_layer(film.chest), 0, 1)
    layer = 0.24 * wings * texture + 0.18 * thick + 0.16 * septa.layer(0.001)
    return _put(film, contrast * layer * film.chest.lung * (1 - 0.6 * film.chest.heart))


def draw_consolidation(
    film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator
) -> np.ndarray:
    """A dense patch through which air-filled bronchi are seen."""
    x, y = _centre(film, sign, rng)
    patch = film.view.step(1 - _outline(film, x, y, 0.092 * size, rng), 0.35)
    bronchi = Strokes(film.view)
    root = np.array([SIGN_OF_SIDE[sign.side] * 0.08, 0.44])
    away = np.array([x, y]) - root
    reach = np.linspace(0.3, 1.45, 8)
    for start in (-0.35, 0.05, 0.4):
        for fork in (-0.25, 0.25):
            turn = start + 0.1 * rng.uniform(-1, 1) + fork * np.clip(reach - 0.75, 0, None) * 1.5
            turned = np.stack([away[0] * np.cos(turn) - away[1] * np.sin(turn),
                               away[0] * np.sin(turn) + away[1] * np.cos(turn)], axis=1)  # fmt: skip
            bronchi.line(root + reach[:, None] * turned, 0.008)
    layer = patch * (0.7 - 0.42 * bronchi.layer(0.0015))
    return _put(film, contrast * layer * film.chest.lungs[sign.side])


def draw_pneumonia(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """A cluster of small ill-defined patches in one lobe."""
    x, y = _centre(film, sign, rng)
    spots = Strokes(film.view)
    circle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    circle = np.stack([np.cos(circle), np.sin(circle)], axis=1)
    for _ in range(15):
        away = 0.085 * size * np.sqrt(rng.random()) * circle[rng.integers(10)] + 0.012 * rng.standard_normal(2)
        spots.area(circle * rng.uniform(0.008, 0.02) + away + (x, y), rng.uniform(0.6, 1))
    haze = film.view.blob(x, y, 0.1 * size, 0.1 * size)
    layer = 0.7 * spots.layer(0.006) + 0.12 * haze
    return _put(film, contrast * layer * film.chest.lungs[sign.side])


def draw_atelectasis(
    film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator
) -> np.ndarray:
    """Bands across the base and a wedge of airless lung on the diaphragm."""
    bands, wedge = Strokes(film.view), Strokes(film.view)
    t = np.linspace(0, 1, 6)
    for side in _sides(sign):
        direction = SIGN_OF_SIDE[side]
        base = film.chest.anatomy.domes[int(side == "left")]
        for band in range(2):
            height = base - 0.035 - 0.035 * band - 0.01 * rng.random()
            inner, outer = 0.16 + 0.03 * rng.random(), 0.29 + 0.05 * rng.random()
            tilt = rng.uniform(-0.03, 0.03)
            u = inner + (outer - inner) * t
            line = np.stack([direction * u, height + tilt * (t - 0.5) + 0.01 * np.sin(np.pi * t)], axis=1)
            bands.line(line, 0.011 * size)
        corner = np.array([[0.07, -0.11 * size], [0.07, 0.06], [0.25, 0.06], [0.2, -0.015]])
        wedge.area(corner * (direction, 1) + (0, base))
    layer = 0.42 * bands.layer(0.002) + 0.2 * wedge.layer(0.012)
    return _put(film, contrast * layer * film.chest.lung)


def draw_pneumothorax(
    film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator
) -> np.ndarray:
    """Air at the apex and the side: no vessels there, and the edge of the lung as a fine line."""
    _, inward = film.chest.outside(sign.side)
    lung = film.chest.lungs[sign.side]
    margin = 0.055 * size**1.4 * (1 + 0.05 * rng.standard_normal()) * (1 + np.clip(0.35 - film.view.y, -0.25, 0.35))
    free = film.view.step(margin - inward) * lung
    film.clarity *= 1 - free * min(1.0, contrast)
    edge = np.clip(1 - np.abs(inward - margin) / max(0.006, 1 / film.view.size), 0, 1) * lung
    mask = _put(film, contrast * (0.3 * edge - 0.17 * free))
    return mask | (free > _VISIBLE)


def draw_effusion(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Fluid in the costophrenic angle, its surface rising to the side."""
    layer = np.zeros_like(film.density)
    for side in _sides(sign):
        u = np.clip(film.view.x * SIGN_OF_SIDE[side], 0, None)
        floor = film.chest.dome(side, 0.93 * film.chest.anatomy.chest)
        top = floor - 0.14 * size**2 * (1 + 0.08 * rng.standard_normal())
        surface = top + 0.13 * (1 - np.clip(u / film.chest.anatomy.chest, 0, 1) ** 2.5)
        layer += film.view.step(film.view.y - surface, 0.03) * film.chest.lungs[side]
    return _put(film, 0.7 * contrast * layer)


def draw_pleura(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """A cap of thick pleura over the apex, or calcified plaques."""
    layer = np.zeros_like(film.density)
    for side in _sides(sign):
        u, inward = film.chest.outside(side)
        if sign.kind == "thickening":
            thickness = 0.05 * size * (1 + 0.25 * film.view.coarse(rng.standard_normal((12, 12))))
            cap = film.view.step(thickness - inward, 0.01) * film.view.step(0.27 - film.view.y, 0.06)
            layer += 0.7 * cap * (u > 0) * film.chest.lungs[side]
            continue
        for y in (0.5, 0.585, 0.66):
            y += 0.015 * rng.uniform(-1, 1)
            x = SIGN_OF_SIDE[side] * (float(film.chest.lateral(y)) - 0.045 - 0.03 * rng.random())
            inside = 1 - _outline(film, x, y, 0.034 * size, rng)
            rim = np.clip(1 - np.abs(inside) / 0.25, 0, 1)
            layer += (0.42 * film.view.step(inside, 0.2) + 0.4 * rim) * film.chest.lungs[side]
    return _put(film, contrast * layer)


def draw_fracture(film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """Ribs with a gap and a displaced end."""
    ends, gaps = Strokes(film.view), Strokes(film.view)
    first = {"upper": 2, "mid": 4, "lower": 6}[sign.zone]
    count = 1 + severity_level(sign.severity)
    where = 9 + int(rng.integers(-1, 2))
    haze = np.zeros_like(film.density)
    for line in rib_lines(film.chest, sign.side)[first : first + count]:
        step = np.array([0.0, 0.02 + 0.004 * rng.random()])
        place = line[where]
        outer = line[where : where + 4] + step
        inner = line[where - 3 : where + 1]
        for piece, end in ((inner, inner[-1]), (outer, outer[0])):
            half = np.array([0.0, 0.011])
            ends.area(np.concatenate([piece - half, (piece + half)[::-1]]), 0.5)
            ends.line(np.array([end - half, end + half]), 0.009)
        beside = SIGN_OF_SIDE[sign.side] * 0.007
        gaps.line(place + np.array([[beside, -0.024], [beside, 0.038]]), 0.008)
        x, y = place + step / 2
        haze += film.view.blob(x, y, 0.035, 0.03)
    dark = gaps.layer()
    layer = 0.42 * ends.layer(0.001) * (1 - dark) - 0.34 * dark + 0.14 * haze
    return _put(film, contrast * layer)


def draw_calcified_knob(
    film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator
) -> np.ndarray:
    """A bright rim on the aortic knob."""
    arc = Strokes(film.view)
    angle = np.linspace(-1.9, 1.0, 14)
    radius = film.chest.anatomy.knob - 0.006
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + film.chest.knob_centre()
    arc.line(rim, 0.009 * size)
    arc.line(rim[3:9], 0.013 * size)
    return _put(film, 0.5 * contrast * arc.layer(0.001))


def draw_degenerative_spine(
    film: Radiograph, sign: Sign, contrast: float, size: float, rng: np.random.Generator
) -> np.ndarray:
    """Spurs and hardened end plates along the spine."""
    spurs = Strokes(film.view)
    for y in 0.36 + 0.062 * np.arange(9):
        for side in SIGN_OF_SIDE.values():
            tip = (0.05 + 0.012 * rng.random()) * size**0.5
            centre = np.array([float(spine_centre(film.chest, y)), y])
            spurs.line(centre + np.array([[0.0, 0.0], [side * 0.036, 0.0], [side * tip, -0.012]]), 0.01)
            spurs.line(centre + np.array([[side * 0.034, 0.012], [side * tip, -0.006]]), 0.008)
    return _put(film, 0.5 * contrast * spurs.layer(0.002))
