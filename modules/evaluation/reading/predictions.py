"""Generated reports of several systems beside their references: the same studies, in the same order, each text twice.

Every text is kept as it was found and as the cleaner makes it, because the metrics of the R2Gen family read cleaned text
and all others raw text (``4.5 cm`` must stay 4.5 there). Both sides get the same treatment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from modules.corpus.cells import is_empty
from modules.corpus.nothing_said import says_nothing
from modules.corpus.text import normalise_whitespace, plain_blanks, plain_signs, truncate_words
from modules.evaluation.reading.chance import pieces_of
from modules.evaluation.reading.chat_marks import words_to_a_reader
from modules.evaluation.reading.cleaning import clean_sides
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.leftovers import check_texts, note_cuts
from modules.evaluation.reading.matching import find_references, references_beside, rows_of, study_names
from modules.evaluation.reading.one_section import named_sections
from modules.evaluation.reading.report_files import ReportFile
from modules.evaluation.reading.row_order import no_nearer
from modules.evaluation.reading.study_ids import plain_id
from modules.messages import UserError, named, quoted_name


@dataclass
class Matched:
    """Systems and references over the same n studies, in the same order.

    Args:
        ids: names of the studies, as the references' file writes them.
        systems: cleaned reports by system.
        references: cleaned and cut to a number of words.
        full: cleaned and whole.
        raw_systems: reports by system as they were found.
        raw_references: as they were found.
        retrieved: by system the reports that its own were written with, None where its file has none.
        cleaning: what was done to the references.
        notes: what was read, left out or assumed.
        rows: cells of the references' file, by heading.
        of: studies whose references say something, those included that some system has no report for.
    """

    ids: list[str]
    systems: dict[str, list[str]]
    references: list[str]
    full: list[str]
    raw_systems: dict[str, list[str]]
    raw_references: list[str]
    retrieved: dict[str, list[str] | None]
    cleaning: str
    notes: list[str]
    rows: list[Row]
    of: int


def match(
    systems: Mapping[str, ReportFile],
    references: ReportFile | None,
    cleaning: str,
    max_words: int,
    *,
    by_order: bool = False,
    named_ids: bool = False,
) -> Matched:
    """Bring predictions and references together.

    Args:
        systems: predictions by the name of the system.
        references: where the references are; those that the predictions carry if absent.
        cleaning: see :func:`modules.evaluation.reading.cleaning.clean_sides`.
        max_words: words kept of a cleaned reference, 0 for all; predictions are never cut.
        by_order: take the rows of all files in their order, whatever ids they have.
        named_ids: the user has named the column of the ids, so that numbers in it are ids.

    Returns:
        The studies that every system and the references have. An empty reference is no study; an empty prediction is a
        prediction that says nothing.

    Raises:
        UserError: if there are no references, no common studies, or files without ids differ in length.
    """
    files = {**systems, **({"references": references} if references is not None else {})}
    notes = [f"{name}: {file.path.name} read as {file.read_as}" for name, file in files.items()]
    truth, texts = find_references(systems, references, by_order=by_order, named_ids=named_ids)
    rows = {
        name: rows_of(name, system, truth, notes, by_order=by_order, named_ids=named_ids)
        for name, system in systems.items()
    }
    names = study_names(truth)
    notes += _note_empty(texts, names)
    present = [i for i, text in enumerate(texts) if not is_empty(text)]
    kept = [i for i in present if all(row_of[i] is not None for row_of in rows.values())]
    for name, row_of in rows.items():
        notes += _note_missing(name, systems[name], row_of, present, names)
    ids, given = [names[i] for i in kept], [texts[i] for i in kept]
    raw_references = list(map(_cell, given)) or _refuse_no_study(truth, systems, texts)
    chosen = {name: [row for row in (row_of[i] for i in kept) if row is not None] for name, row_of in rows.items()}
    raw = {name: [_cell(systems[name].texts[row]) for row in of_system] for name, of_system in chosen.items()}
    notes += _note_texts(truth, systems, raw, raw_references, ids)
    if references is not None:
        for name, file in systems.items():
            notes += _note_unused(name, file, chosen[name], given)
    cleaned, full, done = clean_sides(raw, raw_references, cleaning, notes)
    notes.append(f"{len(kept)} studies; references: cleaning {done}")
    retrieved = {
        name: None if system.retrieved is None else [system.retrieved[row] for row in chosen[name]]
        for name, system in systems.items()
    }
    return Matched(
        ids, cleaned, [truncate_words(text, max_words) for text in full] if max_words else list(full), full,
        raw_systems=raw, raw_references=raw_references, retrieved=retrieved, cleaning=done, notes=notes,
        rows=[truth.rows[i] if truth.rows else {} for i in kept], of=len(present),
    )  # fmt: skip


def _cell(text: str) -> str:
    """A text as it is read from a file: ``""`` of an empty cell, blanks and signs as ASCII has them."""
    return "" if is_empty(text) else plain_signs(plain_blanks(text))


def _refuse_no_study(truth: ReportFile, systems: Mapping[str, ReportFile], texts: Sequence[str]) -> NoReturn:
    """Say why no study is left: no reference says anything, or no id is in all files."""
    if all(map(is_empty, texts)):
        raise UserError(
            f"{truth.path} has no reference that says anything in its {len(texts)} rows: give the file with the texts, or another --section"
        )
    ours = "; ".join(f"{name}: {', '.join(map(named, study_names(system)[:2]))}" for name, system in systems.items())
    first, *others = (set(pieces_of(plain_id(study_names(file)[0]))) for file in (truth, *systems.values()))
    shared = sorted(first.intersection(*others))
    chance = f" (that {' and '.join(shared)} is in both may be chance: write their folders alike)" if shared else ""
    split = re.search(r"\b(?:train|val|test) split", truth.read_as)  # another one may be meant
    whose = f"{truth.path.name}, {split[0]}" if split else truth.path.name
    raise UserError(
        f"no study is in all files ({whose}: {', '.join(map(named, study_names(truth)[:2]))}; {ours}): give files with the same ids{chance}, "
        "or --columns id=NAME"
    )


def _note_empty(texts: Sequence[str], studies: Sequence[str]) -> list[str]:
    """A line on the studies whose references are empty."""
    empty = [name for name, text in zip(studies, texts, strict=True) if is_empty(text)]
    if not empty:
        return []
    return [f"{len(empty)} of {len(texts)} references are empty and left out, first {', '.join(empty[:3])}"]


def _note_missing(
    name: str,
    system: ReportFile,
    rows: Sequence[int | None],
    present: Sequence[int],
    studies: Sequence[str],
) -> list[str]:
    """Lines on the studies that a system has no report for, and on its reports that have no reference.

    Args:
        name: of the system.
        system: its reports.
        rows: the row of its report for every study, None where it has none.
        present: the studies whose references say something.
        studies: names of all studies.
    """
    notes = []
    missing = [studies[i] for i in present if rows[i] is None]
    if missing:
        notes.append(
            f"{name} has no report for {len(missing)} of {len(present)} studies, first {', '.join(map(named, missing[:3]))}"
        )
    used = {row for row in rows if row is not None}
    extra = [label for row, label in enumerate(study_names(system)) if row not in used]
    if extra:
        notes.append(f"{name} has {len(extra)} reports without a reference, first {', '.join(map(named, extra[:3]))}")
    return notes


def _note_texts(
    truth: ReportFile,
    systems: Mapping[str, ReportFile],
    raw: Mapping[str, Sequence[str]],
    references: Sequence[str],
    ids: Sequence[str],
) -> list[str]:
    """Refuse texts that are no reports; lines on what is strange about the others."""
    sides = [(truth.path, references), *((systems[name].path, reports) for name, reports in raw.items())]
    check_texts(sides)
    notes = [note for path, texts in sides for note in note_cuts(path.name, texts)]
    notes += _note_pointers(references, ids)
    for name, reports in raw.items():
        notes += _note_strange(name, systems[name], reports, references, ids)
    return notes


def _note_pointers(references: Sequence[str], ids: Sequence[str]) -> list[str]:
    """A line on references that say nothing of the film: they stay, as they count in the figures published for such files."""
    silent = [named(key) for key, text in zip(ids, references, strict=True) if says_nothing(text)]
    what = f"{len(silent)} of {len(ids)} references say nothing of the film or only where it is said (See impression)"
    done = "they are scored as words, as the file has them; main_prepare.py leaves such studies out"
    return [f"{what}, first {', '.join(silent[:3])}: {done}"] if silent else []


def _note_strange(
    name: str, file: ReportFile, reports: Sequence[str], references: Sequence[str], ids: Sequence[str]
) -> list[str]:
    """A line for each thing that is strange about the reports of a system, such as empty ones."""
    notes = []
    empty = [key for key, text in zip(ids, reports, strict=True) if not text]
    if empty:
        notes.append(
            f"{name} has {len(empty)} empty reports of {len(ids)}, first {', '.join(map(named, empty[:3]))}: they count as reports "
            "that say nothing"
        )
    addressed = [*filter(None, map(words_to_a_reader, reports))]
    if addressed:
        notes.append(
            f"{len(addressed)} reports of {name} begin or end with words to a reader ({quoted_name(addressed[0])}): they are scored as words"
        )
    if said := no_nearer(name, reports, references):
        notes.append(f"{said}: it says much the same of all, or its ids are those of other studies")
    whole, ours = (sum(len(named_sections(text)) == 2 for text in side) for side in (references, reports))
    if abs(whole - ours) * 2 > len(ids):
        notes.append(
            f"{whole} of {len(ids)} references name both findings and impression, and {ours} reports of {name}: --section findings "
            "compares the same part of both"
        )
    if list(map(normalise_whitespace, reports)) == list(map(normalise_whitespace, references)):
        notes.append(f"every report of {name} is its reference, word for word: {file.path.name} may be the wrong file")
    return notes


def _note_unused(name: str, file: ReportFile, rows: Sequence[int], given: Sequence[str]) -> list[str]:
    """A line on the references that stand beside the reports though others were given.

    Args:
        name: of the system.
        file: its reports.
        rows: those of the studies that are scored.
        given: the references that were given, study by study.

    Raises:
        UserError: if most of those beside the reports are given to other studies.
    """
    if file.references is None:
        return []
    every = references_beside(file)
    beside = [every[row] for row in rows]
    starts, given_starts = ([_first_words(text) for text in side] for side in (beside, given))
    others = set(given_starts)
    foreign = [own for own, start in zip(starts, given_starts, strict=True) if own != start and own in others]
    if len(foreign) * 2 > len(rows) and len(set(foreign)) > 1:
        raise UserError(
            f"the references beside the reports of {name} are given too, but {len(foreign)} of {len(rows)} to other studies: the ids "
            "of one of the two files are wrong, or leave out --references"
        )
    differ = sum(normalise_whitespace(a) != normalise_whitespace(b) for a, b in zip(beside, given, strict=True))
    return [
        f"the references beside the reports of {name} are not used; {differ} of {len(rows)} differ from those given"
    ]


def _first_words(text: str) -> tuple[str, ...]:
    """What a report begins with, however it was cleaned and cut."""
    return tuple(re.findall(r"[a-z]+", text.casefold())[:30])
