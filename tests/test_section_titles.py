"""modules/corpus/section_titles.py: which of several reports in one text counts."""

import pytest

from modules.corpus.section_titles import final_parts, without_titles
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


TITLES = [
    "AP CHEST, 5:24 A.M., ___", "CHEST RADIOGRAPH PERFORMED ON ___", "TYPE OF EXAMINATION:  Chest AP portable single view.", "PA AND LATERAL CHEST ON ___",
    "CHEST ON ___ REFERENCE EXAM: ___", "REFERENCE EXAM: CHEST ON ___", "PORTABLE AP CHEST FILM ___ AT 8:20", "AP CHEST, 9:25 A.M. ON ___", "None.", "___",
    "Portable AP radiograph of the chest was reviewed in comparison to ___.", "Chest X-ray, March 3, 2011", "TWO VIEWS OF THE CHEST, 2011/3/3", "Study: PA and lateral chest.",
]  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
def test_a_title_alone_is_no_findings(title):
    report = f"                                 FINAL REPORT\n {title}\n \n HISTORY:  Cough.\n \n IMPRESSION:  {I}\n"
    assert read(report) == ("", I)
    assert [extract(report, section)[0] for section in ("findings", "impression")] == ["", I]
    assert read(report.replace(" IMPRESSION", f" {F}\n \n IMPRESSION")) == (F, I)


@pytest.mark.parametrize(
    "text",
    [
        "PA and lateral views of the chest\n demonstrate clear lungs.", "Radiographs of the chest on ___\n show clear lungs.", "PA AND LATERAL VIEWS OF THE CHEST\nDEMONSTRATE CLEAR LUNGS.", "Chest.\nThe heart is large.", "Two-view chest.\nThe heart is large.",
        "Two views of the chest were obtained and show clear lungs.", "Two views were obtained. The lungs are clear.", "Portable chest. The heart is large.", "Film of a line.",
    ],
)  # fmt: skip
def test_a_title_within_findings_stays(text):
    assert without_titles(text) == text
    assert read(f"{text}\n\nIMPRESSION: {I}") == (text, I)


def test_a_time_does_not_end_a_title():
    assert read(f"AP CHEST, 5:24 A.M.: {F}\n\nIMPRESSION: {I}") == (F, I)
    assert read(f"AP CHEST, 5:24 A.M.\n{F}\n\nIMPRESSION: {I}") == (F, I)
    assert read(f"FINAL REPORT CHEST RADIOGRAPH: {F}\nIMPRESSION: {I}") == (F, I)
