"""Your own studies: a table (CSV, TSV, Excel) or a JSON-lines file with one study a row.

image_path   one path or several separated by ";" (a list in JSON lines), from the folder of the file
report       the text; or findings and impression, of which --section chooses
id           optional, the first image's path without suffix if absent
patient      optional, keeps a patient's studies in one split
split        optional, train / val / test; drawn by patient if absent
labels       optional, 14 or 18 states

Other headings that mean these are in ``own_columns.COLUMNS``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from modules.corpus.annotations import leading_out, read_image_path, read_labels
from modules.corpus.cells import failed, is_empty, refuse_odd
from modules.corpus.nothing_said import says_nothing
from modules.corpus.splits import split_name
from modules.evaluation.reading.leftovers import note_cuts, refuse_classes, refuse_leftovers
from modules.evaluation.reading.report_rows import refuse_other_keys
from modules.labelling.labelers import RuleLabeler
from modules.labels import POSITIVE
from modules.messages import UserError, quoted, quoted_name
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.acceptance import (
    name_laterals,
    name_patients,
    refuse_shared_images,
    refuse_shared_patients,
)
from modules.preparation.raw.drawn_split import draw_split
from modules.preparation.raw.own_columns import ask_for_the_split, find_columns, is_of_studies, read_states
from modules.preparation.raw.own_files import (
    advice_outside,
    find_table,
    in_other_case,
    join_folders,
    of_other_suffix,
    read_paths,
    refuse_bytes,
    without_suffix,
)
from modules.preparation.raw.own_patients import Rows, patients_of_paths
from modules.preparation.raw.own_rows import own_rows
from modules.preparation.raw.own_texts import cut_to_sections, names_sections, plain_text, sentences_apart
from modules.preparation.raw.split_files import read_split_file, use_split
from modules.preparation.raw.studies import NO_SECTION, SECTIONS, RawDataset, RawStudy, join_sections

TEXTS = ("report", *SECTIONS)
# What is said of the rows in which it was done.
MARKS = "marks of HTML or HL7, or line breaks that were written out, were taken out of the texts"
TOGETHER = "sentences that stood together (clear.No effusion.) were given a blank between them"
MORE = "the findings or the impression hold more (another section, advice, technique, a signature), of which the section alone is taken"
SUFFIX = "the image path has no suffix, and the only film of its name is taken"
CASE = "the image path is that of a file in other case, such as a.PNG of a.png, which is taken"
OTHER_SUFFIX = (
    "the image path ends otherwise than the only film of its name, such as a.jpg beside a.png, which is taken"
)
LISTED = 100  # wrong rows that are printed
_ROUNDED = re.compile(r"[-+]?\d+(?:[.,]\d+)?[eE]\+\d+")


def read_custom(raw_dir: str | Path, options: RawOptions, with_images: bool = True, seed: int = 0) -> RawDataset:
    """Read one's own studies.

    Args:
        raw_dir: the file, or a folder that holds one table or ``.jsonl`` file.
        options: ``section``, ``split_file``, ``patient_column``.
        with_images: leave out studies whose images are not there.
        seed: of the split, where none is given.

    Raises:
        UserError: if there is no such file; listing every row that is wrong, or asking about a column.
    """
    path = find_table(Path(raw_dir))
    headings, rows, notes = own_rows(path)
    if not rows:
        raise UserError(f"{path} holds no study: write one row for each, see docs/own_data.md")
    headings, rows, joined = join_folders(path, headings, rows)
    columns, said = find_columns(path, headings, rows, options.patient_column)
    refuse_other_keys(path, [row for _, row in rows], [columns[name] for name in TEXTS if name in columns])
    if "report" in columns and options.section != "findings":
        raise UserError(
            f"--section {options.section} chooses among the columns findings and impression, and {path} has the column "
            f"{columns['report']!r}, which is taken whole: leave out --section, or remove that column"
        )
    if "split" not in columns and not options.split_file:
        ask_for_the_split(path, headings, rows)
    refuse_bytes(path, rows, columns["image_path"])
    dataset = RawDataset(studies=[], image_root=path.parent, notes=[*notes, *joined, *said])
    _read_studies(path, rows, columns, options, dataset)
    if "patient" not in columns and "split" not in columns and not options.split_file and not options.patient_column:
        _take_paths(dataset, columns)
    name_patients(dataset)
    by_study = is_of_studies(columns.get("patient", ""))  # what keeps the images of one study together knows no patient
    undivided = _split(path, dataset, options.split_file, columns.get("patient"))
    empty = "no report" if "report" in columns else NO_SECTION[options.section]
    dataset.keep(lambda study: None if study.report else empty)
    reports = [study.report for study in dataset.studies]
    refuse_classes(path, reports, "call the column of the texts report")
    refuse_leftovers(path, reports, "learnt")
    if with_images:
        dataset.keep_present()
        name_laterals(dataset)
    if undivided and not options.all_test:  # what is left out would take from the smaller splits
        states = RuleLabeler()([study.report for study in dataset.studies])
        found = {
            study.id: set(map(int, np.flatnonzero(row == POSITIVE)))
            for study, row in zip(dataset.studies, states, strict=True)
        }
        draw_split(dataset, seed, found, "study" if by_study else None)
    source = options.split_file or f"the split column of {path}"
    refuse_shared_patients(dataset, source)
    refuse_shared_images(dataset, source)
    return dataset


def _take_paths(dataset: RawDataset, columns: dict[str, str]) -> None:
    """Let the paths of the images keep the films of a patient together, where their beginnings repeat as patients do."""
    beginnings = patients_of_paths([study.images[0] for study in dataset.studies])
    first = next(filter(None, beginnings), None)
    if first is not None:
        for study, beginning in zip(dataset.studies, beginnings, strict=True):
            study.patient = beginning
        columns["patient"] = "path"
        dataset.notes.append(
            f"no patient column was found: images whose paths begin alike ({quoted_name(first)}) are taken for those of one patient; name its column "
            "patient if there is one, or give --patient_column none"
        )


def _read_studies(path: Path, rows: Rows, columns: Mapping[str, str], options: RawOptions, dataset: RawDataset) -> None:
    """Add the study of every row; UserError lists all rows that are wrong."""
    problems: list[str] = []
    changed: Counter[str] = Counter()
    seen: set[str] = set()
    taken: dict[str, str] = {}  # films under another suffix than is written
    for where, row in rows:
        values = {name: row[heading] for name, heading in columns.items() if not is_empty(row.get(heading))}
        try:
            _refuse_failed(path, where, values)
            plain = {
                name: plain_text(values[name], f"{path}, {where}")
                for name in TEXTS
                if isinstance(values.get(name), str)
            }
            changed[MARKS] += any(values[name] != text for name, text in plain.items())
            together, plain = plain, {name: sentences_apart(text) for name, text in plain.items()}
            changed[TOGETHER] += together != plain
            sections = cut_to_sections(plain)
            changed[MORE] += any(plain.get(name) != text for name, text in sections.items())
            values |= plain | sections
            study = _study(path, where, values, options)
            changed[CASE] += in_other_case(values["image_path"], study.images)
            changed[SUFFIX] += without_suffix(values["image_path"], study.images)
            changed[OTHER_SUFFIX] += bool(others := of_other_suffix(values["image_path"], study.images))
            taken |= dict.fromkeys(others, study.id)
            if study.id in seen:
                raise UserError(
                    f"{path}, {where}: the id {study.id} appears twice, expected every id once: put the images of a study into one row, "
                    "separated by ;, or leave out its other rows"
                )
        except UserError as error:
            problems.append(str(error).removeprefix(f"{path}, "))
            continue
        seen.add(study.id)
        dataset.studies.append(study)
    dataset.notes += [f"{what} in {count} rows" for what, count in changed.items() if count]
    dataset.notes += _note_texts(path, dataset.studies, "report" in columns)
    by_image = {image: study.id for study in dataset.studies for image in study.images}
    problems += [
        f"study {by_image[image]}: {dataset.require_root() / image} is a link, or below one, that leads out of the folder, expected the "
        "images themselves: copy them there"
        for image in leading_out(dataset.require_root(), by_image)
    ]
    named = Counter(image for study in dataset.studies for image in study.images)
    problems += [
        f"study {study}: its image is not there, and {image}, the only film of its name, is that of another row too: correct the path"
        for image, study in taken.items()
        if named[image] > 1
    ]
    if problems:
        more = [f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = "\n  ".join([*problems[:LISTED], *more])
        raise UserError(f"{path}: {len(problems)} of {len(rows)} rows are wrong:\n  {lines}")


def _note_texts(path: Path, studies: Sequence[RawStudy], of_whole_reports: bool) -> list[str]:
    """Lines on reports that are taken with all their sections, and on reports that look cut off."""
    notes = []
    whole = sum(names_sections(study.report) for study in studies) if of_whole_reports else 0
    if whole:
        notes.append(
            f"{whole} of {len(studies)} reports name their sections (FINDINGS, IMPRESSION) and are taken whole, with whatever "
            "else stands in them: put the wanted text into a column findings or impression if that is not meant"
        )
    return notes + note_cuts(path.name, [study.report for study in studies])


def _refuse_failed(path: Path, where: str, values: Mapping[str, Any]) -> None:
    """Refuse cells in which a program or a spreadsheet has left something else than what belongs there."""
    for name, value in values.items():
        if name in ("id", "patient", *TEXTS):
            refuse_odd(f"{path}, {where}", name, value)
        if name in ("id", "patient") and _ROUNDED.fullmatch(str(value).strip()):
            raise UserError(
                f"{path}, {where}: the {name} is {value}, a number that a spreadsheet has rounded, so that several may have become "
                "one: make the column text and export it again"
            )
        if kind := failed(value, text=name in TEXTS):
            raise UserError(
                f"{path}, {where}: the {name} is {quoted(value.strip())}, which {kind}: correct it, or leave the cell empty"
            )


def _study(path: Path, where: str, values: Mapping[str, Any], options: RawOptions) -> RawStudy:
    """The study of one row, of its cells by the names of ``own_columns.COLUMNS``."""
    paths = read_paths(values.get("image_path"), path.parent)
    images = read_image_path(path, where, {"image_path": paths}, advice_outside(paths))
    for name in TEXTS:
        if not isinstance(values.get(name, ""), str):
            raise UserError(
                f"{path}, {where}: the {name} is a {type(values[name]).__name__}, expected text: correct it"
            )
    whole = values.get("report", "").strip()
    parts = {name: re.sub(r"\s+", " ", values.get(name, "")).strip() for name in SECTIONS}
    return RawStudy(
        id=str(values["id"] if "id" in values else PurePosixPath(images[0]).with_suffix("")),
        patient=str(values["patient"]) if "patient" in values else None,
        images=images,
        report=whole if not says_nothing(whole) else join_sections(**parts, section=options.section),
        split=split_name(str(values["split"]), f"{path}, {where}") if "split" in values else None,
        labels=read_labels(path, where, read_states(values.get("labels"))),
    )


def _split(path: Path, dataset: RawDataset, split_file: str | None, patients: str | None) -> bool:
    """Take the split of the table or of ``--split_file``; say what stands for the patient.

    Returns:
        Whether one is to be drawn.
    """
    without = [study.id for study in dataset.studies if study.split is None]
    unknown = sum(study.patient is None for study in dataset.studies)
    if patients is None:
        dataset.notes.append(
            "no patient column was found: the images are taken for patients; name it patient if there is one"
        )
    elif is_of_studies(patients):
        dataset.notes.append(
            f"no patient column was found: the images of one {patients} stay together, and its studies are taken for patients; "
            "name it patient if there is one"
        )
    elif unknown:
        dataset.notes.append(f"{unknown} rows name no patient: each is taken for a patient of its own")
    if split_file:
        use_split(dataset, read_split_file(split_file), split_file)
    elif len(without) == len(dataset.studies):
        return True
    elif without:
        raise UserError(
            f"{len(without)} of {len(dataset.studies)} studies of {path} have no split, first {without[0]}: give one to "
            "all or to none"
        )
    return False
