"""modules/corpus/lost_line_ends.py: headings on one line without the end of a sentence before them, by both readers of sections."""

import json
import os
import time
from pathlib import Path

import pytest

from modules.corpus.lost_line_ends import with_paragraphs
from modules.evaluation.reading.one_section import one_section
from modules.preparation.raw.report_sections import extract

F, I = "Heart size is normal. The lungs are clear.", "No acute process."  # noqa: E741
U = "THE HEART IS NORMAL."


def read(report):
    """Findings and impression by the reader of raw reports, and by that of the files that are scored."""
    raw = tuple(extract(report, section)[0] for section in ("findings", "impression"))
    return raw, tuple(" ".join(one_section(report, section).split()) for section in ("findings", "impression"))


@pytest.mark.parametrize(
    "before",
    [
        "HISTORY: COUGH COMPARISON: NONE", "INDICATION: MVC", "HISTORY: SOB", "REASON FOR EXAM: R/O PNA", "TECHNIQUE: PA/LAT", "COMPARISON: CT",
        "COMPARISON: CHEST CT", "COMPARISON: XXXX CHEST, XXXX ABDOMINAL CT", "COMPARISON: PRIOR", "EXAMINATION: CHEST PA AND LAT",
        "INDICATION: ICU", "HISTORY: SEEN IN ED", "EXAM: CHEST XRAY INDICATION: FEVER", "CLINICAL IMPRESSION: COPD",
        "FINAL REPORT EXAMINATION: CHEST (PORTABLE AP) INDICATION: COPD TECHNIQUE: AP COMPARISON: CT",
        "RADIOLOGY REPORT CLINICAL HISTORY: COPD", "HISTORY: COUGH PRIOR CT FINDINGS: NODULE", "INDICATION: COUGH CRITICAL FINDINGS: NONE",
        "Indication: cough Comparison: none", "Reason for Exam: cough Comparison: chest CT", "Examination: Chest (PA and lateral) Technique: PA",
    ],
)  # fmt: skip
def test_findings_behind_what_was_known_before(before):
    for findings in (F, U):
        assert read(f"{before} FINDINGS: {findings} IMPRESSION: {I}") == ((findings, I),) * 2
    assert read(f"{before} Findings: {F} Impression: {I}") == ((F, I),) * 2
    assert read(f"{before} FINDINGS: {F} IMPRESSION: {I}".lower()) == ((F.lower(), I.lower()),) * 2


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        ("FINDINGS: LUNGS ARE CLEAR IMPRESSION: NORMAL.", "LUNGS ARE CLEAR", "NORMAL."),
        ("FINDINGS: Catheter tip in the SVC IMPRESSION: Normal.", "Catheter tip in the SVC", "Normal."),
        ("FINDINGS: A NODULE SEEN ON PRIOR CT IMPRESSION: STABLE.", "A NODULE SEEN ON PRIOR CT", "STABLE."),
        ("FINDINGS: FRACTURE OF THE RIGHT HIP IMPRESSION: STABLE.", "FRACTURE OF THE RIGHT HIP", "STABLE."),
        ("Findings: Heart size is normal Impression: Normal.", "Heart size is normal", "Normal."),
        ("findings: heart size is normal impression: normal", "heart size is normal", "normal"),
        ("FINDINGS: LUNGS ARE CLEAR FINAL IMPRESSION: NORMAL.", "LUNGS ARE CLEAR", "NORMAL."),
        ("FINDINGS: LUNGS ARE CLEAR SUMMARY: NORMAL.", "LUNGS ARE CLEAR", "NORMAL."),
        ("FINDINGS: LUNGS ARE CLEAR COMPARISON: NONE IMPRESSION: NORMAL.", "LUNGS ARE CLEAR", "NORMAL."),
        ("FINDINGS: LUNGS ARE CLEAR RECOMMENDATION: CT IMPRESSION: NORMAL.", "LUNGS ARE CLEAR", "NORMAL."),
        ("FINDINGS: LUNGS ARE CLEAR IMPRESSION: NORMAL RECOMMENDATION(S): CT", "LUNGS ARE CLEAR", "NORMAL"),
        ("FINDINGS: LUNGS ARE CLEAR IMPRESSION: NORMAL ELECTRONICALLY SIGNED BY X", "LUNGS ARE CLEAR", "NORMAL"),
        ("INDICATION: COUGH FINDINGS AND IMPRESSION: CLEAR.", "CLEAR.", "CLEAR."),
        ("- FINDINGS: Clear. \u2022 IMPRESSION: Normal.", "Clear.", "Normal."),
    ],
)  # fmt: skip
def test_where_a_section_ends(report, findings, impression):
    assert read(report) == ((findings, impression),) * 2


@pytest.mark.parametrize(
    "findings",
    [
        "THERE ARE NO OTHER FINDINGS: STABLE.", "THERE IS AN IMPRESSION: OLD FRACTURE.", "READ AS THE IMPRESSION: OLD FRACTURE.",
        "Chest Comparison: There is a nodule.", "ON A PRIOR CT FINDINGS: A NODULE.",
    ],
)  # fmt: skip
def test_what_is_part_of_a_sentence_stays_whole(findings):
    assert read(f"FINDINGS: {findings} IMPRESSION: STABLE.") == ((findings, "STABLE."),) * 2
    assert with_paragraphs(findings) == findings


@pytest.mark.parametrize("name", ["PRIOR CT FINDINGS", "CRITICAL FINDINGS", "CLINICAL FINDINGS"])
def test_findings_of_another_stay_anothers(name):
    for before in ("HISTORY: COUGH", "COMPARISON: NONE.", f"FINDINGS: {U}"):
        findings = U if before.startswith("FINDINGS") else ""
        assert read(f"{before}\n{name}: A NODULE.\n\nIMPRESSION: {I}") == ((findings, I),) * 2
    assert read(f"HISTORY: RECENT CT FINDINGS: NODULE.\n\nFINDINGS: {U}\nIMPRESSION: {I}") == ((U, I),) * 2
    assert extract(f"COMPARISON: NONE. {name}: A NODULE. IMPRESSION: {I}", "findings")[0] == ""


@pytest.mark.parametrize("film", ["Chest X-ray", "CXR", "CHEST X-RAY", "RADIOGRAPHIC", "X-ray", "Imaging"])
def test_words_of_the_film_before_a_heading_are_part_of_it_behind_a_sentence(film):
    """They stayed at the end of the findings."""
    name = "IMPRESSION" if film.isupper() else "Impression"
    assert read(f"FINDINGS: {F} {film} {name}: {I}") == ((F, I),) * 2
    assert read(f"COMPARISON: None. {film} Findings: {F} {film} {name}: {I}") == ((F, I),) * 2
    since = f"{F} No change since the {film}"
    assert read(f"FINDINGS: {since} {name}: {I}") == ((since, I),) * 2


def test_findings_without_a_plain_colon_behind_a_sentence():
    """Where the line ends were lost; what stood before them was read as findings."""
    start = "FINAL REPORT EXAMINATION: CHEST INDICATION: ___F with cough. COMPARISON: ___."
    for name in ("FINDINGS, PA AND LATERAL:", "FINDINGS (CHEST):", "FINDINGS :", "FINDINGS;", "FINDINGS.", "FINDINGS", "PERTINENT FINDINGS:"):  # fmt: skip
        assert extract(f"{start} {name} {F} IMPRESSION: {I}", "findings")[0] == F
    assert extract(f"{start} IMPRESSION: {I}", "findings")[0] == ""
    assert read(f"{start} IMPRESSION AND FINDINGS: {F}") == ((F, F),) * 2
    assert read(f"INDICATION: COUGH TECHNIQUE AND FINDINGS: {F} IMPRESSION: {I}") == ((F, I),) * 2
    assert one_section(f"{start} IMPRESSION: {I}".lower(), "findings") == ""


@pytest.mark.parametrize("words", ["Chest X-ray", "CXR", "RADIOGRAPHIC", "CHEST X-RAY", "Final", "Radiologist's"])
def test_words_of_the_film_before_a_heading_are_part_of_it(words):
    name = "IMPRESSION" if words.isupper() and words != "CXR" else "Impression"
    for sentence in (F, f"{F}.", "Old clips (two)."):  # also where no letter stands before the stop
        assert read(f"Findings: {sentence} {words} {name}: {I}") == ((sentence, I),) * 2
    assert read(f"TECHNIQUE: PA. CHEST FINDINGS: {F} IMPRESSION: {I}") == ((F, I),) * 2
    text = "FINDINGS: NO CHANGE FROM PRIOR CHEST FILM IMPRESSION: NORMAL."
    assert read(text) == (("NO CHANGE FROM PRIOR CHEST FILM", "NORMAL."),) * 2
    for sentence in ("No effusion. Chest film.", "Clear. Chest technique: rotated."):
        assert with_paragraphs(f"Findings: {sentence}") == f"Findings: {sentence}"


@pytest.mark.skipif("REVTAF_REAL_CXR" not in os.environ, reason="no folder of real reports")
def test_real_reports_on_one_line():
    rows = Path(os.environ["REVTAF_REAL_CXR"], "reports.jsonl").read_text(encoding="utf-8").splitlines()[::40]
    wrong = 0
    for row in map(json.loads, rows):
        parts = [" ".join(row[name].split()).rstrip(". ").upper() for name in ("indication", "comparison", "findings", "impression")]  # fmt: skip
        report = "INDICATION: {} COMPARISON: {} FINDINGS: {} IMPRESSION: {}".format(*parts)
        wrong += read(report) != ((parts[2], parts[3]),) * 2
    assert wrong <= len(rows) // 50


def test_long_lines_are_read_at_once():
    start = time.perf_counter()
    for words in (
        "COMPARISON: CLINICAL ",
        "HISTORY: of the prior ",
        "FINDINGS: prior ct ",
        "> ",
        "reviewed by ",
        "report ",
    ):
        with_paragraphs(words * 3000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("line", ["#" * 60, "*" * 60 + " FINAL REPORT", "# " * 60, "_" * 61, "<[" * 60])
def test_lines_of_marks_are_read_at_once(line):
    """Each mark could be read in several ways, and a line of thirty took a quarter of a minute."""
    began = time.perf_counter()
    extract(f"FINDINGS: Clear.\n{line}\n", "findings")
    assert time.perf_counter() - began < 1
