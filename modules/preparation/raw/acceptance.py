"""What raw data sets must have in common before anything is made of them: one name a patient, whole patients, frontal views first, no links out."""

from __future__ import annotations

from modules.corpus.annotations import SPLITS, leading_out
from modules.corpus.dicom_subjects import is_lateral
from modules.corpus.patients import patient_key
from modules.corpus.spelling import PICTURES
from modules.messages import UserError, quoted
from modules.preparation.raw.studies import RawDataset


def name_patients(dataset: RawDataset) -> None:
    """Give a patient whose name is written in several ways the first of them, and say so."""
    spellings: dict[str, list[str]] = {}
    for study in dataset.studies:
        if study.patient is not None:
            names = spellings.setdefault(patient_key(study.patient), [])
            if study.patient not in names:
                names.append(study.patient)
            study.patient = names[0]
    several = [names for names in spellings.values() if len(names) > 1]
    if several:
        dataset.notes.append(
            f"{len(several)} patients are written in several ways (first {', '.join(several[0])}): each is taken for one"
        )


def refuse_shared_patients(dataset: RawDataset, source: object) -> None:
    """Refuse a split that gives a patient to two of its parts; UserError names the first."""
    splits: dict[str, set[str]] = {}
    for study in dataset.studies:
        if study.patient is not None and study.split is not None:
            splits.setdefault(study.patient, set()).add(study.split)
    shared = [patient for patient, found in splits.items() if len(found) > 1]
    if shared:
        raise UserError(
            f"{source} puts {len(shared)} of {len(splits)} patients into two splits, first {shared[0]} into "
            f"{' and '.join(split for split in SPLITS if split in splits[shared[0]])}, so that a test would meet patients of "
            "the training: correct the split, or leave it out and one is drawn by patient"
        )


def refuse_shared_images(dataset: RawDataset, source: object) -> None:
    """Refuse a split that gives one image to two of its parts; where a study of that image names a patient, only note it.

    Raises:
        UserError: naming the first image.
    """
    splits: dict[str, set[str]] = {}
    of_patients: set[str] = set()
    for study in dataset.studies:
        for image in study.images:
            splits.setdefault(image, set()).add(study.split or "")
        if study.patient is not None:
            of_patients.update(study.images)
    shared = [image for image, found in splits.items() if len(found) > 1]
    unnamed = [image for image in shared if image not in of_patients]
    if unnamed:
        raise UserError(
            f"{source} puts {len(unnamed)} images into two splits, first {unnamed[0]}, so that a test would meet images of the "
            "training: correct the split, or leave it out and one is drawn"
        )
    if shared:
        dataset.notes.append(
            f"warning: {len(shared)} images are of patients in several splits, first {quoted(shared[0])}: a test meets images of the training"
        )


def name_laterals(dataset: RawDataset) -> None:
    """Note studies whose first image, the one that is read, is a lateral view by what its DICOM file says, and not the only one."""
    root = dataset.require_root()
    several = [study for study in dataset.studies if len(study.images) > 1]
    lateral = [
        study.id
        for study in several
        if not study.images[0].lower().endswith(PICTURES) and is_lateral(root / study.images[0])
    ]
    if lateral:
        dataset.notes.append(
            f"warning: of {len(lateral)} of {len(several)} studies with several images the first one, which is read, is a lateral view "
            f"(ViewPosition, code of the view), first {quoted(lateral[0])}: write the frontal view before it"
        )


def refuse_links(dataset: RawDataset) -> None:
    """Refuse images that a link leads out of the raw folder; UserError names the first."""
    if dataset.image_root is None:
        return
    outside = leading_out(dataset.image_root, (image for study in dataset.studies for image in study.images))
    if outside:
        raise UserError(
            f"{len(outside)} images are links, or below links, that lead out of {dataset.image_root}, first {outside[0]}: copy "
            "the images themselves there, or give the folder that holds them"
        )
