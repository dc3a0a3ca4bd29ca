"""Radiographs in DICOM files as 8-bit grayscale images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def read_dicom(path: str | Path) -> Image.Image:
    """Decode a DICOM file the way a viewer shows it.

    The stored values go through the modality transform (rescale slope or table) and the value-of-interest transform
    (lookup table or window), are spread over 0 to 255, and are inverted where low values are white (MONOCHROME1).

    Args:
        path: DICOM file with one frame, one or three samples a pixel.

    Returns:
        Image of mode ``"L"``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no DICOM image, is compressed in a way that no installed decoder knows, or holds several
            frames.

    Departure: MIMIC-CXR-JPG equalises the histogram besides, so its images are not these.
    """
    import pydicom  # on demand: only raw DICOM needs it
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the image {path} does not exist: check the raw folder")
    try:
        data = pydicom.dcmread(path)
        values = data.pixel_array
    except (pydicom.errors.InvalidDicomError, AttributeError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"the image {path} cannot be decoded ({_first_line(error)}): copy it again") from error
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"the image {path} cannot be decoded ({_first_line(error)}): install pylibjpeg and pylibjpeg-libjpeg for its "
            "compression"
        ) from error
    if values.ndim == 3 and values.shape[-1] == 3 and data.get("SamplesPerPixel") == 3:
        return Image.fromarray(spread(values)).convert("L")
    if values.ndim != 2:
        raise ValueError(f"the image {path} holds {values.shape[0]} frames, expected one: export a single frame")
    values = apply_voi_lut(apply_modality_lut(values, data), data)
    pixels = spread(values)  # (height, width)
    return Image.fromarray(255 - pixels if data.get("PhotometricInterpretation") == "MONOCHROME1" else pixels)


def spread(values: np.ndarray) -> np.ndarray:
    """Spread values of any range over 0 to 255, uint8 of the same shape; equal values become 0."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return ((values.astype(np.float32) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
