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
     "REFERRING PHYSICIAN: X.", "ACCESSION NUMBER: 1.", "TYPE OF EXAM: Chest.", "MANAGEMENT: CT.", "TECHNOLOGIST: X.", "DATE OF EXAM: 1/2/2020.", "Procedure: Chest PA.", "Wet read: none."],
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
