"""Generated reports of several systems beside their references: the same studies, in the same order, each text twice.

Every text is kept as it was found and as the cleaner makes it, because the metrics of the R2Gen family read cleaned text
and all others raw text (``4.5 cm`` must stay 4.5 there). Both sides get the same treatment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.corpus.cells import is_empty
from modules.corpus.nothing_said import says_nothing
from modules.corpus.text import (
    CLEANERS,
    clean_once,
    is_cleaned,
    normalise_whitespace,
    plain_blanks,
    plain_signs,
    strip_markdown,
    truncate_words,
)
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.leftovers import check_texts, said_of_cuts, said_to_a_reader
from modules.evaluation.reading.matching import carried, labels_of, refuse_strangers, rows_of, say_missing, truth_of
from modules.evaluation.reading.one_section import named_sections
from modules.evaluation.reading.report_files import ReportFile
from modules.evaluation.reading.row_order import speaks_for_order
from modules.labelling.labelled_texts import answers_in_marks
from modules.messages import UserError, named, quoted_name

_HYPHEN_APART = re.compile(r"(?<=\w) - (?=\w)")  # joined by the published post-processing, in predictions alone


@dataclass
class Matched:
    """Systems and references over the same studies, in the same order.

    ``references`` are cleaned and cut, ``full`` cleaned and whole, ``raw_references`` as they were found; ``systems`` and
    ``raw_systems`` likewise. ``cleaning`` is what was done to them; ``notes`` say what was read, left out or assumed;
    ``rows`` are the cells of the references' file.
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


def named_files(words: Sequence[str]) -> dict[str, Path]:
    """Files by the name of their system, from ``NAME=FILE`` or ``FILE``.

    A file without a name is called as it is, packed or not, ``predictions.jsonl`` and ``res.csv`` as their folder.

    Raises:
        UserError: if two have one name.
    """
    files: dict[str, Path] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        if not equals:
            plain = Path(path.name.removesuffix(".gz"))
            name = plain.stem if plain.name not in ("predictions.jsonl", "res.csv") else path.absolute().parent.name
        if not re.fullmatch(r"[\w.+-][\w .+-]*", name):
            raise UserError(f"the system name {name!r} holds other characters than letters, digits, blanks and -_.+")
        if name in files:
            raise UserError(f"{files[name]} and {path} are both called {name}: name them, --predictions a=FILE b=FILE")
        files[name] = path
    return files


def clean_texts(
    predictions: Mapping[str, Sequence[str]], references: Sequence[str], cleaning: str
) -> tuple[dict[str, list[str]], list[str], str, list[str]]:
    """Clean both sides alike, unless both are what the cleaner makes already.

    Args:
        predictions: reports by system.
        references: theirs.
        cleaning: a key of ``CLEANERS``; ``"none"``; or ``"auto"``: the published cleaner on every system if any reference
            is not clean yet, else on the systems that are not. A text that is clean stays as it is.

    Returns:
        The texts of the systems and of the references, what was done to the references, and a note by system.
    """
    if cleaning == "none":
        return {name: list(texts) for name, texts in predictions.items()}, list(references), "none", []
    if cleaning != "auto":
        clean = clean_once if cleaning == "published" else CLEANERS[cleaning]
        cleaned = {name: _cleaned(clean, texts) for name, texts in predictions.items()}
        return cleaned, _cleaned(clean, references), cleaning, []
    raw = not all(map(is_cleaned, references))
    systems, notes = {}, []
    for name, texts in predictions.items():
        if raw or not all(is_cleaned(text) or is_empty(text) for text in texts):
            systems[name] = _cleaned(clean_once, texts)
            if not raw:
                notes.append(f"{name} is cleaned as published; the references were clean already")
        else:
            systems[name] = list(texts)
    truth, done = (_cleaned(clean_once, references), "published") if raw else (list(references), "none")
    return systems, truth, done, notes


def _cleaned(clean: Callable[[str], str], texts: Sequence[str]) -> list[str]:
    """Cleaned texts; the published cleaner would make a word, a stop, of nothing."""
    return ["" if is_empty(text) else clean(text) for text in texts]


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
        cleaning: see :func:`clean_texts`.
        max_words: words kept of a cleaned reference, 0 for all; predictions are never cut.
        by_order: take the rows of all files in their order, whatever ids they have.
        named_ids: the user has named the column of the ids, so that numbers in it are ids.

    Returns:
        The studies that every system and the references have. An empty reference is no study; an empty prediction is a
        prediction that says nothing.

    Raises:
        UserError: if there are no references, no common studies, or files without ids differ in length.
    """
    read = {**systems, **({"references": references} if references is not None else {})}
    notes = [f"{name}: {file.path.name} read as {file.read_as}" for name, file in read.items()]
    truth, texts = truth_of(systems, references, by_order=by_order, named_ids=named_ids)
    rows = {
        name: rows_of(name, system, truth, notes, by_order=by_order, named_ids=named_ids)
        for name, system in systems.items()
    }
    empty, labels = [i for i, text in enumerate(texts) if is_empty(text)], labels_of(truth)
    if empty:
        first = f"first {', '.join(labels[i] for i in empty[:3])}"
        notes.append(f"{len(empty)} of {len(texts)} references are empty and left out, {first}")
    present = [i for i in range(len(texts)) if not is_empty(texts[i])]
    kept = [i for i in present if all(found[i] is not None for found in rows.values())]
    for name, found in rows.items():
        say_missing(name, systems[name], found, present, labels, notes)
    raw_references = [_cell(texts[i]) for i in kept] or refuse_strangers(truth, systems, texts)
    there = {name: [row for i in kept if (row := found[i]) is not None] for name, found in rows.items()}  # one for each
    raw = {name: [_cell(systems[name].texts[row]) for row in found] for name, found in there.items()}
    ids = [labels[i] for i in kept]
    notes += _checked([(truth.path, raw_references), *((systems[name].path, reports) for name, reports in raw.items())])
    notes += _said_of_pointers(raw_references, ids)
    notes += [
        note for name, reports in raw.items() for note in _said_of(name, systems[name], reports, raw_references, ids)
    ]
    if references is not None:
        notes += [
            note for name, file in systems.items() for note in _said_of_unused(name, file, rows[name], texts, kept)
        ]
    cleaned, full, done = _cleaned_sides(raw, raw_references, cleaning, notes)
    cut = [truncate_words(text, max_words) for text in full] if max_words else list(full)
    notes.append(f"{len(kept)} studies; references: cleaning {done}")
    retrieved = {name: _retrieved(system, rows[name], kept) for name, system in systems.items()}
    rest = (retrieved, done, notes, [truth.rows[i] if truth.rows else {} for i in kept])
    return Matched(ids, cleaned, cut, full, raw, raw_references, *rest)


def _retrieved(system: ReportFile, rows: Sequence[int | None], kept: Sequence[int]) -> list[str] | None:
    return None if system.retrieved is None else [system.retrieved[rows[i]] for i in kept]  # type: ignore[index]


def _cleaned_sides(
    raw: Mapping[str, list[str]], references: list[str], cleaning: str, notes: list[str]
) -> tuple[dict[str, list[str]], list[str], str]:
    """Both sides without Markdown and cleaned, and what was done."""
    plain, truth = dict(raw), references
    if cleaning != "none":
        plain = {name: _without_markdown(name, reports, notes) for name, reports in raw.items()}
        truth = [strip_markdown(text) for text in references]
    cleaned, full, done, said = clean_texts(plain, truth, cleaning)
    notes += said
    if (
        cleaning != "none"
        and any(map(_HYPHEN_APART.search, full))
        and not any(re.search(r"\w-\w", text) for text in full)
    ):
        full = [_HYPHEN_APART.sub("-", text) for text in full]
        notes.append(
            "no hyphen of the references is inside a word: they were joined from pieces (right - sided), and are read as right-sided"
        )
    return cleaned, full, done


def _said_of_pointers(references: Sequence[str], ids: Sequence[str]) -> list[str]:
    """References that say nothing of the film: whoever made the file counts their studies, and so do its published figures."""
    found = [named(key) for key, text in zip(ids, references, strict=True) if says_nothing(text)]
    what = f"{len(found)} of {len(ids)} references say nothing of the film or only where it is said (See impression)"
    done = "they are scored as words, as the file has them; main_prepare.py leaves such studies out"
    return [f"{what}, first {', '.join(found[:3])}: {done}"] if found else []


def _said_of(
    name: str, file: ReportFile, reports: Sequence[str], references: Sequence[str], ids: Sequence[str]
) -> list[str]:
    """What is strange about the reports of a system: empty ones, or none that differs from its reference."""
    notes = []
    nothing = [key for key, text in zip(ids, reports, strict=True) if not text]
    if nothing:
        notes.append(
            f"{name} has {len(nothing)} empty reports of {len(ids)}, first {', '.join(map(named, nothing[:3]))}: they count as reports "
            "that say nothing"
        )
    spoken = [start for text in reports if (start := said_to_a_reader(text))]
    if spoken:
        notes.append(
            f"{len(spoken)} reports of {name} begin with words to a reader ({quoted_name(spoken[0])}): they are scored as words"
        )
    if not speaks_for_order(reports, references):
        notes.append(
            f"the reports of {name} are no nearer to their own references than to those of other studies: it says much the same of all, or its ids "
            "are those of other studies"
        )
    whole, ours = (sum(len(named_sections(text)) == 2 for text in side) for side in (references, reports))
    if abs(whole - ours) * 2 > len(ids):
        notes.append(
            f"{whole} of {len(ids)} references name both findings and impression, and {ours} reports of {name}: --section findings "
            "compares the same part of both"
        )
    if list(map(normalise_whitespace, reports)) == list(map(normalise_whitespace, references)):
        notes.append(f"every report of {name} is its reference, word for word: {file.path.name} may be the wrong file")
    return notes


def _checked(sides: Sequence[tuple[Path, Sequence[str]]]) -> list[str]:
    """Refuse texts that are no reports; a line for each file whose texts are cut off."""
    check_texts(sides)
    return [note for path, texts in sides for note in said_of_cuts(path.name, texts)]


def _said_of_unused(
    name: str, file: ReportFile, rows: Sequence[int | None], texts: Sequence[str], kept: Sequence[int]
) -> list[str]:
    """References that stand beside the reports though others were given; UserError if they are those of other studies."""
    if file.references is None:
        return []
    own = [carried(file)[row] for i in kept if (row := rows[i]) is not None]
    beside, given = ([_first_words(text) for text in side] for side in (own, [texts[i] for i in kept]))
    others = {*given}
    foreign = [a for a, b in zip(beside, given, strict=True) if a != b and a in others]
    if len(foreign) * 2 > len(kept) and len({*foreign}) > 1:
        raise UserError(
            f"the references beside the reports of {name} are given too, but {len(foreign)} of {len(kept)} to other studies: the ids "
            "of one of the two files are wrong, or leave out --references"
        )
    differ = sum(normalise_whitespace(a) != normalise_whitespace(texts[i]) for a, i in zip(own, kept, strict=True))
    return [
        f"the references beside the reports of {name} are not used; {differ} of {len(kept)} differ from those given"
    ]


def _first_words(text: str) -> tuple[str, ...]:
    """What a report begins with, however it was cleaned and cut."""
    return tuple(re.findall(r"[a-z]+", text.casefold())[:30])


def _without_markdown(name: str, reports: Sequence[str], notes: list[str]) -> list[str]:
    plain = [strip_markdown(text) for text in reports]
    count = sum(a != b for a, b in zip(plain, reports, strict=True))
    if count:
        notes.append(f"{name}: Markdown is taken out of {count} reports before they are cleaned")
    if answered := sum(map(answers_in_marks, reports)):
        notes.append(
            f"{name}: {answered} reports answer in lists, tables, boxes or signs: rules label them as sentences, CheXbert as they are cleaned"
        )
    return plain


def _cell(text: str) -> str:
    return "" if is_empty(text) else plain_signs(plain_blanks(text))
