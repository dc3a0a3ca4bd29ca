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
    "This report was electronically signed by JOHN SMITH on 1/1/2020 10:10 AM.", "This report has been electronically signed.", "This report was dictated by J. S.",
    "This report was finalized on 1/2/2020 by Dr. ___.", "This document has been electronically signed by: ___", "This exam was interpreted by: ___",
    "Electronically approved by: ___", "E-signed by: ___", "Final interpretation by: ___", "Signed,\nDr ___", "Signed\nDr ___",
    "Attending: ___ MD\nResident: ___ MD", "Radiologist: ___", "REPORTING RADIOLOGIST: ___", "Consultant Radiologist: ___", "Signature: ___",
    "Electronic Signature: ___", "Technologist: AB", "TRANSCRIPTIONIST: AB", "CC: Dr. ___", "Exam Code: 71046", "ICD-10: J18.9", "CPT: 71046", "Critical Value: None.",
    "Key Images: 1, 2", "KEY IMAGES: 1, 2",
    "Teaching physician attestation: I have reviewed the images.", "As the attending physician, I personally reviewed the images.",
    "I personally reviewed the images and agree with the resident.", "D: 01/02/2020 10:00\nT: 01/02/2020 11:00\nJob #: 123456", "DD: 01/02/2020 DT: 01/02/2020",
    "D: ___ T: ___", "Kind regards,\nDr. ___", "Thank you for this referral.\nDr. ___", "Thank you for referring this patient.",
    "--- ADDENDUM ---\nA nodule.", "Addendum 1/2/2020: a nodule.", "**ADDENDUM:** A nodule.",
    "Primary Diagnostic Code: NORMAL", "PRIMARY DIAGNOSTIC CODE: NO ALERT REQUIRED", "Report Status: Verified", "Date Reported: JAN 2, 2020", "Date: 01/02/2020", "Report date: 1/2/2020",
    "Reported by Dr A Smith, Consultant Radiologist", "Authorised by: Dr A", "Authorized by Dr. Smith", "Validated by: A", "Cosigned by: A", "Co-signed by Dr A", "Fellow: A", "Copy to: Dr B", "Primary Interpreting Staff:\n  JOHN SMITH MD, Radiologist (Verifier)\n/JS",
    "Exam Ended: 1/2/2020", "Final Report Electronically Signed By: A", "Finalized on 1/2/2020 3:04 PM", "Accession Number: 12345", "ACCESSION NUMBER:\nHFJB4", "Consultant: Dr A", "END OF DICTATION",
    "As the attending physician, I have reviewed the images.", "SUMMARY:2-ABNORMAL, PREVIOUSLY REPORTED", "SUMMARY: 2-ABNORMAL, PREVIOUSLY REPORTED", "SUMMARY:\n2-ABNORMAL", "Summary: 4-possible significant change",
    "This report has been anonymized. All dates are offset from the actual dates by a fixed interval associated with the patient.",
]  # fmt: skip
BELOW = [  # names and states, on lines of their own
    "JOHN SMITH MD", "John Smith, M.D.", "Dr A Smith", "Dr A Smith\nConsultant Radiologist", "Dr J Bloggs, ST4 Radiology. GMC: 123", "Dr. B Rao (MD Radiodiagnosis)", "Dr A. B. Rao, MBBS, DNB", "By: Smith, John MD on 1/2/2020", "Status: FINAL", "[Your Name]\n[Your Credentials]",
    "John Smith, MD\nReport Status: Verified", "-- END --", "Consultant Radiologist, GMC 1234567",
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


@pytest.mark.parametrize("line", BELOW)
def test_names_at_the_end_of_a_report_are_none_of_it(line):
    for between in ("\n\n", "\n"):
        assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I}{between}{line}") == ((F, I),) * 2
        assert read(f"Findings: {F}{between}{line}") == ((F, ""),) * 2
        assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I[:-1]}{between}{line}") == ((F, I[:-1]),) * 2


def test_a_code_that_an_archive_calls_a_summary_is_no_impression():
    assert (
        read(f"FINDINGS: {F}\n\nSUMMARY:2-ABNORMAL, PREVIOUSLY REPORTED\n\nACCESSION NUMBER:\nHFJB4") == ((F, ""),) * 2
    )
    for summary in ("2-view chest is normal.", "1-2 mm nodule.", "3-lead pacemaker.", "2 nodules."):
        assert read(f"FINDINGS: {F}\nSUMMARY: {summary}") == ((F, summary),) * 2


def test_a_name_that_a_sentence_goes_on_to_stays_with_it():
    told = "The effusion was discussed by telephone with"
    assert read(f"FINDINGS: {F}\nIMPRESSION: {told}\nDr. Smith") == (
        (F, f"{told} Dr. Smith"),
        (F, f"{told}\nDr. Smith"),
    )


@pytest.mark.parametrize(
    "sentence",
    ["Outside images reviewed by the attending show a nodule.", "Transcribed lines are old.", "Read by the team as stable.", "Typographic marker on the left.",
     "Unchanged as reported by others.", "Verified by contrast injection. New left effusion.", "Tracheostomy with speech-recognition device. Effusion.",
     "The prior images were reviewed by the attending. No effusion. Small nodule.", "Electronically verified leads. Effusion.", "Approved lead position. Effusion.",
     "Signed-out studies are old.", "Signs of edema: none.", "T: 2.5 cm nodule.", "D: 12 ribs.", "Job-related dust disease.", "This study was interpreted with the CT.",
     "The report of the CT is read.", "I personally favor edema.", "Final images show no effusion.", "Thank God for the line.", "Residents: none.",
     "A resident nodule: stable.", "Drained of 500 cc: no effusion.", "Reported by the patient as old.", "Date of surgery: unknown. Effusion.",
     "Time course: stable.", "Consultant notes are absent. Effusion.", "Dr Smith was told. Effusion.", "By position: basal effusion.", "Accession lines: none. Effusion.", "Critical stenosis: none."],
)  # fmt: skip
def test_a_sentence_that_is_no_signature_stays(sentence):
    assert (
        read(f"FINDINGS: {F} {sentence} Bones are intact.\n\nIMPRESSION: {I}")
        == ((f"{F} {sentence} Bones are intact.", I),) * 2
    )


def test_copies_are_told_from_a_volume():
    assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I}\ncc: Dr. ___") == ((F, I),) * 2
    assert read(f"FINDINGS: {F} DRAINED OF 500 CC: CLEAR.") == ((f"{F} DRAINED OF 500 CC: CLEAR.", ""),) * 2


@pytest.mark.parametrize("last", ["*** Final Report ***", "*** FINAL ***", "*** Final Report ***\nVerified by: ___"])
def test_a_line_that_a_report_is_final_closes_it_at_its_end_alone(last):
    assert read(f"FINDINGS: {F}\n\nIMPRESSION: {I}\n\n{last}") == ((F, I),) * 2
    assert read(f"{last}\n\nFINDINGS: {F}\n\nIMPRESSION: {I}") == ((F, I),) * 2
    assert extract(f"*** Final Report ***\n{F}", "findings")[0] == F


@pytest.mark.parametrize("name", ["IMPRESSION AND RECOMMENDATION", "IMPRESSION AND RECOMMENDATION(S)", "IMPRESSION/RECOMMENDATIONS", "Impression and Recommendations"])  # fmt: skip
def test_an_impression_with_advice_is_the_impression(name):
    for between in ("\n\n", "\n", " "):
        assert read(f"FINDINGS: {F}{between}{name}: {I}") == ((F, I),) * 2
