"""A sheet of drawn examples: one radiograph per condition, named, its sign outlined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from modules.labels import CHEXPERT_CONDITIONS, POSITIVE
from modules.preparation.synthetic.plan import (
    ATELECTASIS,
    CONSOLIDATION,
    DEVICES,
    EDEMA,
    EFFUSION,
    FRACTURE,
    HEART,
    LESION,
    MEDIASTINUM,
    NO_FINDING,
    OPACITY,
    PLEURA,
    PNEUMONIA,
    PNEUMOTHORAX,
    Sign,
    StudyPlan,
)
from modules.preparation.synthetic.study import draw_study
from modules.records import atomic_write

_COLUMNS = 7
_CAPTION = 18  # pixels
_EXAMPLES = (
    Sign(MEDIASTINUM, POSITIVE),
    Sign(HEART, POSITIVE),
    Sign(OPACITY, POSITIVE, "right", "lower"),
    Sign(LESION, POSITIVE, "left", "mid"),
    Sign(EDEMA, POSITIVE, "bilateral"),
    Sign(CONSOLIDATION, POSITIVE, "right", "mid"),
    Sign(PNEUMONIA, POSITIVE, "left", "lower"),
    Sign(ATELECTASIS, POSITIVE, "bilateral", "lower"),
    Sign(PNEUMOTHORAX, POSITIVE, "right", "upper"),
    Sign(EFFUSION, POSITIVE, "left"),
    Sign(PLEURA, POSITIVE, "bilateral", "upper", kind="thickening"),
    Sign(FRACTURE, POSITIVE, "left", "mid"),
    Sign(DEVICES, POSITIVE, "left", kind="pacemaker"),
    Sign(NO_FINDING, POSITIVE),
)


def draw_contact_sheet(path: Path, seed: int = 456789, image_size: int = 160) -> None:
    """Draw 14 examples in 2 rows of 7, each with its condition's name and the outline of its sign.

    Args:
        path: JPEG file to write; its folder is made if absent.
        seed: of the patients.
        image_size: pixels of each radiograph's side.
    """
    rows = len(_EXAMPLES) // _COLUMNS
    sheet = Image.new("RGB", (_COLUMNS * image_size, rows * (image_size + _CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=image_size / 16)
    for place, example in enumerate(_EXAMPLES):
        left, top = place % _COLUMNS * image_size, place // _COLUMNS * (image_size + _CAPTION)
        signs = () if example.condition == NO_FINDING else (example,)
        pixels, masks = draw_study(StudyPlan(seed, place, place, "train", signs), image_size)
        sheet.paste(Image.fromarray(_outlined(pixels, masks)), (left, top + _CAPTION))
        middle = (left + image_size // 2, top + _CAPTION // 2)
        pen.text(middle, CHEXPERT_CONDITIONS[example.condition], "black", font, anchor="mm")
    with atomic_write(path, "wb") as file:
        sheet.save(file, "jpeg", quality=85)


def _outlined(pixels: np.ndarray, masks: dict[int, np.ndarray]) -> np.ndarray:
    """The image (S, S) in colour with the masks' edges tinted, (S, S, 3)."""
    colour = np.repeat(pixels[:, :, None], 3, axis=2).astype(np.float32)
    for mask in masks.values():
        blurred = Image.fromarray(255 * mask.astype(np.uint8)).filter(ImageFilter.GaussianBlur(len(pixels) / 100))
        smooth = np.asarray(blurred) > 80
        inside = smooth.copy()
        inside[1:-1, 1:-1] &= smooth[:-2, 1:-1] & smooth[2:, 1:-1] & smooth[1:-1, :-2] & smooth[1:-1, 2:]
        edge = smooth & ~inside
        colour[edge] = 0.5 * colour[edge] + 0.5 * np.array((255, 190, 0))
    return colour.astype(np.uint8)
