"""modules/evaluation/metrics/diversity.py: counted by hand."""

import pytest

from modules.evaluation.metrics.diversity import diversity


def test_by_hand():
    predictions = ["a b . c d", "a b. c d", "a a a", "x ."]
    references = ["a b .", "a c . d", "e . x", "f"]
    found = diversity(predictions, references, ["c d . q", "", "a a a", "y"], ["zz . a b .", "x", "f"])
    assert (found["reports"], found["distinct_reports"]) == (4, 3)
    assert found["most_frequent_share"] == 0.5
    assert found["most_frequent_report"] == "a b . c d"
    assert found["distinct_1"] == pytest.approx(6 / 15)  # a b . c d x among 5 + 5 + 3 + 2 words
    assert found["distinct_2"] == pytest.approx(6 / 11)
    assert found["distinct_4"] == pytest.approx(2 / 4)
    assert found["references_distinct_reports"] == 4
    assert found["words"]["mean"] == pytest.approx(15 / 4)
    assert found["words"]["sd"] == pytest.approx(1.6875**0.5)  # of these reports, not of others that they stand for
    assert found["copied_from_retrieved"] == pytest.approx(2 / 6)  # "c d" of the first, "a a a"
    assert found["copied_from_training"] == pytest.approx(3 / 6)  # "a b" twice, "x"
    assert found["references_copied_from_training"] == pytest.approx(3 / 6)
    assert found["whole_reports_from_training"] == 0
    whole = diversity(["a  b. c", "a b", "a b . c"], references[:3], training=["a b. c", "d"])
    assert whole["whole_reports_from_training"] == 2
    assert found["length_histogram"] == {"edges": [0, 10], "predictions": [4], "references": [4]}


def test_nothing_to_compare_with_and_empty_reports():
    found = diversity(["", ""], ["a", "b"])
    assert found["distinct_1"] == found["distinct_4"] == 0
    assert found["copied_from_retrieved"] is None is found["copied_from_training"]
    assert found["whole_reports_from_training"] is None
    assert found["most_frequent_share"] == 1
