"""modules/evaluation/reading/one_section.py: findings and impression out of whole reports, and sentences that stay whole."""

import json
import time

import pytest
from programs import call

import main_score
from modules.evaluation.reading.one_section import named_sections, one_section
from modules.evaluation.reading.report_files import read_report_file

F, I = "The heart is enlarged. No pleural effusion.", "Stable cardiomegaly."  # noqa: E741
WHOLE = {
    "one line": "Findings: {f} Impression: {i}",
    "no blank": "Findings:{f}Impression:{i}",
    "nothing between the parts": "Findings:The heart is enlarged. No pleural effusion.Impression:{i}",
    "no blank in capitals": "FINDINGS:{f}IMPRESSION:{i}",
    "impression first": "IMPRESSION: {i}\n\nFINDINGS: {f}",
    "impression first, one line": "Impression: {i} Findings: {f}",
    "all parts": "FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n INDICATION:  ___F with cough.\n\n TECHNIQUE:  PA.\n\n COMPARISON:  ___.\n\n FINDINGS:\n\n {f}\n\n IMPRESSION:\n\n {i}\n\n RECOMMENDATION(S):  CT.\n\n NOTIFICATION:  Dr. ___ was called.\n\n Electronically signed by Dr. ___\n\n at noon.",
    "all parts, one line": "INDICATION: Cough. TECHNIQUE: PA. COMPARISON: None. FINDINGS: {f} IMPRESSION: {i} RECOMMENDATION: CT.",
    "history first": "CLINICAL HISTORY: Cough.\nFindings: {f}\nImpression: {i}",
    "reason": "REASON FOR EXAM: cough.\n\nFINDINGS: {f}\n\nIMPRESSION: {i}",
    "addendum": "FINDINGS: {f}\n\nIMPRESSION: {i}\n\nADDENDUM: The wire is old.",
    "title": "**Chest X-ray Report**\n\n**Exam:** Chest X-ray\n\n**Findings:**\n{f}\n\n---\n\n**Impression:**\n{i}\n\n**Next Steps:** CT.",
    "underscores": "__Findings:__ {f}\n\n__Impression:__ {i}",
    "underscores, own line": "__Findings__\n\n{f}\n\n__Impression__\n\n{i}",
    "italics": "*Findings:* {f}\n\n*Impression:* {i}",
    "spaced colons": "findings : {f} impression : {i}",
    "final impression": "Findings: {f}\nFinal Impression: {i}",
    "final impression, one line": "Findings: {f} Final Impression: {i}",
    "overall impression": "Findings: {f}\nOverall impression: {i}",
    "clinical impression": "Findings: {f}\nClinical Impression: {i}",
    "radiologic impression": "Findings: {f}\n\n**Radiologic Impression:** {i}",
    "diagnosis": "Findings: {f}\nDiagnosis: {i}",
    "radiological findings": "Radiological Findings: {f}\nImpression: {i}",
    "key findings": "Key Findings:\n{f}\nImpression:\n{i}",
    "chest x-ray findings": "Chest X-ray Findings:\n{f}\n\nImpression: {i}",
    "heading with words": "## Radiographic Findings\n{f}\n## Final Impression\n{i}",
    "recommendation": "Findings: {f} Impression: {i} Recommendation: CT in 3 months.",
    "recommendations": "Findings: {f} Impression: {i} Recommendations: CT.",
    "recommendation before": "Findings: {f} Recommendation: CT in 3 months. Impression: {i}",
    "follow-up": "Findings: {f} Impression: {i} Follow-up: CT.",
    "note": "Findings: {f} Impression: {i} Note: written by a program.",
    "comment": "Findings: {f}\nImpression: {i}\nComment: none.",
    "plan": "Findings: {f}\nImpression: {i}\nPlan: discharge.",
    "signed": "FINDINGS: {f}\n\nIMPRESSION: {i}\n\nElectronically signed by Dr. ___",
    "end": "FINDINGS: {f} IMPRESSION: {i} END OF IMPRESSION",
    "summary behind the end": "FINDINGS: {f}\nIMPRESSION: {i}\nEND OF IMPRESSION\nSUMMARY: 1-NO SIGNIFICANT ABNORMALITY\n",
    "end with a colon": "FINDINGS: {f}\n\nIMPRESSION:\n\n{i}\n\nEND OF IMPRESSION:\n\nSUMMARY: 1-NO SIGNIFICANT ABNORMALITY\n\nI have personally reviewed the images.",
    "end of findings": "FINDINGS: {f}\nEND OF FINDINGS\nCONCLUSION: {i}",
    "limitations": "Findings: {f}\nLimitations: rotated.\nImpression: {i}",
    "nothing additional": "Findings: {f}\nAdditional Findings: None.\nImpression: {i}",
    "comparison at the beginning": "FINDINGS: COMPARISON: None. {f}\nIMPRESSION: {i}",
    "another's findings": "PRIOR FINDINGS: A nodule.\nFINDINGS: {f}\nIMPRESSION: {i}",
    "another examination": "Findings: {f}\nCT Findings: A nodule.\nImpression: {i}",
    "no header of findings": "CHEST, PA AND LATERAL: {f}\n\nIMPRESSION: {i}",
    "findings without a header": "INDICATION: Cough.\n\n{f}\n\nIMPRESSION: {i}",
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_the_sections_of_a_whole_report(kind):
    report = WHOLE[kind].format(f=F, i=I)
    assert one_section(report, "findings") == F
    assert one_section(report, "impression") == I
    assert one_section(report, "both") == f"Findings: {F} Impression: {I}"


SENTENCES = (
    "There is an impression: old fracture.", "There is an Impression: old fracture.", "The findings: a nodule, old.", "Clear lungs. There are no other findings: stable.",
    "No acute findings. The overall impression: stable chest.", "Note: the tip is at T4. Plan: none.", "Comparison: ___. The heart is enlarged.", "Recommendation: CT.",
    "The right lung shows the following / findings: small effusion.", "Summary: clear lungs.", "Lungs: Clear. Heart: Normal.", "Impressions of the nail on the film.",
    "END OF IMPRESSION", "Findings are those of edema - no effusion.", "CT findings. Old.", "Heart is large. Note: seen on two views.",
)  # fmt: skip


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("section", ["findings", "impression", "both"])
def test_a_text_without_headers_stays_whole(text, section):
    assert one_section(text, section) == text


@pytest.mark.parametrize(
    "findings",
    [
        *(sentence for sentence in SENTENCES if sentence.startswith(("There", "The ", "No ", "Lungs", "CT"))),
        "The heart is enlarged. Other findings: old fractures.", "Incidental findings: a granuloma. Key findings: none of note.", "Heart: Large.\nLungs: Clear.",
        "The line ends in the aorta.\nAdditional Findings: Healed fractures.", "Lung findings: clear. Cardiac findings: normal.", "Clear in comparison: no change. As noted: stable.",
    ],
)  # fmt: skip
def test_no_sentence_of_the_findings_is_cut(findings):
    small = ("findings: {}\nimpression: Stable.",) if "/ findings" not in findings else ()
    for form in ("Findings: {} Impression: Stable.", "FINDINGS:\n{}\n\nIMPRESSION:\nStable.", *small):
        assert one_section(form.replace("{}", findings), "findings") == findings
        assert one_section(form.replace("{}", findings), "impression") == "Stable."


def test_an_aside_among_lines_of_organs_owns_its_line():
    report = "Findings:\nTechnique: Portable AP.\nLungs: Clear.\nHeart: Large.\nRecommendation: CT.\nPleura: No effusion.\n\nImpression: Stable."
    assert one_section(report, "findings") == "Lungs: Clear.\nHeart: Large.\nPleura: No effusion."


def test_what_a_report_lacks_is_empty():
    assert one_section("Findings: Clear.", "impression") == ""
    assert one_section("EXAM: CHEST\nFINDINGS: Clear.", "impression") == ""
    assert one_section("Impression: Normal.", "findings") == ""
    assert one_section("Findings: Clear.", "both") == "Findings: Clear."
    assert one_section("INDICATION: Cough.\nIMPRESSION: Normal.", "both") == "Impression: Normal."
    assert one_section("Findings: nan Impression: nan", "both") == ""
    assert one_section("FINDINGS AND IMPRESSION: Clear.", "both") == "Findings: Clear."
    twice = "Findings: Clear. Impression: Clear."  # as two columns of one text are put together
    assert one_section(twice, "both") == one_section(f"EXAM: Chest.\n\n{twice}", "both") == twice
    assert one_section("Findings: Clear.\nImpression: Normal.\nDiagnosis: Cough.", "impression") == "Normal."


def test_which_sections_a_report_names():
    assert named_sections("Findings: Clear. Final Impression: Normal.") == {"findings", "impression"}
    assert named_sections("FINDINGS/IMPRESSION: Clear.") == {"findings", "impression"}
    assert named_sections("Prior findings: a nodule.") == named_sections("There is an impression: old.") == set()


def test_long_texts_are_read_at_once():
    start = time.perf_counter()
    for text in (
        "clinical chest prior " * 2000,
        " \n" * 3000,
        "Findings: " * 500,
        "- _ * # " * 2000,
        "i, the " * 2000,
        "A" * 20000,
        "*\n" * 9000,
    ):
        one_section(text, "both")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("profile", ["r2gen", "rexrank"])
@pytest.mark.parametrize("kind", ["one line", "all parts", "final impression", "history first", "underscores", "no blank", "summary behind the end"])  # fmt: skip
def test_a_perfect_system_is_perfect_however_its_reports_are_written(tmp_path, profile, kind):
    """Whole reports beside a table that keeps the sections apart, on either side."""
    parts = [(f"5041426{i}", f"{F} Wire {word}.", f"{I} Tube {word}.") for i, word in enumerate(("old", "new", "bent"))]
    table = [{"study_id": name, "findings": f, "impression": i} for name, f, i in parts]
    whole = [{"study_id": name, "report": WHOLE[kind].format(f=f, i=i)} for name, f, i in parts]
    for name, rows in (("table", table), ("whole", whole)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for ours, theirs in (("whole", "table"), ("table", "whole")):
        out = tmp_path / f"{ours}_{profile}"
        call(main_score, "--predictions", tmp_path / f"{ours}.jsonl", "--references", tmp_path / f"{theirs}.jsonl", "--profile", profile, "--no-meteor", "--resamples", 2, "--save_dir", out)  # fmt: skip
        found = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["systems"][ours]["scores"]
        assert found["test_BLEU_2_sentence"] == pytest.approx(1), found
        assert profile != "r2gen" or found["test_BLEU_4"] > 0.999, found


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("FINDINGS: A. ADDENDUM: Told Dr. X. IMPRESSION: B.", "A.", "B."),  # the only impression
        ("FINDINGS: A. IMPRESSION: B.\nAddendum: Told.\nIMPRESSION: C.", "A.", "B."),
        ("**ADDENDUM:** Told. FINDINGS: A. IMPRESSION: B.", "A.", "B."),
        ("COMPARISON: None. The lungs are clear. IMPRESSION: B.", "The lungs are clear.", "B."),
        ("TECHNIQUE: PA. COMPARISON: No prior studies are available. A. C. IMPRESSION: B.", "A. C.", "B."),
        ("COMPARISON: Film of May. CT of June. IMPRESSION: B.", "", "B."),
        ("FINDINGS: A.\nCOMPARISON: None. CT chest from ___.\nIMPRESSION: B.", "A.", "B."),  # it became a finding
        ("FINDINGS: A. IMPRESSION: B. COMPARISON: No prior films. Prior CT dated 2/3/2011.", "A.", "B."),
        (
            "COMPARISON: None. Chest radiograph XXXX. MRI of March 3, 2011. Prior surgery. A. IMPRESSION: B.",
            "Prior surgery. A.",
            "B.",
        ),
        ("FINDINGS: A. IMPRESSION: 1. B. 2. Recommendation: CT. 3. C.", "A.", "1. B. 3. C."),
        ("FINDINGS: A.\nIMPRESSION:\n1. B.\n2. NOTE: Told.\n3. C.\n4. Follow-up: CT.", "A.", "1. B.\n3. C."),
        ("FINDINGS: A. IMPRESSION: 1) B. 2) Plan: CT at level 12. Then more.", "A.", "1) B."),
        ("1. FINDINGS: A. 2. RECOMMENDATION: CT. 3. IMPRESSION: B.", "A.", "B."),
    ],
)
def test_addenda_comparisons_and_listed_asides_end_where_they_end(text, findings, impression):
    assert [one_section(text, section) for section in ("findings", "impression")] == [findings, impression]


def test_lines_and_columns_without_headings_are_cut_too(tmp_path):
    lines = [f"Findings: {F} Impression: {I}", "Clear lungs."]
    for name in ("a.txt", "res.csv"):
        (tmp_path / name).write_text("\n".join(f'"{line}"' if name == "res.csv" else line for line in lines) + "\n")
        assert read_report_file(tmp_path / name, section="impression").texts == [I, "Clear lungs."]
