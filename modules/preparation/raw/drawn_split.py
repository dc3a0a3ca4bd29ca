"""A split for a data set that has none: patients stay whole, and the small parts show what can be shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from modules.corpus.annotations import SPLITS
from modules.messages import UserError, quoted_name
from modules.preparation.raw.studies import RawDataset, RawStudy

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # of a split that is drawn; R2Gen's of IU X-Ray


def draw_split(
    dataset: RawDataset, seed: int, conditions: Mapping[str, set[int]] | None = None, unit: str | None = None
) -> None:
    """Draw a split by patient, 70 / 10 / 20 per cent of the studies, for a data set that has none.

    The draw depends on the seed and the set of patients alone, not on the order of the files.

    Args:
        dataset: its studies get their splits.
        seed: of the order of the patients.
        conditions: what each study shows, by id. With them validation and test first get a patient of every condition that
            three patients have, the rarest first, as far as twice their share goes.
        unit: what the patients of the studies are, for the note; found if absent.

    Raises:
        UserError: if one patient has all studies, as where each is called ``anonymous``.
    """
    patient_of = _together(dataset.studies)
    sizes = Counter(patient_of.values())
    patients = sorted(sizes)
    named = {study.patient for study in dataset.studies}
    if len(dataset.studies) > 1 and len(named) == 1 and None not in named:
        raise UserError(
            f"all {len(dataset.studies)} studies are of one patient, {quoted_name(str(named.pop()))}, expected several, by whom a split is drawn: give "
            "--patient_column none if nothing tells the patients, or a column split"
        )
    order = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    if conditions is None:
        split_of = _cut(order, sizes)
    else:
        shown: dict[str, set[int]] = {patient: set() for patient in patients}
        for identifier, patient in patient_of.items():
            shown[patient] |= conditions.get(identifier, set())
        split_of = _spread(order, sizes, shown)
    for study in dataset.studies:
        study.split = split_of[patient_of[study.id]]
    unit = unit or ("patient" if any(study.patient for study in dataset.studies) else "study")
    dataset.notes.append(f"split drawn by {unit} with --seed {seed}")


def _together(studies: Sequence[RawStudy]) -> dict[str, str]:
    """By id, what each study must stay with: its patient, or where none is named whoever has one of its images."""
    joined: dict[str, str] = {}  # a patient and the one that it is taken for

    def taken_for(patient: str) -> str:
        while patient in joined:
            patient = joined[patient]
        return patient

    owner: dict[str, str] = {}  # patient by image
    patient_of = {study.id: study.patient or f"study {study.id}" for study in studies}
    for study in studies:
        for image in study.images if study.patient is None else ():
            one, other = taken_for(owner.setdefault(image, patient_of[study.id])), taken_for(patient_of[study.id])
            if one != other:
                joined[other] = one
    return {identifier: taken_for(patient) for identifier, patient in patient_of.items()}


def _cut(order: Sequence[str], sizes: Mapping[str, int]) -> dict[str, str]:
    """Split of every patient: shares of the studies in this order."""
    bounds = np.cumsum([SHARES[split] for split in SPLITS]) * sum(sizes.values())
    split_of, placed = {}, 0
    for patient in order:
        split_of[patient] = SPLITS[min(int(np.searchsorted(bounds, placed, side="right")), len(SPLITS) - 1)]
        placed += sizes[patient]
    return split_of


def _spread(order: Sequence[str], sizes: Mapping[str, int], shown: Mapping[str, set[int]]) -> dict[str, str]:
    """Split of every patient, validation and test with all conditions where they can, see :func:`draw_split`."""
    counts = Counter(condition for conditions in shown.values() for condition in conditions)
    total, free = sum(sizes.values()), list(order)
    split_of: dict[str, str] = {}
    for split in ("val", "test"):
        wanted, size = max(1, math.ceil(SHARES[split] * total)), 0
        here: set[int] = set()  # conditions that a patient of this split has
        for condition in sorted(counts, key=lambda c: (counts[c], c)):
            patients = [patient for patient in free if condition in shown[patient]]
            if condition in here or len(patients) < 2 or counts[condition] < 3:
                continue
            patient = patients[0]
            if size + sizes[patient] > 2 * wanted:
                continue
            free.remove(patient)
            split_of[patient], size, here = split, size + sizes[patient], here | shown[patient]
        while size < wanted and len(free) > 1:
            patient = free.pop(0)
            split_of[patient], size = split, size + sizes[patient]
    return split_of | dict.fromkeys(free, "train")
