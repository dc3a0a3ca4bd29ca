"""The manifest of a feature folder: what every array in it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modules.labels import CONDITIONS, ENTITIES
from modules.messages import UserError
from modules.records import read_json

FORMAT = "revtaf_features/1"
MANIFEST = "manifest.json"
IDS_OF = {"studies": "studies", "training": "training", "sentences": "training"}  # the ids that an axis depends on
DTYPES = ("bool", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
SHAPES = {  # widths that every program relies on
    "labels": (None, len(CONDITIONS)),
    "region_scores": (None, len(ENTITIES)),
    "region_text": (None, len(ENTITIES), None),
    "memory_indices": (None, None),
    "report_features": (None, None),
    "label_neighbours": (None, None),
    "sentence_features": (None, None),
    "sentence_offsets": (None,),
}
WHOLE_NUMBERS = ("labels", "memory_indices", "label_neighbours", "sentence_offsets")  # the others are fractions
READ_WHOLE = 1 << 27  # bytes of an array that is read whole when its folder is opened; larger ones the doctor reads
AGAIN = "run main_prepare.py again with this --feature_dir"


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a folder, or an empty one; UserError if it is none of this version."""
    path = directory / MANIFEST
    if not path.is_file():
        return {"format": FORMAT, "axes": {}, "arrays": {}}
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or not _is_whole(manifest):
        raise UserError(f"{path} does not describe a feature folder of this version: remove the folder and {AGAIN}")
    return manifest


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest says of every axis and array what is read of it."""

    def is_array(name: str, entry: Any) -> bool:
        return (
            isinstance(entry, dict)
            and re.fullmatch(r"\w+", name) is not None
            and isinstance(entry.get("shape"), list)
            and all(type(length) is int and length >= 0 for length in entry["shape"])
            and entry.get("dtype") in DTYPES
            and entry.get("axis") in list(IDS_OF)  # in which a list can be looked for
            and isinstance(entry.get("made_by"), dict)
            and {"ids_sha256", "sha256"} <= set(entry)
        )

    axes, arrays = manifest.get("axes"), manifest.get("arrays")
    return (
        isinstance(axes, dict)
        and isinstance(arrays, dict)
        and isinstance(manifest.get("files", {}), dict)
        and all(
            name in ("studies", "training") and isinstance(axis, dict) and type(axis.get("rows")) is int
            for name, axis in axes.items()
        )
        and all(is_array(name, entry) for name, entry in arrays.items())
    )


def map_array(directory: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """The array of a manifest's entry, mapped read-only; UserError if its file is gone, damaged or another."""
    path = directory / f"{name}.npy"
    if not path.is_file():
        raise UserError(f"{path} is gone: {AGAIN}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged head makes numpy raise almost anything
        raise UserError(f"{path} is damaged: remove it and {AGAIN}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} is an archive of arrays and not an array: remove it and {AGAIN}")
    if list(array.shape) != entry["shape"] or array.dtype != np.dtype(entry["dtype"]):
        found, expected = f"{array.shape} {array.dtype}", f"{tuple(entry['shape'])} {entry['dtype']}"
        raise UserError(f"{path} holds {found} but the manifest says {expected}: remove it and {AGAIN}")
    return array


def check_numbers(path: Path, array: np.ndarray) -> None:
    """Refuse an array of another kind of numbers, or one that would poison a training; UserError names its file."""
    if path.stem in SHAPES and array.dtype.kind != ("i" if path.stem in WHOLE_NUMBERS else "f"):
        what = "whole numbers" if path.stem in WHOLE_NUMBERS else "fractions"
        raise UserError(f"{path} holds {array.dtype}, expected {what}: remove it and {AGAIN}")
    rows = 1 << 12  # at a time: what is mapped may be larger than the memory
    if array.dtype.kind == "f" and not all(np.isfinite(array[i : i + rows]).all() for i in range(0, len(array), rows)):
        raise UserError(f"{path} holds numbers that are not finite: remove it and {AGAIN}")
