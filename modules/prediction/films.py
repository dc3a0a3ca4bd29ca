"""Which image files a command names: files and folders, searched through, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.corpus.dicom_marks import is_bare, is_dicom
from modules.corpus.dicom_subjects import is_lateral
from modules.corpus.spelling import DICOM, PICTURES
from modules.messages import UserError, named

SUFFIXES = (*PICTURES, *DICOM)
OTHER_KINDS = (  # of images that are not read, which is said of each where a folder holds it
    ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jpf", ".jpx", ".jls", ".jxl", ".heic", ".heif", ".avif", ".pgm", ".ppm",
    ".pnm", ".nii", ".nrrd", ".mha",
)  # fmt: skip
_PACKED = (".gz", ".bz2", ".xz", ".zst")  # behind any of these
_BEGINNINGS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF8")


def find_films(words: Sequence[str | Path]) -> list[Path]:
    """The images that a command names, in its order; a folder stands for all images below it, sorted by path.

    Images of kinds that are not read are among them, so that whoever reads them says why there is no report.

    Args:
        words: files and folders. A file that is named itself is taken whatever its suffix, one in a folder by its suffix,
            if it is marked as DICOM, as scanners write them, or if it has no suffix and begins as an image does.

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


def lateral_note(films: Sequence[Path]) -> str | None:
    """What to beware of where DICOM files say that they are lateral views; None where none does."""
    lateral = [film for film in films if film.suffix.lower() not in PICTURES and is_lateral(film)]
    if not lateral:
        return None
    return (
        f"warning: {len(lateral)} of {len(films)} images {'is a lateral view' if len(lateral) == 1 else 'are lateral views'} (ViewPosition, code of the view), first "
        f"{named(lateral[0])}: the report of a model that has learnt from frontal films means little there"
    )


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
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if len(suffixes) == 2 and suffixes[1] in _PACKED:
        suffixes.pop()  # film.nii.gz is film.nii
    if suffixes and suffixes[-1] in (*SUFFIXES, *OTHER_KINDS):
        return path.is_file() or (path.is_symlink() and not path.exists())
    return path.is_file() and _is_marked(path)


def _is_marked(path: Path) -> bool:
    """Whether a file without a suffix of images is one as far as its first bytes say."""
    if path.name.upper() == "DICOMDIR":  # marked as DICOM, and a list of other files
        return False
    without_suffix = not path.suffix or path.suffix[1:].isdecimal()  # 1.2.840.10008 has none
    try:
        return is_dicom(path) or (without_suffix and _begins_as_image(path))
    except OSError:
        return False


def _begins_as_image(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start.startswith(_BEGINNINGS) or is_bare(start) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")
