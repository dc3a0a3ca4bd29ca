"""What the rules label of a report that answers in lists, tables, boxes or signs: the published cleaner takes those away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modules.corpus.text import clean_report, truncate_words
from modules.labelling.assertions import normalised_sentences
from modules.labelling.structured import as_prose


def labelled_texts(reports: Sequence[str], raw: Sequence[str], whole: Sequence[str] | None = None) -> list[str]:
    """Cleaned reports, but those with structured answers as the sentences that the rules read in them.

    ``- [ ] Effusion`` is cleaned to ``effusion``, and ``Effusion (-), edema (+)`` to ``effusion - edema +``: what they
    deny would be labelled as found.

    Args:
        reports: cleaned reports, which stand where the raw ones have no such answers.
        raw: the same as they were found.
        whole: the cleaned ones before they were cut to a number of words, ``reports`` if absent.
    """
    texts = []
    for report, found, uncut in zip(reports, raw, whole or reports, strict=True):
        if report and found != report and is_structured(found):
            sentences = clean_report(". ".join(normalised_sentences(found)))
            texts.append(sentences if uncut == report else truncate_words(sentences, len(report.split())))
        else:
            texts.append(report)
    return texts


def is_structured(report: str) -> bool:
    """Whether it has answers that are no sentences, or sentences that end in a semicolon."""
    return ";" in report or as_prose(report) != report


def answers_in_marks(report: str) -> bool:
    """Whether it has answers in lists, tables, boxes or signs: prose whose paragraphs are numbered, or with a semicolon, has none."""
    prose = as_prose(report)
    return prose != report and ("\n" in report.strip() or _words(prose) != _words(report))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.casefold())
