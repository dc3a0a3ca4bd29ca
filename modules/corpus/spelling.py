"""Names of files as people write them: a letter with its mark is one character in a table and may be two on the disk."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Literal

FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")  # of what people type and tables hold; of file names on macOS


def climbs(path: str) -> bool:
    """Whether a path has a ``..`` in it, with which it may leave the folder that it starts from."""
    return ".." in re.split(r"[/\\]", path)


def on_disk(folder: Path, path: str) -> str:
    """A path below a folder as its file is called; unchanged where no form of it is there.

    Args:
        folder: what the path starts from.
        path: as somebody wrote it.
    """
    if not path.isascii():
        with suppress(OSError, ValueError):  # no path at all, which the checks say
            forms = (path, *(unicodedata.normalize(form, path) for form in FORMS))
            return next((name for name in forms if (folder / name).is_file()), path)
    return path
