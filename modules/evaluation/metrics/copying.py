"""What a model takes from the report that it retrieved: how much of it is wrong, and would copying all have been worse?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modules.corpus.text import normalise_whitespace, postprocess_prediction, split_sentences
from modules.labels import NEGATIVE, POSITIVE, UNCERTAIN

NO_FINDING = "no finding"  # of a sentence alone it says nothing


def copying(
    predictions: Sequence[str],
    retrieved: Sequence[str],
    truth: np.ndarray,
    label: Callable[[list[str]], np.ndarray],
    conditions: Sequence[str],
) -> dict[str, Any]:
    """Sentences that stand word for word in the first retrieved report, the others, and those of it left behind.

    With ``--references`` 2 or more a sentence of another one counts as the model's own.

    A sentence is wrong if, read alone, it calls a condition present that the study's own report does not call present or
    possible, or denies one that this report calls present. Every different sentence is labelled once.

    Args:
        predictions: n generated reports.
        retrieved: the first report that each was written with, ``""`` for none.
        truth: states ``(n, L)`` of the studies' own reports.
        label: the labeler that found them: from texts to states.
        conditions: L names.

    Returns:
        ``copied``, ``own`` and ``left`` (of the first retrieved report, not taken): each how many ``sentences`` and what share
        of them is ``wrong``, None if there is no such sentence.
    """
    known = [index for index, name in enumerate(conditions) if name != NO_FINDING]
    kinds: dict[str, list[tuple[int, str]]] = {"copied": [], "own": [], "left": []}
    for study, (prediction, report) in enumerate(zip(predictions, retrieved, strict=True)):
        written = split_sentences(normalise_whitespace(postprocess_prediction(prediction)))
        offered = split_sentences(report)
        for sentence in written:
            kinds["copied" if sentence in offered else "own"].append((study, sentence))
        kinds["left"] += [(study, sentence) for sentence in offered if sentence not in written]
    unique = list(dict.fromkeys(sentence for found in kinds.values() for _, sentence in found))
    states = label(unique)[:, known] if unique else np.empty((0, len(known)), np.int8)
    row = {sentence: number for number, sentence in enumerate(unique)}
    result: dict[str, Any] = {}
    for kind, found in kinds.items():
        says = states[[row[sentence] for _, sentence in found]]  # (sentences, L)
        is_so = truth[[study for study, _ in found]][:, known]
        invented = (says == POSITIVE) & (is_so != POSITIVE) & (is_so != UNCERTAIN)
        denied = (says == NEGATIVE) & (is_so == POSITIVE)
        wrong = (invented | denied).any(axis=1)
        result[kind] = {"sentences": len(found), "wrong": float(wrong.mean()) if len(found) else None}
    return result


def copying_line(found: dict[str, Any]) -> str:
    """:func:`copying` in a sentence."""
    said = {"copied": "copied", "own": "its own", "left": "left behind"}
    parts = [
        f"{kind['sentences']} {said[name]}" + ("" if kind["wrong"] is None else f" ({kind['wrong']:.3f} wrong)")
        for name, kind in found.items()
    ]
    return f"sentences of the first retrieved report: {', '.join(parts)}"
