"""modules/corpus/nothing_said.py: sections that say nothing are none in every reader alike, and are said where they are scored."""

import json

import pytest
from test_raw_mimic import write_gzip

from modules.corpus.annotations import Study
from modules.corpus.nothing_said import says_nothing
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.options.flags import DataOptions
from modules.options.preparation_flags import RawOptions
from modules.preparation.doctor.corpus import look_at_reports
from modules.preparation.doctor.findings import Diagnosis
from modules.preparation.raw.custom import read_custom
from modules.preparation.raw.iu_xray import read_iu_xray
from modules.preparation.raw.mimic_cxr import read_mimic_cxr

NOTHING = (
    "None.", "nan", "XXXX.", "XXXX XXXX.", "N/A", ".", "___", "___.", "As above.", "See impression.", "Refer to impression.", "Same as impression.",
    "As per impression", "See separate report.", "Please see the impression section below for further details.", "As described above.", "See separately dictated report.",
    "(See above.)", "None. See impression.", "Please refer to the full report.", "Findings as above.", "Dictated separately.", "Per CT report.",
)  # fmt: skip
SAID = (
    "Normal.", "Clear.", "As before.", "Same as prior.", "Unchanged.", "No acute findings, see above.", "As above, a small effusion.", "See note: small effusion.",
    "No change. See impression.", "XXXX lungs.", "None of the nodules has grown.", "Described above is a nodule.", "5 mm.", "As seen above the carina.",
)  # fmt: skip


@pytest.mark.parametrize("text", NOTHING)
def test_a_section_that_says_nothing(text):
    assert says_nothing(text)


@pytest.mark.parametrize("text", SAID)
def test_a_section_that_says_something(text):
    assert not says_nothing(text)


def from_open_i(folder, texts):
    (folder / "ecgen-radiology").mkdir()
    for number, text in enumerate(texts, 1):
        sections = (
            f'<AbstractText Label="FINDINGS">{text}</AbstractText><AbstractText Label="IMPRESSION">Old.</AbstractText>'
        )
        image = f'<parentImage id="CXR{number}_IM-0001-1001"/>'
        (folder / "ecgen-radiology" / f"{number}.xml").write_text(
            f'<eCitation><uId id="CXR{number}"/>{sections}{image}</eCitation>'
        )
    return read_iu_xray(folder, RawOptions(section="findings", all_test=True), with_images=False)


def from_kaggle(folder, texts):
    rows = [f'{number},"{text}",Old.' for number, text in enumerate(texts, 1)]
    (folder / "indiana_reports.csv").write_text("\n".join(["uid,findings,impression", *rows]))
    rows = [f"{number},{number}_IM-0001-1001.dcm.png,Frontal" for number in range(1, len(texts) + 1)]
    (folder / "indiana_projections.csv").write_text("\n".join(["uid,filename,projection", *rows]))
    return read_iu_xray(folder, RawOptions(section="findings", all_test=True), with_images=False)


def from_physionet(folder, texts):
    split, metadata = ["dicom_id,study_id,subject_id,split"], ["dicom_id,subject_id,study_id,ViewPosition"]
    for number, text in enumerate(texts, 1):
        report = folder / "files" / "p10" / f"p10{number:06d}" / f"s5{number:07d}.txt"
        report.parent.mkdir(parents=True)
        report.write_text(f" FINAL REPORT\n FINDINGS:  {text}\n \n IMPRESSION:  Old.\n")
        split.append(f"d{number},5{number:07d},10{number:06d},test")
        metadata.append(f"d{number},10{number:06d},5{number:07d},PA")
    write_gzip(folder / "mimic-cxr-2.0.0-split.csv.gz", split)
    write_gzip(folder / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    return read_mimic_cxr(folder, RawOptions(section="findings", items="study"), with_images=False)


def from_a_table(folder, texts):
    rows = [
        {"image_path": f"{number}.png", "findings": text, "impression": "Old."} for number, text in enumerate(texts)
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return read_custom(folder / "a.jsonl", RawOptions(section="findings"), with_images=False)


@pytest.mark.parametrize("read", [from_open_i, from_kaggle, from_physionet, from_a_table])
def test_every_reader_leaves_out_what_says_nothing(tmp_path, read):
    texts = (*NOTHING, "Clear lungs.")
    dataset = read(tmp_path, texts)
    assert [study.report for study in dataset.studies] == ["Clear lungs."]
    assert [*dataset.dropped.values()] == ["no findings in the report"] * len(NOTHING)


def test_a_whole_report_that_says_nothing_is_none(tmp_path):
    rows = [{"image_path": f"{i}.png", "report": text} for i, text in enumerate(("See impression.", "Clear lungs."))]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = read_custom(tmp_path, RawOptions(section="findings"), with_images=False)
    assert ([study.report for study in dataset.studies], [*dataset.dropped.values()]) == (["Clear lungs."], ["no report"])  # fmt: skip


def scored(folder, references):
    rows = [{"id": f"case {n}", "prediction": "Clear lungs.", "reference": text} for n, text in enumerate(references)]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return match({"p": read_report_file(folder / "p.jsonl")}, None, "auto", 100)


def test_references_that_say_nothing_are_scored_as_the_file_has_them_and_said(tmp_path):
    """Published figures count them; a cell that is empty is left out everywhere."""
    matched = scored(tmp_path, ["Clear lungs.", "See impression.", "As above.", "None.", "Unchanged."])
    assert matched.raw_references == ["Clear lungs.", "See impression.", "As above.", "Unchanged."]
    said = "2 of 4 references say nothing of the film or only where it is said (See impression), first case 1, case 2: they are scored"
    assert any(note.startswith(said) for note in matched.notes)
    assert any(note.startswith("1 of 5 references are empty and left out, first case 3") for note in matched.notes)
    assert not any("say nothing of the film" in note for note in scored(tmp_path, ["Clear lungs.", "Normal."]).notes)


def test_the_doctor_names_reports_that_say_nothing():
    studies = [
        Study(id=str(n), image_path=("a.png",), report=text, split="test")
        for n, text in enumerate(("Clear.", "See above."))
    ]
    diagnosis = Diagnosis()
    look_at_reports(studies, DataOptions(), diagnosis)
    assert [problem.examples for problem in diagnosis.problems if "say nothing of the film" in problem.text] == [("1",)]
