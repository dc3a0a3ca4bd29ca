"""The table of somebody's own studies, and the image files that its cells name."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from modules.corpus.cells import is_empty
from modules.corpus.spelling import DICOM, PICTURES, climbs, on_disk, path_of
from modules.corpus.tables import TABLE_ENDINGS, plain_heading
from modules.evaluation.reading.report_rows import LINES_ENDINGS
from modules.messages import UserError, named, quoted_name
from modules.preparation.raw.files import find_below
from modules.preparation.raw.own_patients import Rows

_FILMS = (*PICTURES, *DICOM)
_FOLDERS = {
    "imagedir",
    "imagedirectory",
    "imagefolder",
    "imagesubfolder",
    "imgdir",
    "dir",
    "directory",
    "folder",
    "subfolder",
    "subdir",
}
_UP = re.compile(r"(?:\.\./)+")


def find_table(place: Path) -> Path:
    """The file of the studies: the one that is named, or the only one in a folder."""
    if place.is_file():
        return place
    if not place.is_dir():
        raise UserError(f"{place} does not exist: give the path of a table or JSON-lines file of your studies")
    endings = (*TABLE_ENDINGS, *(f"{lines}{packed}" for lines in LINES_ENDINGS for packed in ("", ".gz")))
    found = [path for path in find_below(place, r"[^~.].*", depth=1) if path.name.lower().endswith(endings)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:3]) or "none"
        raise UserError(
            f"{place} holds {len(found)} CSV, Excel and JSON-lines files ({names}), expected one: give the file itself with "
            "--raw_dir"
        )
    return found[0]


def read_paths(value: Any, folder: Path) -> Any:
    """Image paths of a cell, below the folder of the table where they can be; what is no text is left to the check.

    Args:
        value: text with paths separated by ``;``, or by commas, bars or line breaks where all parts are files and the whole
            is none; a list in JSON or as Python prints it, or a list; the objects of :func:`modules.corpus.spelling.path_of`.
        folder: of the table; absolute paths below it are shortened, backslashes turned where no file has that name, and the suffix is
            that of the only film of the name where another or none is written.
    """
    value = path_of(value)
    if isinstance(value, str):
        text = value.strip()
        listed = re.fullmatch(r"\[(.*)\]", text, re.DOTALL)
        parts = re.split("[,;]", listed[1]) if listed else text.split(";")
        value = [path for part in parts for path in _several(part.strip().strip("'\""), folder)]
    if not isinstance(value, list):
        return value
    return [_on_disk(folder, _below(part, folder)) if isinstance(part, str) else part for part in value if part != ""]


def are_there(value: Any, folder: Path) -> bool:
    """Whether a cell names a file that is there."""
    paths = read_paths(value, folder)
    return isinstance(paths, list) and any(isinstance(part, str) and _is_there(part, folder) for part in paths)


def name_films(value: Any, folder: Path) -> bool:
    """Whether all that a cell names are films, by their suffixes or since such files are there."""
    paths = read_paths(value, folder)
    return (
        isinstance(paths, list)
        and bool(paths)
        and all(isinstance(part, str) and (part.lower().endswith(_FILMS) or _is_there(part, folder)) for part in paths)
    )


def without_suffix(value: Any, images: Sequence[str]) -> bool:
    """Whether a cell wrote one of the images, as they are called on the disk, without its suffix."""
    text = str(value).replace("\\", "/").casefold()
    others = of_other_suffix(value, images)
    return any(
        image.casefold() not in text and image.rpartition(".")[0].casefold() in text
        for image in images
        if image not in others
    )


def of_other_suffix(value: Any, images: Sequence[str]) -> list[str]:
    """The images, as they are called on the disk, that a cell wrote with the suffix of another kind of film."""
    text = str(value).replace("\\", "/").casefold()
    stems = {image: image.rpartition(".")[0].casefold() for image in images if image.casefold() not in text}
    return [image for image, stem in stems.items() if any(f"{stem}{suffix}" in text for suffix in _FILMS)]


def in_other_case(value: Any, images: Sequence[str]) -> bool:
    """Whether a cell wrote one of the images, as they are called on the disk, in other case."""
    text = str(value).replace("\\", "/")
    return any(image not in text and image.casefold() in text.casefold() for image in images)


def advice_outside(value: Any) -> str:
    """What to do about images that are not below the folder of the table."""
    paths = [path for path in value if isinstance(path, str)] if isinstance(value, list) else []
    behind = [_UP.sub("", posixpath.normpath(path)).split("/")[0] for path in paths if climbs(path)]
    if behind:
        return f"put the table into the folder that holds {named(behind[0])}, and write the paths without ../"
    return "put the table into a folder that holds them, however deep, or copy the images below the table's"


def refuse_bytes(path: Path, rows: Rows, heading: str) -> None:
    """Refuse a table that holds the images themselves, as data sets of Hugging Face do, and no files."""
    for where, row in rows:
        value = path_of(row.get(heading))
        held = value if isinstance(value, list) else [value]
        if any(isinstance(part, Mapping) and "bytes" in part for part in held):
            raise UserError(
                f"{path}, {where}: the column {quoted_name(heading)} holds an object with the bytes of an image and without a path, expected the path of "
                "a file: save the images below the folder of the table, and write their paths into it"
            )


def join_folders(path: Path, headings: list[str], rows: Rows) -> tuple[list[str], Rows, list[str]]:
    """Paths put together from a column of folders and one of file names (PadChest's ``ImageDir`` and ``ImageID``), if all of them are files.

    Returns:
        Headings and rows without the column of folders, its values being in the other one, and a line that says so; all as
        they were where no two columns, or several, give files.
    """
    folders = [heading for heading in headings if plain_heading(heading) in _FOLDERS]
    found = [
        (of, name) for of in folders for name in headings if name != of and _are_joined(path.parent, rows, of, name)
    ]
    if len(found) != 1:
        return headings, rows, []
    ((of, name),) = found
    joined = [
        (where, {**{key: value for key, value in row.items() if key != of}, name: _joined(path.parent, row, of, name)})
        for where, row in rows
    ]
    said = f"the images are those of the column {quoted_name(name)} in the folders of {quoted_name(of)}"
    return [heading for heading in headings if heading != of], joined, [said]


def _are_joined(folder: Path, rows: Rows, of: str, name: str) -> bool:
    """Whether the names of films in one column are files in the folders of another, in every row, and none is without it."""
    if not all(name_films(row.get(name), folder) for _, row in rows[:20]):
        return False
    return all(
        not are_there(row.get(name), folder)
        and all(_is_there(film, folder) for film in _joined(folder, row, of, name) or [""])
        for _, row in rows
    )


def _joined(folder: Path, row: Mapping[str, Any], of: str, name: str) -> list[str]:
    """The paths of one row; none where the folder or the name is empty."""
    paths = read_paths(row.get(name), folder)
    if is_empty(row.get(of)) or not isinstance(paths, list):
        return []
    return [f"{str(row[of]).strip()}/{part}" for part in paths if isinstance(part, str)]


def _on_disk(folder: Path, path: str) -> str:
    """A path as its file is called, or that of the only film of its name where it has no suffix or there is no such file."""
    written = on_disk(folder, path)
    if os.path.isfile(folder / written):  # Path.is_file raises where a name is too long
        return written
    suffix = next((suffix for suffix in _FILMS if written.lower().endswith(suffix)), "")
    found = {on_disk(folder, f"{written[: len(written) - len(suffix)]}{other}") for other in _FILMS if other != suffix}
    films = [film for film in found if os.path.isfile(folder / film)]
    return films[0] if len(films) == 1 else written


def _several(text: str, folder: Path) -> list[str]:
    """The paths in a text that separates them otherwise than by ``;``; a name may hold a comma."""
    parts = [part.strip() for part in re.split(r"[,|\n]", text)]
    if len(parts) > 1 and not _is_there(text, folder) and all(_is_there(part, folder) for part in parts):
        return parts
    return [text]


def _is_there(text: str, folder: Path) -> bool:
    """Whether a text is the path of a file."""
    try:
        return (folder / _on_disk(folder, _below(text, folder))).is_file()
    except (OSError, ValueError):  # no path at all, which the check says
        return False


def _below(text: str, folder: Path) -> str:
    """A path with ``/`` in it, and from the folder on if it is an absolute one below that."""
    if "\\" in text and not (folder / text).is_file():
        text = text.replace("\\", "/")
    if not PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive:
        return text
    for root in (folder.absolute(), folder.resolve()):
        if PurePosixPath(text).is_relative_to(root):
            return str(PurePosixPath(text).relative_to(root))
    return text
