"""modules/preparation/raw/report_headings.py: what a line of a raw report begins."""

import time

import pytest

from modules.evaluation.reading.one_section import one_section
from modules.preparation.raw.report_sections import extract, find_sections

F, G, I = "Heart size is normal. No effusion.", "A small nodule.", "No acute process."  # noqa: E741


def read(report):
    return tuple(extract(report, section)[0] for section in ("findings", "impression"))


@pytest.mark.parametrize(
    "name",
    ["IMPR", "CONCL", "Concl", "DX", "DIAGNOSIS", "RADIOLOGICAL DIAGNOSIS", "RADIOGRAPHIC DIAGNOSIS", "Final Diagnosis", "Imaging diagnosis"],
)  # fmt: skip
def test_a_conclusion_below_the_findings_is_the_impression_whatever_it_is_called(name):
    for between in ("\n\n", "\n", " "):
        if between != " " or name.isupper():
            assert read(f"FINDINGS: {F}{between}{name}: {I}") == (F, I)
    assert read(f"FINDINGS: {F[:-1]}\n{name.upper()}: {I}") == (F[:-1], I)


def test_a_diagnosis_is_no_impression_above_the_findings_or_beside_one():
    for name in ("DIAGNOSIS", "DX", "ADMITTING DIAGNOSIS"):
        assert read(f"{name}: COPD.\n\nFINDINGS: {F}") == (F, "")
    assert read(f"FINDINGS: {F}\n\nDIAGNOSIS: COPD.\n\nIMPRESSION: {I}") == (F, I)
    assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I}\n\nDIAGNOSIS: COPD.") == (F, I)
    assert read(f"FINDINGS: {F} The diagnosis: old fracture. {G}") == (f"{F} The diagnosis: old fracture. {G}", "")


@pytest.mark.parametrize(
    "aside",
    ["NOTIFICATION: Dr. ___ was told.", "Notification: Dr. ___ was told.", "CLINICAL HISTORY: Cough.", "REASON FOR EXAM: Cough.",
     "INDICATION: Cough.", "Communication: Dr. ___ was told.", "ADVICE: CT.", "KEY IMAGES: 1, 2"],
)  # fmt: skip
def test_an_aside_behind_a_sentence_ends_the_section(aside):
    for between in ("\n\n", "\n", " "):
        assert read(f"FINDINGS: {F} IMPRESSION: {I}{between}{aside}") == (F, I)
        assert read(f"FINDINGS: {F}{between}{aside} IMPRESSION: {I}") == (F, I)


@pytest.mark.parametrize(
    "sentence", ["The history: old fracture.", "Of note: a nodule.", "See comparison: stable.", "A plan view: stable."]
)
def test_a_sentence_that_holds_such_a_word_stays(sentence):
    assert read(f"FINDINGS: {F} {sentence} {G} IMPRESSION: {I}") == (f"{F} {sentence} {G}", I)


@pytest.mark.parametrize(
    "aside",
    ["LIMITATIONS: Rotated.", "Limitations: Rotated.", "NOTE: Rotated.", "COMMENT: Rotated.", "EXAM: Portable chest.", "STUDY: Portable chest.",
     "VIEWS: 2.", "QUALITY: Good.", "PROCEDURE: Chest.", "HX: Cough.", "DATE: ___.", "PRIOR STUDIES: None.", "PRIORS: None.", "COMPARISON: None."],
)  # fmt: skip
def test_what_is_said_of_the_study_before_the_findings_begin_does_not_end_them(aside):
    for between in ("\n", " "):
        for behind in ("\n\n", "\n", " "):
            assert read(f"FINDINGS:{between}{aside}{behind}{F}\n\nIMPRESSION: {I}") == (F, I)
    assert read(f"FINDINGS: {F}\n\n{aside}\n\nIMPRESSION: {I}") == (F, I)


def test_a_message_before_the_findings_begin_is_theirs_no_more_than_behind_them():
    assert read(f"FINDINGS:\nRECOMMENDATION: CT. {G}\n\nIMPRESSION: {I}") == ("", I)


LAYOUTS = [
    "[FINDINGS] {f} [IMPRESSION] {i}", "[FINDINGS]: {f} [IMPRESSION]: {i}", "**FINDINGS** {f} **IMPRESSION** {i}", "**Findings:** {f} **Impression:** {i}",
    "1. **Findings:** {f} 2. **Impression:** {i}", "1. **Findings:** {f}\n2. **Impression:** {i}", "1. **Findings**\n{f}\n\n2. **Impression**\n{i}",
    "1. Findings: {f} 2. Impression: {i}", "FINDINGS: {f} | IMPRESSION: {i}", "FINDINGS: {f} || IMPRESSION: {i}", "FINDINGS: {f} / IMPRESSION: {i}",
    "- Findings: {f} - Impression: {i}", "> **Findings:** {f} > **Impression:** {i}", "--- FINDINGS ---\n{f}\n--- IMPRESSION ---\n{i}",
    "FINDINGS: {f}\n\n--- IMPRESSION ---\n\n{i}", "=== FINDINGS ===\n{f}\n\n=== IMPRESSION ===\n{i}", "=== FINDINGS === {f} === IMPRESSION === {i}",
    "== Findings ==\n{f}\n== Impression ==\n{i}", "FINDINGS [CHEST]: {f}\nIMPRESSION: {i}", "Findings on chest X-ray: {f}\nImpression: {i}",
    "Findings of the chest film: {f}\nImpression: {i}", "DESCRIPTION: {f}\n\nIMPRESSION: {i}", "Description:\n{f}\n\nImpression: {i}",
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_marks_around_a_heading_do_not_hide_it(layout):
    for behind in ("", "\n\n**Recommendations:**\nCT.", "\n### Recommendations\nCT.", "\n\n**Note:** by phone.", " **Note:** by phone.", "\n*Disclaimer: none.*", "\n**Radiologist:** X"):  # fmt: skip
        assert read(layout.format(f=F, i=I) + behind) == (F, I)


@pytest.mark.parametrize(
    "sentence",
    ["A nodule [arrow].", "**Comparison** with the prior shows a nodule.", "A nodule. -- No effusion.", "Size 3. Impression on the aorta.",
     "A nodule. [Findings are stable.]", "Tip at T4 / T5. Clear.", "A nodule - impression of edema.", "The ratio is 2. 3 ribs."],
)  # fmt: skip
def test_marks_inside_a_sentence_begin_nothing(sentence):
    for between in (" ", "\n"):
        assert read(f"FINDINGS: {F}{between}{sentence}{between}{G}\n\nIMPRESSION: {I}") == (f"{F} {sentence} {G}", I)
    assert read(f"FINDINGS:\n* Lungs: clear.\n* Comparison: improved.\n* No effusion.\n\nIMPRESSION: {I}")[0].endswith(
        "effusion."
    )


def test_a_description_counts_where_it_is_all_that_speaks_of_a_finding():
    assert extract(f"DESCRIPTION: {F}", "findings") == (F, "header")
    assert read(f"DESCRIPTION: XR CHEST 2 VIEWS\n\nIMPRESSION: {I}") == ("", I)
    assert read(f"DESCRIPTION: {G}\n\nFINDINGS: {F}\n\nIMPRESSION: {I}") == (F, I)
    assert read(f"FINDINGS: {F}\nDESCRIPTION: {G}\n\nIMPRESSION: {I}") == (f"{F} {G}", I)


def test_findings_on_another_film_are_anothers():
    assert read(f"Findings on the prior CT: {G}\n\nFindings on the chest film: {F}\n\nImpression: {I}") == (F, I)


@pytest.mark.parametrize(
    "line",
    [
        "*" * 400,
        "**_" * 200,
        "# " * 300,
        "=" * 400,
        "=-" * 200,
        "[" * 400,
        "- " * 300,
        "1. " * 300,
        "Description: " * 200,
    ],
)
def test_a_long_line_of_marks_is_read_at_once(line):
    began = time.perf_counter()
    extract(f"FINDINGS: Clear. {line}\n{line}\n", "findings")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "footer",
    [
        ": 01/02/2020 15:30",
        " Date: 01/02",
        " status: verified",
        " (01/02/2020 15:30)",
        " by Dr X: verified",
        " ATTENDING: DR X",
    ],
)
def test_a_footer_that_says_final_report_is_no_report(footer):
    """All above it was left out, and with it the study."""
    whole = f"FINDINGS: {F}\nIMPRESSION: {I}\nFINAL REPORT{footer}"
    assert read(whole) == (F, I)
    assert (one_section(whole, "findings"), one_section(whole, "impression")) == (F, I)


def test_a_text_in_the_line_of_its_title_stays():
    assert one_section(f"FINAL REPORT {F} {G}\nIMPRESSION: {I}", "findings") == f"{F} {G}"
    whole = f"PRELIMINARY REPORT: {F} FINAL REPORT: {F} {G} IMPRESSION: {I}"
    assert read(whole) == (f"{F} {G}", I) == (one_section(whole, "findings"), one_section(whole, "impression"))


def test_a_differential_in_a_list_ends_neither_the_list_nor_the_section():
    listed = "1. Left opacity. Differential: pneumonia or atelectasis.\n2. Small effusion.\n3. No pneumothorax."
    assert read(f"FINDINGS: {F}\nIMPRESSION:\n{listed}") == (F, " ".join(listed.split()))


def test_the_line_of_an_organ_goes_on_with_the_findings_behind_an_aside():
    assert read("FINDINGS:\nLungs: Clear.\nCommunication: none.\nHeart: Normal.\nBones: Normal.") == (
        "Lungs: Clear. Heart: Normal. Bones: Normal.",
        "",
    )


@pytest.mark.parametrize(
    "line",
    [
        "Thank you for referring this patient.\n",
        "D: 01/02/2020\n",
        "Job #: 1234\n",
        "Final report by: Dr X\n",
        "Physician: Dr Y",
    ],
)
def test_a_line_of_the_archives_above_a_report_takes_nothing_of_it_along(line):
    assert find_sections(f"{line}\n{F} {G}").unnamed == f"{F} {G}"
    assert one_section(f"{line}\n{F} {G}\n\nIMPRESSION: {I}", "findings") == f"{F} {G}"


@pytest.mark.parametrize(
    "remark", ["Note: there is a nodule in the right lung.", "Comments: There is pulmonary edema."]
)
def test_a_remark_that_tells_a_finding_is_one(remark):
    found, _ = read(f"FINDINGS: {remark} {G}\nIMPRESSION: {I}")
    assert found == f"{remark.partition(': ')[2]} {G}"


def test_a_line_that_begins_with_signed_is_no_signature():
    assert read("FINDINGS: The consent was\nsigned, and the line placed. No effusion.")[0].endswith("No effusion.")
