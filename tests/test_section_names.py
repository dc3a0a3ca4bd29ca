"""modules/corpus/section_names.py: signatures, disclaimers, records and addenda belong to no section, by both readers."""

import pytest

from modules.evaluation.reading.one_section import one_section
from modules.preparation.raw.report_sections import extract

F, I = "Heart size is normal. The lungs are clear.", "No acute process."  # noqa: E741
SIGNED = [
    "Reviewed by: ___, MD", "Transcribed by: XYZ\nDate: 01/02/2020", "Finalized on: 1/2/2020 3:04 PM", "Report electronically signed by ___ MD", "Signed by: ___",
    "SIGNED BY: ___ MD", "Dictated and transcribed by: ___", "Electronically verified by ___", "Interpreted by: ___", "Final report signed by: ___",
    "This report was generated using voice recognition software.", "Dictated using speech recognition software.",
    "Portions of this document were made with dictation software; typographical errors may be present.",
    "This report has been reviewed by the staff radiologist.", "The images were reviewed by the staff radiologist.",
    "ACR Code: 3", "WORKSTATION ID: RAD12345", "CPT CODE: 71046", "CRITICAL RESULT: Yes. Called to RN.", "Attending Physician: ___", "ATTENDING PHYSICIAN: ___",
    "RADIOLOGIST ADDENDUM: A nodule.", "NOTE ADDED AT ATTENDING REVIEW: A nodule.", "*** ADDENDUM ***\nA nodule.", "[ADDENDUM 02/03/2021] A nodule.",
    "--- ADDENDUM ---\nA nodule.", "Addendum 1/2/2020: a nodule.", "**ADDENDUM:** A nodule.",
]  # fmt: skip


def read(report):
    raw = tuple(extract(report, section)[0] for section in ("findings", "impression"))
    return raw, tuple(one_section(report, section) for section in ("findings", "impression"))


@pytest.mark.parametrize("signed", SIGNED)
def test_what_stands_below_a_report_is_none_of_it(signed):
    for between in ("\n\n", "\n", " "):
        assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I}{between}{signed}") == ((F, I),) * 2
        assert read(f"FINDINGS: {F}{between}{signed}") == ((F, ""),) * 2
        assert read(f"Findings: {F}{between}{signed}\n\nImpression: {I}") == ((F, I),) * 2
    assert read(f"{signed}\n\nFINDINGS: {F}\n\nIMPRESSION: {I}") == ((F, I),) * 2


@pytest.mark.parametrize(
    "sentence",
    ["Outside images reviewed by the attending show a nodule.", "Transcribed lines are old.", "Read by the team as stable.", "Typographic marker on the left.",
     "Unchanged as reported by others.", "Verified by contrast injection. New left effusion.", "Tracheostomy with speech-recognition device. Effusion.",
     "The prior images were reviewed by the attending. No effusion. Small nodule.", "Electronically verified leads. Effusion.", "Approved lead position. Effusion."],
)  # fmt: skip
def test_a_sentence_that_is_no_signature_stays(sentence):
    assert (
        read(f"FINDINGS: {F} {sentence} Bones are intact.\n\nIMPRESSION: {I}")
        == ((f"{F} {sentence} Bones are intact.", I),) * 2
    )


@pytest.mark.parametrize("name", ["IMPRESSION AND RECOMMENDATION", "IMPRESSION AND RECOMMENDATION(S)", "IMPRESSION/RECOMMENDATIONS", "Impression and Recommendations"])  # fmt: skip
def test_an_impression_with_advice_is_the_impression(name):
    for between in ("\n\n", "\n", " "):
        assert read(f"FINDINGS: {F}{between}{name}: {I}") == ((F, I),) * 2
