"""One study's image and the masks of its signs, from its plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modules.labels import POSITIVE
from modules.messages import UserError
from modules.preparation.synthetic import signs
from modules.preparation.synthetic.anatomy import Anatomy, Chest, View, breathe, lower_diaphragm, sample_anatomy
from modules.preparation.synthetic.devices import draw_device
from modules.preparation.synthetic.plan import (
    AORTA,
    ATELECTASIS,
    CONSOLIDATION,
    DEVICES,
    DIAPHRAGM,
    EDEMA,
    EFFUSION,
    FRACTURE,
    HEART,
    LESION,
    MEDIASTINUM,
    OPACITY,
    PLEURA,
    PNEUMONIA,
    PNEUMOTHORAX,
    SPINE,
    VOLUME,
    Sign,
    StudyPlan,
)
from modules.preparation.synthetic.radiograph import Radiograph, spine_centre
from modules.preparation.synthetic.readers import Reader

_OVERLAYS = {
    OPACITY: signs.draw_opacity,
    LESION: signs.draw_lesion,
    EDEMA: signs.draw_edema,
    CONSOLIDATION: signs.draw_consolidation,
    PNEUMONIA: signs.draw_pneumonia,
    ATELECTASIS: signs.draw_atelectasis,
    PNEUMOTHORAX: signs.draw_pneumothorax,
    EFFUSION: signs.draw_effusion,
    PLEURA: signs.draw_pleura,
    FRACTURE: signs.draw_fracture,
    DEVICES: draw_device,
}


def _is_shape(sign: Sign) -> bool:
    """Whether the sign is the form of an organ rather than something drawn over it."""
    return sign.condition not in _OVERLAYS and sign.kind not in ("calcified", "degenerative")


def draw_study(plan: StudyPlan, image_size: int, difficulty: float = 1.0) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Draw a study.

    Args:
        plan: what it shows.
        image_size: pixels of the image's side.
        difficulty: 1 as designed; larger makes the signs fainter and smaller and the noise stronger.

    Returns:
        The image (S, S) uint8, and for each drawn condition's index the mask (S, S) bool of what it changed, as far as
        the reader's collimation shows it.

    Raises:
        UserError: if the difficulty is not positive or the image is too small to show anything.
    """
    if not difficulty > 0 or image_size < 32:
        raise UserError(
            f"cannot draw {image_size} pixels at difficulty {difficulty}: give at least 32 pixels and a difficulty > 0"
        )
    patient = sample_anatomy(np.random.default_rng([plan.seed, 2, plan.patient]))
    visit = np.random.default_rng([plan.seed, 3, plan.index])
    healthy = breathe(patient, visit)
    shift = 0.012 * np.clip(visit.standard_normal(2), -2, 2)
    angle, scale = 0.02 * visit.standard_normal(), 1 + 0.025 * visit.standard_normal()
    view = View(image_size, (float(shift[0]), float(shift[1])), float(angle), float(scale))
    shaped = healthy
    for sign in plan.signs:
        if _is_shape(sign):
            shaped = _reshape(shaped, sign, _strength(sign, difficulty)[1])
    film = Radiograph(Chest(shaped, view))
    plain = film.chest if shaped == healthy else Chest(healthy, view)
    masks: dict[int, np.ndarray] = {}
    for number, sign in enumerate(plan.signs):
        if _is_shape(sign):
            mask = _organ(film.chest, sign) | _organ(plain, sign)
        else:
            contrast, size = _strength(sign, difficulty)
            own = np.random.default_rng([plan.seed, 4, plan.index, sign.condition, number])
            draw = _OVERLAYS.get(sign.condition) or (
                signs.draw_calcified_knob if sign.condition == AORTA else signs.draw_degenerative_spine
            )
            mask = draw(film, sign, contrast, size, own)
        masks[sign.condition] = masks.get(sign.condition, False) | mask
    pixels = film.expose(visit, noise=difficulty**0.5)
    if plan.reader is None:
        return pixels, masks
    pixels, seen = Reader(plan.seed, plan.reader).develop(pixels)
    return pixels, {condition: mask & seen for condition, mask in masks.items()}


def _strength(sign: Sign, difficulty: float) -> tuple[float, float]:
    """Contrast and size of a sign; a sign in doubt is fainter than the mildest clear one."""
    clear = sign.state == POSITIVE
    contrast = 0.65 + 0.35 * sign.severity if clear else 0.4
    size = 0.7 + 0.6 * sign.severity if clear else 0.63
    return contrast * difficulty**-0.7, size * difficulty**-0.25


def _reshape(anatomy: Anatomy, sign: Sign, size: float) -> Anatomy:
    """The anatomy with an organ out of shape."""
    much = max(size - 0.45, 0.1)  # 0.15 in doubt, 0.3 mild .. 0.85 severe
    if sign.condition == MEDIASTINUM:
        return replace(anatomy, mediastinum=anatomy.mediastinum + 0.06 * much)
    if sign.condition == HEART:
        return replace(anatomy, heart=anatomy.heart + 0.02 + 0.17 * much)
    if sign.condition == AORTA:
        return replace(anatomy, knob=anatomy.knob + 0.03 * much, unfolding=anatomy.unfolding + 0.06 * much)
    if sign.condition == SPINE:
        return replace(anatomy, spine_bend=(0.025 + 0.07 * much) * (1 if sign.side == "left" else -1))
    if sign.condition == DIAPHRAGM:
        index = int(sign.side == "left")
        domes, flatness = list(anatomy.domes), list(anatomy.flatness)
        if sign.kind == "elevated":
            domes[index] -= 0.02 + 0.1 * much
        else:
            domes[index] += 0.02 + 0.04 * much
            flatness[index] = 1.0
        return replace(anatomy, domes=(domes[0], domes[1]), flatness=(flatness[0], flatness[1]))
    assert sign.condition == VOLUME
    if sign.kind == "low":
        return replace(lower_diaphragm(anatomy, -0.025 - 0.1 * much), aeration=anatomy.aeration - 0.08)
    return replace(
        lower_diaphragm(anatomy, 0.022 + 0.06 * much),
        flatness=(0.85, 0.85),
        heart=anatomy.heart * 0.9,
        aeration=anatomy.aeration + 0.1 * much,
    )


def _organ(chest: Chest, sign: Sign) -> np.ndarray:
    """Where the organ is that a shape sign changes, (S, S) bool."""
    view = chest.view
    if sign.condition == MEDIASTINUM:
        return (chest.mediastinum > 0) & (view.y < 0.62)
    if sign.condition == HEART:
        return chest.heart > 0
    if sign.condition == AORTA:
        return (chest.mediastinum > 0) & (view.x > 0) & (view.y > 0.25) & (view.y < 0.72)
    if sign.condition == SPINE:
        return np.abs(view.x - spine_centre(chest, view.y)) < 0.052
    if sign.condition == DIAPHRAGM:
        u = view.x if sign.side == "left" else -view.x
        near = (view.y > min(chest.anatomy.domes) - 0.2) & (view.y < 0.95)
        return near & (u > 0) & (np.abs(view.y - chest.dome(sign.side, u)) < 0.04)
    return (chest.lung > 0) | (chest.heart > 0)
