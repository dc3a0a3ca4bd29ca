"""A feature folder written in the layout of the published REVTAF files, which the released code reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.labels import CHEXPERT_CONDITIONS
from modules.preparation.published.conversion import MEMORY, NEIGHBOURS, RATES, REGIONS, REPORTS, SCORES, SENTENCES
from modules.records import atomic_write, write_json, write_jsonl
from modules.throughput import measured


def write_published(folder: Path, dataset_name: str, store: FeatureStore, splits: Mapping[str, list[Study]]) -> None:
    """Write the files that :class:`modules.preparation.published.conversion.PublishedFiles` reads.

    A data set without training split gets a flat annotation with 14 labels, as IU X-Ray is published, and no files of
    training reports. Arrays of images that are there already stay, so that an interrupted writing continues.

    Args:
        folder: made if absent.
        dataset_name: its first part names the annotation.
        store: a prepared feature folder with stored embeddings.
        splits: studies of the annotation.
    """
    splits = {split: studies for split, studies in splits.items() if studies}
    with measured("published layout", sum(map(len, splits.values()))):
        _write_files(folder, dataset_name, store, splits)
    print(f"wrote the published layout of {sum(map(len, splits.values()))} studies into {folder}")


def _write_files(folder: Path, dataset_name: str, store: FeatureStore, splits: Mapping[str, list[Study]]) -> None:
    for split, studies in splits.items():
        rows = store.rows("studies", [study.id for study in studies])
        write_jsonl(folder / SCORES.format(split), (store["region_scores"][row].tolist() for row in rows))
        write_jsonl(folder / MEMORY.format(split), (store["memory_indices"][row].tolist() for row in rows))
        arrays = (store["region_text"][row] for row in rows)
        _write_arrays(folder / REGIONS, studies, arrays, f"{REGIONS} {split}")
    _write_annotation(folder / f"{dataset_name.split('_')[0]}_annotation_promptmrg.json", store, splits)
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


def _write_annotation(path: Path, store: FeatureStore, splits: Mapping[str, list[Study]]) -> None:
    """The annotation with labels and ``clip_indices``."""
    items = {}
    for split, studies in splits.items():
        rows = store.rows("studies", [study.id for study in studies])
        labels, memory = store["labels"][rows], store["memory_indices"][rows]
        items[split] = [
            {
                "id": study.id,
                "image_path": list(study.image_path),
                "report": study.report,
                "split": split,
                **({"patient": study.patient} if study.patient else {}),
                "labels": labels[i],
                "clip_indices": memory[i],
            }
            for i, study in enumerate(studies)
        ]
    if set(items) == {"test"}:
        flat = [{**item, "labels": item["labels"][: len(CHEXPERT_CONDITIONS)]} for item in items["test"]]
        write_json(path, flat, indent=None)
    else:
        write_json(path, {split: items.get(split, []) for split in ("train", "val", "test")}, indent=None)
