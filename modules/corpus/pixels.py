"""From an image file to its 8-bit pixels; imported by processes that need nothing else."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from modules.corpus.dicom import MAX_PIXELS, check_size, read_dicom, shed_colour, spread
from modules.corpus.dicom_marks import is_bare, is_dicom, refuse_no_film
from modules.corpus.dicom_values import refuse_outliers
from modules.corpus.jpegs import load_whole
from modules.corpus.spelling import JPEG
from modules.messages import UserError

FORMATS = ("PNG", "JPEG")
TWO_DEPTHS = (
    "{count} images hold 16 bits, which are spread over the whole range, and others 8, which are not: export all of them alike, or "
    "a model may see the kind of file"
)
_PNG = b"\x89PNG\r\n\x1a\n"
_ADAM7 = (  # first column and row of the seven passes of an interlaced PNG, and the steps between two of them
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip

# Pillow's own guard, for what it decodes inside DICOM files; open_image looks at the size before.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # an error from twice that on


def open_image(path: Path) -> Image.Image:
    """Decode a PNG, JPEG or DICOM file: the one reader of originals, of copies and of single films.

    More than 8 bits are spread from the least to the greatest value over 0 to 255, a picture that a camera turned is
    turned back, transparency is ignored, and colours that are all grey become grey.

    Args:
        path: the file; its content decides what it is, except that ``.dcm`` is always DICOM.

    Returns:
        8-bit image of mode ``"L"``, or ``"RGB"`` where there is colour.

    Raises:
        UserError: if there is no such file; if it is none of these, damaged, cut off though it ends well, or so large or so
            narrow that decoding it would fill the memory.
    """
    if not path.is_file():
        raise UserError(f"the image {path} does not exist: check --image_dir and the image_path of the annotation")
    if is_dicom(path):
        return read_dicom(path)
    try:
        with (
            warnings.catch_warnings(record=True, action="always") as doubts,
            Image.open(path, formats=FORMATS) as image,  # never all of Pillow's: EPS would start Ghostscript
        ):
            check_size(path, *image.size)
            frames = getattr(image, "n_frames", 1) if image.format == "PNG" else 1  # a JPEG's others are its previews
            if frames > 1:
                raise UserError(f"the image {path} holds {frames} frames, expected one: export a single frame")
            # the arguments of a decoder alone: its extents may hold any number
            if image.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in image.tile):
                raise UserError(
                    f"the image {path} holds 16 bits of colour, which are not read whole: export it in grey"
                )
            if image.format == "PNG":
                image.load()
                _check_colours(path, image)
                whole = not _rows_lack(path, image)
            else:
                whole = load_whole(image, path.read_bytes())
            if not whole:
                raise UserError(
                    f"the image {path} cannot be decoded whole, it is cut off or damaged: copy it again or leave it out"
                )
            return _eight_bits(path, _turned(path, image, doubts))
    except UserError:
        raise
    except UnidentifiedImageError:
        refuse_no_film(path)
        raise UserError(f"the image {path} is not a PNG, JPEG or DICOM: {_advice(path)}, or leave it out") from None
    except Image.DecompressionBombError:
        raise UserError(f"the image {path} has more than {MAX_PIXELS:,} pixels: export it smaller") from None
    except Exception as error:  # damage makes Pillow raise whatever the damaged place leads to
        what = "is cut off" if "truncated" in str(error) or isinstance(error, EOFError) else "is damaged"
        raise UserError(f"the image {path} cannot be decoded, it {what}: copy it again or leave it out") from error


def _advice(path: Path) -> str:
    """What to do about a file that is none of the kinds that are read."""
    with open(path, "rb") as file:
        start = file.read(12)
    if start.startswith(b"\x1f\x8b"):
        return "unpack it, it is a gzip archive"
    return (
        "it begins as DICOM does without its preamble, export it again as a DICOM file"
        if is_bare(start)
        else "export it as one"
    )


def is_blank(image: Image.Image) -> bool:
    """Whether a decoded image is one grey value, or one colour, throughout: there is nothing to see on it."""
    return all(low == high for low, high in map(Image.Image.getextrema, image.split()))


def of_two_depths(paths: Iterable[Path]) -> list[Path]:
    """The files that hold 16 bits, if others hold 8; DICOM files, which say how they are to be shown, do not count.

    16 bits are spread over the whole range and 8 are not (:func:`open_image`), so the same film would look different.
    """
    deep, others = [], False
    for path in paths:
        if path.suffix.lower() in JPEG:
            others = True  # archives hold hundreds of thousands, not to be opened for this
            continue
        with open(path, "rb") as file:
            head = file.read(132)
        if head.startswith(_PNG) and head[24] == 16:
            deep.append(path)
        elif head[128:] != b"DICM" and path.suffix.lower() != ".dcm":
            others = True
    return deep if others else []


def _turned(path: Path, image: Image.Image, doubts: list[warnings.WarningMessage]) -> Image.Image:
    """The picture as it was before a camera turned it; UserError where the note of that cannot be read."""
    turn = image.getexif().get(0x0112)
    torn = any("EXIF" in str(doubt.message) or "Tag data" in str(doubt.message) for doubt in doubts)
    if turn not in (None, *range(9)) or (torn and turn is None):
        raise UserError(
            f"the image {path} has a damaged note (EXIF) of how it was turned: export it upright, or leave it out"
        )
    return ImageOps.exif_transpose(image)


def _check_colours(path: Path, image: Image.Image) -> None:
    """Refuse pixels of colours that a palette lacks, which Pillow makes up without a word."""
    if image.mode == "P" and int(np.asarray(image).max()) >= len(image.getpalette() or ()) // 3:
        raise UserError(f"the image {path} holds colours that its palette lacks: export it again")


def _rows_lack(path: Path, image: Image.Image) -> bool:
    """Whether the packed rows of a PNG end early, of which Pillow leaves the rest black."""
    end = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    if end.any() and "interlace" not in image.info:
        return False
    content = path.read_bytes()
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    bits *= {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [
        (-(-(width - x) // right), -(-(height - y) // down))
        for x, y, right, down in (_ADAM7 if interlaced else ((0, 0, 1, 1),))
    ]
    lacking = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in passes if columns > 0 and rows > 0)
    packer, at = zlib.decompressobj(), 8
    while lacking > 0 and at < len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        packed = content[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        while packed and lacking > 0:
            lacking -= len(packer.decompress(packed, 1 << 20))
            packed = packer.unconsumed_tail
        at += 12 + size
    return lacking > 0


def _eight_bits(path: Path, image: Image.Image) -> Image.Image:
    """Any mode as grey or colour with 8 bits a channel."""
    if image.mode[0] in "IF":
        values = np.asarray(image)
        refuse_outliers(path, values)
        return Image.fromarray(spread(values))
    if image.mode in ("L", "1"):
        return image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return shed_colour(image.convert("RGB"))
