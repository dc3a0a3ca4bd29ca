"""modules/evaluation/reading/report_files.py, plain_lines.py, columns.py, study_ids.py: every layout that is about is read for what it is, or refused."""

import json

import pytest

from modules.corpus.cells import is_empty
from modules.evaluation.reading.column_values import is_text
from modules.evaluation.reading.given_columns import check_columns, named_columns
from modules.evaluation.reading.one_section import one_section
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.evaluation.reading.study_ids import id_columns, pair_rows, plain_id
from modules.messages import UserError

FIRST, SECOND = "The heart is enlarged. No effusion.", "Lungs are clear. No pneumothorax."
HIS, HERS = "The heart is mildly enlarged. No pleural effusion.", "The lungs are clear. No effusion."
REXRANK = {
    "50000001": {
        "image_path": ["/p10/p10000001/s50000001/a.jpg"], "key_image_path": "/p10/p10000001/s50000001/a.jpg",
        "section_findings": FIRST, "section_impression": "Cardiomegaly.", "split": "test", "context": "Indication: cough",
        "report": f"Findings: {FIRST} Impression: Cardiomegaly.", "frontal_lateral": ["frontal"],
        "model_prediction": f"Findings: {HIS} Impression: Cardiomegaly.",
    },
    "50000002": {
        "image_path": ["/p10/p10000002/s50000002/a.jpg"], "key_image_path": "/p10/p10000002/s50000002/a.jpg",
        "section_findings": SECOND, "section_impression": float("nan"), "split": "test", "context": "",
        "report": f"Findings: {SECOND} Impression: None", "frontal_lateral": ["frontal"],
        "model_prediction": f"Findings: {HERS}",
    },
}  # fmt: skip


def table(*rows, separator=","):
    """A table whose second, third, .. rows are cells that may hold the separator."""
    return "".join(separator.join(f'"{c}"' if separator in c else c for c in row) + "\n" for row in rows)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


PAIRS = {  # file name -> content that holds both sides: HIS against FIRST, HERS against SECOND
    "crimson.csv": table(
        ("id", "Findings", "Predicted", "age", "indication"),
        ("1", FIRST, HIS, "70", "cough"),
        ("2", SECOND, HERS, "", ""),
    ),
    "report_and_generated.csv": table(("study_id", "report", "generated_report"), ("1", FIRST, HIS), ("2", SECOND, HERS)),
    "report_and_generated.jsonl": lines(
        {"id": "1", "report": FIRST, "generated": HIS}, {"id": "2", "report": SECOND, "generated": HERS}
    ),
    "priorrg.csv": table(("dicom_id", "reference_report", "generated_report"), ("a-1", FIRST, HIS), ("a-2", SECOND, HERS)),
    "cvt2distilgpt2.csv": table(("prediction", "label", "id"), (HIS, FIRST, "s1"), (HERS, SECOND, "s2")),
    "mlrg.csv": table(("dicom_id", "labels", "report"), ("1_2_3", FIRST, HIS), ("1_5_6", SECOND, HERS)),
    "radfact.csv": table(("example_id", "prediction", "target"), ("a-1", HIS, FIRST), ("a-2", HERS, SECOND)),
    "llava.jsonl": lines(
        {"query": "Describe the findings", "reference": FIRST, "prediction": HIS, "id": "s50000001", "image": "a.jpg"},
        {"query": "Describe the findings", "reference": SECOND, "prediction": HERS, "id": "s50000002", "image": "b.jpg"},
    ),
    "libra.jsonl": lines(
        {"question_id": 1, "text": HIS, "reference": FIRST}, {"question_id": 2, "text": HERS, "reference": SECOND}
    ),
    "radeval.json": json.dumps({"references": [FIRST, SECOND], "hypotheses": [HIS, HERS]}),
    "radeval.jsonl": lines({"ref": FIRST, "hyp": HIS}, {"ref": SECOND, "hyp": HERS}),
    "radeval_list.json": json.dumps([{"ref": FIRST, "hyp": HIS}, {"ref": SECOND, "hyp": HERS}]),
    "list.json": json.dumps([
        {"id": "s1", "prediction": HIS, "reference": FIRST}, {"id": "s2", "prediction": HERS, "reference": SECOND}
    ]),
    "wrapped.json": json.dumps({"results": [{"id": 1, "pred": HIS, "gt": FIRST}, {"id": 2, "pred": HERS, "gt": SECOND}]}),
    "by_id.json": json.dumps({"7": {"gts": [FIRST], "hyps": [HIS]}, "8": {"gts": [SECOND], "hyps": [HERS]}}),
    "pandas.json": json.dumps({"study_id": {"0": 1, "1": 2}, "ref": {"0": FIRST, "1": SECOND}, "pred": {"0": HIS, "1": HERS}}),
    "tabs.tsv": table(("Study ID", "Ground Truth", "Model Response"), ("1", FIRST, HIS), ("2", SECOND, HERS), separator="\t"),
    "semicolons.csv": table(("uid", "Report", "Output"), ("1", FIRST, HIS), ("2", SECOND, HERS), separator=";"),
    "indexed.csv": table(("", "study_id", "target", "pred"), ("0", "1", FIRST, HIS), ("1", "2", SECOND, HERS)),
    "chexpert.csv": table(
        ("study_id", "report", "hypothesis", "labels"),
        ("1", FIRST, HIS, "cardiomegaly;edema"),
        ("2", SECOND, HERS, "no finding"),
    ),
    "rexrank.json": json.dumps(REXRANK),
}  # fmt: skip


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(tmp_path, name, content, wanted="prediction", **options):
    return read_report_file(write(tmp_path, name, content), wanted, **options)


@pytest.mark.parametrize("name", PAIRS)
def test_the_generated_side_and_the_reference_are_told_apart(tmp_path, name):
    found = read(tmp_path, name, PAIRS[name])
    assert (found.texts, found.references) == ([HIS, HERS], [FIRST, SECOND]), found.read_as
    again = read(tmp_path, name, PAIRS[name], "reference")
    assert again.texts == [FIRST, SECOND], again.read_as
    matched = match({"a": found}, again, "auto", 100, by_order=not found.keys)
    assert matched.raw_references == [FIRST, SECOND]
    assert "4.5" not in matched.systems["a"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["llava.jsonl", "list.json", "hyps.txt"])
def test_encodings_of_other_layouts_are_found(tmp_path, encoding, name):
    text = PAIRS.get(name, f"{HIS}\n{HERS}\n").replace("mildly", "\u2013 mildly")
    if name.endswith(".json"):
        text = text.replace("\\u2013", "\u2013")
    assert read(tmp_path, name, text.encode(encoding)).texts[0] == HIS.replace("mildly", "\u2013 mildly")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_encodings_are_found(tmp_path, encoding, separator):
    text = table(
        ("study_id", "report"), ("b", "The \u0153dema is \u2013 old, mild; stable."), ("a", FIRST), separator=separator
    )
    text = text.replace('"The \u0153dema is \u2013 old', '"The \u0153dema is \u2013 old')
    found = read(tmp_path, "table.csv", text.encode(encoding))
    assert found.texts == ["The \u0153dema is \u2013 old, mild; stable.", FIRST]


def test_sections_of_rexrank(tmp_path):
    both = {"a": read(tmp_path, "r.json", json.dumps(REXRANK), section="both")}
    assert both["a"].texts[0] == f"Findings: {HIS} Impression: Cardiomegaly."
    assert both["a"].references[0] == f"Findings: {FIRST} Impression: Cardiomegaly."
    impression = match({"a": read(tmp_path, "r.json", json.dumps(REXRANK), section="impression")}, None, "none", 0)
    assert (impression.raw_systems["a"], impression.references) == (["Cardiomegaly."], ["Cardiomegaly."])
    assert "1 of 2 references are empty and left out, first 50000002" in impression.notes
    generated = table(("findings", "impression", "study_id"), ("/", "/", "1"), (HIS, "Large heart.", "2"))  # CXRMate-2
    assert read(tmp_path, "c.csv", generated).texts == ["", HIS]
    assert read(tmp_path, "c.csv", generated, section="both").texts == ["", f"Findings: {HIS} Impression: Large heart."]


@pytest.mark.parametrize(
    ("text", "section", "part"),
    [
        ("Findings: Clear. Impression: Normal.", "impression", "Normal."),
        ("FINDINGS:\nClear.\nIMPRESSION:\nNormal.", "findings", "Clear."),
        ("**Findings:** Clear.\n\n**Impression:** Normal.", "findings", "Clear."),
        ("## Findings\n- Clear.\n## Impression\n- Normal.", "impression", "- Normal."),
        ("Clear. Impression: Normal.", "findings", "Clear."),
        ("There are no findings: clear.", "findings", "There are no findings: clear."),
        ("Clear lungs.", "impression", "Clear lungs."),
        ("Findings: Clear. Impression: Normal.", "both", "Findings: Clear. Impression: Normal."),
        ("FINDINGS: Clear lungs IMPRESSION: Normal", "findings", "Clear lungs"),
        ("FINDINGS: Clear lungs IMPRESSION: Normal", "impression", "Normal"),
        ("FINDINGS: Clear.\nCLINICAL IMPRESSION: none.", "findings", "Clear."),
        ("FINDINGS\nClear.\n\nIMPRESSION\nNormal.", "findings", "Clear."),
        ("Findings - Clear. Impression - Normal.", "findings", "Clear."),
        ("Findings= Clear. Impression=Normal.", "impression", "Normal."),
        ("[FINDINGS] Clear. [IMPRESSION] Normal.", "impression", "Normal."),
        ("1. Findings: Clear.\n2. Impression: Normal.", "findings", "Clear."),
        ("FINDINGS AND IMPRESSION: Clear.", "findings", "Clear."),
        ("FINDINGS/IMPRESSION: Clear.", "impression", "Clear."),
        ("Findings: Clear. Impressions: Normal.", "impression", "Normal."),
        ("Findings: Clear. | Impression: Normal.", "findings", "Clear."),
        ("Findings: Clear. // Impression: Normal.", "findings", "Clear."),
        ("Findings: Clear - Impression: Normal.", "impression", "Normal."),
        ("Findings: Clear / free. Impression: Normal.", "findings", "Clear / free."),
        ("COMPARISON: ___ FINDINGS: Clear. IMPRESSION: Normal.", "findings", "Clear."),
        (
            "FINAL REPORT EXAMINATION: CHEST (PA AND LAT) TECHNIQUE: Chest PA COMPARISON: ___ FINDINGS: Clear.",
            "findings",
            "Clear.",
        ),
        ("FINDINGS: Clear. NOTIFICATION: The findings were discussed with Dr. ___ at 3 pm.", "findings", "Clear."),
        ("FINDINGS: Clear. RECOMMENDATION(S): CT chest. IMPRESSION: Normal.", "findings", "Clear."),
        ("IMPRESSION: Normal. RECOMMENDATIONS: CT chest.", "impression", "Normal."),
        ("Findings: Clear.\n\nADDENDUM:\nFindings: A nodule.", "findings", "Clear."),
        ("ADDENDUM: A nodule was discussed.\nFindings: Clear.", "findings", "Clear."),
        ("CHEST, PA AND LATERAL: Clear.\n\nIMPRESSION: Normal.", "findings", "Clear."),
        ("LEFT LUNG: Clear.\n\nIMPRESSION: Normal.", "findings", "LEFT LUNG: Clear."),
        ("findings: clear lungs impression: normal.", "findings", "clear lungs"),
        ("findings: clear lungs impression: normal.", "impression", "normal."),
        ("Findings: clear, overall impression: good.", "findings", "clear, overall impression: good."),
        ("No other findings\nare seen - clear.", "findings", "No other findings\nare seen - clear."),
    ],
)
def test_sections_inside_a_generated_report(text, section, part):
    assert one_section(text, section) == part


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", table(("study_id", "report", "swinv2"), ("1", FIRST, HIS), ("2", SECOND, HERS)), "'report' and 'swinv2' are texts"),
        ("a.csv", table(("study_id", "pred", "output"), ("1", FIRST, HIS), ("2", SECOND, HERS)), "may both be the prediction"),
        ("a.csv", table(("study_id", "pred", "gt", "target"), ("1", HIS, FIRST, SECOND)), "may both be the reference"),
        ("a.csv", table(("study_id", "reference"), ("1", FIRST), ("2", SECOND)), "it holds only references"),
        ("a.csv", table(("study_id", "reference", "pred_a", "pred_b"), ("1", FIRST, FIRST, SECOND), ("2", SECOND, SECOND, FIRST)), "'pred_a' and 'pred_b' may both be the prediction"),
        ("a.csv", table(("what", "ever"), ("1", FIRST), ("2", SECOND)), "begins with 'what', 'ever'"),
        ("a.jsonl", lines({"sentence": "x"}), "columns 'sentence'"),
        ("a.jsonl", "[1]\n", "JSON list that is no list of objects"),
        ("a.jsonl", lines({"id": 1, "prediction": 7}), "the column 'prediction' of .* holds a int"),
        ("a.csv", "generated\n1 2\n", "--columns|no known"),
        ("a.csv", "my_model\nclear lungs .\nno effusion .\nno edema .\n", "begins with 'my_model', which may be a heading"),
        ("a.csv", "study_id,report\n", "holds no report"),
        ("a.csv", f"id,pred,gt\n1,{HIS},{FIRST}\nid,pred,gt\n2,{HERS},{SECOND}\n", "repeats its headings in line 3"),
        ("a.txt", f"50414267 {HIS}\n50414268 {HERS}\n", "begins with what may be its id, first '50414267'"),
        ("a.txt", f"CXR1.png\t{HIS}\nCXR2.png\t{HERS}\n", "begins with what may be its id, first 'CXR1.png'"),
        ("a.txt", f"case1: {HIS}\ncase2: {HERS}\n", "begins with what may be its id, first 'case1'"),
        ("a.txt", f"a) {HIS}\nb) {HERS}\n", "begins with what may be its id, first 'a'"),
        ("a.txt", f"first\t{HIS}\nsecond\t{HERS}\n", "every line of .* holds 2 cells, expected one report: write a table"),
        ("a.txt", f"{HIS} ||| {HERS}\n{HERS} ||| {HIS}\n", "every line of .* holds 2 cells, expected one report: write a table"),
        ("a.txt", f"1. {HIS}\n2. {HERS}\n", "begins with what may be its id, first '1'"),
        ("a.txt", f'"study_id" "report"\n"1" "s5001" "{HIS}"\n"2" "s5002" "{HERS}"\n', "begins with what may be its id, first '1'"),
        ("a.txt", f"study_id report\n1 s5001 {HIS}\n2 s5002 {HERS}\n", "begins with what may be its id, first '1'"),
        ("a.txt", f'"id","report"\n"case1","{HIS}"\n"case2","{HERS}"\n', "begins with what may be its id, first 'case1'"),
        ("a.txt", f'"id" "report"\n"anna" "{HIS}"\n"otto" "{HERS}"\n', "every line of .* holds 2 cells"),
        ("a.txt", f"report\nanna\t{HIS}\notto\t{HERS}\n", "every line of .* holds 2 cells"),
        ("a.tsv", f"study_id\treport\n1\ts5001\t{HIS}\n2\ts5002\t{HERS}\n", "one cell more than headings .2. in every line: give the first column a heading"),
        ("res.csv", f"s50414267: {HIS}\ns50414268: {HERS}\n", "begins with what may be its id, first 's50414267'"),
        ("a.json", '"text"', "JSON str"),
        ("a.json", '{"id": ', "is not JSON"),
        ("a.jsonl", lines({"id": "1", "pred": "x"}) + "{", "line 2 of .* is not JSON"),
        ("a.json", json.dumps({"refs": ["a b"], "hyps": ["a b", "c d"]}), "have {'refs': 1, 'hyps': 2} entries"),
        ("a.docx", "x", "expected .csv, .tsv"),
    ],
)  # fmt: skip
def test_what_the_headings_do_not_decide_is_refused(tmp_path, name, content, words):
    if words.startswith("--columns"):
        assert read(tmp_path, name, content).texts == ["1 2"]  # a known heading alone
        return
    with pytest.raises(UserError, match=words):
        read(tmp_path, name, content)


@pytest.mark.parametrize("values", [("x7", "x9"), (0.12, 0.34), (512, 498), ([1, 2], [3, 4]), ({"a": 1}, {"a": 2})])
def test_texts_in_one_row_need_no_id_and_texts_of_two_files_do(tmp_path, values):
    both = lines(*({"prediction": a, "reference": b, "nr": nr} for (a, b), nr in zip(((HIS, FIRST), (HERS, SECOND)), values, strict=True)))  # fmt: skip
    system = read(tmp_path, "a.jsonl", both)
    assert "no id" in system.read_as
    assert match({"a": system}, None, "none", 0).raw_references == [FIRST, SECOND]
    references = read(tmp_path, "r.jsonl", lines({"report": FIRST}, {"report": SECOND}), "reference")
    with pytest.raises(UserError, match=r"'nr' of .*a\.jsonl may be the id and is not known: name .*--columns id=NAME"):
        match({"a": system}, references, "none", 0)
    with pytest.raises(UserError, match=r"'nr' of .*a\.jsonl may be the id"):
        match({"a": read(tmp_path, "b.jsonl", lines({"report": HIS}, {"report": HERS}))}, system, "none", 0)
    with pytest.raises(UserError, match=r"'nr' of .*a\.jsonl may be the id"):
        match({"a": system, "b": system.__class__(**vars(system))}, None, "none", 0)
    assert match({"a": system}, references, "none", 0, by_order=True).raw_systems["a"] == [HIS, HERS]


def test_generated_reports_are_no_references(tmp_path):
    with pytest.raises(UserError, match="only generated reports where a reference is expected"):
        read(tmp_path, "a.csv", table(("id", "prediction"), ("1", HIS)), "reference")
    own = lines({"id": "s1", "prediction": HIS, "reference": "the heart", "reference_full": "the heart is large ."})
    assert read(tmp_path, "own.jsonl", own, "reference").texts == ["the heart is large ."]


def test_columns_that_are_named(tmp_path):
    content = table(("nr", "report", "swinv2"), ("x7", FIRST, HIS), ("x9", SECOND, HERS))
    found = read(tmp_path, "a.csv", content, columns={"prediction": "swinv2", "id": "nr"})
    assert (found.texts, found.references) == ([HIS, HERS], [FIRST, SECOND])
    found = read(tmp_path, "a.csv", content, columns={"prediction": "report", "reference": "swinv2", "id": "nr"})
    assert (found.texts, found.references, found.keys["nr"]) == ([FIRST, SECOND], [HIS, HERS], ["x7", "x9"])
    one = read(tmp_path, "a.csv", content, columns={"prediction": "report", "reference": "report", "id": "nr"})
    assert one.references is None  # a text is not its own reference: that column stands in another file
    with pytest.raises(UserError, match="names the prediction twice, 'a' and 'b'"):
        named_columns(["prediction=a", "prediction=b"])
    with pytest.raises(UserError, match="takes 'Reference' for the reference and for the id: a report is no id"):
        named_columns(["id=reference", "prediction=x", "reference=Reference"])
    with pytest.raises(UserError, match="holds 'prediction='"):
        named_columns(["prediction="])
    assert named_columns(["prediction=report", "reference=report"]) == {"prediction": "report", "reference": "report"}


@pytest.mark.parametrize("word", ["id=", "id=Unnamed: 0", 'id=""'])
def test_the_column_without_a_heading_can_be_named(tmp_path, word):
    found = read(
        tmp_path, "a.csv", table(("", "prediction"), ("s1x", HIS), ("s2x", HERS)), columns=named_columns([word])
    )
    check_columns(named_columns([word]), [found])
    assert next(iter(found.keys.values())) == ["s1x", "s2x"]
    own = read(tmp_path, "b.csv", table(("Unnamed: 0", "prediction"), ("s1x", HIS)), columns={"id": "Unnamed: 0"})
    assert [*own.keys] == ["Unnamed: 0"]
    with pytest.raises(UserError, match="names a column that no file has"):
        check_columns(named_columns(["id=Unnamed: 1"]), [found])


def test_a_prediction_that_is_called_report_leaves_the_references_their_report(tmp_path):
    """``--columns`` speaks of both files; a file with a second text stays refused."""
    given = {"prediction": "report", "id": "image"}
    only = json.dumps({"test": [{"id": "x7", "image_path": ["a.png"], "report": FIRST, "split": "test"}]})
    assert read(tmp_path, "annotation.json", only, "reference", columns=given).texts == [FIRST]
    two = table(("id", "report", "swinv2"), ("x7", FIRST, HIS), ("x9", SECOND, HERS))
    with pytest.raises(UserError, match="no known heading where a reference is expected"):
        read(tmp_path, "two.csv", two, "reference", columns=given)


def test_probabilities_of_a_row_are_no_second_report(tmp_path):
    """The rows of ``main_predict.py`` as they are: a mapping of conditions is no sentence."""
    rows = [
        {"image": f"films/{name}.png", "report": text, "probability": {"no finding": 0.1, "lung opacity": 0.7}}
        for name, text in (("x7", HIS), ("x9", HERS))
    ]
    assert read(tmp_path, "predictions.jsonl", lines(*rows)).texts == [HIS, HERS]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["50414267.0", "50414268.0"], ["s50414267", "s50414268"]),
        ([50414267, 50414268], ["files/p10/p10000032/s50414267/abc.jpg", "files/p10/p10000032/s50414268/def.jpg"]),
        (["abc.jpg", "def.jpg"], ["10000032_50414267_abc", "10000032_50414268_def"]),
        (["p10000032/s50414267/abc", "p10000032/s50414268/def"], ["abc", "def"]),
        (["10000032_50414267_abc", "10000032_50414268_def"], ["50414267", "50414268"]),
        (["ABC.DCM", "Def.png"], ["abc.jpg", "def.jpg"]),
        (['="0050"', '="0051"'], ["0050", "0051"]),
        (["s50414267.json", "s50414268.json"], ["s50414267.dcm", "s50414268.dcm"]),
        (["Mu\u0308ller 1", "Mu\u0308ller 2"], ["M\u00fcller 1", "M\u00fcller 2"]),
        (["10_IM-0002-1001.dcm.png", "117_IM-0108-4004.dcm.png"], ["CXR10_IM-0002", "CXR117_IM-0108"]),
        ([1003, 1170], ["CXR1003_IM-0002", "CXR1170_IM-0108"]),  # Kaggle's uid
        (["1003.xml", "1170.xml"], ["CXR1003_1_IM-0002-3001.png", "CXR1170_1_IM-0108-3001.png"]),
        ([r"p10\p10000032\s50414267\abc.dcm", r"p10\p10000032\s50414268\def.dcm"], ["s50414267", "s50414268"]),
    ],
)
def test_ids_as_people_write_them(ours, theirs):
    first = id_columns([{"id": value} for value in ours], ["id"])
    second = id_columns([{"id": value} for value in reversed(theirs)], ["id"])
    assert pair_rows(first, second)[0] == [1, 0]
    assert pair_rows(second, first)[0] == [1, 0]


def test_parts_that_many_studies_share_are_no_ids():
    ours = id_columns([{"id": f"p10000032_{i}_x"} for i in (7, 8)], ["id"])
    theirs = id_columns([{"id": f"p10000032_{i}_y"} for i in (8, 9, 7)], ["id"])
    assert pair_rows(ours, theirs)[0] == [None] * 3  # 7_x and 7_y: a short number alone tells no study apart
    ours, theirs = (
        id_columns([{"id": f"p10000032_5041426{i}_{end}"} for i in rows], ["id"])
        for rows, end in (((7, 8), "x"), ((8, 9, 7), "y"))
    )
    assert pair_rows(ours, theirs)[0] == [1, None, 0]
    assert plain_id(float("nan")) is plain_id("") is None
    chance = pair_rows(id_columns([{"id": f"a_{i}"} for i in range(9)], ["id"]), id_columns([{"id": "b_1"}] * 1 + [{"id": f"c_{i}"} for i in range(90, 99)], ["id"]))  # fmt: skip
    assert chance[0] == [None] * 10


def test_a_studys_report_counts_for_each_of_its_images(tmp_path):
    items = [
        {"id": f"d{i}", "report": FIRST if study == 50414267 else SECOND, "image_path": [f"files/p10/p10000032/s{study}/d{i}.jpg"]}
        for i, study in enumerate((50414267, 50414267, 50414268))
    ]  # fmt: skip
    truth = read(tmp_path, "annotation.json", json.dumps({"train": [], "val": [], "test": items}), "reference")
    ours = read(tmp_path, "a.csv", table(("study_id", "report"), ("50414268", HERS), ("s50414267", HIS)))
    matched = match({"a": ours}, truth, "none", 0)
    assert (matched.ids, matched.systems["a"]) == (["d0", "d1", "d2"], [HIS, HIS, HERS])
    assert "a: 2 reports of studies count for each of their 3 images" in matched.notes


@pytest.mark.parametrize("inside", ["images/{}/{}.png", "{}/{}.png", "images\\{}\\{}.png"])
def test_films_of_one_name_in_every_study_are_matched_by_their_folders_too(tmp_path, inside):
    """IU X-Ray's 0.png and 1.png of each study: reports of a folder of films beside an annotation whose ids are others."""
    films = [(study, view) for study in ("CXR1", "CXR2", "CXR3") for view in (0, 1)]
    predictions = [
        {"image": f"/there/images/{study}/{view}.png", "report": f"of {study} {view} ."} for study, view in films
    ]
    studies = [
        {
            "id": f"exam {number}",
            "image_path": [inside.format(study, 0), inside.format(study, 1)],
            "report": f"of {study} 0 .",
        }
        for number, (study, _) in enumerate(reversed(films[::2]))
    ]
    system = read(tmp_path, "predictions.jsonl", lines(*predictions))
    truth = read(tmp_path, "annotation.json", json.dumps({"train": [], "val": [], "test": studies}), "reference")
    rows, ours, _ = pair_rows(system.keys, truth.keys)
    assert [system.texts[row] for row in rows] == truth.texts == [f"of CXR{number} 0 ." for number in (3, 2, 1)]
    assert ours.startswith("image, last")


def test_lines_that_hold_numbers_quotes_and_a_tab_are_reports(tmp_path):
    three = ["Clear.", '2 views show a "tree" "in bud" pattern.', "3 lines end in the right atrium."]
    for texts in (three[::-1], [*three, "2 views."], [HIS, f"{HERS}\tOld."]):
        assert read(tmp_path, "a.txt", "\n".join(texts)).texts == texts


def test_lines_of_text_are_matched_by_order(tmp_path):
    hyps, refs = (
        read(tmp_path, "hyps.txt", f"{HIS}\n\n{HERS}\n"),
        read(tmp_path, "refs.tok", f"{FIRST}\nx y .\n{SECOND}", "reference"),
    )
    matched = match({"a": hyps}, refs, "none", 0)
    assert matched.raw_systems["a"] == [HIS, "", HERS]
    assert any("1 empty reports of 3" in note for note in matched.notes)
    one = read(tmp_path, "res.csv", '"a b"\n""\n"c, d"\n')
    assert (one.texts, one.ordered) == (["a b", "", "c, d"], True)


def test_objects_a_line_and_a_list_are_told_apart_by_what_they_hold(tmp_path):
    rows = [{"id": "1", "prediction": HIS, "reference": FIRST}, {"id": "2", "prediction": HERS, "reference": SECOND}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name, content in (
        ("a.json", lines),
        ("b.jsonl", json.dumps(rows)),
        ("c.jsonl", lines),
        ("d.json", json.dumps(rows, indent=1)),
    ):
        found = read(tmp_path, name, content)
        assert (found.texts, found.references) == ([HIS, HERS], [FIRST, SECOND])


def test_row_numbers_of_pandas_that_count_no_rows_are_refused(tmp_path):
    assert read(tmp_path, "a.csv", f",0\n0,{HIS}\n1,{HERS}\n").texts == [HIS, HERS]
    assert read(tmp_path, "b.csv", f"0\n{HIS}\n{HERS}\n").texts == [HIS, HERS]
    with pytest.raises(UserError, match="first column without a heading that does not count its rows"):
        read(tmp_path, "c.csv", f",0\n1,{HERS}\n0,{HIS}\n")


def test_rows_without_ids_are_neither_torn_nor_cut(tmp_path):
    for odd in ("\u2028", "\x0c", "\x0b", "\u0085"):
        assert read(tmp_path, "hyps.txt", f"{HIS}{odd}more.\r\n{HERS}\n").texts == [f"{HIS}{odd}more.", HERS]
    commas = ["Port, right.", "Clear lungs.", "No effusion, no edema, no port."]
    assert read(tmp_path, "res.tsv", "\n".join(commas) + "\n").texts == commas


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("res", "gts"),
        ("gen", "gt"),
        ("pred_findings", "gt_findings"),
        ("AI Report", "Radiologist Report"),
        ("report_gen", "report_gt"),
    ],
)
def test_more_names_of_both_sides(tmp_path, ours, theirs):
    found = read(tmp_path, "a.csv", table(("id", theirs, ours), ("1", FIRST, HIS), ("2", SECOND, HERS)))
    assert (found.texts, found.references) == ([HIS, HERS], [FIRST, SECOND])
    listed = read(tmp_path, "a.json", json.dumps({"ids": ["1", "2"], theirs: [FIRST, SECOND], ours: [HIS, HERS]}))
    assert (listed.texts, listed.references, listed.keys["ids"]) == ([HIS, HERS], [FIRST, SECOND], ["1", "2"])


def test_a_list_beside_what_was_run(tmp_path):
    rows = [{"id": "1", "prediction": HIS, "reference": FIRST}]
    found = read(tmp_path, "a.json", json.dumps({"model": "x", "metrics": {"BLEU": 1}, "results": rows}))
    assert (found.texts, found.references) == ([HIS], [FIRST])


def test_mappings_by_name_are_matched_by_their_keys(tmp_path):
    """pycocoevalcap's two dictionaries in one file, in other orders."""
    both = {"gts": {"a7": [FIRST], "b8": [SECOND]}, "res": {"b8": [HERS], "a7": [HIS]}}
    found = read(tmp_path, "a.json", json.dumps(both))
    assert (found.texts, found.references, found.keys["study_id"]) == ([HIS, HERS], [FIRST, SECOND], ["a7", "b8"])
    for other in ({"b8": [HERS], "c9": [HIS]}, [HIS, HERS]):
        with pytest.raises(UserError, match=r"'gts', 'res' of .* are not of the same keys"):
            read(tmp_path, "a.json", json.dumps({**both, "res": other}))


def test_a_report_without_an_id_is_named(tmp_path):
    truth = read(tmp_path, "r.csv", table(("id", "report"), ("1", FIRST), ("2", SECOND)), "reference")
    for nothing in ("", "nan"):
        ours = read(tmp_path, "a.csv", table(("id", "report"), ("1", HIS), (nothing, HERS)))
        with pytest.raises(UserError, match="has no id for its report 2 of 2"):
            match({"a": ours}, truth, "none", 0)


def test_an_id_that_stands_twice_in_a_mapping_is_refused(tmp_path):
    with pytest.raises(UserError, match="a key that stands twice in one object"):
        read(tmp_path, "a.json", '{"50414267": "Clear lungs.", "50414267": "The heart is enlarged."}')


def test_two_sheets_with_the_same_headings_are_asked_about(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet("second")):
        for row in (("study_id", "report"), (1, FIRST), (2, SECOND)):
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(UserError, match="holds studies in the sheets 'Sheet', 'second'"):
        read_report_file(tmp_path / "a.xlsx")


def test_a_column_that_names_splits_is_one_whatever_it_is_called(tmp_path, capsys):
    rows = (("id", "Set", "report"), ("1", "TRAIN", HIS), ("2", "test", HERS))
    assert read(tmp_path, "a.csv", table(*rows)).texts == [HERS]
    assert "1 rows of other splits (train)" in capsys.readouterr().out
    again = table(*(("fold", *row) if row[0] == "id" else ("val", *row) for row in rows))
    assert read(tmp_path, "a.csv", again).texts == [HERS]  # one name in all rows leaves nothing out
    with pytest.raises(UserError, match="'phase' and 'Set', which both name splits"):
        read(tmp_path, "a.csv", table(("phase", *rows[0]), ("val", *rows[1]), ("test", *rows[2])))


def test_an_annotation_with_a_text_that_nobody_knows_is_asked_about(tmp_path):
    """Its reports are the references, so that they were scored against themselves."""
    rows = [
        {"id": "1", "image_path": ["a.png"], "report": FIRST, "swin": HIS},
        {"id": "2", "image_path": ["b.png"], "report": SECOND, "swin": HERS},
    ]
    content = json.dumps({"test": rows})
    with pytest.raises(UserError, match="'report' and 'swin' are texts"):
        read(tmp_path, "a.json", content)
    assert read(tmp_path, "a.json", content, "reference").texts == [FIRST, SECOND]


def test_several_reports_of_one_study_are_named(tmp_path):
    ours = read(tmp_path, "a.csv", table(("dicom_id", "study_id", "report"), ("x", "71", HIS), ("y", "71", HERS)))
    truth = read(tmp_path, "r.csv", table(("study_id", "report"), ("71", FIRST), ("72", SECOND)), "reference")
    with pytest.raises(UserError, match="several reports of study 71"):
        match({"a": ours}, truth, "none", 0)


def test_xlsx_and_parquet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("Study ID", "Report", "Prediction"), (50414267, FIRST, HIS), (50414268, SECOND, HERS)):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    found = read_report_file(tmp_path / "a.xlsx")
    assert (found.texts, found.references, found.keys["Study ID"]) == (
        [HIS, HERS],
        [FIRST, SECOND],
        ["50414267", "50414268"],
    )


def test_a_workbook_of_one_column_without_a_heading_is_read_by_its_rows(tmp_path):
    """R2Gen's ``to_excel(header=False)``: the workbook was read as text, and was in no encoding."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for number, text in ((1, HIS), (2, HERS), (4, FIRST)):
        book.active.cell(number, 1, text)
    book.save(tmp_path / "res.xlsx")
    found = read_report_file(tmp_path / "res.xlsx")
    assert (found.texts, found.ordered) == ([HIS, HERS, "", FIRST], True)
    book.active["A1"] = "label_of_mine"
    book.save(tmp_path / "res.xlsx")
    with pytest.raises(UserError, match="which may be a heading"):
        read_report_file(tmp_path / "res.xlsx")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.table({"id": [1, 2], "report": [FIRST, SECOND], "pred": [HIS, HERS]}), tmp_path / "a.parquet"
    )
    assert read_report_file(tmp_path / "a.parquet").references == [FIRST, SECOND]


def test_parquet_cells_and_damage(tmp_path):
    """A cell of nothing is an empty report, one of another kind is refused, and what Arrow says of damage is one sentence."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"

    def write(names=("id", "report", "pred"), **cells):
        columns = {"id": [50414267.0, 50414268.0], "report": [FIRST, SECOND], "pred": [HIS, HERS], **cells}
        arrays = [pyarrow.array(columns[name]) for name in ("id", "report", "pred")]
        parquet.write_table(pyarrow.Table.from_arrays(arrays, list(names)), path)
        return path

    found = read_report_file(write(pred=[HIS, None], report=pyarrow.array([FIRST, SECOND]).dictionary_encode()))
    assert (found.texts, found.references, found.keys["id"]) == ([HIS, ""], [FIRST, SECOND], ["50414267", "50414268"])
    for cells, kind in (([1.5, 2.5], "float"), ([b"clear", b"clear"], "bytes"), ([{"a": HIS}] * 2, "dict")):
        with pytest.raises(UserError, match=f"the column 'pred' .* holds a {kind}; expected text"):
            read_report_file(write(pred=cells))
    with pytest.raises(UserError, match="has two columns called pred: rename one of them"):
        read_report_file(write(names=("id", "pred", "pred")))
    whole = write().read_bytes()
    for content in (b"", b"id,report\n1,clear\n", whole[:300], whole[:20] + b"\xff" * 40 + whole[60:]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is no whole parquet file: write it again") as caught:
            read_report_file(path)
        assert "\n" not in str(caught.value)


def test_what_is_text_and_what_is_empty():
    assert is_text([FIRST, None, "Clear lungs."])
    assert not is_text(["1", "2"])
    assert not is_text(["cardiomegaly, pleural effusion, support devices", "no finding"])
    assert not is_text(["files/p10/a.jpg", "files/p11/b.jpg"])
    assert all(map(is_empty, (None, float("nan"), "", " ", "nan", "NaN", "None", "/", " . ")))
    assert not is_empty("clear")


@pytest.mark.parametrize("beside", [{}, {"model": "m", "seconds": 3}])
def test_rows_are_found_in_an_object_in_an_object(tmp_path, beside):
    """The only column was said to be study_id, which the file does not have."""
    rows = [{"study_id": "s1", "prediction": HIS}, {"study_id": "s2", "prediction": HERS}]
    (tmp_path / "a.json").write_text(json.dumps({"data": {**beside, "results": rows}}))
    assert read_report_file(tmp_path / "a.json").texts == [HIS, HERS]
    study = {"50000001": {"conversations": [{"from": "human"}], "report": FIRST}}  # is one study, by its id
    (tmp_path / "a.json").write_text(json.dumps(study))
    assert read_report_file(tmp_path / "a.json").texts == [FIRST]


def test_studies_by_their_ids_are_found_in_an_object(tmp_path):
    """The object was one study that is called predictions."""
    rows = {"s1": {"report": FIRST, "model_prediction": HIS}, "s2": {"report": SECOND, "model_prediction": HERS}}
    (tmp_path / "a.json").write_text(json.dumps({"predictions": rows}))
    found = read_report_file(tmp_path / "a.json")
    assert (found.texts, found.references) == ([HIS, HERS], [FIRST, SECOND])
    assert found.keys["study_id"] == ["s1", "s2"]


def test_a_table_of_weights_and_biases_is_read(tmp_path):
    """As ``wandb.Table`` is stored: what it says of itself stands beside columns and data."""
    table = {
        "_type": "table",
        "column_types": {"params": {}},
        "columns": ["study_id", "prediction"],
        "data": [["a7", HIS], ["a9", HERS]],
    }
    (tmp_path / "a.table.json").write_text(json.dumps(table | {"ncols": 2, "nrows": 2}))
    assert read_report_file(tmp_path / "a.table.json").texts == [HIS, HERS]


@pytest.mark.parametrize("boxes", [None, [[0.1, 0.2, 0.3, 0.4]]])
def test_texts_with_their_boxes_are_called_so(tmp_path, boxes):
    """It was said that the file holds only references."""
    rows = [
        {"id": f"s{n}x", "prediction": [[part, boxes] for part in text.split(". ")], "target": FIRST}
        for n, text in enumerate((HIS, HERS))
    ]
    with pytest.raises(
        UserError, match="holds a list of texts with their boxes under 'prediction' in every row, expected one text"
    ):
        read(tmp_path, "a.jsonl", lines(*rows))
    whole = [row | {"generated_report": HIS} for row in rows]
    assert read(tmp_path, "a.jsonl", lines(*whole)).texts == [HIS, HIS]


def test_lists_of_words_are_called_so(tmp_path):
    rows = [{"id": str(number), "prediction": text.split()} for number, text in enumerate((HIS, HERS))]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(
        UserError, match="holds a list of several texts or words under 'prediction' in every row, expected one text"
    ):
        read_report_file(tmp_path / "a.json")
    for row in rows:  # labels beside the text, as before
        row["generated_report"] = " ".join(row["prediction"])
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert read_report_file(tmp_path / "a.json").texts == [HIS, HERS]


def test_rows_that_call_their_texts_otherwise_are_refused(tmp_path):
    """The others counted as empty; a row that failed, and says so, still does."""
    (tmp_path / "a.jsonl").write_text(
        lines({"id": "a", "report": HIS}, {"id": "b", "prediction": HERS}, {"id": "c", "prediction": HIS})
    )
    with pytest.raises(
        UserError, match=r"1 of 3 rows of .* have 'report' and no 'prediction', which the others have: give"
    ):
        read_report_file(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(lines({"id": "a", "error": "timeout"}, {"id": "b", "prediction": HERS}))
    assert read_report_file(tmp_path / "a.jsonl").texts == ["", HERS]
    (tmp_path / "a.jsonl").write_text(
        lines({"id": "a", "reference": FIRST}, {"id": "b", "reference": SECOND, "prediction": HERS})
    )
    assert read_report_file(tmp_path / "a.jsonl").texts == ["", HERS]
