"""Radiographs in DICOM files as 8-bit grayscale images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pydicom import Dataset

_DAMAGE = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError)


def read_dicom(path: str | Path) -> Image.Image:
    """Decode a DICOM file the way a viewer shows it.

    The stored values go through the modality transform (rescale slope or table) and the value-of-interest transform
    (lookup table or window), are spread over 0 to 255, and are inverted where low values are white (MONOCHROME1).

    Args:
        path: DICOM file with one frame, grey, or in red, green and blue, which become grey.

    Returns:
        Image of mode ``"L"``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no DICOM image, is compressed in a way that no installed decoder knows, or holds several
            frames or other colours.

    Departure: MIMIC-CXR-JPG equalises the histogram besides, so its images are not these.
    """
    import pydicom  # on demand: only raw DICOM needs it

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the image {path} does not exist: check the raw folder")
    try:
        data = pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, *_DAMAGE) as error:
        raise ValueError(f"the image {path} cannot be decoded ({_first_line(error)}): copy it again") from error
    try:
        values = data.pixel_array
    except (RuntimeError, *_DAMAGE) as error:
        raise ValueError(f"the image {path} cannot be decoded ({_first_line(error)}): {_advice(data)}") from error
    kind = data.PhotometricInterpretation
    if values.ndim != (2 if data.SamplesPerPixel == 1 else 3):
        raise ValueError(f"the image {path} holds {values.shape[0]} frames, expected one: export a single frame")
    if data.SamplesPerPixel == 3:  # red, green and blue by now
        return Image.fromarray(spread(values)).convert("L")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"the image {path} holds pixels of the kind {kind}, expected grey or RGB: export it in grey")
    try:
        pixels = spread(_of_interest(values, data))  # (height, width)
    except (RuntimeError, ArithmeticError, *_DAMAGE) as error:
        raise ValueError(
            f"the image {path} has a lookup table or window that cannot be applied ({_first_line(error)}): export it again"
        ) from error
    return Image.fromarray(255 - pixels if kind == "MONOCHROME1" else pixels)


def _of_interest(values: np.ndarray, data: Dataset) -> np.ndarray:
    """Stored values after the modality transform and the first value-of-interest table, or else the first window."""
    from pydicom.pixels import apply_modality_lut, apply_windowing

    values = apply_modality_lut(values, data)
    tables = [item for item in data.get("VOILUTSequence") or () if item.get("LUTDescriptor") and item.get("LUTData")]
    if not tables:
        has_window = None not in (data.get("WindowCenter"), data.get("WindowWidth"))
        return apply_windowing(values, data) if has_window else values
    # Not pydicom's apply_voi: it counts in the bits of an entry, so that a table of more than 256 entries of 8 bits wraps.
    (count, first, _), entries = tables[0].LUTDescriptor, tables[0].LUTData
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, "u1" if len(entries) == count else "<u2")
    table = np.asarray(entries)
    return table[(np.rint(values) - first).clip(0, len(table) - 1).astype(np.int64)]


def _advice(data: Dataset) -> str:
    """What to do about pixels that cannot be decoded."""
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(data.file_meta.TransferSyntaxUID)
    except (AttributeError, NotImplementedError):  # none is said, or a film's
        return "export it without compression"
    if decoder.is_available:
        return "copy it again"
    return "install pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg for its compression, or export it without"


def spread(values: np.ndarray) -> np.ndarray:
    """Spread values of any range over 0 to 255, uint8 of the same shape; equal values become 0."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return ((values.astype(np.float32) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
