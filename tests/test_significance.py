"""modules/evaluation/metrics/significance.py: coverage of intervals, power and size of the comparison, Holm's correction."""

import time

import numpy as np
import pytest

from modules.evaluation.metrics.clinical import clinical_sums
from modules.evaluation.metrics.significance import compare, holm, intervals, with_holm
from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means, ratio, renamed
from modules.messages import UserError


def population(n, rng, skill=0.7):
    """Per-study statistics of made-up reports: a skewed mean, a ratio of sums, and clinical counts."""
    reference = rng.random((n, 14)) < np.linspace(0.08, 0.4, 14)
    agrees = rng.random((n, 14)) < skill
    predicted = np.where(agrees, reference, rng.random((n, 14)) < 0.2)
    return joined([*made_up_texts(n, rng), clinical_sums(predicted.astype(int), reference.astype(int))])


def made_up_texts(n, rng):
    """A skewed mean, as ROUGE-L is, and a ratio of sums, as BLEU is."""
    words = rng.poisson(50, size=n) + 5
    matched = rng.binomial(words, rng.beta(2, 3, size=n))
    pooled = StudySums(
        np.column_stack([matched, words]).astype(float), lambda sums: {"pooled": ratio(sums[:, 0], sums[:, 1])}
    )
    return means({"mean": rng.gamma(1.5, 0.2, size=n)}), pooled


def part(sums, rows):
    return StudySums(sums.values[rows], sums.figures)


@pytest.mark.slow
def test_intervals_cover_the_truth_in_95_of_100_draws():
    """1,000 test sets of 300 studies from a population whose figures are known: a mean, BLEU-like and micro F1 ratios."""
    rng = np.random.default_rng(0)
    hits, found, expected = rng.binomial(14, [[0.1], [0.2], [0.2]], size=(3, 100_000)).astype(float)
    micro = StudySums(
        np.column_stack([hits, found, expected]),
        lambda sums: {"micro_f1": ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])},
    )
    few = joined([*made_up_texts(100_000, rng), micro])
    truth = few.scores()
    covered = dict.fromkeys(truth, 0)
    for draw in range(1000):
        found = intervals(part(few, rng.integers(100_000, size=300)), resamples=400, seed=draw)
        for name in covered:
            covered[name] += found[name][0] <= truth[name] <= found[name][1]
    assert all(0.93 <= count / 1000 <= 0.97 for count in covered.values()), covered


def test_a_thousand_resamples_of_a_full_test_set_take_seconds():
    sums = population(3858, np.random.default_rng(1))
    start = time.monotonic()
    found = intervals(sums)
    assert time.monotonic() - start < 10
    scores = sums.scores()
    assert set(found) == set(scores)
    assert all(low <= scores[name] <= high and low < high for name, (low, high) in found.items())


def test_intervals_agree_with_resampling_one_by_one():
    sums = part(population(50, np.random.default_rng(2)), slice(None))
    rng = np.random.default_rng(7)
    draws = rng.integers(50, size=(200, 50))
    slow = [part(sums, rows).scores()["pooled"] for rows in draws]
    wanted = tuple(np.quantile(slow, [0.025, 0.975]))
    assert intervals(sums, resamples=200, seed=7)["pooled"] == pytest.approx(wanted, abs=1e-12)


def test_a_system_equals_itself():
    sums = population(200, np.random.default_rng(3))
    for name, difference in compare(sums, sums, ["mean", "pooled", "ce_f1"], randomisations=500).items():
        assert difference == (0, 0, 0, 1, 1), name


def test_a_slightly_worse_copy_is_detected():
    """Five in a hundred studies lose a tenth of their score."""
    rng = np.random.default_rng(4)
    good = rng.random(800) + 0.5
    worse = good.copy()
    worse[rng.choice(800, 40, replace=False)] *= 0.9
    found = compare(means({"x": good}), means({"x": worse}), ["x"])["x"]
    assert found.p < 0.001
    assert 0 < found.low < found.difference < found.high
    assert compare(means({"x": worse}), means({"x": good}), ["x"])["x"].difference == -found.difference


def test_equal_systems_are_seldom_called_different():
    """Size of the test: p below .05 in about 5 of 100 comparisons of equals."""
    rng = np.random.default_rng(5)
    called = 0
    for draw in range(400):
        shared = rng.normal(size=60)
        first, second = (means({"x": shared + rng.gamma(1, size=60)}) for _ in range(2))
        called += compare(first, second, ["x"], resamples=1, randomisations=300, seed=draw)["x"].p < 0.05
    assert 10 <= called <= 32, called


def test_p_agrees_with_all_swaps_counted():
    first, second = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0]), np.array([2.0, 1.2, 3.0, 1.0, 8.0, 2.5])
    signs = 1 - 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1)
    exact = np.mean(np.abs(signs @ (first - second)) >= abs((first - second).sum()) - 1e-12)
    found = compare(means({"x": first}), means({"x": second}), ["x"], resamples=10, randomisations=20_000)["x"]
    assert found.p == pytest.approx(exact, abs=0.01)


def test_other_studies_are_refused():
    with pytest.raises(UserError, match="3 and 4 studies"):
        compare(means({"x": np.ones(3)}), means({"x": np.ones(4)}), ["x"])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    a, b = (compare(means({"x": x}), means({"x": np.zeros(30)}), ["x"]) for x in (np.ones(30), np.zeros(30)))
    first, second = with_holm([a, b])
    assert first["x"].p_holm == pytest.approx(2 * first["x"].p)
    assert second["x"].p_holm == 1


def test_names_of_joined_sums():
    sums = joined([means({"a": np.arange(3.0)}), renamed(means({"a": np.ones(3)}), "_full")])
    assert sums.scores() == {"a": 1.0, "a_full": 1.0}
