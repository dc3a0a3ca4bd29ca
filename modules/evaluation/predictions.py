"""Reports that someone generated, from whatever file they were left in, matched with their references by study.

predictions.jsonl      ours: "id", "prediction", "reference", and more
*.jsonl                {"prediction", "reference"}, with or without "id"
*.csv                  columns ``study_id,report`` (also ``id`` or ``dicom_id``, ``prediction`` or ``findings``)
res.csv, gts.csv       R2Gen's: one column without a heading, matched by order
*.json                 an annotation file, for references
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules.corpus.annotations import read_annotation, require_split
from modules.corpus.text import CLEANERS, truncate_words
from modules.records import iterate_jsonl

ID_NAMES = ("id", "study_id", "dicom_id", "image_id")
TEXT_NAMES = ("prediction", "report", "findings")
REFERENCE_NAMES = ("reference", "ground_truth")
_MIMIC_STUDY = re.compile(r"s?(\d{8})")
_MIMIC_FOLDER = re.compile(r"/s(\d{8})/")


@dataclass
class ReportFile:
    """What one file holds, by study id.

    ``texts`` are its reports, ``references`` what it carries as theirs (``full`` before truncation, ``retrieved`` the
    report that was retrieved); ``ordered`` says that it has no ids and its rows are numbered from 1; ``by_study`` leads
    from MIMIC-CXR study numbers to the ids of an annotation.
    """

    path: Path
    texts: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    full: dict[str, str] = field(default_factory=dict)
    retrieved: dict[str, str] = field(default_factory=dict)
    ordered: bool = False
    by_study: dict[str, str] = field(default_factory=dict)


@dataclass
class Matched:
    """Systems and references over the same studies, in the same order.

    ``references`` are cut, ``full`` are not; ``cleaning`` is what was done to them; ``notes`` say what was left out, or
    assumed.
    """

    ids: list[str]
    systems: dict[str, list[str]]
    references: list[str]
    full: list[str]
    retrieved: dict[str, list[str] | None]
    cleaning: str
    notes: list[str]


def named_files(words: Sequence[str]) -> dict[str, Path]:
    """Files by the name of their system, from ``NAME=FILE`` or ``FILE``.

    A file without a name is called as it is, ``predictions.jsonl`` and ``res.csv`` as their folder.

    Raises:
        ValueError: if two have one name.
    """
    files: dict[str, Path] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        if not equals:
            name = path.stem if path.name not in ("predictions.jsonl", "res.csv") else path.absolute().parent.name
        if not re.fullmatch(r"[\w.+-][\w .+-]*", name):
            raise ValueError(f"the system name {name!r} holds other characters than letters, digits, blanks and -_.+")
        if name in files:
            raise ValueError(f"{files[name]} and {path} are both called {name}: name them, --predictions a=FILE b=FILE")
        files[name] = path
    return files


def read_reports(path: str | Path, split: str = "test") -> ReportFile:
    """Read a file in any of the layouts above.

    Args:
        path: the file.
        split: of an annotation file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if its layout is none of these, a study appears twice, or it is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: check the path")
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".json": lambda file: _read_annotation(file, split)}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .jsonl, .csv or .json (an annotation): rename it")
    found = readers[path.suffix](path)
    if not found.texts:
        raise ValueError(f"{path} holds no report: give the file that the model wrote")
    return found


def _add(found: ReportFile, key: object, text: object, where: str) -> str:
    """Add a report under its id, which is returned; a missing id is the row's number."""
    if not isinstance(text, str):
        raise ValueError(f"{where} of {found.path} has a report that is {text!r}; expected text: correct it")
    key = _normal(str(len(found.texts) + 1) if key in (None, "") else key)
    if key in found.texts:
        raise ValueError(f"{where} of {found.path} repeats study {key}; expected every study once: remove one of them")
    found.texts[key] = text
    return key


def _normal(key: object) -> str:
    """An id as text; ``s50414267`` and ``50414267`` are one MIMIC-CXR study."""
    text = str(key).strip()
    match = _MIMIC_STUDY.fullmatch(text)
    return match[1] if match else text


def _named(row: Mapping[str, object], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _read_jsonl(path: Path) -> ReportFile:
    found, with_id = ReportFile(path), 0
    for number, row in enumerate(iterate_jsonl(path), start=1):
        text = _named(row, TEXT_NAMES) if isinstance(row, dict) else None
        if text is None:
            held = f"the keys {', '.join(map(str, row))}" if isinstance(row, dict) else f"a {type(row).__name__}"
            raise ValueError(f'line {number} of {path} holds {held}; expected {{"id", "prediction", "reference"}}')
        identifier = _named(row, ID_NAMES)
        with_id += identifier is not None
        key = _add(found, row[identifier] if identifier else None, row[text], f"line {number}")
        reference = _named(row, REFERENCE_NAMES)
        if reference and isinstance(row[reference], str):
            found.references[key] = row[reference]
        for name, store in (("reference_full", found.full), ("retrieved_report", found.retrieved)):
            if isinstance(row.get(name), str):
                store[key] = row[name]
    found.ordered = with_id == 0
    if 0 < with_id < len(found.texts):
        raise ValueError(f"{with_id} of {len(found.texts)} lines of {path} have an id; expected all or none")
    return found


def _read_csv(path: Path) -> ReportFile:
    csv.field_size_limit(1 << 24)
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            rows = [row for row in csv.reader(file) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file in UTF-8 ({error}): save it again as one") from error
    found = ReportFile(path)
    heading = {name.strip().lower(): i for i, name in enumerate(rows[0])} if rows else {}
    identifier, text = _named(heading, ID_NAMES), _named(heading, TEXT_NAMES)
    if rows and rows[0] == ["", "0"]:  # a pandas table with its row numbers
        heading, identifier, text = {"": 0, "0": 1}, None, "0"
    if text is None and rows and any(len(row) != 1 for row in rows):
        raise ValueError(
            f"{path} begins with {', '.join(rows[0])[:80]!r}; expected the heading study_id,report, or one column of "
            "reports without a heading: add the heading"
        )
    found.ordered = identifier is None
    reference = _named(heading, REFERENCE_NAMES)
    for number, row in enumerate(rows[1:] if text else rows, start=2 if text else 1):
        if text and len(row) < len(rows[0]):
            raise ValueError(f"row {number} of {path} has {len(row)} cells; expected {len(rows[0])}: correct it")
        key = _add(found, row[heading[identifier]] if identifier else None, row[heading[text] if text else 0],
                   f"row {number}")  # fmt: skip
        if text and reference:
            found.references[key] = row[heading[reference]]
    return found


def _read_annotation(path: Path, split: str) -> ReportFile:
    found = ReportFile(path)
    for study in require_split(read_annotation(path), split, path):
        found.texts[_normal(study.id)] = study.report
        number = _MIMIC_FOLDER.search(study.image_path[0])
        if number:  # how tables of MIMIC-CXR name the study
            found.by_study[number[1]] = _normal(study.id)
    return found


def clean_texts(texts: Sequence[str], cleaning: str) -> tuple[list[str], str]:
    """Clean reports unless they are clean.

    Args:
        texts: reports.
        cleaning: a key of ``CLEANERS``, ``"none"``, or ``"auto"``: the published cleaner if any text has an upper-case
            letter, else none.

    Returns:
        The texts, and what was done: a key of ``CLEANERS`` or ``"none"``.
    """
    if cleaning == "auto":
        cleaning = "published" if any(text != text.lower() for text in texts) else "none"
    return (list(texts) if cleaning == "none" else [CLEANERS[cleaning](text) for text in texts]), cleaning


def match(systems: Mapping[str, ReportFile], references: ReportFile | None, cleaning: str, max_words: int) -> Matched:
    """Bring predictions and references together.

    Args:
        systems: predictions by the name of the system.
        references: where the references are; those that the predictions carry if absent.
        cleaning: see :func:`clean_texts`; predictions and references are decided on one by one.
        max_words: words kept of a reference, 0 for all; predictions are never cut.

    Returns:
        The studies that every system and the references have.

    Raises:
        ValueError: if a file carries no references and none are given, references contradict each other, files without
            ids differ in length, or no study is in all of them.
    """
    notes: list[str] = []
    truth = dict(references.texts) if references else _carried(systems)
    aligned = {name: _aligned(name, system, truth, references, notes) for name, system in systems.items()}
    ids = [key for key in truth if all(key in reports for reports in aligned.values())]
    for name, reports in aligned.items():
        missing, extra = [key for key in truth if key not in reports], [key for key in reports if key not in truth]
        if missing:
            notes.append(
                f"{name} has no report for {len(missing)} of {len(truth)} studies, first {', '.join(missing[:3])}"
            )
        if extra:
            notes.append(f"{name} has {len(extra)} reports without a reference, first {', '.join(extra[:3])}")
    if not ids:
        seen = "; ".join(f"{name}: {', '.join(list(reports)[:2])}" for name, reports in aligned.items())
        raise ValueError(
            f"no study is in all files (references: {', '.join(list(truth)[:2])}; {seen}): give files with the same ids"
        )
    full, done = clean_texts([truth[key] for key in ids], cleaning)
    notes.append(f"references: {len(ids)} studies, cleaning: {done}")
    cut = [truncate_words(text, max_words) for text in full] if max_words else list(full)
    chosen = {}
    for name, reports in aligned.items():
        chosen[name], how = clean_texts([reports[key] for key in ids], cleaning)
        notes.append(f"{name}: cleaning: {how}")
    retrieved = {
        name: [system.retrieved.get(key, "") for key in ids] if system.retrieved else None
        for name, system in systems.items()
    }
    return Matched(ids, chosen, cut, full, retrieved, done, notes)


def _carried(systems: Mapping[str, ReportFile]) -> dict[str, str]:
    """The references that the systems' own files hold."""
    truth: dict[str, str] = {}
    for name, system in systems.items():
        for key, cut in system.references.items():
            text = system.full.get(key, cut)
            if truth.setdefault(key, text) != text:
                raise ValueError(
                    f"the references of study {key} differ between {name} and another file: give one with --references"
                )
    if not truth:
        raise ValueError(
            f"{', '.join(systems)} carry no references: give them with --references (CSV, JSONL or annotation file)"
        )
    return truth


def _aligned(
    name: str, system: ReportFile, truth: Mapping[str, str], references: ReportFile | None, notes: list[str]
) -> dict[str, str]:
    """Reports of a system under the ids of the references."""
    if references and (system.ordered or references.ordered):
        if len(system.texts) != len(truth):
            raise ValueError(
                f"{system.path} has {len(system.texts)} reports and {references.path} {len(truth)}, and one of them has "
                "no ids; expected as many of each, since they are matched by order: add ids"
            )
        notes.append(f"{name} is matched with its references by order: one of the files has no ids")
        return dict(zip(truth, system.texts.values(), strict=True))
    if references and references.by_study and not system.texts.keys() & truth.keys():
        notes.append(f"{name} is matched by the study number in the image paths of {references.path.name}")
        return {references.by_study.get(key, key): text for key, text in system.texts.items()}
    return system.texts
