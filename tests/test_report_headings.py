"""modules/preparation/raw/report_headings.py: what a line of a raw report begins."""

import pytest

from modules.preparation.raw.report_sections import extract

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
     "INDICATION: Cough.", "Communication: Dr. ___ was told.", "ADVICE: CT.", "Differential: none.", "KEY IMAGES: 1, 2"],
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
