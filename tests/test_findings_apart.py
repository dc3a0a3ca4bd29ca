"""modules/labelling/findings_apart.py: findings without a heading or an empty line behind a history."""

import time

import pytest

from modules.evaluation.reading.one_section import one_section
from modules.labelling.findings_apart import with_findings_apart
from modules.preparation.raw.report_sections import extract, find_sections

F, I = "The heart is enlarged. A small left nodule is seen.", "Stable cardiomegaly."  # noqa: E741


@pytest.mark.parametrize(
    "asides",
    ["Indication: cough.", "INDICATION: Cough.\nTECHNIQUE: PA and lateral", "**Technique:** PA.", "Comparison: None."],
)
def test_findings_may_follow_the_line_of_an_aside(asides):
    for findings in (F, F.replace(". ", ".\n")):
        report = f"{asides}\n{findings}\nImpression: {I}"
        assert " ".join(one_section(report, "findings").split()) == F
        assert one_section(report, "impression") == I
        found = find_sections(report)
        assert (found.unnamed, found.impression) == (F, I)
        assert extract(f"{asides}\n{findings}", "findings")[0] == F


@pytest.mark.parametrize(
    "history",
    ["Indication: cough and\nFever. Evaluate for pneumonia.", "Indication: Cough.\nHistory of COPD. Prior pneumonia.", "Indication: CHF.\nOne sentence of an effusion.",
     "Technique: PA.\nGrid was used. Two films were taken.", "History: COPD.\nIs there an effusion? Is there edema?", "Indication: line placed in\nLeft lung base. Effusion.",
     "Indication: Cough.\nEvaluate for pneumonia. Rule out a pleural effusion.", "Indication: sudden\nonset of dyspnea. Pneumonia is possible.", "Technique: PA.\nGrid was used.\nComparison: Old films. An effusion is smaller."],
)  # fmt: skip
def test_a_history_of_several_lines_is_none(history):
    report = f"{history}\n\nImpression: {I}"
    assert with_findings_apart(report) == report
    assert one_section(report, "findings") == find_sections(report).unnamed == ""


def test_nothing_changes_where_findings_have_a_heading():
    report = f"Technique: PA.\n{F}\nFindings: {F}\nImpression: {I}"
    assert with_findings_apart(report) == report


def test_long_texts_are_read_at_once():
    start = time.perf_counter()
    for text in ("History: a\n" * 2000, "a " * 20000, "History: a\n" + "Clear. " * 5000, "* " * 20000):
        with_findings_apart(text)
    assert time.perf_counter() - start < 3
