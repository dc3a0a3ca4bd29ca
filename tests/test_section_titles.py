"""modules/corpus/section_titles.py: names of findings and impressions, the marks beside them, titles, and final reports."""

import time

import pytest

from modules.corpus.section_titles import final_parts, kind_of_title, without_titles
from modules.evaluation.reading.one_section import named_sections, one_section
from modules.preparation.raw.report_sections import extract, find_sections

F, I = "The heart is enlarged. No pleural effusion.", "Stable cardiomegaly."  # noqa: E741


def read(report):
    return one_section(report, "findings"), one_section(report, "impression")


@pytest.mark.parametrize(
    "name",
    ["IMP", "IMPR", "IMPRESSION(S)", "SUMMARY/IMPRESSION", "IMPRESSION/CONCLUSION", "IMPRESSION/PLAN", "RADIOLOGIST'S IMPRESSION", "Radiologist\u2019s Impression",
     "Impression/Diagnosis", "Impression (Summary)", "Assessment and Plan", "Conclusion and Recommendations", "Interpretation", "Bottom line"],
)  # fmt: skip
def test_an_impression_by_another_name_is_none_of_the_findings(name):
    assert read(f"FINDINGS: {F}\n{name}: {I}") == read(f"FINDINGS: {F} {name}: {I}") == (F, I)


@pytest.mark.parametrize("name", ["Finding(s)", "FINDING", "Abnormal Findings", "OBSERVATIONS", "Observations", "Chest Radiograph Findings", "Findings (PA and lateral)", "Normal findings"])  # fmt: skip
def test_findings_by_another_name(name):
    assert (
        read(f"{name}: {F}\nImpression: {I}")
        == read(f"INDICATION: Cough.\n\n{name}:\n{F}\n\nImpression: {I}")
        == (F, I)
    )
    assert named_sections(f"{name}: {F}") == {"findings"}


@pytest.mark.parametrize(
    "findings",
    [
        f"{F} Finding: a nodule.", f"{F}\nObservations: a nodule.", f"{F}\nAbnormal findings: a nodule.", "Clear (see the impression): none.", "Opinion\npieces are old.",
        "Seen on\nCT Findings\nof old.", "No acute\nfindings\nare seen.", "The rest as in\nSummary\nof June.", "Low vitamin D. It is stage IV.", f"{F} Chest film.", f"{F} Prior exam: similar. Old clips.",
    ],
)  # fmt: skip
def test_sentences_that_hold_such_names_stay(findings):
    assert read(f"Findings: {findings}\nImpression: {I}") == (findings, I)


def test_findings_under_no_heading_stay_whole_beside_such_names():
    for text in ("Large heart. Abnormal findings: none.", "Large heart.\nNegative findings: no effusion.", "Clear lungs. Observation: none."):  # fmt: skip
        assert read(f"{text}\nImpression: {I}") == (text, I)
    assert read(f"FINDINGS: {F}\nIMPRESSION: FINDING: a nodule.") == (F, "FINDING: a nodule.")
    assert read(f"Normal findings:\nA heart.\nAbnormal findings:\nA nodule.\nImpression: {I}") == ("A heart.\nAbnormal findings:\nA nodule.", I)  # fmt: skip
    for text in (
        "Impression (CT): a nodule.",
        "(Findings: clear.)",
        "<findings>\nClear.\n</findings>",
        "Summary: clear lungs.",
        "Assessment and plan: clear lungs.",
    ):
        assert read(text) == (text, text)


@pytest.mark.parametrize(
    "form",
    [
        "## 1. {}\n", "1. **{}**\n", "## \U0001fa7b {}\n", "\u2705 **{}:** ", "> **{}:**\n> ", "=== {} ===\n", "--- {} ---\n", "***{}***\n", "({})\n", "({}): ", "[{}]\n",
        "**1. {}:**\n", "**1.** **{}:** ", "II. {}: ", "B) {}: ", "(2) {}: ", "{}\n--------\n", "{}:\n========\n", "### {} ###\n", "- {}\n", "**{}**:\n---\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("case", [str, str.upper])
def test_marks_beside_a_heading_are_none_of_the_text(form, case):
    def report(*names):
        parts = zip(names, (F, I), strict=True)
        return "\n\n".join(form.replace("{}", case(name)) + text for name, text in parts)

    assert read(report("Findings", "Impression")) == read(report("Radiographic Findings", "Conclusion")) == (F, I)
    assert read(f"{report('Findings', 'Impression')}\n\n## 3. Recommendations\nCT.") == (F, I)


def test_an_underlined_name_needs_no_stop_before_it():
    assert read(f"Findings\n--------\nClear lungs\nConclusion\n----------\n{I}") == ("Clear lungs", I)


def test_numbers_and_marks_of_the_text_stay():
    text = "1. Heart: large.\n2) Lungs: clear.\n- Note: the tube is high.\n- Bones: old."
    assert read(f"Findings:\n{text}\n\n**2. Impression:** {I}") == (text, I)
    assert read(f"Findings: {F} II. Impression: {I}") == read(f"Findings: {F} **2. Impression:** {I}") == (F, I)
    assert read(f"Findings: Lack of vitamin D. Impression: {I}") == ("Lack of vitamin D.", I)
    assert read("> 2 cm nodule.\nImpression: Stable.") == ("> 2 cm nodule.", "Stable.")


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


def test_the_last_final_report_counts():
    early = "PRELIMINARY REPORT\nFINDINGS: Pneumonia.\nIMPRESSION: Pneumonia."
    final = f"FINDINGS: {F}\nIMPRESSION: {I}"
    for report in (f"{early}\n\nFINAL REPORT\n{final}", f"WET READ: Pneumonia.\n FINAL REPORT\n{final}", f"{early}\nFINAL REPORT\n{early}\nFINAL REPORT (REVISED)\n{final}",
                   f"{early} FINAL REPORT {final}".replace("\n", " "), f"{early}\nFINAL REPORT {final}"):  # fmt: skip
        assert read(report) == (F, I)
        assert [extract(report, section)[0] for section in ("findings", "impression")] == [F, I]
    assert read(f"{final}\nFINAL REPORT\nElectronically signed by X") == read(f"{final}\nFINAL REPORT") == (F, I)
    assert final_parts(f"{final}\nFINAL REPORT\n") == [f"{final}\n\n"]
    assert read(f"FINDINGS: {F} FINAL REPORT AVAILABLE: yes.\nIMPRESSION: {I}") == (
        f"{F} FINAL REPORT AVAILABLE: yes.",
        I,
    )
    assert read(f"FINDINGS: {F} Final report to follow.\nIMPRESSION: {I}") == (f"{F} Final report to follow.", I)


def test_kinds_of_names():
    kinds = {"findings": "findings", "impression(s)": "impression", "findings/impression": "both", "conclusion and recommendations": "impression",
             "assessment & findings": "both", "findings (impression)": "findings", "finding(s)/impression": "both", "impression/diagnosis": "impression"}  # fmt: skip
    assert {name: kind_of_title(name) for name in kinds} == kinds


def test_lines_of_marks_and_numbers_are_read_at_once():
    start = time.perf_counter()
    for text in (
        "_ " * 3000,
        "_" * 5000,
        "1/" * 3000,
        "> # ( [ " * 1000,
        "1. " * 3000,
        "chest " * 2000,
        "x" * 5000,
        "\n> ## " * 1000,
    ):
        without_titles(f"{text}!")
        one_section(f"{text}\nFINDINGS: Clear. {text}", "findings")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("form", ["**{}:** ", "{}: ", "### {}\n", "**{}**\n"])
def test_a_summary_of_findings_is_a_conclusion(form):
    for name in ("Summary of Findings", "Summary of the Findings", "SUMMARY OF FINDINGS"):
        report = f"{form.format('Findings')}{F}\n\n{form.format(name)}{I}"
        found = find_sections(report)
        assert (found.findings, found.impression) == (F, I)
        assert (one_section(report, "findings"), one_section(report, "impression")) == (F, I)


@pytest.mark.parametrize("form", ["**{}:** ", "### {}\n", "**{}**: "])
@pytest.mark.parametrize("name", ["Description", "Image Analysis", "Report Findings", "Radiographic Findings"])
def test_no_word_of_a_title_with_marks_stays_in_the_findings(name, form):
    for conclusion in ("Impression", "Overall Impression"):
        report = f"{form.format(name)}{F}\n\n{form.format(conclusion)}{I}"
        found = find_sections(report)
        assert (found.findings, found.impression) == (F, I)
        assert (one_section(report, "findings"), one_section(report, "impression")) == (F, I)


@pytest.mark.parametrize("name", ["NARRATIVE", "Report body", "REPORT BODY"])
def test_no_name_of_a_body_stays_in_findings_without_a_heading(name):
    assert one_section(f"{name}: {F}\n\nImpression: {I}", "findings") == F
