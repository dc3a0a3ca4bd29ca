"""Published files recognised where somebody put them: the annotation under its published name, features not yet converted."""

from __future__ import annotations

import shlex
from pathlib import Path

from modules.corpus.manifest import MANIFEST
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.preparation.published.conversion import NEIGHBOURS, REGIONS, REPORTS, SCORES
from modules.preparation.published.reading import EmbeddingFiles

PUBLISHED_NAME = "*_annotation_promptmrg.json"


def find_annotation(path: str | Path) -> str:
    """The annotation file, or the published one in its folder if there is none of that name.

    Args:
        path: where the annotation should be.

    Returns:
        ``path`` if it is there or nothing else is.

    Raises:
        UserError: if the folder holds several published ones.
    """
    path = Path(path)
    found = [] if path.exists() else sorted(path.parent.glob(PUBLISHED_NAME))
    if len(found) > 1:
        names = ", ".join(place.name for place in found[:3])
        raise UserError(
            f"{path} does not exist, but {len(found)} published annotations do ({names}): choose with --ann_path"
        )
    return str(found[0] if found else path)


def holds_published(folder: Path) -> bool:
    """Whether one of the files of the published data set lies in a folder."""
    names = [REPORTS, NEIGHBOURS, *(SCORES.format(split) for split in ("train", "val", "test"))]
    return any((folder / name).is_file() for name in names) or EmbeddingFiles(folder, REGIONS).path.exists()


def how_to_prepare(data: DataOptions) -> str:
    """How to get features: convert the published files beside the annotation, if they lie there, else build them.

    Args:
        data: what differs from the defaults is named in the command, which else would fill another folder.
    """
    folder, usual = Path(data.ann_path).parent, DataOptions(dataset_name=data.dataset_name)
    words = ["python main_prepare.py --dataset_name", data.dataset_name]
    for name in ("ann_path", "image_dir", "feature_dir", "bank_dir", "cleaning", "max_words", "features"):
        given, default = str(getattr(data, name)), str(getattr(usual, name))
        expected = data.feature_dir if name == "bank_dir" else default.format(dataset_name=data.dataset_name)
        if given != str(expected):
            words += [f"--{name}", shlex.quote(given)]
    command = " ".join(words)
    if holds_published(folder):
        return f"convert them: {command} --published {shlex.quote(str(folder))}"
    return f"build them: {command}"


def refuse_to_build(data: DataOptions) -> None:
    """Refuse to build for days what lies there to be converted.

    Raises:
        UserError: with the command that converts it, unless features have been built here before.
    """
    folder = Path(data.ann_path).parent
    if holds_published(folder) and not (Path(data.feature_dir) / MANIFEST).is_file():
        raise UserError(
            f"{folder} holds published files: {how_to_prepare(data)}; or build features from the "
            "reports and images all the same with --published none"
        )
