"""Which image files a command names: files and folders, searched through, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.corpus.dicom import is_dicom
from modules.messages import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")


def find_films(words: Sequence[str | Path]) -> list[Path]:
    """The images that a command names, in its order; a folder stands for all images below it, sorted by path.

    Args:
        words: files and folders. A file that is named itself is taken whatever its suffix, one in a folder by its suffix or,
            as scanners write them, if it is marked as DICOM.

    Raises:
        UserError: naming every word that is neither.
    """
    missing = [str(word) for word in words if not Path(word).exists()]
    if missing:
        raise UserError(
            f"{', '.join(missing[:5])} {'does' if len(missing) == 1 else 'do'} not exist: give image files or folders of "
            "PNG, JPEG or DICOM files"
        )
    found = [path for word in words for path in _below(Path(word))]
    if not found:
        raise UserError(
            f"{', '.join(map(str, words[:5]))} hold no file that ends in {', '.join(SUFFIXES)} or is marked as DICOM: give image files or "
            "folders of them"
        )
    return list(dict.fromkeys(found))


def plain_name(word: str | Path) -> str:
    """The name of a folder, or of a file without its suffix: ``film`` for ``films/film.png``."""
    path = Path(word).resolve()
    return path.stem if path.suffix.lower() in (*SUFFIXES, ".json") and not path.is_dir() else path.name


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for inner in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
        if not hidden and _is_film(inner):
            yield inner


def _is_film(path: Path) -> bool:
    """Whether a file is called an image or is marked as one; a link that leads nowhere is one that cannot be read."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file() or (path.is_symlink() and not path.exists())
    return path.is_file() and _is_marked(path)


def _is_marked(path: Path) -> bool:
    """Whether a file of another name is a DICOM image as far as its first bytes say; DICOMDIR is their list."""
    try:
        return path.name.upper() != "DICOMDIR" and is_dicom(path)
    except OSError:
        return False
