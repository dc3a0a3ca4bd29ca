"""Generated reports of several systems beside their references: the same studies, in the same order, each text twice.

Every text is kept as it was found and as the cleaner makes it, because the metrics of the R2Gen family read cleaned text
and all others raw text (``4.5 cm`` must stay 4.5 there). Both sides get the same treatment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.corpus.text import (
    CLEANERS,
    clean_once,
    is_cleaned,
    normalise_whitespace,
    strip_markdown,
    truncate_words,
)
from modules.evaluation.columns import Row, is_empty
from modules.evaluation.report_files import ReportFile
from modules.evaluation.study_ids import pair_rows, repeated
from modules.messages import UserError


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

    A file without a name is called as it is, ``predictions.jsonl`` and ``res.csv`` as their folder.

    Raises:
        UserError: if two have one name.
    """
    files: dict[str, Path] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        if not equals:
            name = path.stem if path.name not in ("predictions.jsonl", "res.csv") else path.absolute().parent.name
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
) -> Matched:
    """Bring predictions and references together.

    Args:
        systems: predictions by the name of the system.
        references: where the references are; those that the predictions carry if absent.
        cleaning: see :func:`clean_texts`.
        max_words: words kept of a cleaned reference, 0 for all; predictions are never cut.
        by_order: take the rows of all files in their order, whatever ids they have.

    Returns:
        The studies that every system and the references have. An empty reference is no study; an empty prediction is a
        prediction that says nothing.

    Raises:
        UserError: if there are no references, no common studies, or files without ids differ in length.
    """
    notes = [f"{name}: {system.path.name} read as {system.read_as}" for name, system in systems.items()]
    truth, texts = _truth(systems, references)
    if references is not None:
        notes.append(f"references: {references.path.name} read as {references.read_as}")
    rows = {name: _rows(name, system, truth, by_order, notes) for name, system in systems.items()}
    empty, labels = [i for i, text in enumerate(texts) if is_empty(text)], _labels(truth)
    if empty:
        first = f"first {', '.join(labels[i] for i in empty[:3])}"
        notes.append(f"{len(empty)} of {len(texts)} references are empty and left out, {first}")
    present = [i for i in range(len(texts)) if not is_empty(texts[i])]
    kept = [i for i in present if all(found[i] is not None for found in rows.values())]
    for name, found in rows.items():
        _say_missing(name, systems[name], found, present, labels, notes)
    if not kept:
        raise UserError(
            f"no study is in all files ({truth.path.name}: {', '.join(labels[:2])}; "
            + "; ".join(f"{name}: {', '.join(_labels(system)[:2])}" for name, system in systems.items())
            + "): give files with the same ids, or --columns id=NAME"
        )
    raw_references = [texts[i] for i in kept]
    raw = {name: [_cell(systems[name].texts[found[i]]) for i in kept] for name, found in rows.items()}
    ids = [labels[i] for i in kept]
    notes += [note for name, reports in raw.items() for note in _said_of_empty(name, reports, ids)]
    plain, truth_text = raw, raw_references
    if cleaning != "none":
        plain = {name: _without_markdown(name, reports, notes) for name, reports in raw.items()}
        truth_text = [strip_markdown(text) for text in raw_references]
    cleaned, full, done, said = clean_texts(plain, truth_text, cleaning)
    cut = [truncate_words(text, max_words) for text in full] if max_words else list(full)
    notes += [*said, f"{len(kept)} studies; references: cleaning {done}"]
    retrieved = {
        name: None if system.retrieved is None else [system.retrieved[rows[name][i]] for i in kept]
        for name, system in systems.items()
    }
    cells = [truth.rows[i] if truth.rows else {} for i in kept]
    return Matched(ids, cleaned, cut, full, raw, raw_references, retrieved, done, notes, cells)


def _said_of_empty(name: str, reports: Sequence[str], ids: Sequence[str]) -> list[str]:
    nothing = [key for key, text in zip(ids, reports, strict=True) if not text]
    if not nothing:
        return []
    first = ", ".join(nothing[:3])
    return [
        f"{name} has {len(nothing)} empty reports of {len(ids)}, first {first}: they count as reports that say nothing"
    ]


def _without_markdown(name: str, reports: Sequence[str], notes: list[str]) -> list[str]:
    plain = [strip_markdown(text) for text in reports]
    count = sum(a != b for a, b in zip(plain, reports, strict=True))
    if count:
        notes.append(f"{name}: Markdown is taken out of {count} reports before they are cleaned")
    return plain


def _cell(text: str) -> str:
    return "" if is_empty(text) else text


def _labels(file: ReportFile) -> list[str]:
    """What the studies of a file are called: their ids, or the numbers of their rows."""
    ids = next(iter(file.keys.values()), [None] * len(file.texts))
    return [str(number) if value is None else value for number, value in enumerate(ids, start=1)]


def _truth(systems: Mapping[str, ReportFile], references: ReportFile | None) -> tuple[ReportFile, list[str]]:
    """The file whose rows are the studies, and the reference of every row."""
    if references is not None:
        _check_ids(references)
        return references, references.texts
    carrying = [(name, system) for name, system in systems.items() if system.references is not None]
    if not carrying:
        raise UserError(
            f"{', '.join(systems)} carry no references: give them with --references (CSV, JSONL, JSON or annotation file)"
        )
    (first, file), *others = carrying
    _check_ids(file)
    texts = _carried(file)
    for name, other in others:
        theirs = _carried(other)
        for row, found in enumerate(_rows(name, other, file, False, [])):
            if found is not None and normalise_whitespace(theirs[found]) != normalise_whitespace(texts[row]):
                raise UserError(
                    f"the references of study {_labels(file)[row]} differ between {first} and {name}: give one with "
                    "--references"
                )
    return file, texts


def _carried(system: ReportFile) -> list[str]:
    """The references in a file of predictions, uncut where it has them so."""
    assert system.references is not None
    whole = system.whole or [""] * len(system.texts)
    return [full or cut for full, cut in zip(whole, system.references, strict=True)]


def _check_ids(file: ReportFile) -> None:
    twice = repeated(file.keys)
    if twice is not None:
        raise UserError(f"{file.path} repeats study {twice}; expected every study once: remove one of them")


def _rows(name: str, system: ReportFile, truth: ReportFile, by_order: bool, notes: list[str]) -> list[int | None]:
    """The row of a system's report for every study."""
    if system is truth:
        return list(range(len(truth.texts)))
    if by_order or system.ordered or truth.ordered or not (system.keys or truth.keys):
        if not by_order and not (system.ordered or truth.ordered):
            raise UserError(
                f"neither {system.path} nor {truth.path} has ids: give files with ids, or --by_order if the rows of both "
                "are the same studies in the same order"
            )
        if len(system.texts) != len(truth.texts):
            raise UserError(
                f"{system.path} has {len(system.texts)} reports and {truth.path} {len(truth.texts)}, and they are matched "
                "by order; expected as many of each: add ids"
            )
        notes.append(f"{name} is matched with its references by order")
        return list(range(len(truth.texts)))
    for file in (system, truth):
        if not file.keys:
            raise UserError(
                f"{file.path} has no ids and {(truth if file is system else system).path} has: name its column with "
                "--columns id=NAME, or give --by_order if the rows of both are the same studies in the same order"
            )
    _check_ids(system)
    whole = next(iter(system.keys.values()))
    if all(None in values for values in system.keys.values()):
        raise UserError(
            f"{system.path} has no id for its report {whole.index(None) + 1} of {len(whole)}; expected one of every report: add it"
        )
    rows, ours, theirs = pair_rows(system.keys, truth.keys)
    found = [row for row in rows if row is not None]
    if ours and (ours, theirs) != (next(iter(system.keys)), next(iter(truth.keys))):
        notes.append(f"{name} is matched by {ours} = {theirs} of {truth.path.name}")
    if len(found) > len(set(found)):
        notes.append(f"{name}: {len(set(found))} reports of studies count for each of their {len(found)} images")
    return rows


def _say_missing(
    name: str,
    system: ReportFile,
    rows: Sequence[int | None],
    present: Sequence[int],
    labels: Sequence[str],
    notes: list[str],
) -> None:
    """Which studies a system has no report for, and how many of its reports have no reference."""
    missing = [labels[i] for i in present if rows[i] is None]
    if missing:
        notes.append(
            f"{name} has no report for {len(missing)} of {len(present)} studies, first {', '.join(missing[:3])}"
        )
    used = {row for row in rows if row is not None}
    extra = [label for row, label in enumerate(_labels(system)) if row not in used]
    if extra:
        notes.append(f"{name} has {len(extra)} reports without a reference, first {', '.join(extra[:3])}")
