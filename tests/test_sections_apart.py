"""modules/evaluation/reading/sections_apart.py: objects of findings and impression are read as two columns of them are."""

import json

import pytest

from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError

FINDINGS = (
    "The heart is enlarged.",
    "Clear lungs without effusion.",
    "Right basilar opacity.",
    "Left effusion is seen.",
)
IMPRESSION = ("Cardiomegaly.", "Normal chest.", "Pneumonia.", "Effusion.")


def report(n, more=""):
    return {"findings": FINDINGS[n] + more, "impression": IMPRESSION[n]}


NESTED = [{"id": f"c{n}x", "prediction": report(n), "reference": report(n, " Bones intact.")} for n in range(4)]
FLAT = [
    {"id": row["id"], **{f"{side}_{part}": row[side][part] for side in ("prediction", "reference") for part in report(0)}}
    for row in NESTED
]  # fmt: skip


def texts(folder, content, section, name="p.json"):
    """Generated reports and references by id, as they are scored."""
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    matched = match({"p": read_report_file(folder / name, section=section)}, None, "none", 0)
    return dict(zip(matched.ids, zip(matched.raw_systems["p"], matched.raw_references, strict=True), strict=True))


LAYOUTS = {
    "list": NESTED,
    "jsonl": "\n".join(map(json.dumps, NESTED)),
    "by id": {row["id"]: {"prediction": row["prediction"], "reference": row["reference"]} for row in NESTED},
    "by side": {f"{side}s": {row["id"]: row[side] for row in NESTED} for side in ("prediction", "reference")},
    "flat": FLAT,
    "other words": [
        {"id": row["id"], "output": {"Findings": [row["prediction"]["findings"]], "IMPRESSION": row["prediction"]["impression"], "technique": "PA."},
         "reference": {"section_findings": row["reference"]["findings"], "section_impression": row["reference"]["impression"], "indication": None}}
        for row in NESTED
    ],
}  # fmt: skip


def test_it_is_said_which_section_is_read(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(NESTED))
    told = read_report_file(tmp_path / "p.json", section="impression").read_as
    assert told == "prediction = prediction (impression), reference = reference (impression), id = id"
    (tmp_path / "q.json").write_text(json.dumps(FLAT))
    assert "(" not in read_report_file(tmp_path / "q.json", section="impression").read_as


@pytest.mark.parametrize("section", ["findings", "impression", "both"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_objects_are_read_as_columns_are(tmp_path, layout, section):
    expected = {
        row["id"]: tuple(
            f"Findings: {part['findings']} Impression: {part['impression']}" if section == "both" else part[section]
            for part in (row["prediction"], row["reference"])
        )
        for row in NESTED
    }
    assert texts(tmp_path, LAYOUTS[layout], section, "p.jsonl" if layout == "jsonl" else "p.json") == expected


def test_a_text_beside_an_object(tmp_path):
    rows = [{**row, "reference": FINDINGS[n]} for n, row in enumerate(NESTED)]
    assert [*texts(tmp_path, rows, "findings").values()] == [(text, text) for text in FINDINGS]


def test_captions_in_a_list_of_one_are_the_text(tmp_path):
    sides = {name: {f"c{n}x": [{"caption": text}] for n, text in enumerate(FINDINGS)} for name in ("res", "gts")}
    assert [*texts(tmp_path, sides, "findings").values()] == [(text, text) for text in FINDINGS]


def test_an_annotation_may_keep_its_reports_so(tmp_path):
    studies = [{"id": row["id"], "image_path": [f"{row['id']}.png"], "report": row["reference"]} for row in NESTED]
    (tmp_path / "a.json").write_text(json.dumps({"test": studies}))
    file = read_report_file(tmp_path / "a.json", "reference", section="impression")
    assert file.texts == [*IMPRESSION]


def test_one_study_of_two_objects_is_one_study_and_not_two_sections(tmp_path):
    one = {name: NESTED[0][name] for name in ("prediction", "reference")}
    assert texts(tmp_path, one, "findings") == {"1": (FINDINGS[0], f"{FINDINGS[0]} Bones intact.")}


@pytest.mark.parametrize("unclear", [{"text": "Clear."}, {"text": "Clear.", "score": 0.3}, {"findings": "Clear.", "Finding": "Wet."}, {"findings": "Clear.", "beam 2": "Wet."},
                                     {"findings": {"lungs": "Clear."}}, {"report": "Clear.", "findings": "Clear."}])  # fmt: skip
def test_other_objects_are_refused_with_what_they_hold(tmp_path, unclear):
    with pytest.raises(
        UserError,
        match=r"'prediction' of .* holds a dict; expected text, or findings and impression alone and not '\w+'.*: write the text itself",
    ):
        texts(tmp_path, [{**row, "prediction": unclear} for row in NESTED], "findings")


@pytest.mark.parametrize("section", ["findings", "both"])
def test_objects_of_another_section_are_no_empty_reports(tmp_path, section):
    rows = [{**row, "prediction": {"impression": row["prediction"]["impression"]}} for row in NESTED]
    with pytest.raises(
        UserError, match=f"holds objects of impression, another section than --section {section}: give another"
    ):
        texts(tmp_path, rows, section)
