"""modules/evaluation/metrics/clinical.py: every average against golden values and scikit-learn, and the guards."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from modules.evaluation.metrics.clinical import (
    MEASURES,
    class_sums,
    clinical_sums,
    example_f1,
    frequency_thirds,
)
from modules.labels import CHEXPERT_CONDITIONS, CONDITIONS, FIVE_CONDITIONS

GOLDEN = np.load(Path(__file__).parent / "golden" / "clinical_metrics.npz", allow_pickle=False)
AVERAGES = ("example", "micro", "macro")
FIVE = [CHEXPERT_CONDITIONS.index(name) for name in FIVE_CONDITIONS]


def clinical_scores(predicted, reference, conditions=None):
    return clinical_sums(predicted, reference, conditions).scores()


def of_conditions(predicted, reference):
    """Precision, recall and F1 ``(14, 3)`` of every condition."""
    scores = class_sums(predicted, reference).scores()
    return np.array([[scores[f"{name}/{measure}"] for measure in MEASURES] for name in CHEXPERT_CONDITIONS])


def labels(n=60, width=14, seed=0):
    return np.random.default_rng(seed).integers(0, 4, size=(n, width))


@pytest.mark.parametrize("case", [0, 1])
def test_golden_values(case):
    predicted, reference = GOLDEN[f"pred{case}"], GOLDEN[f"gt{case}"]
    scores = clinical_scores(predicted, reference)
    for average in AVERAGES:
        ours = [scores[f"ce_{measure}_{average}"] for measure in MEASURES]
        np.testing.assert_allclose(ours, GOLDEN[f"{average}{case}"], rtol=0, atol=1e-12)
    per_class = of_conditions(predicted, reference).T
    np.testing.assert_allclose(per_class, GOLDEN[f"per_class{case}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("uncertain", "counted"), [("", (1,)), ("_uncertain_positive", (1, 3))])
@pytest.mark.parametrize(("suffix", "columns"), [("", list(range(14))), ("_5", FIVE)])
def test_scikit_learn_agrees(uncertain, counted, suffix, columns):
    predicted, reference = labels(seed=1), labels(seed=2)
    predicted[:3], reference[2:5] = 0, 0  # reports without a finding on either side, on both
    scores = clinical_scores(predicted, reference)
    found, expected = (np.isin(array, counted).astype(int)[:, columns] for array in (predicted, reference))
    for average, theirs in (("example", "samples"), ("micro", "micro"), ("macro", "macro")):
        wanted = precision_recall_fscore_support(expected, found, average=theirs, zero_division=0)[:3]
        ours = [scores[f"ce_{measure}_{average}{suffix}{uncertain}"] for measure in MEASURES]
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)


def test_names():
    scores = clinical_scores(labels(seed=3), labels(seed=4))
    names = {f"ce_{m}_{a}{s}" for m in MEASURES for a in AVERAGES for s in ("", "_5")} | {f"ce_{m}" for m in MEASURES}
    assert set(scores) == names | {f"{name}_uncertain_positive" for name in names}
    assert all(scores[f"ce_{m}"] == scores[f"ce_{m}_example"] != scores[f"ce_{m}_macro"] for m in MEASURES)
    assert all(type(value) is float for value in scores.values())


def test_columns_are_found_by_name():
    predicted, reference = labels(width=18, seed=5), labels(width=18, seed=6)
    wanted = clinical_scores(predicted[:, :14], reference[:, :14])
    assert clinical_scores(predicted, reference) == wanted
    assert clinical_scores(predicted, reference[:, :14]) == wanted
    order = np.random.default_rng(7).permutation(18)
    shuffled = [CONDITIONS[i] for i in order]
    assert clinical_scores(predicted[:, order], reference[:, order], conditions=shuffled) == wanted
    assert np.array_equal(of_conditions(predicted, reference), of_conditions(predicted[:, :14], reference[:, :14]))


def test_perfect_and_empty_predictions():
    reference = labels(seed=8)
    reference[:, 0] = 1
    assert clinical_scores(reference, reference)["ce_f1"] == 1.0
    assert set(clinical_scores(np.zeros_like(reference), reference).values()) == {0.0}


@pytest.mark.parametrize(
    ("predicted", "reference", "options", "message"),
    [
        (labels(3), labels(4), {}, "3 predicted and 4 reference"),
        (labels(3, 13), labels(3, 13), {}, "13 columns"),
        (labels(3) + 7, labels(3), {}, r"hold (7|8|9|10);"),
        (labels(3) / 2, labels(3), {}, r"hold \d\.5;"),
        (labels(3), labels(3), {"conditions": CONDITIONS}, "14 columns for 18"),
        (labels(3, 5), labels(3, 5), {"conditions": FIVE_CONDITIONS}, "no column for enlarged"),
        (labels(0), labels(0), {}, "at least one report"),
        (labels(3)[0], labels(3)[0], {}, "shape"),
    ],
)
def test_guards(predicted, reference, options, message):
    for function in (clinical_sums, class_sums):
        with pytest.raises(ValueError, match=message):
            function(predicted, reference, **options)


def test_sums_give_every_convention():
    predicted, reference = labels(200, 18, seed=11), labels(200, 14, seed=12)
    thirds = frequency_thirds(np.linspace(1, 0, 14))
    scores = clinical_sums(predicted, reference, thirds=thirds).scores()
    assert scores.items() >= clinical_scores(predicted, reference).items()
    per_class = dict(zip(CHEXPERT_CONDITIONS, of_conditions(predicted, reference), strict=True))
    for third, columns in (("head", slice(0, 5)), ("medium", slice(5, 10)), ("tail", slice(10, 14))):
        names = CHEXPERT_CONDITIONS[columns]
        assert [thirds[name] for name in names] == [third] * len(names)
        wanted = np.mean([per_class[name][2] for name in names])
        assert scores[f"ce_f1_macro_{third}"] == pytest.approx(wanted, abs=1e-12)
    assert example_f1(predicted, reference).mean() == pytest.approx(scores["ce_f1"], abs=1e-12)
    alike = example_f1(predicted, reference, weights=np.full(14, 0.3))
    np.testing.assert_allclose(alike, example_f1(predicted, reference), atol=1e-12)


def test_thirds_follow_the_rate_not_the_order():
    rates = np.zeros(14)
    rates[CHEXPERT_CONDITIONS.index("fracture")] = 0.9
    assert frequency_thirds(rates)["fracture"] == "head"
    assert sorted(frequency_thirds(rates).values()) == ["head"] * 5 + ["medium"] * 5 + ["tail"] * 4
