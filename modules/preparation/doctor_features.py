"""The doctor's look at a feature folder and at what it lets a study retrieve."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import prepare_reports
from modules.corpus.features import FeatureStore, verify
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.preparation.diagnosis import Diagnosis
from modules.records import sha256_of

OF_STUDIES = ("labels", "region_scores", "region_text", "memory_indices")
OF_BANK = ("report_features", "sentence_features", "sentence_offsets", "label_neighbours")
_ROWS = 4096  # rows of an array looked at together
_AGAIN = "run main_prepare.py again"


def open_features(
    options: Namespace, studies: Sequence[Study], diagnosis: Diagnosis
) -> tuple[FeatureStore, TrainingBank] | None:
    """Open the features and the bank, and check that every array is there, whole and of these studies.

    Returns:
        None if nothing further can be looked at.
    """
    folder = Path(options.feature_dir)
    if not (folder / "manifest.json").is_file():
        diagnosis.add("warning", "features", f"{folder} holds no features yet: build them with main_prepare.py")
        return None
    diagnosis.looked_at.add("features")
    try:
        store = FeatureStore.open(folder)
        own_bank = Path(options.bank_dir) == folder
        bank_store = store if own_bank else FeatureStore.open(options.bank_dir)
    except (ValueError, FileNotFoundError) as error:
        diagnosis.add("error", "features", str(error))
        return None
    online = getattr(options, "features", "stored") == "online"
    wanted = [(store, name) for name in OF_STUDIES if name != "region_text" or not online]
    wanted += [(bank_store, name) for name in OF_BANK]
    broken = []
    for place, name in wanted:
        try:
            _ = place[name]
        except (ValueError, FileNotFoundError) as error:
            broken.append(str(error))
    diagnosis.add("error", "features", "{count} arrays are missing, damaged or of other studies", broken)
    try:
        store.rows("studies", [study.id for study in studies])
        bank = TrainingBank(bank_store)
    except (ValueError, FileNotFoundError) as error:
        diagnosis.add("error", "features", str(error))
        return None
    if own_bank:
        _look_at_origin(store, Path(options.ann_path), diagnosis)
    return None if broken else (store, bank)


def _look_at_origin(store: FeatureStore, ann_path: Path, diagnosis: Diagnosis) -> None:
    """Arrays made from another annotation, or from arrays that have changed since."""
    annotation = sha256_of(ann_path)
    entries = {name: store.entry(name) for name in (*OF_STUDIES, *OF_BANK) if name in store}
    stale = [
        f"{name}: made from another annotation"
        for name, entry in entries.items()
        if entry["made_by"].get("annotation", annotation) != annotation
    ]
    for name, key, source in (
        ("label_neighbours", "labels", "labels"),
        ("memory_indices", "scores", "region_scores"),
        ("memory_indices", "bank", "report_features"),
    ):
        checksum = entries[name]["made_by"].get(key) if name in entries else None
        if isinstance(checksum, str) and source in entries and checksum != entries[source]["sha256"]:
            stale.append(f"{name}: {source} has changed since it was made")
    diagnosis.add("error", "features", f"{{count}} arrays are stale: {_AGAIN}", stale)


def look_at_values(
    store: FeatureStore, bank: TrainingBank, studies: Sequence[Study], diagnosis: Diagnosis, thorough: bool
) -> bool:
    """Check widths, ranges and values.

    Args:
        store: features of the studies.
        bank: training reports.
        studies: of the annotation.
        diagnosis: added to.
        thorough: read the large arrays too and compare checksums.

    Returns:
        Whether all widths are right.
    """
    rows = store.rows("studies", [study.id for study in studies])
    widths = {
        "labels": (store, (None, len(CONDITIONS))),
        "region_scores": (store, (None, len(ENTITIES))),
        "region_text": (store, (None, len(ENTITIES), None)),
        "memory_indices": (store, (None, None)),
        "report_features": (bank.store, (len(bank), None)),
        "sentence_features": (bank.store, (None, bank.store["report_features"].shape[-1])),
        "label_neighbours": (bank.store, (len(bank), None)),
    }
    present = {name: (place, expected) for name, (place, expected) in widths.items() if name in place}
    wrong = []
    for name, (place, expected) in present.items():
        shape = place[name].shape
        if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected, strict=True)):
            wrong.append(f"{name}: {shape}, expected {tuple(e or '*' for e in expected)}")
    diagnosis.add("error", "features", f"{{count}} arrays have a wrong shape: {_AGAIN}", wrong)
    small = [name for name in present if thorough or present[name][0][name].nbytes < 1 << 28]
    values = {name: _extremes(present[name][0][name], name) for name in small if present[name][0][name].ndim > 1}
    bad = [f"{name}: {count:,} numbers" for name, (count, _) in values.items() if count]
    diagnosis.add("error", "features", f"{{count}} arrays hold NaN or infinity: {_AGAIN}", bad)
    same = [name for name, (_, constant) in values.items() if constant]
    text = f"{{count}} arrays are constant, the same for every study: {_AGAIN}"
    diagnosis.add("error", "features", text, [name for name in same if len(present[name][0][name]) > 1])
    if not wrong:
        scores, labels = store["region_scores"][rows], store["labels"][rows]
        outside = [studies[i].id for i in np.flatnonzero(~((scores >= 0) & (scores <= 1)).all(1))]
        diagnosis.add("error", "features", "region_scores of {count} studies leave [0, 1]", outside)
        wrong_state = [studies[i].id for i in np.flatnonzero(~((labels >= 0) & (labels < len(STATES))).all(1))]
        diagnosis.add("error", "features", "labels of {count} studies leave 0 to 3", wrong_state)
        own = [(labels[i, : len(study.labels or ())] == (study.labels or ())).all() for i, study in enumerate(studies)]
        other = [study.id for study, equal in zip(studies, own, strict=True) if not equal]
        diagnosis.add(
            "error", "features", f"the stored labels of {{count}} studies are not the annotation's: {_AGAIN}", other
        )
    if thorough:
        folders = dict.fromkeys((store.directory, bank.store.directory))
        changed = [sentence for folder in folders for sentence in verify(folder)]
        diagnosis.add("error", "features", "{count} files differ from the manifest", changed)
    return not wrong


def _extremes(array: np.ndarray, name: str) -> tuple[int, bool]:
    """How many numbers are not finite, and whether all rows are the same."""
    broken, constant = 0, True
    first = np.asarray(array[:1])
    for start in tqdm(range(0, len(array), _ROWS), desc=name, unit="block", leave=False):
        block = np.asarray(array[start : start + _ROWS])
        broken += int((~np.isfinite(block)).sum()) if block.dtype.kind == "f" else 0
        constant = constant and bool((block == first).all())
    return broken, constant


def look_at_retrieval(
    store: FeatureStore, bank: TrainingBank, studies: Sequence[Study], options: Namespace, diagnosis: Diagnosis
) -> None:
    """Check what may be retrieved: training reports only, and never a study's own."""
    diagnosis.looked_at.add("retrieval")
    split_of = {study.id: study.split for study in studies}
    bank_row = {identifier: row for row, identifier in enumerate(bank.ids)}
    own_bank = bank.store.directory == store.directory
    held_out = [identifier for identifier in bank.ids if split_of.get(identifier, "train") != "train"]
    text = f"the bank holds the reports of {{count}} studies that are not in training: {_AGAIN}"
    diagnosis.add("error", "retrieval", text, held_out)
    if own_bank:
        training = {study.id for study in studies if study.split == "train"}
        unknown = [identifier for identifier in bank.ids if identifier not in split_of]
        absent = [identifier for identifier in training if identifier not in bank_row]
        diagnosis.add("error", "retrieval", f"{{count}} reports of the bank are of no study: {_AGAIN}", unknown)
        diagnosis.add("error", "retrieval", f"{{count}} training studies are not in the bank: {_AGAIN}", sorted(absent))
        _look_at_bank_reports(bank, studies, diagnosis)
    ids = [study.id for study in studies]
    memory = np.asarray(store["memory_indices"])[store.rows("studies", ids)]
    own = np.array([bank_row.get(identifier, -1) for identifier in ids]) if own_bank else np.full(len(ids), -1)
    _look_at_rows("memory_indices", memory, own, ids, len(bank), diagnosis)
    neighbours = np.asarray(bank.store["label_neighbours"])
    _look_at_rows("label_neighbours", neighbours, np.arange(len(bank)), bank.ids, len(bank), diagnosis)
    published = {study.id: study.memory_indices for study in studies if study.memory_indices}
    if published and own_bank:
        order = {study.id: row for row, study in enumerate(study for study in studies if study.split == "train")}
        wrong = [name for name, rows in published.items() if max(rows) >= len(order) or order.get(name, -1) in rows]
        diagnosis.add(
            "error", "retrieval", "clip_indices of {count} studies name themselves or no training study", wrong
        )
    patients = {row: patient for row, patient in enumerate(bank.patients) if patient is not None}
    relatives = [
        study.id for study, rows in zip(studies, memory, strict=True)
        if study.patient is not None and any(patients.get(int(row)) == study.patient for row in rows)
    ]  # fmt: skip
    text = "the memory of {count} studies holds a report of their own patient (--exclude_same_patient leaves it out)"
    diagnosis.add("note", "retrieval", text, relatives)


def _look_at_rows(
    name: str, rows: np.ndarray, own: np.ndarray, ids: Sequence[str], size: int, diagnosis: Diagnosis
) -> None:
    outside = [ids[i] for i in np.flatnonzero(((rows < 0) | (rows >= size)).any(1))]
    text = f"{name} of {{count}} studies point outside the {size:,} training reports: {_AGAIN}"
    diagnosis.add("error", "retrieval", text, outside)
    itself = [ids[i] for i in np.flatnonzero((rows == own[:, None]).any(1) & (own >= 0))]
    diagnosis.add("error", "retrieval", f"{name} of {{count}} studies point at themselves: {_AGAIN}", itself)


def _look_at_bank_reports(bank: TrainingBank, studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    """The texts of the bank must be those of the training studies whose ids they carry."""
    cleaning = bank.store.entry("report_features")["made_by"].get("cleaning")
    name, _, words = str(cleaning).partition(" ")
    report_of: Mapping[str, str] = {study.id: study.report for study in studies}
    if not words.isdigit() or not all(identifier in report_of for identifier in bank.ids):
        return
    expected = prepare_reports([report_of[identifier] for identifier in bank.ids], name, int(words))
    other = [i for i, mine, theirs in zip(bank.ids, expected, bank.reports, strict=True) if mine != theirs]
    diagnosis.add("error", "retrieval", f"{{count}} reports of the bank are not those of their study: {_AGAIN}", other)
