"""How both sides are cleaned before they are scored: alike, and no text that is clean already a second time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from modules.corpus.cells import is_empty
from modules.corpus.text import CLEANERS, clean_once, is_cleaned, strip_markdown
from modules.labelling.labelled_texts import answers_in_marks

_HYPHEN_APART = re.compile(r"(?<=\w) - (?=\w)")  # joined by the published post-processing, in predictions alone
_HYPHEN_INSIDE = re.compile(r"\w-\w")


def clean_sides(
    raw: Mapping[str, list[str]], references: list[str], cleaning: str, notes: list[str]
) -> tuple[dict[str, list[str]], list[str], str]:
    """Take the Markdown out of both sides and clean them.

    Args:
        raw: reports by system, as they were found.
        references: theirs, as they were found.
        cleaning: a key of ``CLEANERS``; ``"none"``; or ``"auto"``: the published cleaner on every system if any reference
            is not clean yet, else on the systems that are not. A text that is clean stays as it is.
        notes: what is to be said is added.

    Returns:
        The texts of the systems and of the references, and what was done to the references.
    """
    if cleaning == "none":
        return dict(raw), list(references), "none"
    plain = {name: _without_markdown(name, reports, notes) for name, reports in raw.items()}
    cleaned, full, done, said = _clean_texts(plain, [strip_markdown(text) for text in references], cleaning)
    notes += said
    if any(map(_HYPHEN_APART.search, full)) and not any(map(_HYPHEN_INSIDE.search, full)):
        full = [_HYPHEN_APART.sub("-", text) for text in full]
        notes.append(
            "no hyphen of the references is inside a word: they were joined from pieces (right - sided), and are read as right-sided"
        )
    return cleaned, full, done


def _without_markdown(name: str, reports: Sequence[str], notes: list[str]) -> list[str]:
    plain = [strip_markdown(text) for text in reports]
    count = sum(a != b for a, b in zip(plain, reports, strict=True))
    if count:
        notes.append(f"{name}: Markdown is taken out of {count} reports before they are cleaned")
    answered = sum(map(answers_in_marks, reports))
    if answered:
        notes.append(
            f"{name}: {answered} reports answer in lists, tables, boxes or signs: rules label them as sentences, CheXbert as they are cleaned"
        )
    return plain


def _clean_texts(
    predictions: Mapping[str, Sequence[str]], references: Sequence[str], cleaning: str
) -> tuple[dict[str, list[str]], list[str], str, list[str]]:
    """As :func:`clean_sides`, of texts without Markdown and for another cleaning than none; also a note by system."""
    if cleaning != "auto":
        clean = clean_once if cleaning == "published" else CLEANERS[cleaning]
        cleaned = {name: _cleaned(clean, texts) for name, texts in predictions.items()}
        return cleaned, _cleaned(clean, references), cleaning, []
    clean_already = all(map(is_cleaned, references))
    systems, notes = {}, []
    for name, texts in predictions.items():
        if not (clean_already and all(is_cleaned(text) or is_empty(text) for text in texts)):
            systems[name] = _cleaned(clean_once, texts)
            if clean_already:
                notes.append(f"{name} is cleaned as published; the references were clean already")
        else:
            systems[name] = list(texts)
    if clean_already:
        return systems, list(references), "none", notes
    return systems, _cleaned(clean_once, references), "published", notes


def _cleaned(clean: Callable[[str], str], texts: Sequence[str]) -> list[str]:
    """Cleaned texts; the published cleaner would make a word, a stop, of nothing."""
    return ["" if is_empty(text) else clean(text) for text in texts]
