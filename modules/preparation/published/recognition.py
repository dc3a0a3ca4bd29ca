"""Published files recognised where somebody put them: the annotation under its published name, features not yet converted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modules.corpus.annotations import SPLITS
from modules.corpus.manifest import MANIFEST
from modules.messages import MissingError, UserError
from modules.options.flags import DataOptions
from modules.preparation.published.conversion import NEIGHBOURS, REGIONS, REPORTS, SCORES
from modules.preparation.published.reading import EmbeddingFiles

PUBLISHED_NAME = "*_annotation_promptmrg.json"
FROM_RAW = {  # by data set: what makes annotation, images and features
    "mimic_cxr": "bash prepare_mimic_cxr.sh RAW_DIR",
    "iu_xray": "bash prepare_iu_xray.sh RAW_DIR",
    "custom": "bash train_custom.sh studies.csv",
    "synth_cxr": "python main_prepare.py --dataset_name synth_cxr",
}
ZERO_SHOT = {  # where prepare_iu_xray.sh --zero_shot puts its features, and whose bank it takes
    "ann_path": "data/iu_xray/annotation_zero_shot.json",
    "feature_dir": "data/iu_xray/features_zero_shot",
    "bank_dir": "data/mimic_cxr/features",
}


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
    names = [REPORTS, NEIGHBOURS, *(SCORES.format(split) for split in SPLITS)]
    return any((folder / name).is_file() for name in names) or EmbeddingFiles(folder, REGIONS).path.exists()


def how_to_prepare(data: DataOptions) -> str:
    """How to get features: convert the published files beside the annotation, if they lie there, else build them.

    Args:
        data: what differs from the defaults is named in the command, which else would fill another folder.
    """
    folder = Path(data.ann_path).parent
    command = f"python main_prepare.py --dataset_name {data.dataset_name}{_places(data)}"
    if holds_published(folder):
        if not _reads_with_medklip(data):
            return f"convert them: {command} --published {shlex.quote(str(folder))}"
        return f"build them: {command} --entity_scorer medklip"  # scores are published for the bank alone
    own_split = _is_zero_shot(data) and (folder / "raw.json").is_file()  # of its own training, not all of it
    if data.dataset_name not in FROM_RAW or (Path(find_annotation(data.ann_path)).is_file() and not own_split):
        return f"build them: {command}"
    return f"from raw files: {from_raw_files(data)}"


def from_raw_files(data: DataOptions) -> str:
    """The command that prepares a data set of ``FROM_RAW`` from its raw files, in the places that ``data`` names."""
    zero_shot = _is_zero_shot(data)
    return FROM_RAW[data.dataset_name] + (" --zero_shot" if zero_shot else "") + _places(data, zero_shot)


def _is_zero_shot(data: DataOptions) -> bool:
    return data.dataset_name == "iu_xray" and Path(data.bank_dir) != Path(data.feature_dir)


def _places(data: DataOptions, zero_shot: bool = False) -> str:
    """Flags of what is not where it usually lies, or where ``prepare_iu_xray.sh --zero_shot`` puts it."""
    words, usual = [], DataOptions(dataset_name=data.dataset_name)
    for name in ("ann_path", "image_dir", "feature_dir", "bank_dir", "cleaning", "max_words", "features"):
        value, default = str(getattr(data, name)), str(getattr(usual, name)).format(dataset_name=data.dataset_name)
        expected = [data.feature_dir if name == "bank_dir" else default]
        if zero_shot and name in ZERO_SHOT:
            expected.append(ZERO_SHOT[name])
        if value not in expected:
            words.append(f" --{name} {shlex.quote(value)}")
    return "".join(words)


def _reads_with_medklip(data: DataOptions) -> bool:
    """Whether published files lack the scores of images that are tested with the published bank."""
    scored = any((Path(data.ann_path).parent / SCORES.format(split)).is_file() for split in SPLITS)
    return not scored and Path(data.bank_dir) != Path(data.feature_dir)


def refuse_to_build(data: DataOptions) -> None:
    """Refuse to build for days what lies there to be converted.

    Raises:
        UserError: with the command that converts it, unless features have been built here before.
    """
    folder = Path(data.ann_path).parent
    bank_of_ours = _reads_with_medklip(data) and (Path(data.bank_dir) / "entity_scorer.pth").is_file()
    if holds_published(folder) and not (Path(data.feature_dir) / MANIFEST).is_file() and not bank_of_ours:
        raise UserError(
            f"{folder} holds published files: {how_to_prepare(data)}; or build features from the "
            "reports and images all the same with --published none"
        )


@contextmanager
def or_published(raw_dir: str | None, data: DataOptions) -> Iterator[None]:
    """Where raw files are missing and published ones, or an annotation, lie in their place, say so.

    Raises:
        UserError: with the command that converts them; else as it was raised inside, and with the one that reads the annotation.
    """
    try:
        yield
    except MissingError as error:
        folder = Path(raw_dir or "")
        annotations = sorted(folder.glob(PUBLISHED_NAME)) if raw_dir else []
        images = str(folder / "images") if (folder / "images").is_dir() else data.image_dir
        if not annotations and raw_dir and (folder / "annotation.json").is_file():  # R2Gen's archive
            places = _places(replace(data, ann_path=str(folder / "annotation.json"), image_dir=images))
            raise MissingError(
                f"{error}\n{folder / 'annotation.json'} is no raw file: an annotation is prepared by\n"
                f"  python main_prepare.py --dataset_name {data.dataset_name}{places}"
            ) from error
        if not annotations or not holds_published(folder):
            raise
        there = replace(data, ann_path=str(annotations[0]), image_dir=images)
        raise UserError(f"{raw_dir} holds published files, no raw ones: {how_to_prepare(there)}") from error
