"""modules/corpus/section_asides.py: what is neither findings nor impression belongs to neither, by both readers."""

import pytest

from modules.evaluation.reading.one_section import one_section
from modules.preparation.raw.report_sections import find_sections

F, I = "The heart is enlarged. A small left nodule is seen.", "Stable cardiomegaly."  # noqa: E741


def read(report):
    """Findings and impression, which both readers must find alike."""
    raw = find_sections(report)
    scored = tuple(" ".join(one_section(report, section).split()) for section in ("findings", "impression"))
    assert scored == (raw.findings, raw.impression), report
    return scored


@pytest.mark.parametrize(
    "aside",
    ["RADIATION DOSE: 1 mGy.", "CONTRAST: None.", "DISCUSSION: See above.", "PFI: See above.", "PROTOCOL: Chest PA.", "ALLERGIES: None.", "QUESTION: Cough?", "CLINICAL DIAGNOSIS: Cough.",
     "REFERRING PHYSICIAN: X.", "ACCESSION NUMBER: 1.", "TYPE OF EXAM: Chest.", "MANAGEMENT: CT.", "TECHNOLOGIST: X.", "DATE OF EXAM: 1/2/2020.", "Procedure: Chest PA.", "Wet read: none.",
     "Clinical details: Cough.", "CLINICAL DATA: Cough.", "Clinical question: Pneumonia?", "Clinical context: Cough."],
)  # fmt: skip
def test_both_readers_leave_out_the_same_asides(aside):
    for report in (
        f"{aside}\n\nFINDINGS: {F}\n\nIMPRESSION: {I}",
        f"FINDINGS: {F}\n{aside}\n\nIMPRESSION: {I}",
        f"FINDINGS: {F}\n\nIMPRESSION: {I}\n{aside}",
        f"FINDINGS: {F} IMPRESSION: {I} {aside}",
    ):
        assert read(report) == (F, I)


@pytest.mark.parametrize(
    "report",
    [
        f"FINDINGS: {F}\nCONCL: {I}", f"FINDINGS: {F}\nDX: {I}", f"FINDINGS: {F} DX: {I}", f"FINDINGS: {F}\nCHEST X-RAY DIAGNOSIS: {I}", f"FINDINGS [CHEST]: {F}\nIMPRESSION: {I}",
        f"FINDINGS, CHEST: {F}\nIMPRESSION, CHEST: {I}", f"=== FINDINGS\n{F}\n=== IMPRESSION\n{I}", f"RESULTS: {F}\nIMPRESSION: {I}", f"DESCRIPTION: {F}\nIMPRESSION: {I}",
    ],
)  # fmt: skip
def test_both_readers_know_the_same_headings(report):
    assert read(report) == (F, I)


def test_another_examination_behind_a_comma_is_no_finding():
    assert read(f"FINDINGS: {F}\n\nFINDINGS, CT: Old clips.\n\nIMPRESSION: {I}") == (F, I)


@pytest.mark.parametrize(
    "title", ["XR Chest", "XR CHEST PA LAT", "CR Chest: 02/03/2021", "X-ray Chest PA", "DX Chest 2 views"]
)
@pytest.mark.parametrize("history", ["Clinical details: Cough.", "CLINICAL HISTORY:\n  Cough."])
def test_a_title_and_a_history_above_the_report_are_none_of_it(title, history):
    for report in (
        f"{title}\n\n{history}\n\nReport:\n  {F}\n\nImpression:\n  {I}\n",
        f"{title}\n{history}\nReport: {F}\nImpression: {I}",
    ):
        assert read(report) == (F, I)
    for report in (f"{title}\n{F}\nImpression: {I}", f"{title}\nClinical details: Cough.\n{F}\nImpression: {I}"):
        assert (one_section(report, "findings"), one_section(report, "impression")) == (F, I)
        assert (find_sections(report).unnamed, find_sections(report).impression) == (F, I)


def test_what_an_archive_knows_above_a_report_is_none_of_it():
    record = "CHEST 2 VIEWS PA&LAT\n Exm Date: NOV 02, 2019@10:11\n Req Phys: DOE,JOHN Pat Loc: X\n\n(Case 1 COMPLETE) CHEST 2 VIEWS PA&LAT CPT:71020\n Reason for Study: cough"
    assert read(f"Examination: XR Chest\nReported: 02/03/2021 14:33\nClinical indication: Pain.\nReport: {F}") == (
        F,
        "",
    )
    for above in (F, "Lungs are clear."):
        assert (
            one_section(f"{above}\nResult: no change.\nImpression: {I}", "findings") == f"{above}\nResult: no change."
        )
    assert one_section(f"Report: {F}", "findings") == one_section(f"Report: {F}", "impression") == f"Report: {F}"
    assert read(f"{record}\n\n Report:\n {F}\n\n Impression:\n {I}\n\n Primary Diagnostic Code: NORMAL") == (F, I)


@pytest.mark.parametrize(
    "form",
    [
        "{}\n\nCONCLUSION:\n{}",
        "{} CONCLUSION: {}",
        "{} Conclusion: {}",
        "{}\nOpinion: {}",
        "INDICATION: Cough.\n\n{}\n\nINTERPRETATION: {}",
    ],
)
def test_a_conclusion_below_something_else_is_the_impression(form):
    report = form.format(F, I)
    assert (one_section(report, "findings"), one_section(report, "impression")) == (F, I)
    assert (find_sections(report).unnamed, find_sections(report).impression) == (F, I)


def test_a_conclusion_with_nothing_above_it_stays_whole():
    for report in (f"Conclusion: {I}", f"INDICATION: Cough.\nSUMMARY: {I}", f"XR Chest\nOPINION: {I}"):
        assert one_section(report, "findings") == one_section(report, "impression") == report


@pytest.mark.parametrize("name", ["Note", "NOTE", "Comments", "COMMENT"])
def test_a_remark_that_begins_the_findings_counts_where_it_speaks_of_one(name):
    assert read(f"FINDINGS: {name}: A right effusion is seen. {F}\nIMPRESSION: {I}") == (
        f"A right effusion is seen. {F}",
        I,
    )
    assert read(f"FINDINGS: {name}: The film is rotated. {F}\nIMPRESSION: {I}") == (F, I)


@pytest.mark.parametrize("item", ["1. Nodule. Differential: granuloma.", "1. Nodule.\n2. Differential: granuloma."])
def test_a_differential_is_part_of_its_impression(item):
    report = f"FINDINGS: {F}\nIMPRESSION:\n{item}\n3. {I}"
    assert read(report) == (F, " ".join(f"{item} 3. {I}".split()))


@pytest.mark.parametrize("text", ["LUNGS: Clear. HEART: Large.", "LINES AND TUBES: None seen.", "UPPER LOBES: A nodule.", "The date: unknown. Name: none. A dose: low."])  # fmt: skip
def test_organs_and_words_in_small_letters_stay(text):
    assert read(f"FINDINGS: {text} {F}\nIMPRESSION: {I}") == (f"{text} {F}", I)


@pytest.mark.parametrize(
    "findings",
    [
        "LUNGS ARE CLEAR. LUNG VOLUMES ARE LOW AT THIS TIME: ATELECTASIS. NO PNEUMOTHORAX.", "LUNGS CLEAR.\nNODULE LOCATION: LEFT UPPER LOBE.\nHEART NORMAL.",
        "THE STUDY IS LIMITED: LOW VOLUMES. EDEMA.", "IN COMPARISON WITH THE PRIOR STUDY: LARGER EFFUSION.", "THE PATIENT HAS THE FOLLOWING LINES: PICC. EDEMA.",
        "Clear. COMPARED WITH THE PRIOR STUDY OF 01/02/2012: THE LEFT EFFUSION IS LARGER. No pneumothorax.", "Clear. PATIENT IS STATUS POST CABG: STERNAL WIRES INTACT. No edema.",
        "Clear. EXAM LIMITED: low lung volumes with effusion. No edema.", "Clear. SINCE THE PRIOR EXAM: NEW LEFT EFFUSION. No edema.",
        "Clear. UNCHANGED FROM PRIOR EXAM: CARDIOMEGALY. No edema.", "RESOLVED: effusion.\nABSENT: pneumothorax.\nNEGATIVE: edema.\nLLL: consolidation.", "PE: none.\nNEW: edema.",
    ],
)  # fmt: skip
def test_capitals_that_say_something_of_the_film_stay_with_what_they_say(findings):
    assert read(f"FINDINGS: {findings}\nIMPRESSION: {I}") == (" ".join(findings.split()), I)


@pytest.mark.parametrize("title", ["SINGLE AP PORTABLE VIEW", "PA AND LATERAL VIEWS"])
def test_no_part_of_a_title_is_all_that_stays_of_the_findings(title):
    assert F in read(f"FINDINGS: {title}: {F}\nIMPRESSION: {I}")[0]


@pytest.mark.parametrize(
    ("impression", "expected"),
    [
        ("\n1. Pneumonia. Recommendation: follow-up in 6 weeks.\n2. Small effusion.\n3. Clear.", "1. Pneumonia. 2. Small effusion. 3. Clear."),
        ("1. Nodule. Recommendation: CT. 2. Pneumonia. 3. Effusion.", "1. Nodule. 2. Pneumonia. 3. Effusion."), ("\n(1) Nodule. Follow-up: CT.\n(2) Edema.", "(1) Nodule. (2) Edema."),
        ("\n1. Nodule.\nRECOMMENDATION: CT.\n2. Effusion.", "1. Nodule. 2. Effusion."), ("\n1. Nodule.\n\nRECOMMENDATION: CT.\n\n2. Effusion.", "1. Nodule. 2. Effusion."),
        ("\n1. Effusion. COMPARISON: larger than 2010.\n2. Edema.", "1. Effusion. 2. Edema."), ("\n- Nodule. Recommendation: CT.\n- Edema.", "- Nodule. - Edema."),
        ("\n1. Nodule.\n2. Edema.\nRECOMMENDATIONS: 1. CT. 2. Clinic. 3. Labs.", "1. Nodule. 2. Edema."), ("\n1. Nodule.\nRECOMMENDATIONS:\n1. CT.\n2. Clinic.", "1. Nodule."),
        ("\n- Nodule.\nRECOMMENDATIONS:\n- CT.\n- Clinic.", "- Nodule."), ("Nodule. Recommendation: CT.", "Nodule."),
    ],
)  # fmt: skip
def test_an_aside_of_an_item_ends_with_the_item(impression, expected):
    assert read(f"FINDINGS: {F}\nIMPRESSION: {impression}") == (F, expected)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ("\n1. Comparison: None\n2. Lungs: clear\n3. Heart: normal", "2. Lungs: clear 3. Heart: normal"), ("1. Technique: AP view. 2. Lungs: Clear. 3. Heart: Normal.", "2. Lungs: Clear. 3. Heart: Normal."),
        ("\n1. Lungs: clear\n2. Technique: adequate\n3. Pleura: effusion", "1. Lungs: clear 3. Pleura: effusion"), ("\n(1) History: none\n(2) Lungs: clear", "(2) Lungs: clear"),
    ],
)  # fmt: skip
def test_an_item_that_is_an_aside_does_not_end_the_list(findings, expected):
    assert read(f"Findings: {findings}\n\nImpression: {I}") == (expected, I)


def test_a_note_among_the_findings_counts_where_it_is_of_the_film():
    assert read(f"FINDINGS: An opacity. Note: a left effusion is seen. Heart large.\nIMPRESSION: {I}") == ("An opacity. a left effusion is seen. Heart large.", I)  # fmt: skip
    for note in ("The pneumonia was discussed with Dr. X.", "Follow-up of the nodule is advised.", "Thank you."):
        assert read(f"FINDINGS: An opacity. Note: {note}\nIMPRESSION: {I}") == ("An opacity.", I)
