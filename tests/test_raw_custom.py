"""modules/preparation/raw/custom.py: one's own studies in a CSV table or JSON lines."""

import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from programs import refused
from test_raw_images import write_dicom

import main_prepare
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom


def options(**changes):
    return RawOptions(**{"section": "findings", "split_file": None, **changes})


def write(folder, text, name="studies.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_table(tmp_path):
    path = write(
        tmp_path,
        "id,image_path,report,patient,split\n"
        's1,a/1.png; a/2.png,"Clear lungs,\nno effusion.",p1,train\n'
        "s2,b.png,Normal.,p2,validation\n",
    )
    studies = read_custom(path, options(), with_images=False).studies
    assert [(s.id, s.images, s.patient, s.split) for s in studies] == [
        ("s1", ("a/1.png", "a/2.png"), "p1", "train"),
        ("s2", ("b.png",), "p2", "val"),
    ]
    assert studies[0].report == "Clear lungs,\nno effusion."
    assert read_custom(tmp_path, options(), with_images=False).studies == studies  # the folder's only table


def test_reports_that_a_narrow_column_cut_are_said(tmp_path):
    """A model would learn to stop in the middle of a sentence."""
    texts = [f"The line of patient {number} ends in the right atrium." for number in ("one", "two", "six", "ten")]

    def notes(length):
        rows = "".join(f"{number}.png,{text[:length]}\n" for number, text in enumerate(texts))
        return read_custom(write(tmp_path, f"image_path,report\n{rows}"), options(), with_images=False).notes

    said = (
        "4 texts in studies.csv have exactly 45 characters, the most there, and do not end there: they may be cut off"
    )
    assert said in notes(45)
    assert not any("cut off" in note for note in notes(None))


def test_json_lines_with_sections_and_labels(tmp_path):
    rows = [
        {"image_path": "a.dcm", "findings": "Clear.", "impression": "Normal.", "labels": [0] * 13 + [1]},
        {"image_path": ["b.png"], "impression": "Edema."},
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "studies.jsonl")
    dataset = read_custom(path, options(), with_images=False)
    assert [(s.id, s.report) for s in dataset.studies] == [("a", "Clear.")]
    assert dataset.studies[0].labels == (0,) * 13 + (1,)
    assert dataset.dropped == {"b": "no findings in the report"}
    both = read_custom(path, options(section="both"), with_images=False).studies
    assert [s.report for s in both] == ["Clear. Normal.", "Edema."]


def test_sections_in_columns_of_their_own_are_read_before_a_report_that_joins_them(tmp_path):
    """The whole text, headers and all, was learnt as findings; the advice was to fill the columns that were there."""
    rows = 'image_path,findings,impression,report\na.png,Clear.,Normal.,"FINDINGS: Clear. IMPRESSION: Normal."\n'
    dataset = read_custom(write(tmp_path, rows), options(), with_images=False)
    assert [study.report for study in dataset.studies] == ["Clear."]
    assert any(re.search("not used: .?report", note) for note in dataset.notes)
    (study,) = read_custom(tmp_path, options(section="impression"), with_images=False).studies
    assert study.report == "Normal."
    other = write(tmp_path, rows.replace("FINDINGS: Clear. IMPRESSION: Normal.", "All is clear and normal."))
    (study,) = read_custom(other, options(), with_images=False).studies
    assert study.report == "All is clear and normal."  # a text of its own


def test_a_split_is_drawn_by_patient_whatever_the_order(tmp_path):
    rows = [f"{i}.png,Report {i}.,p{i % 40}" for i in range(200)]
    path = write(tmp_path, "image_path,report,patient\n" + "\n".join(rows))
    studies = read_custom(path, options(), with_images=False).studies
    split_of = {}
    for study in studies:
        assert split_of.setdefault(study.patient, study.split) == study.split
    assert [sum(s.split == split for s in studies) for split in ("train", "val", "test")] == [140, 20, 40]
    path = write(tmp_path, "image_path,report,patient\n" + "\n".join(reversed(rows)))
    again = read_custom(path, options(), with_images=False).studies
    assert {s.patient: s.split for s in again} == split_of
    other = read_custom(path, options(), with_images=False, seed=4).studies
    assert {s.patient: s.split for s in other} != split_of


def test_spellings_of_a_patient_are_one_patient(tmp_path):
    names = ["10", "10.0", "p10", "P10", " 010", "11", "p11a"]
    rows = [f"{i}.png,Report {i}.,{names[i % len(names)]}" for i in range(70)]
    path = write(tmp_path, "image_path,report,patient\n" + "\n".join(rows))
    dataset = read_custom(path, options(), with_images=False)
    assert {study.patient for study in dataset.studies} == {"10", "11", "p11a"}
    assert len({study.split for study in dataset.studies if study.patient == "10"}) == 1
    assert any("1 patients are written in several ways (first 10, 10.0, p10, P10" in note for note in dataset.notes)


@pytest.mark.parametrize("spelling", ["7", "p7", "7.0"])
def test_a_split_that_shares_a_patient_is_refused(tmp_path, spelling):
    table = f"image_path,report,patient,split\na.png,x,7,train\nb.png,y,8,val\nc.png,z,{spelling},test\n"
    with pytest.raises(UserError, match=r"puts 1 of 2 patients into two splits, first 7 into train and test"):
        read_custom(write(tmp_path, table), options(), with_images=False)
    listed = tmp_path / "split.csv"
    listed.write_text("id,split\na,train\nb,val\nc,test\n")
    with pytest.raises(UserError, match=r"split\.csv puts 1 of 2 patients into two splits"):
        read_custom(tmp_path / "studies.csv", options(split_file=listed), with_images=False)


def test_studies_without_images_are_left_out(tmp_path):
    path = write(tmp_path, "image_path,report\na.png;gone.png,Clear.\ngone.png,Clear.\n")
    (tmp_path / "a.png").touch()
    dataset = read_custom(path, options())
    assert [s.images for s in dataset.studies] == [("a.png",)]
    assert dataset.dropped == {"gone": "no image file"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "place,report\na,x\n",
            "has no column of images (found 'place', 'report'): call that of the images image_path",
        ),
        (
            "Bild,Befund\na,x\n",
            "has no column of images and none of texts (found 'Bild', 'Befund'): call that of the images "
            "image_path; call that of the texts report, or findings and impression",
        ),
        ("image_path,report\n,x\n", "line 2"),
        ("image_path,report\na.png,x\n/etc/a.png,x\n../b.png,x\n", "line 3: image_path is '/etc/a.png'"),
        ("image_path,report\n/etc/a.png,x\n../b.png,x\n", "2 of 2 rows are wrong:"),
        ("image_path,words\na.png,x\n", "has no column of texts (found 'image_path', 'words')"),
        ("image_path,report\na.png,x\na.png,y\n", "the id a appears twice"),
        ("image_path,report,split\na.png,x,training\nb.png,y,dev2\n", "line 3: the split is 'dev2'"),
        ("image_path,report,split\na.png,x,train\nb.png,y,\n", "1 of 2 studies"),
        ("image_path,report\n", "holds no study"),
    ],
)
def test_wrong_tables_are_described(tmp_path, text, words):
    with pytest.raises(UserError, match=r"studies\.csv") as caught:
        read_custom(write(tmp_path, text), options(), with_images=False)
    assert words in str(caught.value)


def test_a_table_that_is_not_there_is_called_a_table(tmp_path, capsys):
    missing = ["--raw_dir", tmp_path / "studies.csv"]
    refused(capsys, "give the table of your studies", main_prepare, "--dataset_name", "custom", *missing)
    refused(capsys, "give the folder of the raw files", main_prepare, "--dataset_name", "iu_xray", *missing)
    with pytest.raises(UserError, match="give the path of a table"):  # train_custom.sh is given no flag
        read_custom(missing[1], options())


def test_the_file_must_be_clear(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_custom(tmp_path / "none.csv", options())
    with pytest.raises(UserError, match="holds 0 CSV, Excel and JSON-lines files"):
        read_custom(tmp_path, options())


# Tables as people have them

CASES = Path(__file__).parent / "cases"


def case(folder, name):
    (folder / "a").mkdir(exist_ok=True)
    for image in ("a.png", "a/front.png", "a/side.png"):
        (folder / image).touch()
    return shutil.copy(CASES / "tables" / name, folder / name)


@pytest.mark.parametrize("name", ["semicolon_table.csv", "cp1252_table.csv", "backslash_paths.csv"])
def test_tables_of_other_programs_are_read_whole(tmp_path, name):
    dataset = read_custom(case(tmp_path, name), options())
    texts = {
        "semicolon_table.csv": ["Clear lungs."],
        "cp1252_table.csv": ["Lünge frei."],
        "backslash_paths.csv": ["Clear lungs.", "No effusion."],
    }
    assert [study.report for study in dataset.studies] == texts[name]
    assert dataset.dropped == {}
    if name == "backslash_paths.csv":
        assert [study.images for study in dataset.studies] == [("a/front.png",), ("a/side.png",)]


def test_a_small_split_shows_every_condition_that_three_patients_have(tmp_path):
    """40 studies, findings of very different frequency: a tenth at least validates, each finding in every split."""
    findings = {"Rib fracture.": 3, "Pneumothorax.": 4, "Pleural effusion.": 8, "Cardiomegaly.": 10, "Clear lungs.": 15}
    texts = [text for text, count in findings.items() for _ in range(count)]
    rows = "".join(f"s{n},{n}.png,{text},p{n}\n" for n, text in enumerate(texts))
    (tmp_path / "studies.csv").write_text(f"id,image_path,report,patient\n{rows}e1,e.png,,p98\ne2,f.png,nan,p99\n")
    for seed in range(20):
        dataset = read_custom(tmp_path, options(), with_images=False, seed=seed)
        of_split = {name: [s for s in dataset.studies if s.split == name] for name in ("train", "val", "test")}
        assert len(dataset.studies) == 40
        assert 4 <= len(of_split["val"]) <= 8
        assert 8 <= len(of_split["test"]) <= 16
        for name, studies in of_split.items():
            assert {study.report for study in studies} == set(findings), (seed, name)


def test_two_patients_are_enough_to_train_on(tmp_path):
    (tmp_path / "studies.csv").write_text("image_path,report\na.png,Edema.\nb.png,Edema.\n")
    dataset = read_custom(tmp_path, options(), with_images=False)
    assert {study.split for study in dataset.studies} == {"train", "val"}


def test_the_usual_names_are_known_and_no_patient_is_in_two_splits(tmp_path):
    dataset = read_custom(case(tmp_path, "subj.csv"), options(), with_images=False, seed=3)
    assert [study.id for study in dataset.studies] == [f"s{i}" for i in range(40)]
    assert {study.patient for study in dataset.studies} == {f"p{i}" for i in range(10)}
    assert len({(study.patient, study.split) for study in dataset.studies}) == 10
    assert "split drawn by patient with --seed 3" in dataset.notes
    assert "columns: id from 'study_id', patient from 'subject_id'; not used: none" in dataset.notes


def test_without_a_patient_column_nobody_claims_patients(tmp_path):
    path = write(tmp_path, "image_path,report,age\n" + "".join(f"{i}.png,Report {i}.,{i}\n" for i in range(20)))
    dataset = read_custom(path, options(), with_images=False)
    notes = " ".join(dataset.notes)
    assert "no patient column was found: the images are taken for patients" in notes
    assert "by patient" not in notes
    assert "not used: 'age'" in notes
    assert {study.patient for study in dataset.studies} == {None}


def test_a_workbook_with_headings_in_any_case_and_with_blanks(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    states = " ".join(["0"] * 13 + ["1"])
    for row in (
        ["Subject ID", "Dicom ID", "File Name", "Text", " Split ", "Labels", "Age"],
        [7.0, "d1", "a.png", "Clear.", "Train", states, 50],
    ):
        book.active.append(row)
    book.save(tmp_path / "studies.xlsx")
    dataset = read_custom(tmp_path, options(), with_images=False)
    (study,) = dataset.studies
    assert (study.id, study.patient, study.images, study.report, study.split) == (
        "d1",
        "7",
        ("a.png",),
        "Clear.",
        "train",
    )
    assert study.labels == (0,) * 13 + (1,)
    assert "not used: 'Age'" in " ".join(dataset.notes)


def test_a_study_of_several_rows_is_told_by_its_images(tmp_path):
    path = write(tmp_path, "study_id,dicom_id,path,report\ns1,d1,a.png,Clear.\ns1,d2,b.png,Clear.\n")
    dataset = read_custom(path, options(), with_images=False)
    assert [study.id for study in dataset.studies] == ["d1", "d2"]
    assert "id from 'dicom_id', image_path from 'path'" in " ".join(
        dataset.notes
    ) or "image_path from 'path'" in " ".join(dataset.notes)


def test_the_images_of_a_study_stay_in_one_split_where_no_patient_is_named(tmp_path):
    rows = "".join(f"s{i // 2},d{i},{i}.png,Clear.\n" for i in range(60))
    dataset = read_custom(write(tmp_path, f"study_id,dicom_id,path,report\n{rows}"), options(), with_images=False)
    splits = {}
    for study in dataset.studies:
        splits.setdefault(study.patient, set()).add(study.split)
    assert set(splits) == {f"s{i}" for i in range(30)}
    assert {len(found) for found in splits.values()} == {1}
    assert {"train"} < set.union(*splits.values())
    notes = " ".join(dataset.notes)
    assert "patient from 'study_id'" in notes
    assert (
        "no patient column was found: the images of one study_id stay together, and its studies are taken for" in notes
    )
    assert "split drawn by study with" in notes
    path = write(tmp_path, "id,uid,path,report\n1,x,a.png,Clear.\n2,x,b.png,Clear.\n")
    assert [study.patient for study in read_custom(path, options(), with_images=False).studies] == [None, None]


def test_images_of_one_cell_are_told_apart_by_the_files_that_are_there(tmp_path):
    for name in ("a.png", "b.png", "c, d.png"):
        (tmp_path / name).touch()
    cells = ['"a.png, b.png"', "a.png | b.png", '"a.png\nb.png"', '"c, d.png"', '"a.png, x.png"', '"a.png;c, d.png"']
    table = "".join(f"{number},{cell},Clear.\n" for number, cell in enumerate(cells))
    dataset = read_custom(write(tmp_path, f"id,image,report\n{table}"), options())
    assert [study.images for study in dataset.studies] == [
        *[("a.png", "b.png")] * 3, ("c, d.png",), ("a.png", "c, d.png"),
    ]  # fmt: skip
    assert dataset.dropped == {"4": "no image file"}


def test_what_a_program_put_between_the_words_is_taken_out(tmp_path):
    """Words that were learnt and scored: p, br, amp, n, x000d."""
    reports = ["<p>Clear lungs.</p><br/>No effusion &amp; no <b>edema</b>.", r"Clear lungs.\nNo effusion.", "Clear._x000D_\nStable.",
               "Size < 3 cm, p > 2.", "Clear.", "Gr&ouml;&szlig;e normal."]  # fmt: skip
    rows = "".join(f'{number},{number}.png,"{text}"\n' for number, text in enumerate(reports))
    dataset = read_custom(write(tmp_path, f"id,image,report\n{rows}"), options(), with_images=False)
    assert [" ".join(study.report.split()) for study in dataset.studies] == [
        "Clear lungs. No effusion & no edema.", "Clear lungs. No effusion.", "Clear. Stable.", "Size < 3 cm, p > 2.", "Clear.",
        "Größe normal.",
    ]  # fmt: skip
    assert "were taken out of the texts in 4 rows" in " ".join(dataset.notes)
    path = write(tmp_path, "id,image,report\n1,a.png,{\\rtf1\\ansi Clear.}\n")
    with pytest.raises(UserError, match=r"line 2: the report is rich text \(RTF\), expected plain text"):
        read_custom(path, options(), with_images=False)


BREAKS = ["&#xD;&#xA;", "&#x0D;&#x0A;", "&#13;&#10;", "&#xA;", "&#10;", "&amp;#xD;&amp;#xA;", "\\.br\\", "\\.BR\\ ", "\\.sp+1\\", "\\X0D\\",
          "\\X0D0A\\", "<CR>", "<LF> ", "<CRLF>", "<CR><LF>", "<NL>", "[BR]", "[CRLF]", "^M", "^M\n", "~", "~~", " ~ ", "|", "//", "\u00b6"]  # fmt: skip


@pytest.mark.parametrize("mark", BREAKS)
def test_line_breaks_as_hospital_systems_write_them_are_taken_out_and_said(tmp_path, mark):
    """Words that were learnt: xd, br, cr, and sentences that had grown together."""
    rows = f'1,a.png,"Clear lungs.{mark}No effusion.{mark}Heart normal."\n2,b.png,Clear.\n'
    dataset = read_custom(write(tmp_path, f"id,image,report\n{rows}"), options(), with_images=False)
    assert dataset.studies[0].report.split() == ["Clear", "lungs.", "No", "effusion.", "Heart", "normal."]
    assert (
        "marks of HTML or HL7, or line breaks that were written out, were taken out of the texts in 1 rows"
        in " ".join(dataset.notes)
    )


def test_sentences_that_stand_together_are_given_a_blank_and_that_is_said(tmp_path):
    """``clearno`` was learnt as a word."""
    path = write(tmp_path, "id,image,report\n1,a.png,Lungs clear.No effusion. T4.5 cm e.g.Old.\n2,b.png,Clear. Old.\n")
    dataset = read_custom(path, options(), with_images=False)
    assert [study.report for study in dataset.studies] == ["Lungs clear. No effusion. T4.5 cm e.g.Old.", "Clear. Old."]
    assert next(note for note in dataset.notes if "stood together" in note).endswith("in 1 rows")


def test_signs_that_reports_have_of_their_own_stay(tmp_path):
    texts = [
        "A nodule. ~5 mm. Told Doe^Mary. Fracture T4~T6.",
        "Film [CR]. 5 mm. ~Unchanged.",
        "See http://x.org/A. | 3/4 // T4 [CR 3].",
        "C1\\C2 level; A&P; CO<R.",
    ]
    rows = "".join(f"{number},{number}.png,{text}\n" for number, text in enumerate(texts))
    dataset = read_custom(write(tmp_path, f"id,image,report\n{rows}"), options(), with_images=False)
    assert [study.report for study in dataset.studies] == texts
    assert not any("taken out" in note for note in dataset.notes)


def test_signs_that_hl7_escapes_are_read(tmp_path):
    table = "id,image,report\n1,a.png,\\H\\Clear\\N\\ \\T\\ dry.\n"
    assert read_custom(write(tmp_path, table), options(), with_images=False).studies[0].report == "Clear & dry."


def test_whole_reports_that_name_their_sections_are_said_to_be_whole(tmp_path):
    text = "INDICATION: Cough. FINDINGS: Clear. IMPRESSION: Normal."
    dataset = read_custom(write(tmp_path, f"id,image,report\n1,a.png,{text}\n2,b.png,Clear.\n"), options(), False)
    assert dataset.studies[0].report == text
    assert "1 of 2 reports name their sections (FINDINGS, IMPRESSION) and are taken whole" in " ".join(dataset.notes)


@pytest.mark.parametrize("heading", ["findings", "impression"])
@pytest.mark.parametrize(
    ("section", "report"), [("findings", "Clear."), ("impression", "Normal."), ("both", "Clear. Normal.")]
)
def test_a_cell_of_a_section_that_is_a_whole_report_is_cut_to_the_section(tmp_path, heading, section, report):
    """As the scorer cuts it: history and impression were learnt as findings, without a word."""
    text = '"INDICATION: Cough. FINDINGS: Clear.\n\nIMPRESSION: Normal."'
    path = write(tmp_path, f"id,image,{heading}\n1,a.png,{text}\n2,b.png,{text}\n")
    dataset = read_custom(path, options(section=section), with_images=False)
    assert [study.report for study in dataset.studies] == [report] * 2
    assert (
        "the findings or the impression hold more (another section, advice, technique, a signature), of which the section alone is taken in 2 rows"
        in dataset.notes
    )


def test_cells_of_sections_that_name_none_stay_and_the_other_column_goes_before_what_a_cell_names(tmp_path):
    rows = "1,a.png,Clear.,Normal.\n2,b.png,FINDINGS: No edema. IMPRESSION: None new.,Dry.\n"
    dataset = read_custom(write(tmp_path, f"id,image,findings,impression\n{rows}"), options(section="both"), False)
    assert [study.report for study in dataset.studies] == ["Clear. Normal.", "No edema. Dry."]
    assert any(note.endswith("of which the section alone is taken in 1 rows") for note in dataset.notes)


@pytest.mark.parametrize(
    "beside",
    ["IMPRESSION: Normal.", "\n\nImpression: Normal.", "RECOMMENDATION: CT.", "TECHNIQUE: PA.", "\nElectronically signed by: X", "Interpretation: normal.", "ADDENDUM: A nodule."],
)  # fmt: skip
def test_what_stands_behind_the_findings_in_their_cell_is_none_of_them(tmp_path, beside):
    """It was learnt with them, without a word; the scorer cut it from a report that names its findings."""
    rows = f'1,a.png,"Lungs are clear. No effusion. {beside}",Normal.\n2,b.png,Clear.,Normal.\n'
    dataset = read_custom(write(tmp_path, f"id,image,findings,impression\n{rows}"), options(section="findings"), False)
    assert [study.report for study in dataset.studies] == ["Lungs are clear. No effusion.", "Clear."]
    assert any(note.endswith("of which the section alone is taken in 1 rows") for note in dataset.notes)


@pytest.mark.parametrize("before", ["TECHNIQUE: PA.", "Comparison: None.", "Indication: cough."])
def test_what_stands_before_the_findings_in_their_cell_is_none_of_them(tmp_path, before):
    path = write(tmp_path, f"id,image,findings\n1,a.png,{before} Lungs are clear.\n2,b.png,Clear.\n")
    assert read_custom(path, options(section="findings"), False).studies[0].report == "Lungs are clear."


@pytest.mark.parametrize(
    "text",
    ["Lungs: clear. Heart: normal.", "There is an impression: old fracture. Clear.", "LUNGS: CLEAR. OTHER FINDINGS: NONE.", "Unchanged in comparison: stable.",
     "1. Clear. 2. No effusion.", "Electronically signed by: X", "See note: stable. Chest: clear.",
     "PA view. Technique: portable. The heart is large. Clear.", "Clear. Comparison: 3/4/2010. The heart is large.",
     "Heart large. Assessment: effusion. No pneumothorax.", "Lungs: Clear. Comment: poor inspiration. Bones: old fracture."],
)  # fmt: skip
def test_findings_that_hold_nothing_beside_them_stay_as_they_are(tmp_path, text):
    dataset = read_custom(
        write(tmp_path, f"id,image,findings\n1,a.png,{text}\n2,b.png,Clear.\n"), options(section="findings"), False
    )
    assert dataset.studies[0].report == text
    assert not any("the section alone" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("heading", "text"),
    [
        ("impression", "Key findings: nodule in the left upper lobe."), ("impression", "Findings: compatible with edema. Follow up."),
        ("findings", "Impression: lungs clear."), ("findings", "Lungs clear. FINDINGS: none"),
    ],
)  # fmt: skip
def test_a_cell_that_does_not_name_its_own_section_stays_whole(tmp_path, heading, text):
    """Nothing was left of it, and its study was left out."""
    path = write(tmp_path, f"id,image,{heading}\n1,a.png,{text}\n2,b.png,{text}\n")
    dataset = read_custom(path, options(section=heading), with_images=False)
    assert [study.report for study in dataset.studies] == [text] * 2


def test_a_conclusion_inside_the_findings_makes_no_impression_of_them(tmp_path):
    path = write(tmp_path, "id,image,findings\n1,a.png,Lungs clear. Interpretation: no acute disease.\n")
    dataset = read_custom(path, options(section="impression"), with_images=False)
    assert dataset.studies == []
    assert dataset.dropped == {"1": "no impression in the report"}


def test_a_film_whose_name_is_written_in_other_case_is_found_and_said(tmp_path):
    """Its study was left out."""
    for name in ("i/0.png", "i/1.png", "J/2.Png", "3.PNG", "\u00e4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = ["i/0.PNG", "i/1.png", "j\\2.png", tmp_path / "3.png", "A\u0308.PNG"]
    rows = "".join(f"s{number},{path},Clear {number}.\n" for number, path in enumerate(paths))
    dataset = read_custom(write(tmp_path, f"study_id,image_path,report\n{rows}"), options())
    assert [study.images for study in dataset.studies] == [
        ("i/0.png",),
        ("i/1.png",),
        ("J/2.Png",),
        ("3.PNG",),
        ("\u00e4.png",),
    ]
    assert any(note.startswith("the image path is that of a file in other case") for note in dataset.notes)


def test_of_two_films_that_differ_in_case_alone_none_is_taken_for_a_third(tmp_path):
    for name in ("0.png", "0.Png", "1.png"):
        (tmp_path / name).touch()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("the disk takes 0.png for 0.Png")
    path = write(tmp_path, "study_id,image_path,report\ns0,0.PNG,Clear.\ns1,1.png,Clear.\ns2,0.png,Dry.\n")
    dataset = read_custom(path, options())
    assert dataset.dropped == {"s0": "no image file"}
    assert [study.images for study in dataset.studies] == [("1.png",), ("0.png",)]


def test_a_link_that_leads_out_is_refused_in_other_case_too(tmp_path):
    (tmp_path / "out.png").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.png").symlink_to(tmp_path / "out.png")
    path = write(tmp_path / "in", "study_id,image_path,report\ns0,0.PNG,Clear.\n")
    with pytest.raises(UserError, match="leads out of the folder"):
        read_custom(path, options())


def test_of_several_columns_of_images_the_one_is_taken_whose_files_are_there(tmp_path):
    """What a column image said of the view was taken for paths, and every study was left out."""
    (tmp_path / "0.png").touch()
    said = "the images are those of the column"
    merged = write(tmp_path, "filename,image,findings\n0.png,Xray Chest PA,Clear.\n")
    dataset = read_custom(merged, options())
    assert [study.images for study in dataset.studies] == [("0.png",)]
    assert f"{said} 'filename', whose files are there, not of 'image'" in dataset.notes
    brax = write(tmp_path, "DicomPath,PngPath,Report\nd/0.dcm,0.png,Clear.\n", "b.csv")
    dataset = read_custom(brax, options())
    assert [study.images for study in dataset.studies] == [("0.png",)]
    assert f"{said} 'PngPath', whose files are there, not of 'DicomPath'" in dataset.notes
    (tmp_path / "r.txt").touch()
    reports = write(tmp_path, "image,file,findings\nx.png,r.txt,Clear.\n", "r.csv")  # its films are not copied yet
    assert read_custom(reports, options(), with_images=False).studies[0].images == ("x.png",)
    absent = write(tmp_path, "filename,image,findings\n7.jpe,Xray Chest PA,Clear.\n", "c.csv")
    dataset = read_custom(absent, options(), with_images=False)
    assert [study.images for study in dataset.studies] == [("7.jpe",)]
    assert f"{said} 'filename', which holds names of files, not of 'image'" in dataset.notes
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "0.dcm").touch()
    dataset = read_custom(brax, options())
    assert [study.images for study in dataset.studies] == [("d/0.dcm",)]
    assert said not in " ".join(dataset.notes)


def test_a_study_of_two_rows_is_told_how_to_become_one(tmp_path):
    path = write(tmp_path, "study_id,path,report\ns1,a.png,Clear.\ns1,b.png,Clear.\n")
    with pytest.raises(
        UserError, match="s1 appears twice, expected every id once: put the images of a study into one row"
    ):
        read_custom(path, options(), with_images=False)


@pytest.mark.parametrize(
    ("headings", "words"),
    [
        ("Untersuchungs Nr,image_path,report", "no column id, but 'Untersuchungs Nr' looks like one: call it id"),
        ("Our Key,image_path,report", "no column id, but 'Our Key' looks like one"),
        ("id,PatientName,image_path,report", "no column patient, but 'PatientName' looks like one"),
        ("id,anon_patient,image_path,report", "no column patient, but 'anon_patient' looks like one"),
        ("id,pt_id,image_path,report", "no column patient, but 'pt_id' looks like one"),
        ("id,ID,image_path,report", "two columns 'id'"),
    ],
)
def test_a_column_that_looks_like_id_or_patient_is_asked_about(tmp_path, headings, words):
    rows = "".join(
        f"{i}," + (f"p{i // 2}," if headings.count(",") == 3 else "") + f"{i}.png,Clear.\n" for i in range(4)
    )
    with pytest.raises(UserError, match=r"studies\.csv") as caught:
        read_custom(write(tmp_path, f"{headings}\n{rows}"), options(), with_images=False)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "heading", ["case", "anon_id", "client_id", "hadm_id", "MR#", "hn", "name", "folder", "column 7"]
)
def test_ids_that_repeat_as_patients_do_are_asked_about(tmp_path, heading):
    """The images of one patient were in two splits; a hospital, a reader and a number of the film are no patients."""
    table = f"id,image_path,report,{heading}\n" + "".join(f"s{i},{i}.png,Clear.,c{i // 2}\n" for i in range(24))
    with pytest.raises(UserError, match=f"no column patient, but '{heading}' looks like one: call it patient if it is"):
        read_custom(write(tmp_path, table), options(), with_images=False)
    table = "id,image_path,report,reader_id,film_no,site_id,age,year,date,view,height\n" + "".join(
        f"s{i},{i}.png,Clear.,r{i % 3},{i % 2},h,{40 + i // 2},{2000 + i // 4},201901{10 + i // 2},view {i % 2},{2048 + i % 2}\n"
        for i in range(40)
    )
    assert len(read_custom(write(tmp_path, table), options(), with_images=False).studies) == 40


def test_empty_and_nan_reports_are_left_out_and_counted(tmp_path):
    texts = ["", "nan", "NaN", "None", "N/A", "<NA>", "  ", "Clear."]
    path = write(tmp_path, "image_path,report\n" + "".join(f"{i}.png,{text}\n" for i, text in enumerate(texts)))
    dataset = read_custom(path, options(), with_images=False)
    assert [study.report for study in dataset.studies] == ["Clear."]
    assert list(dataset.dropped.values()) == ["no report"] * 7
    assert dataset.losses() == ["warning: 7 of 8 studies (88%) are left out: 7 no report; see dropped.csv"]
    rows = [{"image_path": "a.png", "report": None}, {"image_path": "b.png", "report": float("nan")}]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "studies.jsonl")
    with pytest.raises(UserError, match=r"none of the 2 studies .* can be used \(2 no report\)"):
        read_custom(path, options(), with_images=False).require_studies(path)


def test_absolute_paths_below_the_folder_are_shortened_and_the_rest_is_listed_at_once(tmp_path):
    (tmp_path / "a.png").touch()
    path = write(tmp_path, f"image_path,report\n{tmp_path}/a.png,x\n")
    assert read_custom(path, options()).studies[0].images == ("a.png",)
    outside = tmp_path.parent / "elsewhere"
    outside.mkdir(exist_ok=True)
    (outside / "b.png").touch()
    (tmp_path / "link").symlink_to(outside)
    rows = ["/etc/a.png,x", "../b.png,x", "C:\\data\\a.png,x", "link/b.png,x", ",x", "a.png,x", "a.png,y"]
    path = write(tmp_path, "image_path,report\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"studies\.csv: 6 of 7 rows are wrong:") as caught:
        read_custom(path, options(), with_images=False)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "line 2",
        "line 3",
        "line 4",
        "line 6",
        "line 8",
        "study link/b",
    ]
    assert f"{tmp_path}/link/b.png is a link" in lines[-1]
    assert "put the table into a folder that holds them" in lines[0]  # not --image_dir, where the copies would go


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_letter_with_its_mark_is_one_character_or_two(tmp_path, form):
    """As macOS and its archives call files, whatever the table has; a comma in a cell is judged by such files too."""
    names = [unicodedata.normalize(form, name) for name in ("Größe é.png", "Übersicht.png")]
    for name in names:
        (tmp_path / name).touch()
    for other in ("NFC", "NFD"):
        rows = [unicodedata.normalize(other, text) for text in (f"{names[0]},x", f'"{names[0]}, {names[1]}",y')]
        path = write(tmp_path, "image_path,report,id\n" + "\n".join(f"{row},{n}" for n, row in enumerate(rows)) + "\n")
        dataset = read_custom(path, options())
        assert sorted(study.images for study in dataset.studies) == sorted([(names[0],), tuple(names)])


def test_absent_images_are_named_as_they_were_looked_for(tmp_path):
    (tmp_path / "a.png").touch()
    path = write(tmp_path, "image_path,report\na.png,x\nsub/gone.png,y\n")
    dataset = read_custom(path, options())
    assert f"1 image files were looked for and are not there: {tmp_path}/sub/gone.png" in dataset.notes
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=rf"2 no image file; the first image looked for was {tmp_path}/a\.png"):
        read_custom(path, options()).require_studies(path)


def test_a_column_of_split_names_is_asked_about_before_another_split_is_drawn(tmp_path):
    table = "image_path,report,Fold\n" + "".join(
        f"{i}.png,Report {i}.,{('Train', 'valid', 'test')[i % 3]}\n" for i in range(9)
    )
    path = write(tmp_path, table)
    with pytest.raises(UserError, match="has no column split, but 'Fold' looks like one: call it split if it is"):
        read_custom(path, options(), with_images=False)
    kept = tmp_path / "kept.csv"
    kept.write_text("id,split\n" + "".join(f"{i},train\n" for i in range(8)) + "8,val\n")
    dataset = read_custom(path, options(split_file=str(kept)), with_images=False)
    assert [study.split for study in dataset.studies] == ["train"] * 8 + ["val"]
    one = write(tmp_path, table.replace("valid", "Train").replace("test", "Train"))
    assert "not used: 'Fold'" in " ".join(read_custom(one, options(), with_images=False).notes)


def test_any_column_with_two_split_names_or_called_like_one_is_asked_about(tmp_path):
    for heading, names in (("Datensatz", ("Training", "Validierung", "Test")), ("is_test", ("0", "1", "0"))):
        rows = "".join(f"{i}.png,Report {i}.,{names[i % 3]}\n" for i in range(9))
        with pytest.raises(UserError, match=f"has no column split, but '{heading}' looks like one"):
            read_custom(write(tmp_path, f"image_path,report,{heading}\n{rows}"), options(), with_images=False)


def test_studies_of_one_image_stay_in_one_split_where_no_patient_is_named(tmp_path):
    """Two rows of one film, by two readers for instance: the test would meet a film of the training."""
    rows = "".join(f"{i},{i % 30}.png,Report {i}.\n" for i in range(60))
    dataset = read_custom(write(tmp_path, f"id,image_path,report\n{rows}"), options(), with_images=False)
    splits = {}
    for study in dataset.studies:
        splits.setdefault(study.images, set()).add(study.split)
    assert {len(found) for found in splits.values()} == {1}
    assert len(set.union(*splits.values())) == 3
    rows = "".join(f"{i},{i % 5}.png,Report {i}.,{('train', 'test')[i // 5]}\n" for i in range(10))
    with pytest.raises(
        UserError, match=r"puts 5 images into two splits, first 0\.png, so that a test would meet images"
    ):
        read_custom(write(tmp_path, f"id,image_path,report,split\n{rows}"), options(), with_images=False)
    rows = "".join(f"{i},p{i},{i % 5}.png,Report {i}.,{('train', 'test')[i // 5]}\n" for i in range(10))
    dataset = read_custom(write(tmp_path, f"id,patient,image_path,report,split\n{rows}"), options(), with_images=False)
    assert "warning: 5 images are of patients in several splits, first '0.png'" in " ".join(dataset.notes)


@pytest.mark.parametrize("name", ["id", "patient"])
def test_numbers_that_a_spreadsheet_rounded_name_nobody(tmp_path, name):
    rows = "".join(f"{i}.png,Clear.,1.2346E+{12 + i}\n" for i in range(3))
    with pytest.raises(
        UserError, match=f"3 of 3 rows are wrong:\n  line 2: the {name} is 1.2346E.12, a number that a spread"
    ):
        read_custom(write(tmp_path, f"image_path,report,{name}\n{rows}"), options(), with_images=False)


def test_a_whole_report_stands_for_itself_and_its_sections_are_named_as_not_used(tmp_path):
    path = write(tmp_path, "image_path,report,findings,\na.png,Whole.,Part.,7\nb.png,,Part.,8\n")
    dataset = read_custom(path, options(), with_images=False)
    assert [study.report for study in dataset.studies] == ["Whole."]
    assert dataset.dropped == {"b": "no report"}
    assert "not used: 'findings', one without a heading" in " ".join(dataset.notes)
    with pytest.raises(UserError, match="--section impression chooses among the columns findings and impression"):
        read_custom(path, options(section="impression"), with_images=False)


def test_a_text_beside_findings_that_are_no_part_of_it_is_asked_about(tmp_path):
    """``text`` may be a history; it was prepared as the report."""
    path = write(tmp_path, "image_path,text,findings\na.png,A cough.,Clear lungs.\nb.png,Fever.,An effusion.\n")
    with pytest.raises(
        UserError, match=r"has the columns 'text' and 'findings', whose texts differ.*: call that of the reports report"
    ):
        read_custom(path, options(), with_images=False)
    path = write(
        tmp_path, "image_path,text,findings\na.png,FINDINGS: Clear lungs.,Clear  lungs.\nb.png,An effusion.,\n"
    )
    assert [s.report for s in read_custom(path, options(), with_images=False).studies] == [
        "FINDINGS: Clear lungs.",
        "An effusion.",
    ]
    path = write(tmp_path, "image_path,text,radiology_report\na.png,A cough.,Clear lungs.\n")
    assert [s.report for s in read_custom(path, options(), with_images=False).studies] == ["Clear lungs."]


@pytest.mark.parametrize(
    "form", ["{}</s>", '{"findings": "{}"}', "['{}']", "{} patient\u00e2\u20ac\u2122s", "<think>x</think>{}", "no%20{}"]
)
def test_what_a_program_left_in_reports_is_not_learnt(tmp_path, form):
    """The scorer refused it, and a model had learnt to write it."""
    rows = [{"image_path": f"{n}.png", "report": form.replace("{}", f"Effusion {n}.")} for n in range(3)]
    with pytest.raises(
        UserError, match=r"3 of 3 reports in .* hold what a program left in them.* would be learnt as words"
    ):
        read_custom(write(tmp_path, json.dumps(rows), "studies.json"), options(), with_images=False)


def test_names_of_classes_are_no_reports(tmp_path):
    path = write(tmp_path, "image_path,report\na.png,normal\nb.png,abnormal\n")
    with pytest.raises(
        UserError, match="holds names of classes where reports are expected, first 'normal': call the column"
    ):
        read_custom(path, options(), with_images=False)


def test_rows_that_call_their_reports_otherwise_are_asked_about(tmp_path):
    """Half of the studies were left out."""
    rows = [{"image_path": f"{n}.png", ("report" if n < 2 else "findings"): "Clear."} for n in range(4)]
    with pytest.raises(UserError, match=r"2 of 4 rows of .* have 'findings' and no 'report', which the others have"):
        read_custom(write(tmp_path, json.dumps(rows), "studies.json"), options(), with_images=False)


def test_a_mark_beside_nothing_is_asked_about_before_another_split_is_drawn(tmp_path):
    path = write(tmp_path, "image_path,report,test\na.png,x.,\nb.png,y.,\nc.png,z.,x\n")
    with pytest.raises(UserError, match="has no column split, but 'test' looks like one"):
        read_custom(path, options(), with_images=False)


def test_a_report_of_json_may_be_an_object_of_its_sections(tmp_path):
    rows = [
        {"image_path": f"{n}.png", "report": {"findings": f"Clear {n}.", "impression": "Normal."}} for n in range(3)
    ]
    path = write(tmp_path, json.dumps(rows), "studies.json")
    for section, texts in (("findings", [f"Clear {n}." for n in range(3)]), ("impression", ["Normal."] * 3)):
        dataset = read_custom(path, options(section=section), with_images=False)
        assert [study.report for study in dataset.studies] == texts


def test_cells_between_single_quotes_are_refused(tmp_path):
    with pytest.raises(UserError, match="between single quotes"):
        read_custom(write(tmp_path, "image_path,report\n'a.png','Clear.'\n"), options(), with_images=False)


def test_a_list_in_json_is_read_like_json_lines_and_an_annotation_is_sent_to_its_flag(tmp_path):
    rows = [{"image_path": ["a.png"], "report": "Clear."}, {"image_path": "b.png", "report": "Large."}]
    path = write(tmp_path, json.dumps(rows, indent=1), "studies.json")
    assert [study.report for study in read_custom(path, options(), with_images=False).studies] == ["Clear.", "Large."]
    with pytest.raises(UserError, match=r"2 of 2 rows are wrong:\n  study 1: "):
        read_custom(
            write(tmp_path, json.dumps([{"image_path": 1, "report": "x"}] * 2), "studies.json"), options(), False
        )
    with pytest.raises(UserError, match="no column of images"):
        read_custom(write(tmp_path, json.dumps({"a": "Clear."}), "studies.json"), options(), False)
    for content, words in (
        ({"train": rows, "test": []}, "holds an annotation"),
        ({"train": rows, "validation": []}, "holds an annotation"),
        (5, "holds one value"),
    ):
        with pytest.raises(UserError, match=f"{words}, expected a list of studies: give an annotation with --ann_path"):
            read_custom(write(tmp_path, json.dumps(content), "studies.json"), options(), False)


@pytest.mark.parametrize(
    "heading", ["Image Index", "image_id", "ImageID", "dicom_file", "fname", "Bild", "frontal_path", "id"]
)
def test_the_only_column_of_films_names_the_images_under_any_heading(tmp_path, heading):
    dataset = read_custom(
        write(tmp_path, f"{heading},report,patient\na.png,Clear.,1\nb/c.DCM,Large.,2\n"), options(), False
    )
    assert [study.images for study in dataset.studies] == [("a.png",), ("b/c.DCM",)]
    assert [study.id for study in dataset.studies] == ["a", "b/c"]
    assert any(f"image_path from '{heading}'" in note for note in dataset.notes)


def test_other_columns_do_not_take_the_place_of_the_images(tmp_path):
    read = {"image_path": "a.png", "Image Index": "b.png", "report": "Clear."}
    path = write(tmp_path, json.dumps([read]), "studies.json")
    assert read_custom(path, options(), with_images=False).studies[0].images == ("a.png",)
    for columns in (
        {"frontal": "a.png", "lateral": "b.png"},  # which of the two is not known
        {"mask_path": "a.png"},
        {"prior_image_file": "a.png"},
        {"image_id": "a"},
        {"report_path": "a.png"},
    ):
        path = write(tmp_path, json.dumps([{**columns, "report": "Clear."}]), "studies.json")
        with pytest.raises(UserError, match="has no column of images"):
            read_custom(path, options(), with_images=False)
    (tmp_path / "b.png").touch()
    path = write(tmp_path, "here,there,report\na.png,b.png,Clear.\n")
    assert read_custom(path, options(), with_images=False).studies[0].images == ("b.png",)


def test_a_path_without_suffix_is_that_of_the_only_film_of_its_name(tmp_path):
    for name in ("x/a.png", "x/B.PNG", "x/1.2.840.dcm", "x/both.png", "x/both.dcm", "x/c.txt", "x/plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cells = ["x/a", "x/b", "x/1.2.840", "x/both", "x/c", "x/plain", "x/absent"]
    path = write(tmp_path, "image_path,report\n" + "".join(f"{cell},Clear.\n" for cell in cells))
    dataset = read_custom(path, options(), with_images=False)
    found = [study.images[0] for study in dataset.studies]
    assert found == ["x/a.png", "x/B.PNG", "x/1.2.840.dcm", "x/both", "x/c", "x/plain", "x/absent"]
    assert [study.id for study in dataset.studies][:3] == ["x/a", "x/B", "x/1.2.840"]
    assert any(note.startswith("the image path has no suffix") and "in 3 rows" in note for note in dataset.notes)
    (tmp_path / "s1.jpg").touch()
    path = write(tmp_path, "id,report\ns1,Clear.\n")  # films that are called as the studies
    assert read_custom(path, options(), with_images=False).studies[0].images == ("s1.jpg",)


def test_a_path_with_the_suffix_of_another_kind_is_that_of_the_only_film_of_its_name(tmp_path):
    """CheXpert Plus writes .jpg and publishes .png."""
    for name in ("a.png", "b.DCM", "c.png", "c.dcm", "1_IM.dcm.png"):
        (tmp_path / name).touch()
    path = write(
        tmp_path, "image_path,report\na.jpg,Clear.\nb.jpeg,Clear.\nc.jpg,Clear.\n1_IM.dcm.jpg,Clear.\nd.jpg,Clear.\n"
    )
    dataset = read_custom(path, options(), with_images=False)
    assert [study.images[0] for study in dataset.studies] == ["a.png", "b.DCM", "c.jpg", "1_IM.dcm.png", "d.jpg"]
    assert [note for note in dataset.notes if note.startswith("the image path")] == [
        "the image path ends otherwise than the only film of its name, such as a.jpg beside a.png, which is taken in 3 rows"
    ]
    path = write(
        tmp_path, "id,image_path,report\n1,a.png,Clear.\n2,a.jpg,Effusion.\n"
    )  # two films, of which one is there
    with pytest.raises(
        UserError, match=r"study 2: its image is not there, and a\.png, the only film of its name, is that"
    ):
        read_custom(path, options(), with_images=False)


def test_a_study_whose_first_film_says_that_it_is_lateral_is_warned_of(tmp_path):
    film = np.arange(0, 4096, 16).reshape(16, 16)
    write_dicom(tmp_path / "a.dcm", film, ViewPosition="LL")
    write_dicom(tmp_path / "b.dcm", film, ViewPosition="PA")
    path = write(tmp_path, "id,image_path,report\n1,a.dcm;b.dcm,Clear.\n2,b.dcm;a.dcm,Clear.\n3,a.dcm,Clear.\n")
    assert [note for note in read_custom(path, options()).notes if "lateral" in note] == [
        "warning: of 1 of 2 studies with several images the first one, which is read, is a lateral view (ViewPosition, code of the view), "
        "first '1': write the frontal view before it"
    ]


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("caption", "findings"),
        ("final_report", "findings"),
        ("findings_text", "findings"),
        ("impression_text", "impression"),
    ],
)
def test_the_texts_are_read_under_further_usual_headings(tmp_path, heading, section):
    path = write(tmp_path, f"image_path,{heading}\na.png,Clear.\n")
    assert read_custom(path, options(section=section), with_images=False).studies[0].report == "Clear."


def test_a_caption_beside_findings_is_not_the_report(tmp_path):
    path = write(tmp_path, "image_path,caption,findings\na.png,A film.,Clear lungs.\n")
    assert read_custom(path, options(), with_images=False).studies[0].report == "Clear lungs."


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_images_may_be_objects_of_their_paths_as_hugging_face_writes_them(tmp_path, kind):
    """In JSON they were no path, in a table a file called ``{'bytes': ..`` was looked for."""
    images = [{"bytes": None, "path": "a.png"}, [{"bytes": None, "path": f"{name}.png"} for name in "bc"]]
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    if kind == "json":
        content = json.dumps([{"image": image, "report": "Clear."} for image in images])
    else:
        content = "image,report\n" + "".join(f'"{image}",Clear.\n' for image in images)
    dataset = read_custom(write(tmp_path, content, f"studies.{kind}"), options())
    assert [study.images for study in dataset.studies] == [("a.png",), ("b.png", "c.png")]


@pytest.mark.parametrize("image", [{"bytes": "iVBORw0", "path": None}, [{"bytes": "iVBORw0"}]])
def test_images_that_stand_in_the_table_themselves_are_refused_in_one_sentence(tmp_path, image):
    path = write(tmp_path, json.dumps([{"image": image, "report": "Clear."}] * 3), "studies.json")
    with pytest.raises(
        UserError, match=r"study 1: the column 'image' holds an object with the bytes .*: save the images below"
    ) as caught:
        read_custom(path, options(), with_images=False)
    assert "\n" not in str(caught.value)


def test_the_advice_on_paths_that_go_up_works(tmp_path):
    """A table beside its films was told to be put into a folder that holds them, out of which ``..`` led again."""
    (tmp_path / "films").mkdir()
    (tmp_path / "films/1.png").touch()
    (tmp_path / "away/deep").mkdir(parents=True)
    for up in ("../../films/1.png", "..\\films\\1.png"):
        path = write(tmp_path / "away/deep", f"ImagePath,Findings\n{up},Clear.\n")
        with pytest.raises(
            UserError, match="put the table into the folder that holds films, and write the paths without"
        ):
            read_custom(path, options())
    dataset = read_custom(write(tmp_path, "ImagePath,Findings\nfilms/1.png,Clear.\n"), options())
    assert [study.images for study in dataset.studies] == [("films/1.png",)]


@pytest.mark.parametrize(
    "cell", ["['normal']", "Cardiomegaly|Effusion", '["pleural effusion", "unchanged"]', "No Finding"]
)
def test_labels_that_are_names_are_not_used(tmp_path, cell):
    """PadChest's refused every row."""
    quoted = cell.replace('"', '""')
    path = write(tmp_path, f'image_path,report,Labels\na.png,Clear.,"{quoted}"\nb.png,Clear.,\n')
    dataset = read_custom(path, options(), with_images=False)
    assert [study.labels for study in dataset.studies] == [None, None]
    assert any("the column 'Labels' holds names and no states" in note for note in dataset.notes)
    assert any("not used: 'Labels'" in note for note in dataset.notes)


@pytest.mark.parametrize("cells", [["0 1 2", "['normal']"], ["1", "2"], ["positive", "negative"], [0.5, "normal"]])
def test_labels_that_are_no_names_and_no_states_of_all_conditions_stay_refused(tmp_path, cells):
    rows = "".join(f"{n}.png,Clear.,{cell}\n" for n, cell in enumerate(cells))
    with pytest.raises(UserError, match="expected a list of 14 or 18"):
        read_custom(write(tmp_path, "image_path,report,labels\n" + rows), options(), with_images=False)


def test_file_names_are_looked_for_in_the_folders_of_another_column(tmp_path):
    """PadChest's ImageID and ImageDir; a file that is not there leaves both as they are."""
    for name in ("3/a.png", "14/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    rows = "ImageID,ImageDir,Report\na.png,3,Clear.\nb.png,14,Clear.\n"
    dataset = read_custom(write(tmp_path, rows), options())
    assert [study.images for study in dataset.studies] == [("3/a.png",), ("14/b.png",)]
    assert "the images are those of the column 'ImageID' in the folders of 'ImageDir'" in dataset.notes
    dataset = read_custom(write(tmp_path, f"{rows}c.png,14,Clear.\n"), options(), with_images=False)
    assert [study.images[0] for study in dataset.studies] == ["a.png", "b.png", "c.png"]
    (tmp_path / "a.png").touch()
    assert read_custom(write(tmp_path, rows), options()).studies[0].images == ("a.png",)
