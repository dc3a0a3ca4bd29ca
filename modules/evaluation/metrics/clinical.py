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
THIRDS = ("head", "medium", "tail")
UNCERTAIN_AS_NEGATIVE, UNCERTAIN_AS_POSITIVE = (POSITIVE,), (POSITIVE, UNCERTAIN)  # states that count as positive


def _columns(labels: np.ndarray, conditions: Sequence[str] | None) -> np.ndarray:
    """The columns of ``CHEXPERT_CONDITIONS`` ``(n, 14)``, found by name."""
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
    missing = [name for name in CHEXPERT_CONDITIONS if name not in conditions]
    if missing:
        raise ValueError(
            f"the labels have no column for {', '.join(missing)}; clinical scores need {', '.join(CHEXPERT_CONDITIONS)}"
        )
    return labels[:, [list(conditions).index(name) for name in CHEXPERT_CONDITIONS]]


def _binary(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None,
    counted: Sequence[int] = UNCERTAIN_AS_NEGATIVE,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each label counts as positive, of both label arrays as booleans ``(n, 14)`` after every check."""
    found = np.isin(_columns(predicted, conditions), counted)
    expected = np.isin(_columns(reference, conditions), counted)
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} predicted and {len(expected)} reference reports; expected as many of each")
    return found, expected


def _precision_recall_f1(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 ``(n,)`` of every report, with 0/0 = 0."""
    return _measures(*(part.sum(axis=1, dtype=np.float64) for part in (found & expected, found, expected)))


def _measures(hits: np.ndarray, found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 from counts of one shape, with 0/0 = 0."""
    return ratio(hits, found), ratio(hits, expected), ratio(2 * hits, found + expected)


def _counts(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Hits, found and expected of every condition, side by side: ``(n, 3 * 14)``, to be summed over studies."""
    return np.concatenate([found & expected, found, expected], axis=1).astype(np.float64)


def _by_kind(sums: np.ndarray) -> np.ndarray:
    """Sums ``(R, 3 * 14)`` of :func:`_counts` as hits, found and expected, ``(3, R, 14)``."""
    return np.moveaxis(sums.reshape(len(sums), 3, -1), 1, 0)


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
    """Clinical efficacy of predicted against reference labels, by every convention at once.

    Args:
        predicted: ``(n, 14)`` or ``(n, 18)`` integer states of the generated reports: 0 blank, 1 positive, 2 negative,
            3 uncertain. The auxiliary conditions of an 18-column array are left out, by name.
        reference: the same for the reference reports, in the same order.
        conditions: names of the columns, those of ``modules.labels`` by width if absent.
        thirds: what :func:`frequency_thirds` returned, for the macro averages over each third.

    Returns:
        Figures in [0, 1] by name, and the sums that they are made of: ``ce_{precision,recall,f1}_{example,micro,macro}``
        over the 14 conditions, the same with ``_5`` appended over the five, and ``ce_precision``, ``ce_recall``,
        ``ce_f1``: the example-based ones; ``ce_{precision,recall,f1}_macro_{head,medium,tail}`` if ``thirds`` are given.
        Uncertain labels count as negative, the published convention; all of these are there once more under
        ``_uncertain_positive``, with uncertain labels counted as positive.

    Raises:
        ValueError: if shapes, states or names do not fit, or there is no report.

    Source: per report P = |found and expected| / |found|, R = |found and expected| / |expected|, F1 = 2PR / (P + R),
    each 0 where its denominator is; micro and macro as in scikit-learn with ``zero_division=0``.

    Departure: the published evaluation code returns per-condition arrays under the names of the example-based scores;
    those are in :func:`class_sums`.
    """
    groups = {
        "": list(range(len(CHEXPERT_CONDITIONS))),
        "_5": [CHEXPERT_CONDITIONS.index(name) for name in FIVE_CONDITIONS],
    }
    thirds = thirds or {}
    macro_only = {
        f"_{third}": [i for i, name in enumerate(CHEXPERT_CONDITIONS) if thirds[name] == third]
        for third in dict.fromkeys(thirds.values())
    }
    parts = []
    for counted, suffix in ((UNCERTAIN_AS_NEGATIVE, ""), (UNCERTAIN_AS_POSITIVE, "_uncertain_positive")):
        found, expected = _binary(predicted, reference, conditions, counted)
        example: dict[str, np.ndarray] = {}
        for group, columns in groups.items():
            values = _precision_recall_f1(found[:, columns], expected[:, columns])
            example |= {f"ce_{m}_example{group}": value for m, value in zip(MEASURES, values, strict=True)}
        parts.append(renamed(means({f"ce_{m}": example[f"ce_{m}_example"] for m in MEASURES} | example), suffix))
        parts.append(renamed(_pooled_sums(found, expected, groups, macro_only), suffix))
    return joined(parts)


def _pooled_sums(
    found: np.ndarray, expected: np.ndarray, groups: Mapping[str, list[int]], macro_only: Mapping[str, list[int]]
) -> StudySums:
    """Micro and macro averages over groups of conditions, from counts per condition."""

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        counts = _by_kind(sums)  # (3, R, 14)
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

    return StudySums(_counts(found, expected), figures)


def class_sums(predicted: np.ndarray, reference: np.ndarray, conditions: Sequence[str] | None = None) -> StudySums:
    """Precision, recall and F1 of every single condition, uncertain as negative.

    Args:
        predicted: as in :func:`clinical_sums`.
        reference: as in :func:`clinical_sums`.
        conditions: as in :func:`clinical_sums`.

    Returns:
        Figures named ``"<condition>/<measure>"``.

    Raises:
        ValueError: as in :func:`clinical_sums`.
    """
    found, expected = _binary(predicted, reference, conditions)

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        measures = _measures(*_by_kind(sums))  # (R, 14) each
        return {
            f"{condition}/{name}": values[:, i]
            for i, condition in enumerate(CHEXPERT_CONDITIONS)
            for name, values in zip(MEASURES, measures, strict=True)
        }

    return StudySums(_counts(found, expected), figures)


def example_f1(
    predicted: np.ndarray,
    reference: np.ndarray,
    conditions: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """``ce_f1`` of every report ``(n,)``; arguments and errors as in :func:`clinical_sums`.

    With ``weights`` ``(14,)`` a condition counts so many times, in what is found, expected and both.
    """
    found, expected = _binary(predicted, reference, conditions)
    if weights is None:
        return _precision_recall_f1(found, expected)[2]
    return _measures(*(part @ weights for part in (found & expected, found, expected)))[2]


def positives(labels: np.ndarray, conditions: Sequence[str] | None = None) -> np.ndarray:
    """What each report is positive for, ``(n, 14)``; arguments and errors as in :func:`clinical_sums`."""
    return _binary(labels, labels, conditions)[0]
