"""modules/evaluation/reading/headings.py and columns.py: headings that people put together say their side, or are asked about."""

import pytest

from modules.evaluation.reading.headings import is_known, side_of
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError

HIS = ["The heart is mildly enlarged. No pleural effusion.", "The lungs are clear. No effusion."]
TRUE = ["The heart is enlarged. No effusion.", "Lungs are clear. No pneumothorax."]
OTHER = ["A third text that is about the chest.", "A fourth text that is about the lungs."]
PAIRS = (  # generated, reference
    "report_generated|report_true", "report_gen|report_truth", "generated_caption|true_caption", "model findings|human findings",
    "completion|expected", "prediction_text|reference_text", "pred_text|gt_text", "gen_report|orig_report", "Generated|Original",
    "synthetic_report|real_report", "predicted_caption|caption", "y_pred|y_true", "y_hat|y", "preds|trues", "cand|ref",
    "generated_findings_section|findings_section", "candidate_report|reference", "sys|ref", "system|gold", "machine|human",
    "inference|truth", "inferred_report|actual_report", "generated report (raw)|report (raw)", "report|truth_by_radiologist",
    "model_answer|reference_answer", "answer|gt_answer", "prediction|answer", "decoded_preds|decoded_labels", "decoded|labels_text", "report_hat|report", "findings_hat|findings",
    "response_text|expected_response", "outputs.report|targets.report", "findings_pred|findings_true", "pred_text|label_text",
    "reportPredicted|reportActual", "candidate_caption|reference_caption", "hypo|ref", "mt|reference", "medgemma_output|ground_truth", "green_prediction|reference", "LLaVA-Rad response|findings", "GPT_report|", "report_x|report_y", "text|answer",
    "medgemma_input|reference", "question_response|reference", "prior_output|report", "reasoning_output|findings", "translated_output|reference", "comment|reference",
    "output|input", "draft|final", "findings|report", "report|report_edited",
)  # fmt: skip
DECIDED = [pair.split("|") for pair in PAIRS[: PAIRS.index("GPT_report|")]]
OPEN = [pair.split("|") for pair in PAIRS[PAIRS.index("GPT_report|") + 1 :]]


def write(path, **columns):
    """A table of ids and these columns."""
    rows = [["study_id", *columns], *zip(["s1x", "s2x"], *columns.values(), strict=True)]
    path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("ours", "theirs"), DECIDED)
def test_every_word_of_a_heading_says_the_side(tmp_path, ours, theirs):
    """In both orders: nothing is decided by which column stands first."""
    for columns in ({ours: HIS, theirs: TRUE}, {theirs: TRUE, ours: HIS}):
        found = read_report_file(write(tmp_path / "a.csv", **columns))
        assert (found.texts, found.references) == (HIS, TRUE), found.read_as


@pytest.mark.parametrize(("one", "other"), OPEN)
def test_what_the_words_do_not_say_is_asked(tmp_path, one, other):
    for columns in ({one: HIS, other: TRUE}, {other: TRUE, one: HIS}):
        path = write(tmp_path / "a.csv", **columns)
        try:
            assert read_report_file(path).references is None  # then they are asked for
        except UserError as error:
            assert "--columns" in str(error)  # noqa: PT017


def test_a_third_text_is_not_passed_over(tmp_path):
    """``report`` is the prediction beside a reference, and the reference beside a prediction, only where nothing else may be."""
    with pytest.raises(UserError, match="'report' and 'swin_output' are texts"):
        read_report_file(write(tmp_path / "a.csv", reference=TRUE, report=OTHER, swin_output=HIS))
    with pytest.raises(UserError, match="'report' and 'truth_of_dr_smith' may both be the reference"):
        read_report_file(write(tmp_path / "a.csv", prediction=HIS, report=OTHER, truth_of_dr_smith=TRUE))
    with pytest.raises(UserError, match="'report' and 'truth_of_dr_smith' may both be the reference"):
        read_report_file(write(tmp_path / "a.csv", report=OTHER, truth_of_dr_smith=TRUE), "reference")
    for name in ("report_corrected", "Edited report", "final_report", "second_reader"):
        with pytest.raises(UserError, match=f"'report' and '{name}' may both be the reference"):
            read_report_file(write(tmp_path / "a.csv", **{"prediction": HIS, "report": OTHER, name: TRUE}))
    with pytest.raises(UserError, match="'label' and 'report' are texts and may both be the reference"):
        read_report_file(write(tmp_path / "a.csv", prediction=HIS, report=OTHER, label=TRUE))


def test_a_section_and_the_report_that_holds_it_are_one(tmp_path):
    whole = [f"FINDINGS: {text} IMPRESSION: Normal." for text in HIS]
    assert read_report_file(write(tmp_path / "a.csv", findings=HIS, report=whole)).texts == HIS
    assert read_report_file(write(tmp_path / "a.csv", findings=HIS, impression=OTHER)).texts == HIS


@pytest.mark.parametrize("name", ["pred_{}", "{}_pred", "generated_{}", "{}_generated", "{}_hat", "model_{}"])
@pytest.mark.parametrize("parts", [("findings", "impression"), ("impression", "findings")])
def test_both_sections_of_a_side_are_its_report(tmp_path, name, parts):
    """``pred_impression`` stands before ``pred_findings`` among the known names, and the two were asked about."""
    ours = {"findings": HIS, "impression": OTHER}
    columns = {name.format(part): ours[part] for part in parts} | dict(
        zip(("findings", "impression"), (TRUE, HIS), strict=True)
    )
    found = read_report_file(write(tmp_path / "a.csv", **columns), section="both")
    assert found.texts == [f"Findings: {a} Impression: {b}" for a, b in zip(HIS, OTHER, strict=True)]
    assert found.references == [f"Findings: {a} Impression: {b}" for a, b in zip(TRUE, HIS, strict=True)]


def test_words_that_are_no_side():
    assert [side_of(name) for name in ("report_clean", "findings_section", "swin_report", "pred_truth", "model_name", "")] == [
        "report", "findings", None, None, None, None,
    ]  # fmt: skip
    assert is_known("report_true")
    assert not is_known("report_clean")


def test_a_heading_of_words_alone_is_no_report(tmp_path):
    """A column whose heading says its side is read by it, and no line of text above reports is one."""
    path = tmp_path / "a.csv"
    path.write_text("generated_caption\n" + "".join(f"{text}\n" for text in HIS))
    assert read_report_file(path).texts == HIS


@pytest.mark.parametrize("version", ["{}_2", "{}.1", "{}_v2", "{}2", "{} (new)", "{}_final", "{}_B", "{}_seed3"])
def test_a_version_of_a_text_is_that_text(tmp_path, version):
    """Beside the plain heading it was passed over in silence, alone it was not known."""
    for name, columns, wanted in (
        ("prediction", {"prediction": HIS, version.format("prediction"): OTHER, "gt": TRUE}, "prediction"),
        ("reference", {"reference": TRUE, version.format("reference"): OTHER, "pred": HIS}, "reference"),
    ):
        path = write(tmp_path / f"{name}.csv", **columns)
        with pytest.raises(UserError, match=f"'{name}' and .* may both be the {wanted}"):
            read_report_file(path)
        assert read_report_file(path, columns={name: name}).texts == HIS
    alone = read_report_file(write(tmp_path / "a.csv", **{version.format("prediction"): HIS, "gt": TRUE}))
    assert (alone.texts, alone.references) == (HIS, TRUE)
    assert side_of(version.format("report")) is None
