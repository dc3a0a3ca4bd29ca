"""Clinical efficacy: do the findings of a generated report agree with those of its reference?

Every average in use in the literature is returned under its own name, because figures made with different ones cannot
stand in one column:

    ce_f1_example      per report over the conditions, then the mean over reports; ``ce_f1`` is this one
    ce_f1_micro        over all (report, condition) pairs at once
    ce_f1_macro        per condition over the reports, then the mean over conditions
    ce_f1_example_5    the same three over cardiomegaly, edema, consolidation, atelectasis and pleural effusion
    ce_f1_macro_tail   per condition, then the mean over the rarest third of them; also ``_head`` and ``_medium``
    ce_f1_micro_uncertain_positive
                       an uncertain finding counted as positive; without this suffix it counts as negative
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means, ratio, renamed
from modules.labels import CHEXPERT_CONDITIONS, CONDITIONS, FIVE_CONDITIONS, POSITIVE, STATES, UNCERTAIN

MEASURES = ("precision", "recall", "f1")
AVERAGES = ("example", "micro", "macro")
THIRDS = ("head", "medium", "tail")
COUNTED_AS_POSITIVE = {"negative": (POSITIVE,), "positive": (POSITIVE, UNCERTAIN)}  # how "uncertain" is counted


def _columns(labels: np.ndarray, conditions: Sequence[str] | None, wanted: Sequence[str]) -> np.ndarray:
    """Columns of the ``wanted`` conditions, found by name, as ``(n, len(wanted))``."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or len(labels) == 0:
        raise ValueError(f"labels have shape {labels.shape}; expected (reports, conditions) with at least one report")
    if conditions is None:
        by_width = {len(names): names for names in (CHEXPERT_CONDITIONS, CONDITIONS)}
        if labels.shape[1] not in by_width:
            raise ValueError(
                f"labels have {labels.shape[1]} columns; expected {sorted(by_width)}, or name the conditions"
            )
        conditions = by_width[labels.shape[1]]
    if labels.shape[1] != len(conditions):
        raise ValueError(f"labels have {labels.shape[1]} columns for {len(conditions)} conditions; expected as many")
    if not np.isin(labels, range(len(STATES))).all():
        strange = labels[~np.isin(labels, range(len(STATES)))].flat[0]
        raise ValueError(f"labels hold {strange}; expected 0 blank, 1 positive, 2 negative or 3 uncertain")
    missing = [name for name in wanted if name not in conditions]
    if missing:
        raise ValueError(
            f"the labels have no column for {', '.join(missing)}; clinical scores need {', '.join(wanted)}"
        )
    return labels[:, [list(conditions).index(name) for name in wanted]]


def _binary(
    predicted: np.ndarray, reference: np.ndarray, conditions: Sequence[str] | None, uncertain: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both label arrays as booleans ``(n, 14)`` after every check."""
    if uncertain not in COUNTED_AS_POSITIVE:
        raise ValueError(f"uncertain labels cannot count as {uncertain!r}; choose one of {sorted(COUNTED_AS_POSITIVE)}")
    counted = COUNTED_AS_POSITIVE[uncertain]
    found = np.isin(_columns(predicted, conditions, CHEXPERT_CONDITIONS), counted)
    expected = np.isin(_columns(reference, conditions, CHEXPERT_CONDITIONS), counted)
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} predicted and {len(expected)} reference reports; expected as many of each")
    return found, expected


def _precision_recall_f1(found: np.ndarray, expected: np.ndarray, axis: int | None) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 summed along ``axis``, with 0/0 = 0."""
    return _measures(*(part.sum(axis=axis, dtype=np.float64) for part in (found & expected, found, expected)))


def _measures(hits: np.ndarray, found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 from counts of one shape, with 0/0 = 0."""
    return ratio(hits, found), ratio(hits, expected), ratio(2 * hits, found + expected)


def clinical_scores(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None = None,
    uncertain: str = "negative",
) -> dict[str, float]:
    """Clinical efficacy of predicted against reference labels, under every common average.

    Args:
        predicted: ``(n, 14)`` or ``(n, 18)`` integer states of the generated reports: 0 blank, 1 positive, 2 negative,
            3 uncertain. The auxiliary conditions of an 18-column array are left out, by name.
        reference: the same for the reference reports, in the same order.
        conditions: names of the columns, those of ``modules.labels`` by width if absent.
        uncertain: what an uncertain label counts as, ``"negative"`` (the published convention) or ``"positive"``.

    Returns:
        Values in [0, 1] by name: ``ce_{precision,recall,f1}_{example,micro,macro}`` over the 14 conditions, the same
        with ``_5`` appended over the five, and ``ce_precision``, ``ce_recall``, ``ce_f1``: the example-based ones.

    Raises:
        ValueError: if shapes, states or names do not fit, or there is no report.

    Source: per report P = |found and expected| / |found|, R = |found and expected| / |expected|, F1 = 2PR / (P + R),
    each 0 where its denominator is; micro and macro as in scikit-learn with ``zero_division=0``.

    Departure: the published evaluation code returns per-condition arrays under the names of the example-based scores;
    those are in :func:`clinical_scores_per_class`.
    """
    found, expected = _binary(predicted, reference, conditions, uncertain)
    scores = {}
    five = [CHEXPERT_CONDITIONS.index(name) for name in FIVE_CONDITIONS]
    for suffix, columns in (("", slice(None)), ("_5", five)):
        for average, axis in zip(AVERAGES, (1, None, 0), strict=True):
            values = _precision_recall_f1(found[:, columns], expected[:, columns], axis)
            for measure, value in zip(MEASURES, values, strict=True):
                scores[f"ce_{measure}_{average}{suffix}"] = float(value.mean())
    return {f"ce_{measure}": scores[f"ce_{measure}_example"] for measure in MEASURES} | scores


def clinical_scores_per_class(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None = None,
    uncertain: str = "negative",
) -> dict[str, tuple[float, float, float, int]]:
    """Precision, recall, F1 and support of every one of the 14 conditions.

    Args:
        predicted: as in :func:`clinical_scores`.
        reference: as in :func:`clinical_scores`.
        conditions: as in :func:`clinical_scores`.
        uncertain: as in :func:`clinical_scores`.

    Returns:
        ``(precision, recall, f1, support)`` by condition, in the order of ``CHEXPERT_CONDITIONS``; ``support`` is the
        number of reference reports that have it.

    Raises:
        ValueError: if shapes, states or names do not fit, or there is no report.
    """
    found, expected = _binary(predicted, reference, conditions, uncertain)
    columns = zip(*_precision_recall_f1(found, expected, axis=0), expected.sum(axis=0), strict=True)
    rows = ((float(p), float(r), float(f), int(support)) for p, r, f, support in columns)
    return dict(zip(CHEXPERT_CONDITIONS, rows, strict=True))


def frequency_thirds(rates: Sequence[float] | np.ndarray) -> dict[str, str]:
    """``head``, ``medium`` or ``tail`` for every condition, by falling rate: 5, 5 and 4 of the 14.

    Args:
        rates: positive rate of each of ``CHEXPERT_CONDITIONS`` in the training data; ties keep their order.
    """
    order = np.argsort(-np.asarray(rates, dtype=np.float64), kind="stable")
    assert len(order) == len(CHEXPERT_CONDITIONS)
    parts = np.array_split(order, len(THIRDS))
    return {CHEXPERT_CONDITIONS[i]: third for third, part in zip(THIRDS, parts, strict=True) for i in part}


def clinical_sums(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None = None,
    thirds: Mapping[str, str] | None = None,
) -> StudySums:
    """Every convention at once, with the sums it is made of.

    Args:
        predicted: as in :func:`clinical_scores`.
        reference: as in :func:`clinical_scores`.
        conditions: as in :func:`clinical_scores`.
        thirds: what :func:`frequency_thirds` returned, for the macro averages over each third.

    Returns:
        The figures of :func:`clinical_scores` with uncertain as negative, those with uncertain as positive under
        ``_uncertain_positive``, and ``ce_{precision,recall,f1}_macro_{head,medium,tail}`` if ``thirds`` are given.

    Raises:
        ValueError: as in :func:`clinical_scores`.
    """
    parts = []
    for uncertain, suffix in (("negative", ""), ("positive", "_uncertain_positive")):
        found, expected = _binary(predicted, reference, conditions, uncertain)
        groups = {"": list(range(len(CHEXPERT_CONDITIONS)))}
        groups["_5"] = [CHEXPERT_CONDITIONS.index(name) for name in FIVE_CONDITIONS]
        example = {
            f"ce_{measure}_example{group}": values
            for group, columns in groups.items()
            for measure, values in zip(
                MEASURES, _precision_recall_f1(found[:, columns], expected[:, columns], 1), strict=True
            )
        }
        parts.append(renamed(means({f"ce_{m}": example[f"ce_{m}_example"] for m in MEASURES} | example), suffix))
        macro_only: dict[str, list[int]] = {}
        named = thirds or {}
        for third in dict.fromkeys(named.values()):
            macro_only[f"_{third}"] = [i for i, name in enumerate(CHEXPERT_CONDITIONS) if named[name] == third]
        parts.append(renamed(_pooled_sums(found, expected, groups, macro_only), suffix))
    return joined(parts)


def _pooled_sums(
    found: np.ndarray, expected: np.ndarray, groups: Mapping[str, list[int]], macro_only: Mapping[str, list[int]]
) -> StudySums:
    """Micro and macro averages over groups of conditions, from counts per condition."""

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        counts = np.moveaxis(sums.reshape(len(sums), 3, -1), 1, 0)  # hits, found, expected; (R, 14) each
        values = {}
        for group, columns in {**groups, **macro_only}.items():
            chosen = counts[:, :, columns]
            averages: dict[str, Sequence[np.ndarray]] = {
                "macro": [measure.mean(axis=-1) for measure in _measures(*chosen)]
            }
            if group in groups:
                averages["micro"] = _measures(*chosen.sum(axis=-1))
            for average, measures in averages.items():
                for name, value in zip(MEASURES, measures, strict=True):
                    values[f"ce_{name}_{average}{group}"] = value
        return values

    return StudySums(np.concatenate([found & expected, found, expected], axis=1).astype(np.float64), figures)


def class_sums(predicted: np.ndarray, reference: np.ndarray, conditions: Sequence[str] | None = None) -> StudySums:
    """Precision, recall and F1 of every single condition, uncertain as negative.

    Args:
        predicted: as in :func:`clinical_scores`.
        reference: as in :func:`clinical_scores`.
        conditions: as in :func:`clinical_scores`.

    Returns:
        Figures named ``"<condition>/<measure>"``.

    Raises:
        ValueError: as in :func:`clinical_scores`.
    """
    found, expected = _binary(predicted, reference, conditions, "negative")

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        measures = _measures(*np.moveaxis(sums.reshape(len(sums), 3, -1), 1, 0))
        return {
            f"{condition}/{name}": values[:, i]
            for i, condition in enumerate(CHEXPERT_CONDITIONS)
            for name, values in zip(MEASURES, measures, strict=True)
        }

    return StudySums(np.concatenate([found & expected, found, expected], axis=1).astype(np.float64), figures)


def example_f1(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """``ce_f1`` of every report ``(n,)``; arguments and errors as in :func:`clinical_scores`.

    With ``weights`` ``(14,)`` a condition counts so many times, in what is found, expected and both.
    """
    found, expected = _binary(predicted, reference, conditions, "negative")
    if weights is None:
        return _precision_recall_f1(found, expected, axis=1)[2]
    return _measures(*(part @ weights for part in (found & expected, found, expected)))[2]


def positives(labels: np.ndarray, conditions: Sequence[str] | None = None) -> np.ndarray:
    """What each report is positive for, ``(n, 14)``; arguments and errors as in :func:`clinical_scores`."""
    return _binary(labels, labels, conditions, "negative")[0]
