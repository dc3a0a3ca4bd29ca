"""From an image file to its 8-bit pixels; imported by processes that need nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from modules.corpus.dicom import MAX_PIXELS, check_size, is_dicom, read_dicom, shed_colour, spread
from modules.messages import UserError

FORMATS = ("PNG", "JPEG")

# Pillow's own guard, for what it decodes inside DICOM files; open_image looks at the size before.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # an error from twice that on
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(path: Path) -> Image.Image:
    """Decode a PNG, JPEG or DICOM file: the one reader of originals, of copies and of single films.

    More than 8 bits are spread from the least to the greatest value over 0 to 255, a picture that a camera turned is
    turned back, transparency is ignored, and colours that are all grey become grey.

    Args:
        path: the file; its content decides what it is, except that ``.dcm`` is always DICOM.

    Returns:
        8-bit image of mode ``"L"``, or ``"RGB"`` where there is colour.

    Raises:
        UserError: if there is no such file; if it is none of these, damaged, or so large or so narrow that decoding it
            would fill the memory.
    """
    if not path.is_file():
        raise UserError(f"the image {path} does not exist: check --image_dir and the image_path of the annotation")
    if is_dicom(path):
        return read_dicom(path)
    try:
        with Image.open(path, formats=FORMATS) as image:  # never all of Pillow's: EPS would start Ghostscript
            check_size(path, *image.size)
            frames = getattr(image, "n_frames", 1) if image.format == "PNG" else 1  # a JPEG's others are its previews
            if frames > 1:
                raise UserError(f"the image {path} holds {frames} frames, expected one: export a single frame")
            # the arguments of a decoder alone: its extents may hold any number
            if image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in image.tile):
                raise UserError(
                    f"the image {path} holds 16 bits of colour, which are not read whole: export it in grey"
                )
            return _eight_bits(ImageOps.exif_transpose(image))
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(
            f"the image {path} is not a PNG, JPEG or DICOM: export it as one, or remove its study"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(f"the image {path} has more than {MAX_PIXELS:,} pixels: export it smaller") from None
    except Exception as error:  # damage makes Pillow raise whatever the damaged place leads to
        what = "is cut off" if "truncated" in str(error) or isinstance(error, EOFError) else "is damaged"
        raise UserError(f"the image {path} cannot be decoded, it {what}: copy it again or remove its study") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Any mode as grey or colour with 8 bits a channel."""
    if image.mode[0] in "IF":
        return Image.fromarray(spread(np.asarray(image)))
    if image.mode in ("L", "1"):
        return image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return shed_colour(image.convert("RGB"))
