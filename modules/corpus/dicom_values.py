"""What the values in a DICOM file stand for: padding, or what is to be seen after its tables or its window."""

from __future__ import annotations

from collections.abc import MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.messages import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_OUTSIDE = 0.9  # of a film's pixels that may lie outside of its window: a small child on a large detector fills a seventh of it
LEAST_RANGE = (
    1 / 8
)  # of the range of nine in ten of its values that the window has to span, or they become nearly black and white
MOST_BEYOND = 8  # times the range of nine in ten of a film's values that all of them may span
_SAMPLED = 100_000  # pixels of which this is counted
_STEEP = 1.5  # widths from the centre of a sigmoid within which it still rises


def padding_of(values: np.ndarray, data: Dataset) -> np.ndarray:
    """Where pixels ``(height, width)`` hold the padding value or lie in its range; nowhere, if all of them would."""
    first = data.get("PixelPaddingValue")
    if first is None:
        return np.zeros(values.shape, dtype=bool)
    last = data.get("PixelPaddingRangeLimit", first)
    bounds = np.array([first, first if last is None else last], dtype=np.int64)
    if values.dtype.kind == "i":  # written without a sign where the pixels have one
        bounds = np.where(bounds > np.iinfo(values.dtype).max, bounds - (1 << 8 * values.dtype.itemsize), bounds)
    elif values.dtype.kind == "u":  # or with one where they have none
        bounds = np.where(bounds < 0, bounds + (1 << 8 * values.dtype.itemsize), bounds)
    found = (values >= bounds.min()) & (values <= bounds.max())
    return np.zeros_like(found) if found.all() else found


def of_interest(path: Path, values: np.ndarray, padding: np.ndarray, data: Dataset) -> np.ndarray:
    """Stored values after the modality transform and the first value-of-interest table, or else the first window.

    Args:
        path: of the file, for messages.
        values: as they are stored, (height, width).
        padding: where they count for nothing, of the same shape.
        data: the elements of the file.

    Raises:
        UserError: if the window is not that of the film.
    """
    from pydicom.pixels import apply_modality_lut, apply_windowing

    for names in (("RescaleSlope", "RescaleIntercept"), ("VOILUTFunction",)):
        if all(
            data.get(name) in (None, "") for name in names
        ):  # also written without a value, which pydicom would read
            for name in names:
                data.pop(name, None)
    values = apply_modality_lut(values, data)
    tables = [item for item in data.get("VOILUTSequence") or () if item.get("LUTDescriptor") and item.get("LUTData")]
    if not tables:
        if None in (data.get("WindowCenter"), data.get("WindowWidth")):
            return values
        _refuse_window(path, values[~padding], data)
        return apply_windowing(values, data)
    # Not pydicom's apply_voi: it counts in the bits of an entry, so that a table of more than 256 entries of 8 bits wraps.
    (count, first, _), entries = tables[0].LUTDescriptor, tables[0].LUTData
    count = count or 1 << 16  # which 16 bits cannot hold
    if isinstance(entries, bytes):
        order = "<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">"
        if len(entries) in (count, count + count % 2):  # of one byte each, filled up to an even number
            entries = np.frombuffer(entries, "u1")[:count]
        else:
            entries = np.frombuffer(entries, f"{order}u2")
    table = np.asarray(entries)
    if len(table) != count:
        raise ValueError(f"{len(table)} entries for {count}")
    if first > np.iinfo(np.int16).max and values.min() < 0:  # written without a sign where the values have one
        first -= 1 << 16
    return table[(np.rint(values) - first).clip(0, len(table) - 1).astype(np.int64)]


def _refuse_window(path: Path, values: np.ndarray, data: Dataset) -> None:
    """Refuse a window of other values than the film's, such as that of 8 bits, or of a CT, on a film of 12.

    Pixels of the least and of the greatest value count for nothing.
    """
    center, width = (
        float(value[0] if isinstance(value, MutableSequence) else value)
        for value in (data.WindowCenter, data.WindowWidth)
    )
    film = _between(values)
    if not film.size or not width > 0:  # nothing to see, or what cannot be applied
        return
    reach = width * (_STEEP if data.get("VOILUTFunction") == "SIGMOID" else 0.5)
    outside = float((abs(film - center) > reach).mean())
    low, high = np.percentile(film, (5, 95))
    spanned = min(high, center + reach) - max(low, center - reach)
    if outside > MOST_OUTSIDE or spanned < LEAST_RANGE * (high - low):
        raise UserError(
            f"the image {path} has the window {center:g} / {width:g} (centre / width), which is not that of its values: {100 * outside:.0f} in 100 "
            f"pixels lie outside, nine in ten have values from {low:.0f} to {high:.0f}, and the film would be nearly black and white: take "
            "WindowCenter and WindowWidth out of the file, or export it again"
        )


def refuse_outliers(path: Path, values: np.ndarray) -> None:
    """Refuse a film beside whose brightest or darkest pixels, those of a mark or a border, all others would be one grey.

    Args:
        path: of the file, for messages.
        values: of its pixels, which are to be spread from the least to the greatest.

    Raises:
        UserError: naming the values.
    """
    film = _between(values)
    if not film.size:
        return
    low, high = np.percentile(film, (5, 95))
    if float(values.max()) - float(values.min()) > MOST_BEYOND * (high - low) > 0:
        raise UserError(
            f"the image {path} has pixels far beyond all others (a burnt-in mark, a border, a dead pixel): its values go from "
            f"{values.min():g} to {values.max():g}, nine in ten of those between from {low:.0f} to {high:.0f}, and would be nearly one grey: export it with 8 bits"
        )


def _between(values: np.ndarray) -> np.ndarray:
    """A sample of the pixels that have neither the least nor the greatest value, as the borders of a collimated film have."""
    film = values[(values > values.min()) & (values < values.max())]
    return film[:: max(1, film.size // _SAMPLED)]
