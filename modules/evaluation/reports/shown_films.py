"""Which film of a folder belongs to a study that was scored, for the page."""

from __future__ import annotations

from pathlib import Path

from modules.corpus.spelling import DICOM, PICTURES
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import PLAIN
from modules.evaluation.reading.predictions import Matched
from modules.messages import UserError

FILM_ENDINGS = ("", *PICTURES, *DICOM)


def require_films(matched: Matched, folder: str | None) -> None:
    """Refuse a folder that has the films of none of the studies, before they are scored; UserError says which was looked for."""
    if folder is None or any(film_of(Path(folder), *study) for study in zip(matched.rows, matched.ids, strict=True)):
        return
    raise UserError(
        f"--image_dir {folder} has a film of none of the studies, first {matched.ids[0]}: give their folder"
    )


def film_of(folder: Path, row: Row, key: str) -> Path | None:
    """The film of a study: where its row says, or under its id."""
    ids = [value for name, value in row.items() if plain_heading(name) in PLAIN["ids"]]
    for value in (*ids, key):
        text = str(value[0] if isinstance(value, list) and value else value).lstrip("/")
        for ending in FILM_ENDINGS:
            path = folder / f"{text}{ending}"
            if ".." not in Path(text).parts and path.is_file():
                return path
    return None
