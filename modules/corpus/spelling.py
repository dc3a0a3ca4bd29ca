"""Names of files as they lie on the disk: a letter with its mark is one character in a table and may be two in a name."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Literal

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")  # what people type and tables hold; what macOS and its archives call files


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
