"""The tables of mimic-cxr-jpg: the images of every study, the frontal ones first, its split and patient, its labels.

A table that was cut at the end of a line, or put together by hand, is whole to every reader of tables. So each is held
against the others: what they contradict each other in is refused, what one of them lacks is refused or counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from modules.corpus.splits import split_name
from modules.labels import BLANK, CHEXPERT_CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN
from modules.messages import UserError, named, quoted
from modules.preparation.raw.files import read_table
from modules.preparation.raw.studies import LOSS

FRONTAL = ("PA", "AP", "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD")  # in the order in which they are preferred
_STATES = {1.0: POSITIVE, 0.0: NEGATIVE, -1.0: UNCERTAIN}
_COLUMN_OF = {name: "Pleural Other" if name == "pleural other" else name.title() for name in CHEXPERT_CONDITIONS}
COLUMNS = {
    "split": ("dicom_id", "study_id", "subject_id", "split"),
    "metadata": ("dicom_id", "ViewPosition"),
    "chexpert": ("study_id", *_COLUMN_OF.values()),
}
_NAME, _NUMBER = re.compile(r"[\w-][\w.-]*", re.ASCII), re.compile(r"[sp]?(\d{1,12})(?:\.0+)?", re.ASCII)


@dataclass(kw_only=True)
class ListedStudies:
    """What the tables of the split and of the views say.

    Args:
        images: by study, rank of the view (0 for the preferred one) and file name of every image.
        split: by study.
        patient: by study.
        notes: what the tables lack.
    """

    images: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    patient: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def the_table(found: Sequence[Path], name: str) -> Path:
    """The first of the tables of one kind, if all say the same, as a packed table and the same one unpacked beside it do.

    Args:
        found: files of that kind, one at least.
        name: of the kind, a key of ``COLUMNS``.

    Raises:
        UserError: if two of them differ.
    """
    if len(found) > 1:
        first, *others = ({tuple(row[column] for column in COLUMNS[name]) for row in read_table(path, COLUMNS[name])}
                          for path in found)  # fmt: skip
        for path, rows in zip(found[1:], others, strict=True):
            if rows != first:
                raise UserError(
                    f"{found[0]} and {path} are two {name} tables, which differ in {len(rows ^ first):,} rows: leave the one that "
                    "is to be used, and move the other out of --raw_dir"
                )
    return found[0]


def read_listed(split: Path, metadata: Path, suffix: str) -> ListedStudies:
    """Read the tables of the split and of the views.

    Args:
        split: ``mimic-cxr-2.0.0-split.csv.gz``.
        metadata: ``mimic-cxr-2.0.0-metadata.csv.gz``.
        suffix: of the image files.

    Raises:
        UserError: if an id is not what PhysioNet calls images, studies and patients; if a study has two splits or patients,
            an image two studies or views, or no row in ``metadata``.
    """
    views, listed, study_of = _read_views(metadata), ListedStudies(), dict[str, str]()
    rank = {view: number for number, view in enumerate((*FRONTAL, ""))}  # an unknown view before a lateral one
    repeated = unknown = 0
    lacking: list[str] = []
    for row in tqdm(read_table(split, COLUMNS["split"]), desc="images listed", unit="image", leave=False):
        image, study, patient = _ids(row, split)
        for what, known, value in (
            ("splits", listed.split, split_name(row["split"], str(split))),
            ("patients", listed.patient, patient),
        ):
            if known.setdefault(study, value) != value:
                raise _contradiction(split, f"study {study} to two {what}", known[study], value)
        if image in study_of:
            if study_of[image] != study:
                raise _contradiction(split, f"image {image} to two studies", study_of[image], study)
            repeated += 1
            continue
        study_of[image] = study
        if image not in views:
            lacking.append(image)
        view = views.get(image, "")
        if not view:
            unknown += 1
        listed.images.setdefault(study, []).append((rank.get(view, len(rank)), f"{image}{suffix}"))
    if not study_of:
        raise UserError(f"{split} lists no image: copy the table again")
    if lacking:
        raise UserError(
            f"{metadata} has no row of {len(lacking):,} of the {len(study_of):,} images of {split}, first {lacking[0]}, so that a "
            "lateral film would be read for a frontal one: copy both tables again, of one version"
        )
    if repeated:
        listed.notes.append(f"{repeated:,} rows of {split} stand there twice: each image is taken once")
    if unknown > len(study_of) / 2:
        listed.notes.append(
            f"warning: {unknown:,} of {len(study_of):,} images have no ViewPosition in {metadata}: which film of a study is "
            "frontal is not known, and the first of the table is read first; copy the table again if it was not so published"
        )
    if more := len(views.keys() - study_of.keys()):
        listed.notes.append(f"{more:,} images of {metadata} are not in {split}, and left out: it may be cut off")
    return listed


def _read_views(table: Path) -> dict[str, str]:
    """View of every image, in capitals."""
    views: dict[str, str] = {}
    for row in read_table(table, COLUMNS["metadata"]):
        view = row["ViewPosition"].strip().upper()
        if views.setdefault(row["dicom_id"], view) != view:
            raise _contradiction(table, f"image {named(row['dicom_id'])} to two views", views[row["dicom_id"]], view)
    return views


def _ids(row: dict[str, str], table: Path) -> tuple[str, str, str]:
    """Image, study and patient of a row, which become paths."""
    image, study, patient = row["dicom_id"], plain_number(row["study_id"]), plain_number(row["subject_id"])
    if not (_NAME.fullmatch(image) and _NUMBER.fullmatch(study) and _NUMBER.fullmatch(patient)):
        raise UserError(
            f"{table} has the ids {quoted(image)}, {quoted(study)} and {quoted(patient)}, expected a DICOM id and two numbers: "
            "copy the table again"
        )
    return image, study, patient


def plain_number(identifier: str) -> str:
    """The number of a study or patient: ``50414267`` of ``s50414267``, as its files are called, and of ``50414267.0``."""
    number = _NUMBER.fullmatch(identifier.strip())
    return number[1] if number else identifier


def _state(cell: str, table: Path, study: str) -> int:
    """State of a cell of labels: ``1.0``, ``1`` and ``1,0`` are one; empty and ``nan`` are blank; UserError if it is none."""
    if cell.strip().casefold() in ("", "nan"):
        return BLANK
    try:
        return _STATES[float(cell.replace(",", "."))]
    except (KeyError, ValueError):
        raise UserError(
            f"{table}, study {named(study)}: the label {quoted(cell)} is none of -1.0, 0.0, 1.0 and empty: copy the table again"
        ) from None


def _contradiction(table: Path, what: str, one: str, other: str) -> UserError:
    return UserError(f"{table} gives {what}, {quoted(one)} and {quoted(other)}: copy the table again, or correct it")


def read_chexpert(table: Path, studies: Collection[str]) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """States of the 14 conditions by study, as PhysioNet's CheXpert labeler gives them, and what the table lacks.

    Args:
        table: ``mimic-cxr-2.0.0-chexpert.csv.gz``.
        studies: those that are listed.

    Raises:
        UserError: if a label is no state; if a study has two rows that differ; if no study has a row.
    """
    labels: dict[str, tuple[int, ...]] = {}
    for row in read_table(table, COLUMNS["chexpert"]):
        study = plain_number(row["study_id"])
        states = tuple(_state(row[_COLUMN_OF[name]], table, study) for name in CHEXPERT_CONDITIONS)
        if labels.setdefault(study, states) != states:
            raise UserError(f"{table} has two rows of study {named(study)}, which differ: copy the table again")
    without = sum(study not in labels for study in studies)
    if without == len(studies):
        raise UserError(
            f"{table} has no row of the {len(studies):,} studies: give the table of this data set, or leave out --chexpert_labels"
        )
    if not without:
        return labels, []
    warning = "warning: " if without > LOSS * len(studies) else ""
    note = f"{without:,} of {len(studies):,} studies have no row in {table}: they are labelled by their reports"
    return labels, [f"{warning}{note}"]
