"""ReXrank's way to ask for reports: a JSON file of studies in, the same studies with ``model_prediction`` out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.spelling import climbs, on_disk
from modules.messages import UserError, named
from modules.records import read_json, write_json

THERE = "is there already and holds something else: give another file, or replace it with --overwrite"


def read_studies(path: str | Path, root: str | Path) -> tuple[Any, dict[str, Path]]:
    """Read studies, an object by study id or a list of objects.

    Args:
        path: JSON file; a study has ``key_image_path``, else the first of ``image_path`` is read.
        root: folder that the image paths start from.

    Returns:
        The content of the file, and the image by study.

    Raises:
        UserError: if there is no such file, if a study names no image, or one whose path has a ``..``.
    """
    content = read_json(path)
    films: dict[str, Path] = {}
    for key, study in _items(content, path):
        image = study.get("key_image_path") if isinstance(study, Mapping) else None
        images = image or (study.get("image_path") if isinstance(study, Mapping) else None)
        image = images[0] if isinstance(images, list) and images else images
        if not isinstance(image, str):
            raise UserError(
                f"{path}, study {named(key)}: it names no image, expected key_image_path or image_path: correct it"
            )
        if climbs(image):
            raise UserError(
                f"{path}, study {named(key)}: its image {named(image)} may lie outside --img_root_dir, expected a path without ..: correct it"
            )
        films[key] = _film(Path(root), image)
    missing = [film for film in films.values() if not film.is_file()]
    if len(missing) == len(films):
        raise UserError(
            f"none of the {len(films)} images of {path} is there, first {missing[0].with_name(named(missing[0].name))}: give the folder that their paths "
            "start from with --img_root_dir"
        )
    return content, films


def _film(root: Path, image: str) -> Path:
    """The film that a study names: below the folder, also where its path begins with a slash; or by its whole path."""
    below = root / on_disk(root, image.lstrip("/"))
    turned = root / on_disk(root, image.replace("\\", "/").lstrip("/"))
    return next((path for path in (below, Path(image), turned) if path.is_file()), below)


def write_studies(
    path: str | Path, content: Any, source: str | Path, reports: Mapping[str, str], overwrite: bool
) -> None:
    """Write the studies again, with the report of each under ``model_prediction``, empty where there is none.

    Args:
        path: file to write.
        content: of the file that was read.
        source: that file.
        reports: by study.
        overwrite: replace whatever the file holds.

    Raises:
        UserError: if it is there, holds anything else, and is not to be replaced.
    """
    for key, study in _items(content, source):
        study["model_prediction"] = reports.get(key, "")
    if Path(path).is_file() and not overwrite and read_json(path) != content:
        raise UserError(f"--save_json_file {path} {THERE}")
    write_json(path, content)


def _items(content: Any, path: str | Path) -> list[tuple[str, Any]]:
    """Key and content of every study of a file; UserError if it has another layout."""
    if isinstance(content, Mapping) and content:
        return [(str(key), study) for key, study in content.items()]
    if isinstance(content, list) and content and all(isinstance(study, Mapping) for study in content):
        keys = [str(study.get("study_id", study.get("id", number))) for number, study in enumerate(content)]
        if len(set(keys)) == len(keys):
            return list(zip(keys, content, strict=True))
    raise UserError(
        f"{path} is no ReXrank file: expected an object by study id, or a list of studies with ids of their own"
    )
