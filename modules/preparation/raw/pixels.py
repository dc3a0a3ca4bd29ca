"""One raw image, DICOM or not, as a smaller 8-bit file; imported by processes that need nothing else."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from modules.corpus.pixels import is_blank, open_image
from modules.messages import UserError
from modules.records import atomic_write

FORMATS = {"jpg": ("JPEG", {"quality": 95}), "png": ("PNG", {"compress_level": 6})}


class Finding(NamedTuple):
    """What is wrong with a raw image: its path, a sentence, and whether there is a copy all the same."""

    image: str
    sentence: str
    copied: bool


def write_copy(source: Path, image_dir: Path, resize: int, suffix: str, job: tuple[str, str]) -> Finding | None:
    """Write one copy; one that is there already is compared with what the image gives now, and stays.

    Args:
        source: raw image folder.
        image_dir: folder of the copies.
        resize: length of the shorter side.
        suffix: a key of ``FORMATS``.
        job: path of the copy and of the raw image.

    Returns:
        What is wrong with the image: that it cannot be decoded, is one grey value throughout, or is not what the copy shows.
    """
    target, image = job
    copy = image_dir / target
    try:
        pixels = shrink(open_image(source / image), resize)
    except UserError as error:
        return Finding(image, str(error), copied=False)
    kind, options = FORMATS[suffix]
    content = io.BytesIO()
    pixels.save(content, kind, **options)
    if copy.is_file():
        if copy.read_bytes() != content.getvalue():
            return Finding(image, f"{copy} is no copy of {source / image} as it is now", copied=True)
        os.utime(copy)  # as new as its image again
        return None
    with atomic_write(copy, "wb") as file:
        file.write(content.getvalue())
    blank = f"the image {source / image} is one grey value throughout"
    return Finding(image, blank, copied=True) if is_blank(pixels) else None


def shrink(image: Image.Image, shorter: int) -> Image.Image:
    """Resize so that the shorter side is ``shorter`` pixels; smaller images stay as they are."""
    if min(image.size) <= shorter:
        return image
    width, height = (round(side * (shorter / min(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
