"""Does a model write about each patient, or the same report for everyone? And does it write or copy?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from modules.corpus.text import normalise_whitespace, postprocess_prediction, split_sentences

QUANTILES = (5, 25, 50, 75, 95)  # in percent
HISTOGRAM_WORDS = 10  # width of a bar of the length histogram


def diversity(
    predictions: Sequence[str],
    references: Sequence[str],
    retrieved: Sequence[str] | None = None,
    training: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Variety of generated reports, beside that of their references.

    Args:
        predictions: n generated reports.
        references: n reference reports.
        retrieved: the first report that each was written with, ``""`` for none.
        training: all training reports, cleaned.

    Returns:
        ``distinct_reports`` (how many), ``most_frequent_share`` and ``most_frequent_report``; ``distinct_<k>``, different
        over all k-grams of the set; ``words`` (mean, standard deviation, quantiles); all of these under
        ``references_`` for the references; ``length_histogram``; ``copied_from_retrieved`` and
        ``copied_from_training``, shares of all sentences that stand word for word in the first retrieved report and in any
        training report, and ``references_copied_from_training``; ``whole_reports_from_training``, how many reports are
        training reports word for word; None where nothing was given to compare with.
    """
    generated = [normalise_whitespace(postprocess_prediction(text)) for text in predictions]
    truth = [normalise_whitespace(text) for text in references]
    result: dict[str, Any] = {"reports": len(generated)}
    for prefix, texts in (("", generated), ("references_", truth)):
        result |= {f"{prefix}{name}": value for name, value in _variety(texts).items()}
    result["length_histogram"] = _histogram(generated, truth)
    sentences = [split_sentences(text) for text in generated]
    result["copied_from_retrieved"] = result["copied_from_training"] = result["references_copied_from_training"] = None
    result["whole_reports_from_training"] = None
    if retrieved is not None:
        offered = [set(split_sentences(report)) for report in retrieved]
        result["copied_from_retrieved"] = _share(
            sentence in known for own, known in zip(sentences, offered, strict=True) for sentence in own
        )
    if training is not None:
        training = list(training)
        whole = {normalise_whitespace(postprocess_prediction(report)) for report in training}
        result["whole_reports_from_training"] = sum(text in whole for text in generated)
        known = {sentence for report in training for sentence in split_sentences(report)}
        result["copied_from_training"] = _share(sentence in known for own in sentences for sentence in own)
        result["references_copied_from_training"] = _share(
            sentence in known for text in truth for sentence in split_sentences(text)
        )
    return result


def _variety(texts: Sequence[str]) -> dict[str, Any]:
    counts = Counter(texts)
    report, count = counts.most_common(1)[0]
    lengths = np.array([len(text.split()) for text in texts])
    values: dict[str, Any] = {
        "distinct_reports": len(counts),
        "most_frequent_share": count / len(texts),
        "most_frequent_report": report,
    }
    for k in range(1, 5):
        grams = [gram for text in texts for gram in _grams(text.split(), k)]
        values[f"distinct_{k}"] = len(set(grams)) / len(grams) if grams else 0.0
    values["words"] = {"mean": float(lengths.mean()), "sd": float(lengths.std())}
    values["words"] |= {f"p{q}": float(np.percentile(lengths, q)) for q in QUANTILES}
    return values


def _grams(words: Sequence[str], k: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + k]) for i in range(len(words) - k + 1)]


def _histogram(generated: Sequence[str], truth: Sequence[str]) -> dict[str, list[int]]:
    """Reports per length; ``edges`` are in words."""
    lengths = [np.array([len(text.split()) for text in texts]) for texts in (generated, truth)]
    edges = np.arange(0, max(part.max() for part in lengths) + HISTOGRAM_WORDS + 1, HISTOGRAM_WORDS)
    counts = [np.histogram(part, edges)[0].tolist() for part in lengths]
    return {"edges": edges.tolist(), "predictions": counts[0], "references": counts[1]}


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 0.0
