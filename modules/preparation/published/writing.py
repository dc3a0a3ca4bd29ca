"""A feature folder written in the layout of the published REVTAF files, which the released code reads.

Beside them lies ``written.json``, which says of which build they are: the folder is that of one build, or it is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import SPLITS, Study
from modules.corpus.bank import TrainingBank
from modules.corpus.pixels import open_image
from modules.corpus.store import FeatureStore
from modules.labels import CHEXPERT_CONDITIONS
from modules.messages import UserError
from modules.preparation.published.conversion import MEMORY, NEIGHBOURS, RATES, REGIONS, REPORTS, SCORES, SENTENCES
from modules.preparation.published.recognition import PUBLISHED_NAME
from modules.records import atomic_write, read_json, write_json, write_jsonl
from modules.run_folder import refuse_run
from modules.throughput import measured

RECORD, IMAGES = "written.json", "images"
FORMAT = "revtaf_published/1"


def write_published(
    folder: Path,
    dataset_name: str,
    store: FeatureStore,
    splits: Mapping[str, list[Study]],
    image_dir: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write the files that :class:`modules.preparation.published.conversion.PublishedFiles` reads.

    IU X-Ray, and a data set without training split, get a flat annotation with 14 labels, all of it tested, and no files of
    training reports; IU X-Ray's images are written as ``images/*.png``, the only suffix that the released code knows there.
    Arrays of images that are there already stay, so that an interrupted writing continues.

    Args:
        folder: made if absent.
        dataset_name: its first part names the annotation.
        store: a prepared feature folder with stored embeddings.
        splits: studies of the annotation.
        image_dir: their images; only needed for IU X-Ray.
        overwrite: remove what the folder holds of another build.

    Raises:
        UserError: if the folder holds a run, files of another build, or the images that IU X-Ray's are copied from; if IU X-Ray
            was prepared with a bank of its own, which the released code does not read.
    """
    refuse_run(folder, "--out")
    splits = {split: studies for split, studies in splits.items() if studies}
    if dataset_name == "iu_xray":
        if "report_features" in store:
            raise UserError(
                f"{store.directory} holds a bank of its own, and the released code reads IU X-Ray with MIMIC-CXR's: give "
                "--feature_dir and --ann_path of bash prepare_iu_xray.sh RAW_DIR --zero_shot"
            )
        if image_dir is not None and image_dir.resolve() == (folder / IMAGES).resolve():
            raise UserError(
                f"{folder / IMAGES} holds the images that are read, and PNG copies would be written among them: give another --out"
            )
        splits = {"test": [study for studies in splits.values() for study in studies]}
    record = {"format": FORMAT, "dataset_name": dataset_name, "features": store.checksums}
    _claim(folder, record, overwrite)
    with measured("published layout", sum(map(len, splits.values()))):
        _write_files(folder, dataset_name, store, splits)
        if dataset_name == "iu_xray" and image_dir is not None:
            _write_images(folder / IMAGES, splits["test"], image_dir)
    print(f"wrote the published layout of {sum(map(len, splits.values()))} studies into {folder}")


def _claim(folder: Path, record: Mapping[str, object], overwrite: bool) -> None:
    """Make the folder that of one build; UserError if it is that of another."""
    path = folder / RECORD
    theirs = read_json(path) if path.is_file() else None
    files = [SCORES.format("*"), MEMORY.format("*"), REPORTS, NEIGHBOURS, RATES, REGIONS, SENTENCES, PUBLISHED_NAME]
    found = sorted(place for name in files for place in folder.glob(name))
    if theirs != record and found:
        if not (overwrite and theirs):
            whose = "another build" if theirs else "somebody else"
            remedy = "replace them with --overwrite, or give another --out" if theirs else "give another --out"
            raise UserError(
                f"{folder} holds published files of {whose} (first {found[0].name}), which would mix: {remedy}"
            )
        written = [folder / IMAGES] if theirs.get("dataset_name") == "iu_xray" else []  # of others they are not ours
        for place in [*found, *written]:
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
    write_json(path, record)


def _write_files(folder: Path, dataset_name: str, store: FeatureStore, splits: Mapping[str, list[Study]]) -> None:
    """Write the annotation and the features of every split, and of the bank if the store has one."""
    for split, studies in splits.items():
        rows = store.rows("studies", [study.id for study in studies])
        write_jsonl(folder / SCORES.format(split), (store["region_scores"][row].tolist() for row in rows))
        write_jsonl(folder / MEMORY.format(split), (store["memory_indices"][row].tolist() for row in rows))
        arrays = (store["region_text"][row] for row in rows)
        _write_arrays(folder / REGIONS, studies, arrays, f"{REGIONS} {split}")
    annotation = PUBLISHED_NAME.replace("*", dataset_name.split("_")[0])
    _write_annotation(folder / annotation, store, splits)
    training = splits.get("train", [])
    if training and "report_features" in store:
        bank = TrainingBank(store)
        rows = store.rows("training", [study.id for study in training])
        write_jsonl(folder / REPORTS, (store["report_features"][row].astype(np.float32).tolist() for row in rows))
        write_json(folder / NEIGHBOURS, store["label_neighbours"][rows], indent=None)
        write_json(folder / RATES, store.base_rates, indent=None)
        _write_arrays(folder / SENTENCES, training, (bank.sentences(int(row)) for row in rows), SENTENCES)


def _write_arrays(folder: Path, studies: Sequence[Study], arrays: Iterable[np.ndarray], what: str) -> None:
    """One ``.npy`` per image, at the image's path below ``folder``."""
    bar = tqdm(studies, desc=what, unit="file")
    for study, array in zip(bar, arrays, strict=True):
        path = folder / PurePosixPath(study.image_path[0]).with_suffix(".npy")
        if not path.is_file():
            with atomic_write(path, "wb") as file:
                np.save(file, array)


def _write_images(folder: Path, studies: Sequence[Study], image_dir: Path) -> None:
    """The first image of every study as PNG, at its path below ``folder``."""
    for study in tqdm(studies, desc=IMAGES, unit="image"):
        path = folder / _as_png(study.image_path[0])
        if not path.is_file():
            with atomic_write(path, "wb") as file:
                open_image(image_dir / study.image_path[0]).save(file, "PNG")


def _as_png(image: str) -> str:
    return str(PurePosixPath(image).with_suffix(".png"))


def _write_annotation(path: Path, store: FeatureStore, splits: Mapping[str, list[Study]]) -> None:
    """The annotation with labels and ``clip_indices``."""
    items = {}
    for split, studies in splits.items():
        rows = store.rows("studies", [study.id for study in studies])
        labels, memory = store["labels"][rows], store["memory_indices"][rows]
        items[split] = [
            {
                "id": study.id,
                "image_path": [_as_png(image) if path.name.startswith("iu_") else image for image in study.image_path],
                **({"report": study.report} if study.report else {}),
                "split": split,
                **({"patient": study.patient} if study.patient else {}),
                "labels": labels[i],
                "clip_indices": memory[i],
            }
            for i, study in enumerate(studies)
        ]
    if set(items) == {"test"}:
        short = [{**item, "labels": item["labels"][: len(CHEXPERT_CONDITIONS)]} for item in items["test"]]
        write_json(path, short, indent=None)
    else:
        write_json(path, {split: items.get(split, []) for split in SPLITS}, indent=None)
