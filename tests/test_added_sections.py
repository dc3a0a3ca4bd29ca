"""modules/labelling/added_sections.py: what a language model adds beside findings and impression belongs to neither."""

import time

import pytest

from modules.evaluation.reading.one_section import one_section
from modules.labelling.added_sections import without_added_sections
from modules.preparation.raw.report_sections import find_sections

F, I = "The heart is enlarged. A small left nodule is seen.", "Stable cardiomegaly."  # noqa: E741
FORMS = {"### {}\n": "\n\n", "**{}:** ": "\n\n", "**{}**\n": "\n\n", "**{}**: ": "\n", "{}: ": "\n", "## {}:\n\n": "\n\n", "1. **{}:** ": "\n"}  # fmt: skip
ADDED = [
    "Differential Diagnosis", "Differential Diagnoses", "Differential", "Reasoning", "Explanation", "Rationale", "Key Takeaways", "Clinical Significance", "Clinical Correlation",
    "Clinical Context", "Image Quality", "Lay Summary", "Patient-friendly Summary", "Summary for Patient", "Patient Education", "Additional Notes", "References", "Confidence",
    "Discussion", "Follow-up Recommendations", "Reviewed By", "Important Note", "Further Evaluation", "Final Answer",
]  # fmt: skip


def read(report):
    """Findings and impression, which both readers must find alike."""
    raw = find_sections(report)
    scored = tuple(" ".join(one_section(report, section).split()) for section in ("findings", "impression"))
    assert scored == (raw.findings, raw.impression), report
    return scored


@pytest.mark.parametrize("name", ADDED)
def test_a_known_name_ends_a_section_in_any_form(name):
    for form, between in FORMS.items():
        findings, impression, added = (form.format(title) + text for title, text in (("Findings", F), ("Impression", I), (name, "Pneumonia, pulmonary edema.")))  # fmt: skip
        assert read(between.join((findings, added, impression))) == (F, I), form
        assert read(between.join((findings, impression, added))) == (F, I), form


@pytest.mark.parametrize("name", ["Date", "AI Workflow", "Letter to the Family", "Answer", "Next Appointment"])
def test_an_unknown_name_ends_a_section_where_it_has_the_marks_of_one(name):
    for form in ("### {}\n", "**{}:** ", "**{}**\n"):
        findings, impression, added = (form.format(title) + text for title, text in (("Findings", F), ("Impression", I), (name, "Pneumonia.\n\nMore of it.")))  # fmt: skip
        assert read("\n\n".join((findings, added, impression))) == (F, I)
        assert read("\n\n".join((findings, impression, added))) == (F, I)
    assert "Pneumonia" in one_section(f"Findings: {F}\n{name}: Pneumonia.\nImpression: {I}", "findings")


@pytest.mark.parametrize(
    "name",
    ["Lungs", "Cardiac", "Pleura", "Lines and tubes", "Bones", "Support devices", "Pneumothorax", "Other", "Incidental Findings", "Pertinent Negatives", "Lateral view", "Severe edema",
     "Costophrenic angles", "Hardware", "Upper Abdomen", "Post-surgical changes", "No acute disease", "Normal chest"],
)  # fmt: skip
def test_names_of_what_a_film_shows_stay(name):
    for form in ("### {}\n", "**{}:** ", "**{}**\n"):
        part = form.format(name) + "An old clip."
        report = f"{form.format('Findings')}{F}\n\n{part}\n\n{form.format('Impression')}{I}"
        assert one_section(report, "findings").endswith("An old clip.")
        assert find_sections(report).findings.endswith("An old clip.")


def test_the_parts_of_a_section_that_marks_divide_stay_whatever_they_are_called():
    parts = "**Overview:** Clear.\n**Gadgets:** None."
    report = f"**Findings:**\n{parts}\n**Reasoning:** Pneumonia.\n\n**Impression:** {I}"
    assert read(report) == (" ".join(parts.split()), I)
    assert "Widget" in one_section(f"## Findings\n{F}\n### Widget\nSmall.\n## Impression\n{I}", "findings")


@pytest.mark.parametrize("text", ["Clinical correlation is recommended.", "Discussion with the team followed.", "1. Nodule.\n2. Differential: granuloma.", "Nodule. Differential: granuloma."])  # fmt: skip
def test_sentences_and_items_of_a_list_stay(text):
    for form in ("### {}\n", "**{}:**\n", "{}:\n"):
        report = f"{form.format('Findings')}{F}\n\n{form.format('Impression')}{text}"
        assert read(report) == (F, " ".join(text.split()))


def test_a_marked_section_goes_on_over_empty_lines_and_another_owns_a_paragraph():
    advice = "1. CT.\n\n2. Clinic."
    assert read(f"## Findings\n{F}\n\n## Impression\n{I}\n\n## Recommendations\n{advice}") == (F, I)
    assert read(f"Findings: {F}\n\nReasoning: A shadow.\n\nThe lungs are clear.\n\nImpression: {I}") == (f"{F} The lungs are clear.", I)  # fmt: skip
    assert read(f"Findings: {F}\nReasoning: A shadow.\nLungs: clear.\nImpression: {I}") == (f"{F} Lungs: clear.", I)


def test_an_impression_on_the_line_of_an_added_section_stays():
    for mark in ("", "**"):
        report = f"Findings: {F}\nReasoning: A shadow. {mark}Impression:{mark} {I}"
        assert (one_section(report, "findings"), one_section(report, "impression")) == (F, I)
        assert find_sections(report).impression == I
    assert one_section("Some odd findings: a\nReasoning: Clear. Impression: normal.", "impression") == "normal."


def test_a_diagnosis_beside_findings_is_no_added_section():
    assert one_section(f"**Findings:** {F}\n\n**Diagnosis:** {I}", "impression") == I


def test_long_texts_are_read_at_once():
    start = time.perf_counter()
    for text in ("**Aa " * 5000, "### A\n" * 5000, "Findings: a\n" * 4000, "Findings: a\n" + "Aa bb " * 9000, "# " * 9000, "Findings: a\n" + "Reasoning:\n" * 4000):  # fmt: skip
        without_added_sections(text)
    assert time.perf_counter() - start < 3
