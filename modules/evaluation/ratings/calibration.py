"""Do metrics order reports as radiologists do? Kendall's tau-b of every metric with their ratings, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modules.evaluation.ratings.rated import Rated

SAME = 0.01  # scores that differ by less are the same, as RadJudge counts
Interval = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """Of one metric: tau with its 95 % interval, and the share of cases ordered as expected, where that is asked."""

    tau: float
    interval: Interval | None
    passed: float | None = None


def tau_b(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of two orders ``(n,)`` in every row of ``weights`` ``(R, n)``, how often each pair was drawn.

    Source: Kendall, 1945; nan where one of the orders is constant.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]  # (n, n)
    products = (signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2)
    both, left, right = (np.einsum("rn,nm,rm->r", weights, product, weights, optimize=True) for product in products)
    return np.divide(both, np.sqrt(left * right), out=np.full(len(weights), np.nan), where=left * right > 0)


def calibrate(rated: Rated, per_report: Mapping[str, np.ndarray], *, resamples: int, seed: int) -> dict[str, Agreement]:
    """How every metric agrees with the ratings, the highest tau first; metrics that are constant are left out.

    Reports of one study are not independent: the bootstrap draws studies. Of reports that were rated in pairs, differences
    are compared, as RadPref does; of expected orders, tau is the share that a metric follows less the share that it turns
    around, over the orders that are strict.

    Args:
        rated: n reports.
        per_report: values ``(n,)`` by metric, larger is better.
        resamples: bootstrap samples of the studies; no interval if there is one study.
        seed: of the samples.
    """
    studies = {name: i for i, name in enumerate(dict.fromkeys(rated.studies))}
    of = np.array([studies[name] for name in rated.studies])  # (n,)
    counts = np.random.default_rng(seed).multinomial(len(studies), np.full(len(studies), 1 / len(studies)), resamples)
    draws = np.concatenate([np.ones((1, len(studies))), counts])  # (1 + R, studies), first each once
    found = {}
    for name, values in per_report.items():
        if np.ptp(values) > 0:
            taus, passed = _taus(rated, values, of, draws)
            known = taus[1:][np.isfinite(taus[1:])]
            low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
            interval = (float(low), float(high)) if len(studies) > 1 and len(known) else None
            found[name] = Agreement(float(taus[0]), interval, passed)
    return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1].tau, nan=-2)))


def _taus(rated: Rated, values: np.ndarray, of: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Tau in every draw ``(1 + R,)``, and the share of cases that are ordered as expected."""
    if rated.orders is not None:
        first, second, strict = rated.orders.T
        gaps, case = values[first] - values[second], of[first]
        weights = draws[:, case] * strict  # (1 + R, m)
        total = weights.sum(axis=1)
        taus = np.divide(weights @ np.sign(gaps), total, out=np.full(len(draws), np.nan), where=total > 0)
        right = np.where(strict == 1, gaps > 0, np.abs(gaps) < SAME)
        return taus, float(np.mean([right[case == one].all() for one in np.unique(case)]))
    assert rated.ratings is not None
    if rated.pairs is not None:
        first, second = rated.pairs.T
        return tau_b(
            values[second] - values[first], rated.ratings[second] - rated.ratings[first], draws[:, of[first]]
        ), None
    return tau_b(values, rated.ratings, draws[:, of]), None


def calibration_lines(found: Mapping[str, Agreement], rated: Rated) -> list[str]:
    """The result as text, one metric a line."""
    studies = len(set(rated.studies))
    what = f"{len(rated.texts)} reports of {studies} studies [95 % interval, bootstrap over studies]"
    if rated.orders is not None:
        what = f"{int(rated.orders[:, 2].sum())} strict orders in {studies} cases [95 % interval, bootstrap over cases], cases passed"
    lines = [f"Kendall tau-b with {rated.name!r} over {what}", *rated.notes]
    for name, one in found.items():
        span = "no interval: one study" if one.interval is None else f"[{one.interval[0]:+.3f}, {one.interval[1]:+.3f}]"
        passed = "" if one.passed is None else f"  {one.passed:.1%}"
        tau = f"{one.tau:+.3f}" if np.isfinite(one.tau) else "   n/a"
        lines.append(f"  {name:34s} {tau}  {span}{passed}")
    return lines
