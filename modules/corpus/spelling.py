"""Names of files as people write them: in other case, with a letter and its mark as two characters where the disk has one, or in an object."""

from __future__ import annotations

import ast
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
PICTURES = (".png", *JPEG)  # which do not say what view they are
DICOM = (".dcm", ".dicom")
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # of what people type and tables hold; of file names on macOS

_OBJECT = re.compile(r"\s*(?:\[\s*)?\{\s*['\"]")  # or a list of them


def path_of(value: Any) -> Any:
    """The path of an image that is an object of its bytes and its path, as in the data sets of Hugging Face.

    Args:
        value: ``{"bytes": null, "path": "a/1.png"}``, a list of such, or either as JSON or Python writes it.

    Returns:
        The path, or a list of them; an object without a path, and anything else, as it is.
    """
    if isinstance(value, str) and _OBJECT.match(value):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return path_of(read(value.strip()))
    if isinstance(value, list):
        return [path_of(part) for part in value]
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        return value["path"]
    return value


def climbs(path: str) -> bool:
    """Whether a path has a ``..`` in it, with which it may leave the folder that it starts from."""
    return ".." in re.split(r"[/\\]", path)


def on_disk(folder: Path, path: str) -> str:
    """A path below a folder as its file is called; unchanged where no form of it is there, or two files differ from it in case alone.

    Args:
        folder: what the path starts from.
        path: as somebody wrote it.
    """
    with suppress(OSError, ValueError):  # no path at all, which the checks say
        forms = (path,) if path.isascii() else (path, *(unicodedata.normalize(form, path) for form in FORMS))
        found = next((name for name in forms if (folder / name).is_file()), None)
        return found or _of_other_case(folder, path) or path
    return path


def _of_other_case(folder: Path, path: str) -> str | None:
    """The only file whose path differs in case alone; None where there is none or are several, and of a path that leads out."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or climbs(path):
        return None
    place = folder
    for part in pure.parts:
        if not (place / part).exists():
            alike = _by_folded(place, place.stat().st_mtime_ns).get(_folded(part), ())
            if len(alike) != 1:
                return None
            part = alike[0]
        place /= part
    return str(place.relative_to(folder)) if place.is_file() else None


@lru_cache(maxsize=64)
def _by_folded(folder: Path, changed: int) -> Mapping[str, Sequence[str]]:
    """What a folder holds, as it was at a time, by folded name."""
    found: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        found.setdefault(_folded(name), []).append(name)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
