"""modules/corpus/section_titles.py: which of several reports in one text counts."""

import pytest

from modules.corpus.section_titles import final_parts
from modules.evaluation.reading.one_section import one_section
from modules.preparation.raw.report_sections import extract

F, I = "The heart is enlarged. No pleural effusion.", "Stable cardiomegaly."  # noqa: E741


def read(report):
    return one_section(report, "findings"), one_section(report, "impression")


def test_the_last_final_report_counts():
    early = "PRELIMINARY REPORT\nFINDINGS: Pneumonia.\nIMPRESSION: Pneumonia."
    final = f"FINDINGS: {F}\nIMPRESSION: {I}"
    for report in (f"{early}\n\nFINAL REPORT\n{final}", f"WET READ: Pneumonia.\n FINAL REPORT\n{final}", f"{early}\nFINAL REPORT\n{early}\nFINAL REPORT (REVISED)\n{final}",
                   f"{early} FINAL REPORT {final}".replace("\n", " "), f"{early}\nFINAL REPORT {final}"):  # fmt: skip
        assert read(report) == (F, I)
        assert [extract(report, section)[0] for section in ("findings", "impression")] == [F, I]
    assert read(f"{final}\nFINAL REPORT\nElectronically signed by X") == read(f"{final}\nFINAL REPORT") == (F, I)
    assert final_parts(f"{final}\nFINAL REPORT\n") == [f"{final}\n\n"]
    assert read(f"FINDINGS: {F} Final report to follow.\nIMPRESSION: {I}") == (f"{F} Final report to follow.", I)


@pytest.mark.parametrize("aside", ["Limitations: Rotated.", "Note: Rotated.", "Comment: Rotated.", "Plan: CT.", "PROCEDURE: AP.", "COMPARISON: Film of Dr. X."])  # fmt: skip
def test_findings_go_on_behind_what_stands_before_them(aside):
    for form in ("**Findings:**\n{}\n{}\n\n**Impression:**\n{}", "FINDINGS: {} {} IMPRESSION: {}"):
        assert read(form.format(aside, F, I)) == (F, I)
    assert read(f"Findings: {F}\n{aside}\nImpression: {I}") == (F, I)
    assert read(f"Findings:\n{aside}\n\nImpression: {I}") == ("", I)


def test_advice_alone_is_no_impression():
    assert read(f"Findings: {F}\nImpression:\nRecommendation: CT in June. Then MRI.") == (F, "")
    assert read(f"Findings: {F}\nImpression:\nPlan: CT in June. Then MRI.") == (F, "")
