"""Radiographs in DICOM files as 8-bit grayscale images."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modules.corpus.dicom_marks import check_mark
from modules.corpus.dicom_subjects import check_subject
from modules.corpus.dicom_values import of_interest, padding_of, refuse_outliers
from modules.corpus.jpegs import load_whole
from modules.messages import UserError, named

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_PIXELS = 1 << 26  # 8192 x 8192; the largest detectors have a third of that
MAX_RATIO = 20  # of the longer side to the shorter: resizing the shorter side to 256 would make the longer one huge
MAX_FILE = 1 << 29  # bytes, also of what a deflated file unpacks to
_SIDES = (
    "PixelAspectRatio",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
)  # what says the sides of a pixel
_SQUARE = 1.05  # of the longer side to the shorter: spacings are measured
_MOVED = 1.5  # grey values by which a window of all of them may move one: 127.5 / 255 and 127 / 255 are written for it
_DEFLATED = "1.2.840.10008.1.2.1.99"


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse an image before it is decoded, if that or resizing it would fill the memory; UserError says why."""
    if min(width, height) < 1:
        raise UserError(f"the image {path} has {width} x {height} pixels: copy it again or leave it out")
    if width * height > MAX_PIXELS or max(width, height) > MAX_RATIO * min(width, height):
        raise UserError(
            f"the image {path} has {width} x {height} pixels, expected at most {MAX_PIXELS:,} in all and one side at most "
            f"{MAX_RATIO} times the other: cut or export it smaller, or leave it out"
        )


def read_dicom(path: str | Path) -> Image.Image:
    """Decode a DICOM file nearly as a viewer shows it.

    The stored values go through the modality transform (rescale slope or table) and the value-of-interest transform
    (lookup table or window), are spread from the least to the greatest that are left over 0 to 255, where a viewer spreads the
    window, and are inverted where low values are white (MONOCHROME1). Pixels
    of the padding value, or in its range, count for nothing and become black. Values of 8 bits without a sign that none of
    these change stay as they are, stored in 8 bits or more, and so do colours of 8 bits: as in a PNG of them.

    Args:
        path: DICOM file with one frame: grey, of a palette, or in red, green and blue or what is coded as them.

    Returns:
        Image of mode ``"L"``, or ``"RGB"`` where there is colour.

    Raises:
        UserError: if there is no such file; if it is no DICOM image, is damaged anywhere that matters, is compressed in
            a way that no installed decoder knows, would fill the memory, says that it is no radiograph or of another part of the body
            than the chest, contradicts itself in what is white, has a window or single pixels beside its values, or holds several frames, other colours, or values of more bits than it says.

    Departure: MIMIC-CXR-JPG equalises the histogram besides, so its images are not these.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the image {path} does not exist: check the raw folder")
    if path.stat().st_size > MAX_FILE:
        raise UserError(f"the image {path} has more than {MAX_FILE >> 20} MB: export a single frame")
    check_mark(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard; those that matter fail below
            return _read(path)
    except UserError:
        raise
    except Exception as error:  # damage makes pydicom raise anything, also late, when a value is first asked for
        raise UserError(f"the image {path} cannot be decoded ({type(error).__name__}): copy it again") from error


def _read(path: Path) -> Image.Image:
    """:func:`read_dicom` of a file that is marked as DICOM and not too large."""
    data = _parse(path)
    check_subject(path, data)
    _check_whole(path, data)
    kind, samples = data.PhotometricInterpretation, data.SamplesPerPixel
    check_size(path, data.Columns, data.Rows)
    if (frames := int(data.get("NumberOfFrames") or 1)) > 1:
        raise UserError(f"the image {path} holds {frames} frames, expected one: export a single frame")
    _check_kind(path, data)
    try:
        if not _is_whole(data):
            raise UserError(f"the image {path} holds a JPEG that is cut off or damaged: copy it again")
        values = data.pixel_array
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the image {path} cannot be decoded ({type(error).__name__}): {_advice(data)}") from error
    if not np.isfinite(values).all():
        raise UserError(f"the image {path} holds pixels that are no numbers: export it again")
    if samples == 3:  # red, green and blue by now
        return shed_colour(Image.fromarray(values if values.dtype == np.uint8 else spread(values)))
    if kind == "PALETTE COLOR":
        return shed_colour(Image.fromarray(_of_palette(path, values, data)))
    try:
        padding = padding_of(values, data)  # (height, width)
        seen = of_interest(path, values, padding, data)
        eight = data.get("BitsStored") == 8 and values.dtype.kind == "u" and values.max() < 256
        as_shown = eight and np.allclose(seen, values, rtol=0, atol=_MOVED)
        if not as_shown:
            refuse_outliers(path, seen[~padding])
        pixels = values.astype(np.uint8) if as_shown else spread(seen, seen[~padding])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the image {path} has a lookup table or window that cannot be applied ({type(error).__name__}): export it again"
        ) from error
    pixels = 255 - pixels if kind == "MONOCHROME1" else pixels
    return Image.fromarray(np.where(padding, np.uint8(0), pixels))


def _check_whole(path: Path, data: Dataset) -> None:
    """Refuse pixels of which the file does not say what is needed to read them, or which are not square."""
    if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UserError(f"the image {path} holds no pixels: leave it out")
    needed = ["Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"]
    needed += ["BitsStored", "PixelRepresentation"] if "PixelData" in data else []
    lacking = [name for name in needed if data.get(name) in (None, "")]
    if lacking:
        raise UserError(
            f"the image {path} does not say its {' and '.join(lacking)}, without which its pixels are not known: export it again"
        )
    for name in _SIDES:
        sides = data.get(name)
        lengths = [float(side) for side in sides if side] if isinstance(sides, MutableSequence) else []
        if len(lengths) == 2 and min(lengths) > 0 and max(lengths) > _SQUARE * min(lengths):
            said = f"{name} {sides[0]}:{sides[1]}"
            raise UserError(f"the image {path} has pixels that are not square ({said}): export it with square ones")


def _is_whole(data: Dataset) -> bool:
    """Whether all data of a JPEG inside are there, as far as that can be known; others have decoders that say so."""
    from pydicom.encaps import get_frame
    from pydicom.uid import JPEGBaseline8Bit

    if data.file_meta.TransferSyntaxUID != JPEGBaseline8Bit:
        return True
    content = get_frame(data.PixelData, 0, number_of_frames=1)
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return load_whole(image, content)


def _check_kind(path: Path, data: Dataset) -> None:
    """Refuse pixels that pydicom would take for others: of another colour space, shifted, or of more bits than are said."""
    native, kind = not data.file_meta.TransferSyntaxUID.is_compressed, data.PhotometricInterpretation
    colours = ("RGB", "YBR_FULL", "YBR_FULL_422", *(() if native else ("YBR_ICT", "YBR_RCT")))
    if kind not in (("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") if data.SamplesPerPixel == 1 else colours):
        raise UserError(
            f"the image {path} holds pixels of the kind {named(kind)}, expected grey or RGB: export it in grey"
        )
    if kind == "MONOCHROME2" and data.get("PresentationLUTShape") == "INVERSE":
        raise UserError(
            f"the image {path} shows high values white (MONOCHROME2) and inverts them (PresentationLUTShape INVERSE), which "
            "contradict each other: export it again"
        )
    if data.SamplesPerPixel == 3 and data.get("PixelRepresentation"):
        raise UserError(f"the image {path} holds colours with a sign: export it in grey")
    stored = data.get("BitsStored")  # none beside pixels of fractions
    if stored and data.get("HighBit", 0) >= stored:
        raise UserError(
            f"the image {path} says that its {stored} bits end at bit {data.HighBit}, expected {stored - 1}: export it again"
        )
    overlaid = any(0x6000 <= tag >> 16 < 0x6100 for tag in map(int, data.keys()))  # its bits may be above
    plain = native and not overlaid and not data.get("PixelRepresentation")
    if stored and plain and stored < data.BitsAllocated in (8, 16, 32):
        order = "<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">"
        whole = len(data.PixelData) // (data.BitsAllocated // 8)
        values = np.frombuffer(data.PixelData, f"{order}u{data.BitsAllocated // 8}", count=whole)
        if values.size and values.max() >> stored:
            raise UserError(
                f"the image {path} holds the value {values.max()}, expected less than {1 << stored} in its {stored} bits: "
                "export it again"
            )


def _of_palette(path: Path, values: np.ndarray, data: Dataset) -> np.ndarray:
    """Colours ``(height, width, 3)`` uint8 of indices."""
    from pydicom.pixels import apply_color_lut

    try:
        colours = apply_color_lut(values, data)
    except Exception as error:
        raise UserError(
            f"the image {path} has a palette that cannot be applied ({type(error).__name__}): export it in grey"
        ) from error
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours


def _parse(path: Path) -> Dataset:
    """The elements of a file; one that is deflated is unpacked here, because pydicom would do it whatever the size."""
    import pydicom  # on demand: only DICOM needs it
    from pydicom.filereader import read_dataset, read_file_meta_info

    meta = read_file_meta_info(path)
    if meta.TransferSyntaxUID != _DEFLATED:
        return pydicom.dcmread(path)
    packed = path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]  # behind preamble, mark and group length
    content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise UserError(f"the image {path} unpacks to more than {MAX_FILE >> 20} MB: export it without compression")
    elements = read_dataset(io.BytesIO(content), is_implicit_VR=False, is_little_endian=True)
    return pydicom.FileDataset(path, elements, file_meta=meta, is_implicit_VR=False, is_little_endian=True)


def _advice(data: Dataset) -> str:
    """What to do about pixels that cannot be decoded."""
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(data.file_meta.TransferSyntaxUID)
    except (AttributeError, NotImplementedError):  # none is said, or a film's
        return "export it without compression"
    others = "install pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg for its compression, or export it without"
    if decoder.available_plugins == ("pillow",):  # which knows no JPEG of 12 bits
        return f"copy it again; if that does not help, {others}"
    return "copy it again" if decoder.is_available else others


def shed_colour(image: Image.Image) -> Image.Image:
    """A picture in red, green and blue; in grey if the three are equal everywhere."""
    red, *others = (channel.tobytes() for channel in image.split())
    return image.getchannel(0) if all(channel == red for channel in others) else image


def spread(values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Spread values of any range over 0 to 255, uint8 of the same shape; equal values become 0.

    Args:
        values: of any shape and type.
        among: those whose least and greatest become 0 and 255; all if absent.

    Raises:
        FloatingPointError: if they are no numbers.
    """
    among = values if among is None else among
    low, high = float(among.min()), float(among.max())
    if not np.isfinite((low, high)).all():
        raise FloatingPointError("values that are no numbers")
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    exact = values - low if values.dtype.itemsize > 2 else values.astype(np.float32) - low
    return (exact * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
