"""modules/evaluation/metrics/sufficient_sums.py: figures of sums, whatever is joined, renamed or drawn again."""

import numpy as np
import pytest

from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means, ratio, renamed

LENGTHS = means({"words": np.array([3.0, 5.0, 10.0]), "sentences": np.array([1.0, 1.0, 4.0])})
PRECISION = StudySums(
    np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]), lambda sums: {"hits": ratio(sums[:, 0], sums[:, 1])}
)


def test_a_ratio_of_nothing_is_zero():
    np.testing.assert_array_equal(ratio(np.array([1, 0, 2]), np.array([2, 0, 0])), [0.5, 0, 0])
    np.testing.assert_array_equal(ratio(np.ones((2, 1)), np.array([4.0, 0.0])), [[0.25, 0], [0.25, 0]])


def test_means_are_means():
    assert LENGTHS.scores() == {"words": 6, "sentences": 2}


def test_figures_of_studies_drawn_again_are_those_of_their_sums():
    drawn = np.array([[2.0, 0, 1], [0, 3, 0]])  # how often each study is drawn, twice
    found = joined([LENGTHS, PRECISION]).figures(drawn @ joined([LENGTHS, PRECISION]).values)
    np.testing.assert_allclose(found["words"], [16 / 3, 5])
    np.testing.assert_allclose(found["hits"], [5 / 8, 0])


@pytest.mark.parametrize("parts", [(LENGTHS, PRECISION), (PRECISION, LENGTHS)])
def test_joined_figures_are_those_of_each_part(parts):
    assert joined(parts).scores() == {"words": 6, "sentences": 2, "hits": pytest.approx(4 / 6)}
    assert joined(parts).values.shape == (3, 5)


def test_the_later_of_two_figures_of_one_name_counts():
    assert joined([LENGTHS, means({"words": np.array([1.0, 1.0, 1.0])})]).scores()["words"] == 1


def test_a_suffix_stands_behind_every_name():
    assert renamed(LENGTHS, "_full").scores() == {"words_full": 6, "sentences_full": 2}
