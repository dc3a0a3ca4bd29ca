"""One raw image, DICOM or not, as a smaller 8-bit grayscale file; imported by processes that need nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from modules.preparation.raw.dicom import read_dicom, spread
from modules.records import atomic_write

FORMATS = {"jpg": ("JPEG", {"quality": 95}), "png": ("PNG", {"compress_level": 6})}
Failure = tuple[str, str]  # raw path, what is wrong


def write_copy(source: Path, image_dir: Path, resize: int, suffix: str, job: tuple[str, str]) -> Failure | None:
    """Write one copy.

    Args:
        source: raw image folder.
        image_dir: folder of the copies.
        resize: length of the shorter side.
        suffix: a key of ``FORMATS``.
        job: path of the copy and of the raw image.

    Returns:
        Raw path and what is wrong with it, if it cannot be decoded.
    """
    target, image = job
    try:
        pixels = shrink(open_grayscale(source / image), resize)
    except (ValueError, FileNotFoundError) as error:
        return image, str(error)
    kind, options = FORMATS[suffix]
    with atomic_write(image_dir / target, "wb") as file:
        pixels.save(file, kind, **options)
    return None


def open_grayscale(path: Path) -> Image.Image:
    """Decode an image or DICOM file as 8-bit grayscale; 16-bit images are spread over their range.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be decoded.
    """
    if path.suffix.lower() in (".dcm", ".dicom"):
        return read_dicom(path)
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":
                return Image.fromarray(spread(np.asarray(image)))
            return image.convert("L")
    except FileNotFoundError:
        raise FileNotFoundError(f"the image {path} does not exist: check the raw folder") from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the image {path} cannot be decoded ({error}): copy it again") from error


def shrink(image: Image.Image, shorter: int) -> Image.Image:
    """Resize so that the shorter side is ``shorter`` pixels; smaller images stay as they are."""
    if min(image.size) <= shorter:
        return image
    scale = shorter / min(image.size)
    return image.resize(tuple(round(side * scale) for side in image.size), Image.Resampling.BILINEAR)
