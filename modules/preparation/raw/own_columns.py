"""What the columns of somebody's own table mean: the usual headings, and questions about those that only look like them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.corpus.cells import is_empty
from modules.corpus.patients import patient_key
from modules.corpus.spelling import DICOM, PICTURES
from modules.corpus.splits import LIKE_SPLIT, MOST_SPLITS, known_split
from modules.corpus.tables import plain_heading
from modules.labels import STATES
from modules.messages import UserError, quoted_name, shown_headings
from modules.preparation.raw.own_files import are_there, name_films
from modules.preparation.raw.own_patients import MOST_OF_A_PATIENT, Rows, may_name_patients, names_persons
from modules.preparation.raw.own_texts import names_sections
from modules.preparation.raw.studies import SECTIONS

COLUMNS = {  # what is read: headings that mean it, the surest first
    "image_path": ("image_path", "image_paths", "image", "images", "path", "paths", "filename", "file", "filepath",
                   "image_file", "image_filename", "image_name", "img", "img_path", "dicom_path", "png_path", "jpg_path", "path_to_image",
                   "file_path"),
    "report": ("report", "report_text", "reports", "radiology_report", "full_report", "final_report", "text", "caption"),
    "findings": ("findings", "finding", "section_findings", "findings_text"),
    "impression": ("impression", "impressions", "conclusion", "section_impression", "impression_text"),
    "id": ("id", "study_id", "dicom_id", "image_id", "uid", "study_uid", "study_instance_uid", "accession_number", "accession"),
    "patient": ("patient", "patient_id", "subject_id", "subject", "pid", "mrn", "deid_patient_id"),
    "split": ("split", "set", "subset", "partition"),
    "labels": ("labels", "states"),
}  # fmt: skip
KNOWN = tuple(name for names in COLUMNS.values() for name in names)
_IDS = {plain_heading(name) for name in COLUMNS["id"]}
_PATIENTS = {plain_heading(name) for name in COLUMNS["patient"]}
_LIKE_ID = re.compile(r"(id|nr|no|num|number|nummer|key|accession|uid|case)$")

_OF_TEXT = re.compile(r"\.(?:txt|json|xml|csv|tsv|html?|docx?|pdf)['\"\]\s]*$", re.IGNORECASE)  # a report's file
_BESIDE_FILMS = re.compile(
    "mask|segm|heatmap|overlay|prior|previous|report"
)  # files of another kind, or films of another day
MOST_FILES = 200  # rows whose files are looked for
NOBODY = "none"  # of --patient_column


def find_columns(
    path: Path, headings: Sequence[str], rows: Rows, patients: str | None = None
) -> tuple[dict[str, str], list[str]]:
    """The heading of everything that is read.

    Args:
        path: the file, for messages.
        headings: as they are written.
        rows: below them.
        patients: the heading of the patients, or ``NOBODY``; None: it is found or asked for.

    Returns:
        Heading by the names of ``COLUMNS``, as far as found, and a line that says what was taken and what was not.

    Raises:
        UserError: if images or texts have no column, two columns have one name, or a column that nobody here knows looks
            like the id or the patient: to leave it out would mix studies or split patients.
    """
    found, notes = _find_by_heading(path, headings, rows)
    if patients is not None:
        _take_patients(path, headings, found, patients)
    _require_columns(path, headings, found)
    _ask_for_the_text(path, rows, found)
    if "report" in found:  # it is the whole text: what would be taken where it is empty is another text
        joined = found.keys() >= {*SECTIONS} and any(names_sections(str(row.get(found["report"]))) for _, row in rows)
        captions = plain_heading(found["report"]) == "caption" and found.keys() & {*SECTIONS}
        unread = ("report",) if joined or captions else SECTIONS
        found = {name: heading for name, heading in found.items() if name not in unread}
    if "labels" in found and all(_is_names(row.get(found["labels"])) for _, row in rows):
        notes.append(
            f"the column {quoted_name(found.pop('labels'))} holds names and no states: labels are made from the reports"
        )
    unused = [heading for heading in headings if heading and heading not in found.values()]
    if "id" not in found:
        _ask(path, [h for h in unused if _LIKE_ID.search(plain_heading(h)) and _tells_apart(rows, h)], "id")
    if patients is None:
        _ask_for_the_patients(path, rows, found, unused)
    repeated = [h for h in unused if is_of_studies(h) and _repeats(rows, h)]
    if "patient" not in found and repeated:  # the images of one study stay in one split
        found["patient"] = repeated[0]
        unused.remove(repeated[0])
    taken = ", ".join(f"{name} from {quoted_name(heading)}" for name, heading in found.items() if name != heading)
    left = [*map(quoted_name, unused), *(["one without a heading"] if any(row.get("") for _, row in rows) else [])]
    return found, [*notes, f"columns: {taken or 'by their own names'}; not used: {', '.join(left) or 'none'}"]


def _find_by_heading(path: Path, headings: Sequence[str], rows: Rows) -> tuple[dict[str, str], list[str]]:
    """The heading of everything that has a usual one, that of the images also by its cells; and lines on what was chosen."""
    written: dict[str, list[str]] = {}
    for heading in headings:
        written.setdefault(plain_heading(heading), []).append(heading)
    found: dict[str, str] = {}
    notes: list[str] = []
    for name, names in COLUMNS.items():
        candidates = [written[plain_heading(known)] for known in names if plain_heading(known) in written]
        candidates = [same for same in candidates if same[0] not in found.values()]
        if any(len(same) > 1 for same in candidates):
            raise UserError(
                f"{path} has two columns {quoted_name(candidates[0][0])}, expected one: rename or remove one of them"
            )
        if candidates:
            found[name] = candidates[0][0]
        if name == "image_path" and len(candidates) > 1:
            found[name], notes = _column_of_images(path, rows, [same[0] for same in candidates])
        if name == "image_path" and not candidates and (films := _only_films(path, rows, headings)):
            found[name] = films
        if name == "id" and len(candidates) > 1:  # a study of several images in as many rows is told by its images
            found[name] = next((same[0] for same in candidates if _tells_apart(rows, same[0])), found[name])
    return found, notes


def _require_columns(path: Path, headings: Sequence[str], found: Mapping[str, str]) -> None:
    """Refuse a table without images or without texts."""
    shown = shown_headings(headings[:12], bool(found))
    lacking = {} if "image_path" in found else {"images": "image_path"}
    if not found.keys() & {"report", *SECTIONS}:
        lacking["texts"] = "report, or findings and impression"
    if lacking:
        calls = "; ".join(f"call that of the {what} {name}" for what, name in lacking.items())
        raise UserError(f"{path} has no column of {' and none of '.join(lacking)} (found {shown}): {calls}")


def _column_of_images(path: Path, rows: Rows, headings: Sequence[str]) -> tuple[str, list[str]]:
    """The first of several columns whose files are there, or else that holds names of files, or else the first; and a line if it is another."""
    some = rows[:: max(1, len(rows) // MOST_FILES)]
    cells = {heading: [row[heading] for _, row in some if not is_empty(row.get(heading))] for heading in headings}
    films = {
        heading: [value for value in values if not _OF_TEXT.search(str(value))] for heading, values in cells.items()
    }
    there = [heading for heading, values in films.items() if any(are_there(value, path.parent) for value in values)]
    named = [
        heading
        for heading, values in cells.items()
        if any(str(value).strip("[]'\" ").lower().endswith((*PICTURES, *DICOM)) for value in values)
    ]
    taken = next(iter([*there, *named, *headings]))
    if taken == headings[0]:
        return taken, []
    why = "whose files are there" if there else "which holds names of files"
    return taken, [f"the images are those of the column {quoted_name(taken)}, {why}, not of {quoted_name(headings[0])}"]


def _only_films(path: Path, rows: Rows, headings: Sequence[str]) -> str | None:
    """The only column whose cells all name films (``Image Index`` of NIH), under whatever heading; None if there is none, or are several."""
    some = rows[:: max(1, len(rows) // MOST_FILES)]
    unknown = [h for h in headings if h and not _BESIDE_FILMS.search(plain_heading(h))]
    cells = {h: [row[h] for _, row in some if not is_empty(row.get(h))] for h in unknown}
    films = [h for h, values in cells.items() if values and all(name_films(value, path.parent) for value in values)]
    there = [h for h in films if any(are_there(value, path.parent) for value in cells[h])]
    likely = there or films
    return likely[0] if len(likely) == 1 else None


def _ask_for_the_text(path: Path, rows: Rows, found: Mapping[str, str]) -> None:
    """Refuse a column ``text`` whose cells do not hold the findings or impressions beside them: it may be of histories."""
    if plain_heading(found.get("report", "")) != "text":
        return
    for part in found.keys() & {*SECTIONS}:
        pairs = [[_words(row.get(found[name])) for name in (part, "report")] for _, row in rows]
        apart = [one not in whole for one, whole in pairs if one and whole]
        if 2 * sum(apart) > len(apart):
            raise UserError(
                f"{path} has the columns {quoted_name(found['report'])} and {quoted_name(found[part])}, whose texts differ, expected the one in the "
                "other: call that of the reports report, or remove the other"
            )


def _words(text: Any) -> str:
    """The words of a cell in small letters, without what stands between them."""
    return "" if is_empty(text) else " ".join(re.findall(r"\w+", str(text).casefold()))


def _take_patients(path: Path, headings: Sequence[str], found: dict[str, str], patients: str) -> None:
    """Let a heading, or none, be that of the patients; UserError if it is not there, or is that of something else."""
    found.pop("patient", None)
    if patients == NOBODY and patients not in headings:
        return
    same = [heading for heading in headings if plain_heading(heading) == plain_heading(patients)]
    taken = next((name for name, heading in found.items() if heading in same and name != "id"), None)
    if not same or taken:
        what = f"is the column of {taken}" if taken else "names no column"
        raise UserError(
            f"--patient_column {patients} {what} of {path} ({shown_headings(headings[:12], bool(found))}): give the heading of "
            "its patients, or none"
        )
    found["patient"] = patients if patients in same else same[0]
    if found.get("id") == found["patient"]:
        del found["id"]


def _ask_for_the_patients(path: Path, rows: Rows, found: Mapping[str, str], unused: Sequence[str]) -> None:
    """Refuse unread columns that may name the patients, where none is read or where one joins what the column that is read divides."""
    likely = [h for h in unused if not is_of_studies(h) and may_name_patients(h, rows)]
    if "patient" not in found:
        _ask(path, likely, "patient")
        return
    taken = found["patient"]
    divides = not _repeats(rows, taken)  # every row, as a number of the row does
    persons = [h for h in likely if plain_heading(h) in _PATIENTS or (divides and names_persons(h))]
    surer = [h for h in persons if _joins(rows, h, taken)]
    if surer:
        names = f"{quoted_name(taken)} and {quoted_name(surer[0])}"
        raise UserError(
            f"{path} has the columns {names} for the patients, and the second has one value where the first has several or none, "
            "expected the same patients in both: give --patient_column NAME with the one that tells persons"
        )


def _joins(rows: Rows, heading: str, other: str) -> bool:
    """Whether a value of a column stands beside several of another one, and its values are in as few rows as a patient's.

    A row without the other value is one of its own, as it is when patients are read.
    """
    beside: dict[str, set[str]] = {}
    filled = [(place, row) for place, row in rows if not is_empty(row.get(heading))]
    for place, row in filled:
        patient = f"of {place}" if is_empty(row.get(other)) else patient_key(str(row[other]))
        beside.setdefault(patient_key(str(row[heading])), set()).add(patient)
    return len(filled) <= MOST_OF_A_PATIENT * len(beside) and any(len(patients) > 1 for patients in beside.values())


def ask_for_the_split(path: Path, headings: Sequence[str], rows: Rows) -> None:
    """Refuse to draw a split beside a column that looks like one: two of its values are names of splits, or its heading is.

    Raises:
        UserError: naming the column.
    """
    for heading in headings:
        values = {str(row[heading]).strip().lower() for _, row in rows if not is_empty(row.get(heading))}
        blank = any(is_empty(row.get(heading)) for _, row in rows)
        of_two_kinds = len(values) == (1 if blank else 2)  # two marks, or a mark and nothing
        by_heading = of_two_kinds and LIKE_SPLIT.fullmatch(plain_heading(heading))
        if by_heading or (len(values) <= MOST_SPLITS and sum(known_split(value) is not None for value in values) > 1):
            _ask(path, [heading], "split")


def is_of_studies(heading: str) -> bool:
    """Whether a heading names studies or images. Taken for the patient's, it makes two patients of one with two studies."""
    return plain_heading(heading) in _IDS


def _tells_apart(rows: Rows, heading: str) -> bool:
    """Whether every row has a value of its own."""
    values = [str(row.get(heading, "")) for _, row in rows]
    return len(set(values)) == len(values) and "" not in values


def _repeats(rows: Rows, heading: str) -> bool:
    """Whether there are several values, and rows that share one."""
    values = [str(row[heading]) for _, row in rows if not is_empty(row.get(heading))]
    return 1 < len(set(values)) < len(values)


def _ask(path: Path, headings: Sequence[str], name: str) -> None:
    """Refuse columns that look like one that is read under another heading; nothing if there are none."""
    if headings:
        flag = ", or give --patient_column NAME (none: no column tells patients)" if name == "patient" else ""
        look = "looks" if len(headings) == 1 else "look"
        raise UserError(
            f"{path} has no column {name}, but {' and '.join(map(quoted_name, headings[:5]))} {look} like one: call "
            f"it {name} if it is, else remove it or call another column {name}{flag}"
        )


def _is_names(value: Any) -> bool:
    """Whether a cell of labels holds nothing, or names alone (``['normal']``, ``Cardiomegaly|Effusion``) and no state."""
    if is_empty(value):
        return True
    labels = read_states(value)
    names = re.split(r"[,;|\[\]]+", labels) if isinstance(labels, str) else labels
    names = [str(name).strip(" '\"").casefold() for name in names] if isinstance(names, list) else []
    names = [name for name in names if name]
    return bool(names) and all(re.search(r"[^\W\d_]{2}", name) and name not in STATES for name in names)


def read_states(value: Any) -> Any:
    """Labels of a cell: ``[0, 3, 1]`` or numbers separated by anything; None if absent, else left to the check."""
    if is_empty(value):
        return None
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        parts = [part for part in re.split(r"[\s,;|\[\]]+", value) if part]
        return [int(part) for part in parts] if all(re.fullmatch(r"\d", part) for part in parts) else value
