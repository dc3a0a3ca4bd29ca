"""modules/evaluation/reports/verdict.py: what a test says of a model beside its baselines."""

from modules.evaluation.reading.row_order import no_nearer
from modules.evaluation.reports.verdict import baseline_line, copies_line


def rows(bleu, f1):
    return {
        name: {"difference": difference, "p": p}
        for name, (difference, p) in {"BLEU_4": bleu, "ce_f1_example": f1}.items()
    } | {"ROUGE_L": {"difference": 1.0, "p": 0.0001}}


def test_baselines_are_named_on_their_side_by_figure():
    comparison = {
        "ours minus most frequent": rows((0.01, 0.0001), (0.01, 0.86)),
        "ours minus nearest (pixels)": rows((0.02, 0.0275), (-0.2, 0.0002)),
    }
    assert baseline_line(comparison) == (
        "better than: most frequent in BLEU-4; no better than: most frequent in F1, nearest (pixels) in BLEU-4; "
        "worse than: nearest (pixels) in F1 (better or worse is p below 0.05, paired, after Holm's correction over these 4)"
    )
    assert baseline_line({}) == ""


def test_a_p_that_is_small_by_itself_is_corrected_for_the_others():
    comparison = {f"ours minus {number}": rows((0.02, 0.0275), (0.0, 0.9)) for number in range(4)}
    assert "better than: 0 in" not in baseline_line(comparison).replace("no better than", "no")
    assert baseline_line({"ours minus 0": rows((0.02, 0.02), (0.1, 0.03))}).startswith(
        "better than: 0 in BLEU-4 and F1 ("
    )


def test_copies_and_reports_that_fit_any_study_are_said():
    found = {"reports": 54, "distinct_reports": 19, "whole_reports_from_training": 35}
    assert copies_line(found) == "19 of 54 reports are distinct, 35 are training reports word for word"
    assert copies_line({**found, "whole_reports_from_training": None}) == "19 of 54 reports are distinct"
    truth = [f"a mass of {number} cm in zone {number}" for number in range(20)]
    assert no_nearer("ours", truth, truth) == ""
    assert no_nearer("ours", truth[:1] * 20, truth) == (
        "the reports of ours are no nearer to their own references than to those of other studies"
    )
