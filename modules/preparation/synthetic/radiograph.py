"""From a chest to a radiograph: bones, vessels and soft tissue, then exposure and the detector's noise."""

from __future__ import annotations

import numpy as np

from modules.preparation.synthetic.anatomy import SIGN_OF_SIDE, Chest, Strokes

LUNG_CONTRAST = 0.62  # what a ray through the deepest lung loses in attenuation; signs are measured against it
WIDEST_RIB = 0.9  # height below which the ribs keep to the flank


class Radiograph:
    """The layers that signs change before the exposure.

    Args:
        chest: organs, already with the shape that signs give them.
    """

    def __init__(self, chest: Chest) -> None:
        self.chest = chest
        self.view = chest.view
        shape = chest.view.x.shape
        self.density = np.zeros(shape, np.float32)  # added to the attenuation, (S, S)
        self.clarity = np.ones(shape, np.float32)  # how much of the vessels is seen, (S, S)

    def add(self, layer: np.ndarray) -> None:
        """Add attenuation (S, S) in units of the lung's contrast."""
        self.density += LUNG_CONTRAST * layer

    def attenuation(self) -> np.ndarray:
        """Everything that the rays cross, about 0.15 in the lungs to 1.1 in the abdomen, (S, S)."""
        chest = self.chest
        in_front = 1 - np.maximum(0.8 * chest.heart, 0.87 * chest.mediastinum)
        air = chest.lung * (0.5 + 0.5 * chest.depth) * in_front
        total = _soft_tissue(chest) - LUNG_CONTRAST * chest.anatomy.aeration * air
        total += bones(chest) + self.clarity * _vessels(chest) * chest.lung * (1 - 0.6 * chest.heart)
        return total + self.density

    def expose(self, rng: np.random.Generator, noise: float) -> np.ndarray:
        """Develop the image.

        Args:
            rng: of the exposure, the scatter and the noise.
            noise: of the detector, 1 is usual.

        Returns:
            (S, S) uint8.
        """
        size = self.view.size
        total = self.attenuation()
        total += 0.04 * self.view.coarse(rng.standard_normal((3, 3)))  # scatter and heel effect
        center, contrast = 0.6 + 0.03 * rng.standard_normal(), 1.0 + 0.06 * rng.standard_normal()
        grain = rng.standard_normal((size, size), np.float32)
        grain[1:] += 0.4 * grain[:-1]  # neighbouring detector elements share light
        total += 0.011 * noise * (0.7 + np.clip(total, 0, 1.3)) * grain
        image = 255 / (1 + np.exp(-3.3 * contrast * (total - center)))
        return np.clip(image - 4, 0, 255).astype(np.uint8)


def _soft_tissue(chest: Chest) -> np.ndarray:
    """Body without lungs and bones: trunk, shoulders, breasts, heart and great vessels, airway, stomach bubble."""
    view, anatomy = chest.view, chest.anatomy
    u, y = np.abs(view.x), view.y
    trunk = anatomy.chest + 0.085 + 0.06 * anatomy.fat
    shoulder = 0.02 + 0.9 * np.clip(u - 0.13, 0, None) ** 1.6
    flank = trunk + 0.6 * np.clip(0.34 - y, 0, None) ** 1.2
    body = view.step(flank - u, 0.03) * view.step(y - shoulder, 0.03)
    thick = 0.62 + 0.12 * anatomy.fat + 0.2 * np.clip(1 - (u / 0.5) ** 2, 0, 1) + 0.1 * np.clip(y - 0.2, 0, 1)
    belly = 0.16 * view.step(y - 0.74, 0.2)
    total = body * (thick + belly)
    total += 0.07 * np.maximum(chest.mediastinum, chest.heart)
    if anatomy.breasts:
        for side in SIGN_OF_SIDE.values():
            reach = np.hypot((view.x - side * 0.22) / 0.17, (y - 0.6) / 0.16)
            total += 0.18 * anatomy.breasts * np.clip(1.15 - reach, 0, 0.6) * body
    total -= 0.13 * airway(chest)
    bubble = np.hypot((view.x - 0.2) / 0.07, (y - 0.82) / 0.035)
    if anatomy.seed % 3:  # not everybody has swallowed air
        total -= 0.14 * np.clip(1.2 - bubble, 0, 0.5) * (1 - chest.lung)
    return total


def airway(chest: Chest) -> np.ndarray:
    """Trachea and main bronchi, 0..1, (S, S)."""
    strokes = Strokes(chest.view)
    lean = 0.012 * ((chest.anatomy.seed >> 3) % 7) / 7 - 0.014
    carina = np.array([lean, 0.345])
    strokes.line(np.array([[0.0, 0.0], [0.3 * lean, 0.15], carina]), 0.036)
    strokes.line(carina + np.array([[0, 0], [-0.05, 0.05], [-0.075, 0.09]]), 0.022, 0.8)
    strokes.line(carina + np.array([[0, 0], [0.06, 0.05], [0.1, 0.07]]), 0.019, 0.8)
    return strokes.layer(0.006)


def rib_lines(chest: Chest, side: str) -> list[np.ndarray]:
    """Centre lines of the posterior parts of ribs 1 to 9, (14, 2) each, from the spine to the chest wall."""
    t = np.linspace(0, 1, 14)
    lines = []
    for rib in range(9):
        start = 0.105 + 0.066 * rib
        fall = chest.anatomy.rib_slope * (0.6 + 0.11 * rib)
        height = start + fall * t**2.2 - 0.035 * np.sin(np.pi * t**0.8)
        reach = chest.lateral(min(start + fall, WIDEST_RIB)) + 0.006
        u = 0.035 + (reach - 0.035) * t
        lines.append(np.stack([SIGN_OF_SIDE[side] * u, height], axis=1))
    return lines


def bones(chest: Chest) -> np.ndarray:
    """Ribs, clavicles, shoulder blades and spine, (S, S) in units of attenuation."""
    view = chest.view
    back, front, girdle = Strokes(view), Strokes(view), Strokes(view)
    t = np.linspace(0, 1, 12)
    for side, sign in SIGN_OF_SIDE.items():
        lines = rib_lines(chest, side)
        for rib, line in enumerate(lines):
            _bone(back, line, 0.021 if rib else 0.026, 0.55)
        for rib, line in enumerate(lines[:7]):
            end = line[-1]
            reach = abs(end[0])
            u = reach - (reach - 0.15 - 0.008 * rib) * t**0.9
            height = end[1] + 0.008 + (0.075 + 0.011 * rib) * t - 0.03 * np.sin(np.pi * t) * (rib > 2)
            _bone(front, np.stack([sign * u, height], axis=1), 0.024, 0.45)
        u = 0.035 + 0.33 * t
        clavicle = np.stack([sign * u, 0.185 - 0.075 * t - 0.018 * np.sin(2 * np.pi * t)], axis=1)
        _bone(girdle, clavicle, 0.026, 0.6)
        blade = np.array([[0.33, 0.12], [0.45, 0.1], [0.47, 0.17], [0.36, 0.42], [0.335, 0.36], [0.32, 0.2]])
        girdle.area(blade * (sign, 1), 0.22)
        arm = np.array([[0.46, 0.1], [0.52, 0.11], [0.56, 0.2], [0.56, 0.4], [0.49, 0.4], [0.47, 0.2]])
        girdle.area(arm * (sign, 1), 0.8)
    total = 0.105 * back.layer(0.0025) + 0.075 * front.layer(0.004) * view.step(0.72 - view.y, 0.2)
    return (total + 0.17 * girdle.layer(0.004)) * view.step(1.05 - view.y, 0.3) + spine(chest)


def _bone(strokes: Strokes, line: np.ndarray, width: float, marrow: float) -> None:
    """A bone with a bright cortex on both edges."""
    half = np.array([0.0, width / 2])
    strokes.area(np.concatenate([line - half, (line + half)[::-1]]), marrow)
    strokes.line(line - half, 0.005, 0.9)
    strokes.line(line + half, 0.006, 1.0)


def spine_centre(chest: Chest, y: np.ndarray) -> np.ndarray:
    """Sideways position of the spine at a height: straight, or one bow over the chest."""
    return chest.anatomy.spine_bend * np.sin(np.pi * np.clip((y - 0.05) / 0.8, 0, 1.25))


def spine(chest: Chest) -> np.ndarray:
    """The vertebral column with its discs, (S, S) in units of attenuation."""
    view = chest.view
    from_centre = view.x - spine_centre(chest, view.y)
    column = view.step(0.033 + 0.006 * view.y - np.abs(from_centre), 0.012)
    bodies = 0.75 + 0.25 * np.tanh(3 * np.cos(2 * np.pi * view.y / 0.062 + chest.anatomy.seed % 5))
    process = np.clip(1 - np.abs(from_centre) / 0.009, 0, 1)
    return (0.125 * column + 0.04 * process) * bodies * (1 - 0.35 * chest.heart)


def vessel_layer(chest: Chest, widening: float = 0.0) -> np.ndarray:
    """Branching pulmonary vessels and the hila, 0..1, (S, S).

    Args:
        chest: whose vessels; equal seeds give equal trees.
        widening: 0 for healthy vessels; 1 doubles the width of the branches and makes them reach the periphery.
    """
    rng = np.random.default_rng([chest.anatomy.seed, 7])
    strokes = Strokes(chest.view)
    t = np.linspace(0, 1, 6)
    for sign in SIGN_OF_SIDE.values():
        angles = np.linspace(-1.25, 1.35, 9) + 0.1 * rng.standard_normal(9)
        lengths = (0.2 + 0.05 * rng.random(9)) * (1 + 0.2 * widening)
        starts = np.stack([np.full(9, 0.075), 0.43 + 0.025 * np.sin(angles) + 0.01 * (sign < 0)], axis=1)
        for generation, (width, value, children) in enumerate(((0.0085, 0.9, 2), (0.005, 0.75, 2), (0.003, 0.6, 0))):
            bends = 0.35 * rng.standard_normal(len(angles))
            turning = angles[:, None] + bends[:, None] * t  # (branches, 6)
            steps = np.stack([np.cos(turning), np.sin(turning)], axis=2) * lengths[:, None, None] / (len(t) - 1)
            lines = starts[:, None] + np.concatenate([np.zeros_like(steps[:, :1]), steps[:, :-1].cumsum(1)], axis=1)
            mirrored = lines * (sign, 1.0)
            strokes.line(mirrored[:, :4], width * (1 + widening), value)
            strokes.line(mirrored[:, 3:], 0.7 * width * (1 + widening), value * (0.8 + 0.2 * widening))
            if children:
                starts = np.concatenate([lines[:, 2], lines[:, 4]])
                spread = (0.35 + 0.2 * rng.random(2 * len(angles))) * rng.choice((-1, 1), 2 * len(angles))
                angles = np.concatenate([angles, angles]) + spread
                lengths = 0.55 * np.concatenate([lengths, lengths]) * (1 - 0.1 * generation)
    return strokes.layer(0.0025)


def _vessels(chest: Chest) -> np.ndarray:
    """Vessels, hila and the lung's fine structure, (S, S) in units of attenuation."""
    view = chest.view
    layer = 0.13 * vessel_layer(chest)
    for sign in SIGN_OF_SIDE.values():
        layer += 0.1 * view.blob(sign * 0.085, 0.44 + 0.008 * sign, 0.035, 0.06)
    return chest.anatomy.vessels * layer
