"""The files of a prepared data set, and how to get those that are missing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from modules.corpus.manifest import MANIFEST, read_manifest
from modules.messages import Needed, UserError
from modules.options.flags import DataOptions
from modules.preparation.published.recognition import FROM_RAW, from_raw_files, how_to_prepare
from modules.records import read_json


def image_folder(data: DataOptions) -> Needed:
    """Where the image paths of the annotation start."""
    return Needed(data.image_dir, "images", "see data/README.md, or give the folder with --image_dir")


def annotation_file(data: DataOptions) -> Needed:
    """The annotation, which raw files of the known data sets give, and which is published for two of them."""
    if data.dataset_name not in FROM_RAW:
        return Needed(data.ann_path, "annotation file", "see data/README.md for how to write your own")
    how = f"{from_raw_files(data)}, or see data/README.md for the published one and how to write your own"
    return Needed(data.ann_path, "annotation file", how)


def bank_features(data: DataOptions) -> Needed:
    """The features of the bank, where it is another data set's."""
    usual = data.bank_dir == "data/mimic_cxr/features"
    how = f"{FROM_RAW['mimic_cxr'] if usual else 'prepare the data set that the model was trained on'}, or give --bank_dir"
    return Needed(Path(data.bank_dir) / MANIFEST, "features of the retrieval bank", how)


def prepared_files(data: DataOptions) -> list[Needed]:
    """What training and test read of a data set."""
    return [
        annotation_file(data),
        image_folder(data),
        Needed(Path(data.feature_dir) / MANIFEST, "prepared features", how_to_prepare(data)),
    ]


def refuse_another_bank(folder: Path, bank_dir: str | Path) -> None:
    """Refuse to replace the scores and memory of a folder with a bank of its own by those for another bank.

    Raises:
        UserError: if the folder holds a bank and another is named.
    """
    if Path(bank_dir) != folder and "report_features" in read_manifest(folder)["arrays"]:
        raise UserError(
            f"{folder} holds a bank of its own, whose scores and memory would be replaced by those for {bank_dir}: give another "
            "--feature_dir for these, or leave out --bank_dir"
        )


def refuse_other_studies(folder: Path, ids: Collection[str], ann_path: str | Path) -> None:
    """Refuse a folder with the features of another data set: its entity scorer may have taken hours.

    Args:
        folder: of the features.
        ids: of the studies that are to be prepared.
        ann_path: their annotation.

    Raises:
        UserError: if there are features of other studies alone.
    """
    path = folder / "studies.json"
    theirs = read_json(path) if path.is_file() else []
    if theirs and set(ids).isdisjoint(theirs):
        raise UserError(
            f"{folder} holds the features of {len(theirs)} studies, none of which is among the {len(ids)} of {ann_path}: give "
            "another --feature_dir, or remove that folder"
        )
