"""modules/preparation/raw/report_sections.py: findings and impression out of reports of many shapes."""

import json
from pathlib import Path

import pytest
from report_shapes import HEAD, SHAPES, F, G, I

from modules.preparation.raw.report_sections import Sections, extract, find_sections


def test_there_are_enough_shapes():
    assert len(SHAPES) >= 60


@pytest.mark.parametrize("name", SHAPES)
def test_sections_of_a_shape(name):
    report, findings, impression, unnamed = SHAPES[name]
    assert find_sections(report) == Sections(findings, impression, unnamed)


def test_the_wanted_section_is_taken():
    plain = SHAPES["plain"][0]
    assert extract(plain, "findings") == (F, "header")
    assert extract(plain, "impression") == (I, "header")
    assert extract(plain, "both") == (f"{F} {I}", "header")
    assert extract(SHAPES["and"][0], "both") == (F, "header")
    assert extract(SHAPES["impression only"][0], "both") == (I, "header")
    assert extract(SHAPES["impression only"][0], "findings")[0] == ""


def test_text_under_no_header_is_taken_where_a_report_names_nothing():
    """A paragraph is a finding only if there is neither findings nor impression, and if it speaks of a finding."""
    with_impression = SHAPES["paragraph without header"][0]
    assert extract(with_impression, "findings") == ("", "header")
    assert extract(with_impression, "both") == (I, "header")
    assert extract(with_impression, "impression") == (I, "header")
    alone = f"{HEAD} {F}\n"
    assert extract(alone, "findings") == extract(alone, "both") == (F, "no header")
    assert extract(alone, "findings", unnamed=False) == ("", "header")
    assert extract(alone, "impression") == ("", "header")
    assert extract(f"{HEAD} Comparison is made with the prior study.\n", "findings") == ("", "header")
    for looked_at in (
        "Comparison is made with ___.",
        "Portable AP radiograph of the chest was reviewed in comparison to ___.",
        "PA and lateral views.",
        "Chest, two views",
        "AP portable upright chest x-ray.",
    ):
        assert extract(f"{HEAD} {looked_at}\n \n {F}\n", "findings") == (F, "no header")
    assert extract(f"{HEAD} PA and lateral views show {F}\n", "findings") == (
        f"PA and lateral views show {F}",
        "no header",
    )
    assert extract(f"FINDINGS: {F}\n\n COMPARISON: ___.\n\n {G}", "findings") == (F, "header")


START = "                                 FINAL REPORT\n"
KINDS = {
    "comparison sentence": ("HISTORY:  Dyspnea.\n \n Comparison is made with ___.\n \n IMPRESSION:  Mild edema.\n", "", "Mild edema."),
    "comment": (f"FINDINGS:  {F}\n \n COMMENT:  Discussed with Dr. ___.\n", F, ""),
    "note": (f"FINDINGS:  {F}\n NOTE:  Please call.\n IMPRESSION:  {I}\n", F, I),
    "notes in one paragraph": (f"FINDINGS:  {F}\n NOTES:  Please call.", F, ""),
    "follow-up": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n \n FOLLOW-UP:  CT in 3 months.\n", F, I),
    "follow up": (f"FINDINGS:  {F}\n FOLLOW UP: CT.\n IMPRESSION: {I}", F, I),
    "discussion": (f"FINDINGS:  {F}\n DISCUSSION: at the conference.\n IMPRESSION: {I}", F, I),
    "recommendation": (f"FINDINGS:  {F}\n IMPRESSION:  {I}\n RECOMMENDATION:  CT.\n", F, I),
    "recommendations on the line": (f"FINDINGS:  {F}\n IMPRESSION:  {I} RECOMMENDATION(S):  CT.\n", F, I),
    "wet read below": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n \n WET READ VERSION #1 ___ ___ 8:15 PM\n Mild edema.\n", F, I),
    "recommendations": (f"FINDINGS:  {F}\n IMPRESSION:  {I}\n RECOMMENDATION(S):  CT.\n", F, I),
    "pfi": (f"FINDINGS:  {F}\n \n PFI:  {G}\n", F, ""),
    "end of report": (f"FINDINGS:  {F}\n END OF REPORT\n Printed at noon.", F, ""),
    "end of impression": (f"FINDINGS:  {F}\n IMPRESSION: {I}\n END OF IMPRESSION:\n", F, I),
    "copies": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n \n cc: Dr. ___\n", F, I),
    "doctor": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n DR. ___ ___\n", F, I),
    "summary": (f"FINDINGS:  {F}\n \n SUMMARY:  {I}\n", F, I),
    "opinion": (f"FINDINGS:  {F}\n \n OPINION:  {I}\n", F, I),
    "assessment": (f"FINDINGS:  {F}\n \n ASSESSMENT:  {I}\n", F, I),
    "imp": (f"FINDINGS:  {F}\n IMP:  {I}\n", F, I),
    "imp in a line": (f"FINDINGS:  {F}  IMP:  {I}\n", F, I),
    "summary in a line": (f"FINDINGS:  {F}   SUMMARY:  {I}\n", F, I),
    "summary alone on its line": (f"FINDINGS\n {F}\n\n SUMMARY\n {I}\n", F, I),
    "three blanks": (f"COMPARISON:  None.   FINDINGS:  {F}\n IMPRESSION:  {I}\n", F, I),
    "nothing before": (f"COMPARISON: FINDINGS:  {F}\n IMPRESSION:  {I}\n", F, I),
    "comparison behind": (f"FINDINGS:  {F} COMPARISON:  ___.\n IMPRESSION:  {I}\n", F, I),
    "no stop": ("HISTORY:  Cough.\n \n Clear lungs without effusion\n", "Clear lungs without effusion", ""),
    "report": (f"REPORT:  {F}\n \n IMPRESSION:  {I}\n", F, I),
    "result": (f"RESULT:  {F}\n", F, ""),
    "results": (f"HISTORY: Cough.\n \n RESULTS:\n {F}\n \n CONCLUSION: {I}\n", F, I),
    "report beside findings": (f"REPORT: Read by phone.\n \n FINDINGS:  {F}\n", F, ""),
    "unknown header": (f"FINDINGS:\n OTHER: {F}\n\n IMPRESSION: {I}", F, I),
    "organ header": (f"FINDINGS:\n LUNGS: {F}\n\n IMPRESSION: {I}", f"LUNGS: {F}", I),
    "addendum below": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n \n FINAL ADDENDUM\n FINDINGS:  {G}\n", F, I),
    "addendum below, with colon": (f"FINDINGS:  {F}\n \n IMPRESSION:  {I}\n \n ADDENDUM:\n FINDINGS:  {G}\n", F, I),
    "conclusions in mixed case": (f"Findings: {F}\n\n Conclusions: {I}", F, I),
    "conclusion in the next line": (f"FINDINGS: {F}\n Conclusion: {I}", F, I),
    "conclusion after a sentence": (f"FINDINGS: {F} Conclusion: {I}", F, I),
    "mixed case on one line": (f"Findings: {F} Impression: {I}", F, I),
    "technique after a sentence": (f"Findings: {F} Technique: PA.\n\n Impression: {I}", F, I),
    "conclusion inside a sentence": (f"FINDINGS: {F} The final\n conclusion: clear lungs.\n IMPRESSION: {I}", f"{F} The final conclusion: clear lungs.", I),
    "dash": (f"FINDINGS - {F}\n\n IMPRESSION - {I}", F, I),
    "dash without a blank": (f"FINDINGS- {F}\n\n IMPRESSION- {I}", F, I),
    "long dash": (f"FINDINGS \u2013 {F}\n\n IMPRESSION \u2014 {I}", F, I),
    "dash alone": (f"FINDINGS -\n {F}\n\n IMPRESSION -\n {I}", F, I),
    "dash in mixed case": (f"Findings - {F}\n\n Impression - {I}", F, I),
    "dashes inside the findings": (f"FINDINGS: Heart - normal. Lungs - clear.\n\n IMPRESSION: {I}", "Heart - normal. Lungs - clear.", I),
    "bare report": (f"REPORT\n {F}\n\n IMPRESSION: {I}", F, I),
    "bare report and impression": (f"REPORT\n\n {F}\n\n IMPRESSION\n\n {I}", F, I),
    "report in mixed case": (f"Report: {F}\n\n Impression: {I}", F, I),
    "interpretation": (f"FINDINGS: {F}\n\n INTERPRETATION: {I}", F, I),
    "interpretation in mixed case": (f"Findings: {F}\n\n Interpretation: {I}", F, I),
    "interpretation with a dash": (f"FINDINGS: {F}\n INTERPRETATION - {I}", F, I),
    "interpretation alone": (f"INTERPRETATION: {I}", "", I),
    "observations": (f"OBSERVATIONS: {F}\n\n CONCLUSION: {I}", F, I),
    "stop for colon": (f"FINDINGS. {F}\n\n IMPRESSION. {I}", F, I),
    "nothing for colon": (f"FINDINGS {F}\n\n IMPRESSION {I}", F, I),
    "brackets": (f"[FINDINGS] {F}\n\n [IMPRESSION] {I}", F, I),
    "bold": (f"**FINDINGS:** {F}\n\n **Impression**: {I}", F, I),
    "headings of Markdown": (f"## Findings\n{F}\n\n## Impression\n{I}", F, I),
    "summary of findings": (f"FINDINGS: {F}\n SUMMARY OF FINDINGS: {I}", F, I),
    "final impression in mixed case": (f"Findings: {F}\n \n Final Impression: {I}\n", F, I),
    "final impression on one line": (f"Findings: {F} Final Impression: {I}", F, I),
    "overall impression": (f"Findings: {F}\n Overall Impression: {I}", F, I),
    "radiologic impression": (f"FINDINGS: {F}\n \n Radiologic Impression: {I}", F, I),
    "radiographic findings": (f"Radiographic Findings: {F}\n \n Impression: {I}", F, I),
    "chest x-ray findings": (f"Chest X-ray Findings:\n {F}\n \n Impression: {I}", F, I),
    "key findings": (f"History: Cough.\n \n Key Findings: {F}\n \n Impression: {I}", F, I),
    "other findings inside": (f"Findings: {F}\n Other findings: {G}\n \n Impression: {I}", f"{F} Other findings: {G}", I),
    "findings inside an impression": (f"Findings: {F}\n \n Impression: {I}\n Incidental findings: {G}", F, f"{I} Incidental findings: {G}"),
    "a clinic's in mixed case": (f"Clinical Impression: {G}\n \n Findings: {F}\n \n Impression: {I}", F, I),
    "no blanks in mixed case": (f"Findings:{F}Impression:{I}", F, I),
    "nothing between, with a blank": (f"Findings: Impression: {I}", "", I),
    "comparison first in mixed case": (f"Findings: Comparison: None. {F} Impression: {I}", F, I),
    "nothing between": (f"Findings:Impression:{I}", "", I),
    "an impression in a sentence": (f"Findings: There is an impression: old fracture. {F}\n Impression: {I}", f"There is an impression: old fracture. {F}", I),
    "an Impression in a sentence": (f"Findings: Read as the Impression: old fracture. {F}\n Impression: {I}", f"Read as the Impression: old fracture. {F}", I),
    "comment in mixed case": (f"Findings: {F}\n \n Impression: {I}\n Comment: none.", F, I),
    "note in a line": (f"Findings: {F} Impression: {I} Note: by phone.", F, I),
    "plan and limitations": (f"Findings: {F}\n Limitations: rotated.\n \n Impression: {I}\n Plan: discharge.", F, I),
    "code behind the end": (f"FINDINGS: {F}\n IMPRESSION: {I}\n END OF IMPRESSION\n SUMMARY: 1-NO SIGNIFICANT ABNORMALITY\n", F, I),
    "code behind the end, with colons": (f"FINDINGS: {F}\n\n IMPRESSION:\n\n {I}\n\n END OF IMPRESSION:\n\n SUMMARY: 1-NO SIGNIFICANT ABNORMALITY\n\n I have personally reviewed the images.\n", F, I),
    "end of findings": (f"FINDINGS: {F}\n END OF FINDINGS\n SUMMARY: {I}\n", F, I),
    "impression first and ended": (f"IMPRESSION: {I}\n END OF IMPRESSION\n FINDINGS: {F}\n", F, I),
    "provisional impression": (f"FINDINGS: {F}\n\n IMPRESSION: {I}\n\n PROVISIONAL FINDINGS IMPRESSION (PFI): {G}\n", F, I),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_where_sections_begin_and_end(kind):
    report, findings, impression = KINDS[kind]
    report = f"{START} {report}"
    assert (extract(report, "findings")[0], extract(report, "impression")[0]) == (findings, impression)


@pytest.mark.parametrize("file", ["cases.json", "headers.json", "shapes.json"])
def test_the_handed_reports(file):
    """Invented reports whose right sections were given with them."""
    path = Path(__file__).parent / "cases" / "sections" / file
    for name, case in json.loads(path.read_text(encoding="utf-8")).items():
        found = tuple(extract(case["report"], section)[0] for section in ("findings", "impression"))
        assert found == (case["findings"], case["impression"]), name


def test_an_addendum_above_the_report_does_not_count():
    report = f" FINAL ADDENDUM\n ADDENDUM:  {G}\n ______\n{START} FINDINGS:  {F}\n IMPRESSION:  {I}\n"
    assert extract(report, "both") == (f"{F} {I}", "header")


@pytest.mark.parametrize("between", ["\n", " "])
def test_a_short_item_behind_a_listed_aside_stays_where_the_next_section_is_near(between):
    """It was taken for a heading of that section, and was lost with the aside."""
    text = between.join(["FINDINGS:", "1. A nodule.", "2. Follow-up: CT.", "3. No effusion.", "IMPRESSION:", "B."])
    assert [extract(text, section)[0] for section in ("findings", "impression")] == [
        "1. A nodule. 3. No effusion.",
        "B.",
    ]


@pytest.mark.parametrize(
    ("text", "impression"),
    [
        ("FINDINGS: A nodule. ADDENDUM: Told Dr. X. IMPRESSION: B.", "B."),  # the only impression
        ("FINDINGS: A nodule.\nADDENDUM: Told.\nIMPRESSION: B.", "B."),
        ("FINDINGS: A nodule. IMPRESSION: B. ADDENDUM: Told. IMPRESSION: C.", "B."),
        ("FINAL REPORT\nFINDINGS: A nodule.\n\nIMPRESSION: B.\n\nAddendum: Told.\nIMPRESSION: C.", "B."),
        ("FINDINGS: A nodule. IMPRESSION: 1. B. 2. Recommendation: CT. 3. C.", "1. B. 3. C."),
        ("FINDINGS: A nodule.\nIMPRESSION:\n1. B.\n2. NOTE: Told.\n3. C.\n4. Follow-up: CT.", "1. B. 3. C."),
        ("1. FINDINGS: A nodule.\n2. RECOMMENDATION: CT.\n3. IMPRESSION: B.", "B."),
        ("1. FINDINGS: A nodule. 2. IMPRESSION: B.", "B."),
        ("1) Findings: A nodule. 2) Impression: B. 3. C.", "B. 3. C."),
    ],
)
def test_addenda_and_listed_asides_end_where_they_end(text, impression):
    assert [extract(text, section)[0] for section in ("findings", "impression")] == ["A nodule.", impression]


def test_an_addendum_alone_is_read_without_its_heading():
    text = "There is a small pneumothorax."
    assert extract(f" FINAL REPORT ADDENDUM\n\n ADDENDUM:  {text}", "both")[0] == text


@pytest.mark.parametrize(
    "name",
    [
        "WETREAD", "COMPARSION", "COMPARISION", "COMPAARISON", "CPMPARISON", "INDEICATION", "INDICATON", "HISTROY", "RECCOMENDATION", "REFERENCE EXAM",
        "PREVIOUS EXAMS", "PRIOR STUDIES", "TECHNOLOGIST NOTE", "HX", "CLINICAL DATA", "CLINICAL CONTEXT", "CRITICAL RESULTS", "SITE", "AGE",
        "ALLERGIES", "MEDICATIONS", "VIEWS", "MODALITY", "EXPOSURE", "LIMITATIONS", "IMAGE QUALITY", "OLD FILMS", "CORRELATION", "REFERRAL", "OPERATOR", "UNIT",
    ],
)  # fmt: skip
def test_headers_of_the_study_are_no_findings_however_they_are_spelt(name):
    """Their text was read as findings, under a header after them as well as where a report has none."""
    aside, text = f"{name}:  CT of ___ showed a nodule.", "Heart size is normal.  No effusion."
    for report in (f"FINDINGS:  {text}\n \n {aside}", f"{aside}\n \n {text}", f"{aside}\n \n FINDINGS:  {text}"):
        assert extract(f" FINAL REPORT\n {report}\n", "findings")[0] == "Heart size is normal. No effusion."


@pytest.mark.parametrize(
    "name", ["CALCIFICATION", "OPACIFICATION", "HILAR CONTOURS", "SUPPORT DEVICES", "LUNGS", "PLEURA"]
)
def test_headers_of_findings_stay_in_them(name):
    assert extract(f"FINDINGS:\n {name}: Stable.\n", "findings")[0].endswith("Stable.")


BOTH = f"FINDINGS:  {F}\n\n IMPRESSION:  {I}\n"
ANOTHERS = [
    "PRIOR FINDINGS", "PREVIOUS FINDINGS", "OLD FINDINGS", "EARLIER IMPRESSION", "INITIAL IMPRESSION", "PRE-OPERATIVE FINDINGS",
    "OUTSIDE FINDINGS", "OSH CHEST FINDINGS", "CLINICAL IMPRESSION", "CLINICAL FINDINGS", "PHYSICAL FINDINGS", "ER IMPRESSION",
    "ED IMPRESSION", "REFERRING PHYSICIAN'S IMPRESSION", "RESIDENT'S IMPRESSION", "SURGICAL FINDINGS", "LABORATORY FINDINGS", "CT FINDINGS",
    "CHEST CT FINDINGS", "ECHO FINDINGS", "ABDOMEN FINDINGS", "FINDINGS ON PRIOR CT", "PRIOR FINDINGS AND IMPRESSION", "CRITICAL FINDINGS",
    "URGENT FINDINGS", "Prior findings", "Clinical impression", "Critical findings",
]  # fmt: skip
OWN = [
    "SIGNIFICANT FINDINGS", "UNEXPECTED FINDINGS", "PERTINENT FINDINGS", "INCIDENTAL FINDINGS", "OTHER FINDINGS", "CHEST FINDINGS",
    "LUNG FINDINGS", "BONY FINDINGS", "X-RAY FINDINGS", "RADIOLOGIST'S FINDINGS", "CURRENT FINDINGS", "PRIOR AND CURRENT FINDINGS",
    "TECHNIQUE AND FINDINGS", "FINDINGS, PA AND LATERAL", "FINDINGS COMPARED TO PRIOR STUDY", "FINDINGS IN COMPARISON TO PRIOR",
    "UPPER ABDOMEN FINDINGS", "ATELECTASIS FINDINGS", "POST-OPERATIVE FINDINGS",
]  # fmt: skip


def sections(report):
    found = find_sections(f"{START} {report}")
    return found.findings, found.impression


@pytest.mark.parametrize("name", ANOTHERS)
def test_findings_of_another_study_person_or_message_are_not_this_reports(name):
    aside = f"{name}:  Pneumonia was suspected.\n"
    for report in (f"{aside}\n {BOTH}", f"{BOTH}\n {aside}", f"{aside} {BOTH}", f"{BOTH} {aside}"):
        assert sections(report) == (F, I)
    assert sections(aside) == ("", "")


@pytest.mark.parametrize("name", OWN)
def test_findings_that_are_weighed_or_placed_are_this_reports(name):
    assert sections(f"{name}:  {F}\n\n IMPRESSION:  {I}\n") == (F, I)
    assert sections(f"{BOTH}\n {name}:  {G}\n") == (f"{F} {G}", I)


@pytest.mark.parametrize("name", ["TECHNICAL FINDINGS", "NON-CHEST FINDINGS", "REFERENCE FINDINGS"])
def test_findings_under_an_unknown_word_count_where_there_are_no_others(name):
    assert sections(f"{name}:  {G}\n\n {BOTH}") == (F, I)
    assert sections(f"{name}:  {G}\n\n {F}\n\n IMPRESSION:  {I}\n") == (f"{G} {F}", I)
    assert sections(f"{name.replace('FINDINGS', 'IMPRESSION')}:  {I}\n") == ("", I)


def test_a_message_about_findings_is_none_of_them():
    for message in ("Discussed with Dr. ___.", "The findings were communicated to the team."):
        assert sections(f"{BOTH}\n SIGNIFICANT FINDINGS:  {message}\n") == (F, I)
    assert sections(f"FINDINGS:  {F} CRITICAL FINDINGS:  Told at noon.\n\n IMPRESSION:  {I}") == (F, I)
    assert sections(f"{BOTH} I, the attending radiologist, have reviewed the images\n and agree.\n") == (F, I)
    assert sections(f"FINDINGS:  {F}\n IMPRESSION:  {I} I, Dr. ___, have reviewed the images.\n") == (F, I)


@pytest.mark.parametrize(
    "name", ["DETAILS", "NARRATIVE", "BODY", "BEFUND", "HALLAZGOS", "CXR", "CHEST X-RAY", "X-RAY CHEST PA", "TWO VIEWS CHEST", "UPRIGHT AP CHEST"]
)  # fmt: skip
def test_the_name_of_an_unknown_heading_or_a_view_does_not_stay_in_the_text(name):
    assert extract(f"{START} {name}:  {F}\n", "findings") == (F, "no header")
    assert sections(f"FINDINGS:  {F}\n {name}:  {G}\n IMPRESSION:  {I}\n") == (f"{F} {G}", I)


@pytest.mark.parametrize("name", ["LUNGS", "RIGHT LATERAL DECUBITUS", "CONSOLIDATION", "CHEST"])
def test_the_name_of_an_organ_a_side_or_a_condition_stays(name):
    assert sections(f"FINDINGS:\n {name}: None.\n")[0] == f"{name}: None."


def test_lines_with_a_colon_stay_in_a_report_in_capitals():
    text = "THERE IS SUBLUXATION OF THE HUMERUS, WHICH MAY REFLECT\n CHRONIC ROTATOR PATHOLOGY; THE LUNGS ARE CLEAR. NO BONY FINDINGS. RIGHT SHOULDER: 3 IMAGES."
    assert sections(f"FINDINGS: {text}\n\n IMPRESSION: {I}") == (text.replace("\n ", " "), I)
    ordinary = "The following findings: small effusion.\n Previously described: a nodule."
    assert sections(f"FINDINGS: {F}\n {ordinary}")[0] == f"{F} {ordinary}".replace("\n ", " ")


@pytest.mark.parametrize("name", ["RADIOLOGIST REPORT", "CHEST X-RAY REPORT", "FINAL RESULTS", "RADIOLOGY REPORT"])
def test_a_report_of_this_study_is_its_findings_and_no_other_report_is(name):
    assert sections(f"{name}:  {F}\n\n IMPRESSION:  {I}") == (F, I)
    assert sections(f"CT REPORT:  {G}\n\n LAB RESULTS:  Normal.\n\n {name}:  {F}\n") == (F, "")
