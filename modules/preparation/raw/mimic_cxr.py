"""MIMIC-CXR as PhysioNet publishes it: mimic-cxr-jpg (or the DICOM files of mimic-cxr) and the free-text reports.

Below the raw folder, at any place a few levels deep:

    mimic-cxr-2.0.0-split.csv.gz       dicom_id, study_id, subject_id, split
    mimic-cxr-2.0.0-metadata.csv.gz    dicom_id, ViewPosition, ...
    mimic-cxr-2.0.0-chexpert.csv.gz    only for --chexpert_labels
    files/p10/p10000032/s50414267/<dicom_id>.jpg    or .dcm, .png, ...; any folder that holds p10 to p19
    mimic-cxr-reports.zip              or its folder: files/p10/p10000032/s50414267.txt

``--items image`` makes a study of every image, with the image's name as its id: so R2Gen's annotation is made, and with it
the 270,790 / 2,130 / 3,858 of the published figures. ``--items study`` keeps the images of a study together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from modules.corpus.annotations import SPLITS
from modules.corpus.cells import refuse_odd
from modules.corpus.encodings import find_encoding
from modules.corpus.spelling import DICOM, JPEG
from modules.messages import Needed, UserError, require
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.files import find_below, iterate_texts
from modules.preparation.raw.mimic_tables import plain_number, read_chexpert, read_listed, the_table
from modules.preparation.raw.report_sections import extract
from modules.preparation.raw.split_files import names_images, read_split_file, use_split
from modules.preparation.raw.studies import NO_SECTION, RawDataset, RawStudy

_PICTURES = (*JPEG, ".png")  # suffixes of images, the usual first
QUICK = 50  # patients of a group that are looked at for a kind of file, before all are: there are 65,000
_REPORT_NAME = re.compile(r"(?:^|[/\\])s(\d+)\.txt$")  # Windows packs with its own separator


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the files of a raw folder lie."""

    split: Path
    metadata: Path
    chexpert: Path | None
    reports: list[Path]
    images: Path | None
    suffix: str
    notes: list[str]


def read_mimic_cxr(raw_dir: str | Path, options: RawOptions, with_images: bool = True, seed: int = 0) -> RawDataset:
    """Read the tables and the reports, and pair them with the images.

    Args:
        raw_dir: folder that holds what PhysioNet publishes.
        options: ``section``, ``unnamed``, ``items``, ``chexpert_labels``, ``split_file``.
        with_images: look for the images and leave out those that are not there; else all are taken to be.
        seed: unused, the split is published; every reader is called alike.

    Returns:
        Studies in the official split, ordered by split, patient and study.

    Raises:
        UserError: listing everything that is not in ``raw_dir``; if a table is damaged, or contradicts itself or another;
            if no report is of a listed study.
    """
    places = _find(Path(raw_dir), options.chexpert_labels, with_images)
    listed = read_listed(places.split, places.metadata, places.suffix)
    texts, dropped, said = _read_reports(places, listed.patient, options)
    labels, lacking = read_chexpert(places.chexpert, listed.patient) if places.chexpert else ({}, [])
    dataset = RawDataset(studies=[], image_root=places.images, notes=[*listed.notes, *places.notes, *lacking])
    split_of, patient_of = listed.split, listed.patient
    for study in sorted(patient_of, key=lambda study: (SPLITS.index(split_of[study]), patient_of[study], study)):
        identifier = f"s{study}"
        if study not in texts:
            dataset.dropped[identifier] = dropped.get(study, "no report file")
            continue
        folder = f"p{patient_of[study][:2]}/p{patient_of[study]}/{identifier}"
        raw = RawStudy(
            id=identifier,
            patient=f"p{patient_of[study]}",
            images=tuple(f"{folder}/{name}" for _, name in sorted(listed.images[study])),
            report=texts[study],
            split=split_of[study],
            labels=labels.get(study),
        )
        dataset.studies.append(raw)
    if with_images:
        kinds = DICOM if places.suffix.lower() in DICOM else _PICTURES
        dataset.keep_present([form for kind in kinds for form in (kind, kind.upper(), kind.title())])
    splits = read_split_file(options.split_file, options.items) if options.split_file else {}
    by_image = bool(splits) and names_images(splits, dataset, _of_images, str)
    if by_image and options.items == "study":
        raise UserError(f"{options.split_file} names images, and the items are studies: give --items image")
    if splits and not by_image:
        use_split(dataset, splits, str(options.split_file), plain_number)
    if options.items == "image":
        dataset.split_into_images(_of_images)
    if by_image:
        use_split(dataset, splits, str(options.split_file))
    dataset.notes += said
    return dataset


def _of_images(study: RawStudy) -> list[RawStudy]:
    """A study of every image, called as PhysioNet calls it."""
    return [replace(study, id=Path(path).stem, images=(path,)) for path in study.images]


def _find(raw_dir: Path, chexpert: bool, with_images: bool) -> _Places:
    """Where everything lies; what is missing is listed at once."""
    table = {
        name: find_below(raw_dir, rf"mimic-cxr-2\.\d\.\d-{name}\.csv(\.gz)?")
        for name in ("split", "metadata", "chexpert")
    }
    groups = find_below(raw_dir, r"p1\d", depth=7)  # physionet.org/files/mimic-cxr/2.1.0/mimic-cxr-reports/files/p10
    trees = list(dict.fromkeys(group.parent for group in groups if group.is_dir()))
    reports = find_below(raw_dir, r"mimic-cxr-reports(\.zip|\.tar\.gz|\.tgz|\.tar)")
    reports = reports[:1] or _find_reports(trees)
    images, suffix = _find_images(trees) if with_images else ([], "")
    how = "download it with your PhysioNet account: https://physionet.org/content/mimic-cxr-jpg/"
    needed = [
        Needed(raw_dir / f"mimic-cxr-2.0.0-{name}.csv.gz", f"{name} table of mimic-cxr-jpg", how)
        for name in ("split", "metadata", *(["chexpert"] if chexpert else []))
        if not table[name]
    ]
    if not reports:
        how_reports = "download it with your PhysioNet account: https://physionet.org/content/mimic-cxr/"
        needed.append(
            Needed(raw_dir / "mimic-cxr-reports.zip", "reports of mimic-cxr, or the unpacked tree", how_reports)
        )
    if with_images and not images:
        what = "images of mimic-cxr-jpg, or DICOM files of mimic-cxr"
        needed.append(Needed(raw_dir / "files" / "p10" / "p10000032" / "s50414267" / "*.jpg", what, how))
    require(needed)
    return _Places(
        the_table(table["split"], "split"),
        the_table(table["metadata"], "metadata"),
        the_table(table["chexpert"], "chexpert") if chexpert else None,
        reports,
        images[0] if images else None,
        suffix or _PICTURES[0],
        [f"images from {images[0]}; {other} holds images too, which are not read" for other in images[1:]],
    )


def _find_reports(trees: Sequence[Path]) -> list[Path]:
    """The first tree that holds reports."""
    return next(([tree] for most in (QUICK, None) for tree in trees if _first(tree, "s*.txt", most)), [])


def _find_images(trees: Sequence[Path]) -> tuple[list[Path], str]:
    """The trees that hold images of one kind, pictures before DICOM files, and the suffix of the first tree's."""
    for most in (QUICK, None):
        for kinds in (_PICTURES, DICOM):
            suffixes = {tree: _suffix(tree, kinds, most) for tree in trees}
            if found := [tree for tree in trees if suffixes[tree]]:
                return found, suffixes[found[0]]
    return [], ""


def _suffix(tree: Path, kinds: Sequence[str], most: int | None) -> str:
    """The suffix, in whatever case, of the first kind of image that a tree holds; empty if it holds none."""
    for kind in kinds:
        in_any_case = "".join(f"[{letter}{letter.upper()}]" for letter in kind[1:])
        if found := _first(tree, f"s*/*.{in_any_case}", most):
            return found.suffix
    return ""


def _first(tree: Path, pattern: str, most: int | None) -> Path | None:
    """The first such file of the patients of a tree.

    Args:
        tree: folder that holds p10 to p19.
        pattern: of the file, from the folder of a patient on.
        most: patients that are looked at, of each of two groups; None: all patients of all groups, which takes a minute.
    """
    for group in sorted(tree.glob("p1[0-9]"))[: None if most is None else 2]:
        for patient in islice(group.glob("p*"), most):
            if found := next(patient.glob(pattern), None):
                return found
    return None


def _read_reports(
    places: _Places, listed: Collection[str], options: RawOptions
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The wanted section of every listed study, why others have none, and notes on where the sections stood."""
    texts: dict[str, str] = {}
    dropped: dict[str, str] = {}
    read: dict[str, int] = {}
    unlisted: set[str] = set()
    origins: Counter = Counter()
    for source in places.reports:
        for name, content in iterate_texts(source, ".txt"):
            match = _REPORT_NAME.search(name)
            if not match:
                continue
            study, digest = match[1], hash(content)
            if study not in listed:
                unlisted.add(study)
                continue
            if read.setdefault(study, digest) != digest:
                raise UserError(
                    f"{name} in {source} is another text of study {study} than the one read before: remove one of them"
                )
            report = content.decode(find_encoding(source / name, content))
            text, origin = extract(report, options.section, options.unnamed)
            if text:
                refuse_odd(f"{name} in {source}", options.section, text)
                texts[study] = text
                origins[origin] += 1
            else:
                dropped[study] = NO_SECTION[options.section]
    sources = ", ".join(map(str, places.reports))
    if not read:
        raise UserError(
            f"{sources} has {len(unlisted):,} files with a name as s50414267.txt, none of them of the {len(listed):,} studies of "
            f"{places.split}: give the reports as PhysioNet publishes them, or the table that they belong to"
        )
    notes = [
        f"reports from {sources}",
        f"text of {origins['header']} reports under a header, of {origins['no header']} under none",
    ]
    if unlisted:
        notes.append(f"{len(unlisted):,} reports are of no study of {places.split}, and left out: it may be cut off")
    return texts, dropped, notes
