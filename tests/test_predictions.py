"""modules/evaluation/reading/predictions.py, cleaning.py: matching by id, what is said of what is missing, and how both sides are cleaned."""

import csv
import json
import random

import pytest

from modules.corpus.text import clean_once, clean_report, is_cleaned, strip_markdown, truncate_words
from modules.evaluation.reading.cleaning import clean_sides
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.evaluation.reading.scored_files import named_files
from modules.messages import UserError
from modules.records import read_jsonl

REPORTS = {
    "50414267": "heart size is normal .",
    "50414268": "no effusion , no pneumothorax .",
    "x/y 3": "clear lungs .",
}


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def layouts(tmp_path):
    """The same reports in four layouts."""
    annotation = [
        {"id": f"d{i}", "report": text, "image_path": [f"files/p10/p10000032/s5041426{i}/a.jpg"]}
        for i, text in enumerate(REPORTS.values(), start=7)
    ]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": annotation}))
    return {
        "ours": write_jsonl(tmp_path / "a.jsonl", [{"id": k, "prediction": v, "reference": "x y"} for k, v in REPORTS.items()]),
        "table": write_csv(tmp_path / "b.csv", [("study_id", "report"), *((f"s{k}" if k[0] == "5" else k, v) for k, v in REPORTS.items())]),
        "no ids": write_jsonl(tmp_path / "c.jsonl", [{"prediction": v, "reference": v} for v in REPORTS.values()]),
        "r2gen": write_csv(tmp_path / "res.csv", [[v] for v in REPORTS.values()]),
        "pandas": write_csv(tmp_path / "p.csv", [["", "0"], *([i, v] for i, v in enumerate(REPORTS.values()))]),
        "annotation": tmp_path / "annotation.json",
    }  # fmt: skip


def test_every_layout_gives_the_same_reports(layouts):
    for name, path in layouts.items():
        found = read_report_file(path)
        assert found.texts == list(REPORTS.values()), name
        assert found.ordered is (name in ("r2gen", "pandas"))
    assert read_report_file(layouts["table"]).keys["study_id"] == list(REPORTS)


def test_order_stands_in_for_ids(layouts):
    references = read_report_file(layouts["table"], "reference")
    matched = match({"a": read_report_file(layouts["r2gen"])}, references, "none", 0)
    assert matched.ids == ["s50414267", "s50414268", "x/y 3"]  # as the table writes them
    assert matched.systems["a"] == matched.references == list(REPORTS.values())
    assert any("by order" in note for note in matched.notes)
    with pytest.raises(UserError, match=r"c\.jsonl has no ids and .*b\.csv has: .*--by_order"):
        match({"a": read_report_file(layouts["no ids"])}, references, "none", 0)
    by_order = match({"a": read_report_file(layouts["no ids"])}, references, "none", 0, by_order=True)
    assert by_order.systems["a"] == by_order.references


def test_a_table_of_study_numbers_meets_an_annotation_of_images(layouts, tmp_path):
    table = write_csv(tmp_path / "t.csv", [("study_id", "report"), ("50414268", "b"), ("s50414267", "a")])
    matched = match({"a": read_report_file(table)}, read_report_file(layouts["annotation"], "reference"), "none", 0)
    assert matched.ids == ["d7", "d8"]
    assert matched.systems["a"] == ["a", "b"]
    assert "a has no report for 1 of 3 studies, first d9" in matched.notes


def test_what_is_missing_is_said_and_the_rest_is_matched_by_id(tmp_path):
    references = write_csv(tmp_path / "r.csv", [("id", "report"), ("1", "r1"), ("2", "r2"), ("3", "r3"), ("4", "nan")])
    first = write_csv(tmp_path / "f.csv", [("id", "report"), ("3", "f3"), ("2", "f2"), ("9", "f9")])
    second = write_csv(tmp_path / "s.csv", [("id", "prediction"), ("2", ""), ("1", "s1"), ("3", "s3"), ("4", "s4")])
    systems = {"f": read_report_file(first), "s": read_report_file(second)}
    with pytest.raises(UserError, match="the ids of one are the numbers of its rows and those of the other are not"):
        match(systems, read_report_file(references, "reference"), "none", 0)
    matched = match(systems, read_report_file(references, "reference"), "none", 0, named_ids=True)
    assert (matched.ids, matched.references, matched.of) == (["2", "3"], ["r2", "r3"], 3)
    assert matched.systems == {"f": ["f2", "f3"], "s": ["", "s3"]}
    assert "f has no report for 1 of 3 studies, first 1" in matched.notes
    assert "f has 1 reports without a reference, first 9" in matched.notes
    assert "1 of 4 references are empty and left out, first 4" in matched.notes
    assert "s has 1 empty reports of 2, first 2: they count as reports that say nothing" in matched.notes


def test_texts_cut_by_a_narrow_column_are_said(tmp_path):
    texts = [
        f"The line of study {number} ends in the right atrium. No effusion." for number in ("one", "two", "six", "ten")
    ]
    rows = [{"id": f"p{i}x", "prediction": text[:50], "reference": text} for i, text in enumerate(texts)]
    matched = match({"a": read_report_file(write_jsonl(tmp_path / "a.jsonl", rows))}, None, "none", 0)
    said = "4 texts in a.jsonl have exactly 50 characters, the most there, and do not end there: they may be cut off"
    assert [note for note in matched.notes if "cut off" in note] == [said]


def test_carried_references_are_cut_and_kept_whole(tmp_path):
    row = {"id": "1", "prediction": "a b", "reference": "a b", "reference_full": "a b c", "retrieved_report": "z ."}
    matched = match({"x": read_report_file(write_jsonl(tmp_path / "x.jsonl", [row]))}, None, "auto", 2)
    assert (matched.references, matched.full, matched.retrieved["x"]) == (["a b"], ["a b c"], ["z ."])


def test_both_sides_are_cleaned_alike():
    def cleaned(prediction, reference, cleaning="auto"):
        systems, references, done = clean_sides({"a": [prediction]}, [reference], cleaning, [])
        return systems["a"][0], references[0], done

    raw, clean = "Heart is 4.5 cm. Clear.", "heart is 45 cm . clear ."
    assert cleaned(raw, raw) == (clean, clean, "published")
    assert cleaned("heart is 45 cm. clear.", raw) == (clean, clean, "published")  # lower case, stops attached
    assert cleaned(clean, raw) == (clean, clean, "published")
    assert cleaned(raw, clean) == (clean, clean, "none")
    assert cleaned(clean, clean) == (clean, clean, "none")
    assert cleaned("heart is 45 cm", "heart is 45 cm") == (
        "heart is 45 cm",
        "heart is 45 cm",
        "none",
    )  # a text that was cut
    assert cleaned(raw, raw, "minimal") == ("heart is 4.5 cm . clear .", "heart is 4.5 cm . clear .", "minimal")
    assert cleaned(raw, raw, "none") == (raw, raw, "none")
    assert cleaned("", raw)[0] == ""  # and not a stop that might meet another one


def test_what_the_cleaner_makes_is_clean():
    rng = random.Random(0)
    pieces = [
        "The heart",
        " is 4.5 cm",
        ". ",
        ".",
        " - ",
        "1. ",
        "2. ",
        " T11. ",
        "(a) ",
        "no",
        " ",
        "?",
        "/",
        "left-sided",
    ]
    for _ in range(5000):
        clean = clean_report("".join(rng.choices(pieces, k=rng.randint(0, 12))))
        if not clean_report(clean.replace(" .", "")).strip(" ."):
            continue
        assert clean_once(clean) == clean or not is_cleaned(clean)
    assert is_cleaned("the heart is normal . no effusion")
    assert not is_cleaned("the heart is normal. no effusion.")


def test_published_cleaning_of_real_reports_is_recognised(real_cxr):
    reports = [row["findings"] for row in read_jsonl(real_cxr / "reports.jsonl")]
    cleaned = [clean_report(report) for report in reports if report]
    assert len(cleaned) > 3000
    assert all(map(is_cleaned, cleaned))
    assert all(is_cleaned(truncate_words(text)) for text in cleaned)


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("## Findings\n- Heart is normal\n- No effusion.", "Heart is normal.\nNo effusion."),
        ("**Heart:** normal.\n* No **large** effusion", "Heart: normal.\nNo large effusion."),
        ("The heart is normal. No effusion.", "The heart is normal. No effusion."),
        ("Ends 2 cm above ___ with * marks.", "Ends 2 cm above ___ with * marks."),
        ("- Clear lungs", "Clear lungs."),
        ("### Lungs\n1. Clear\n\u2022 No edema\n---\n", "Lungs.\nClear.\nNo edema."),
        ("```text\nThe heart is big.\n```", "The heart is big."),
        ("---\nThe heart is big.\n***", "The heart is big."),
        ("| Finding | Status |\n|:--|---|\n| Effusion | none |\n| Heart | big |", "Effusion: none.\nHeart: big."),
        ("> The heart is ~~not~~ __big__.", "The heart is not big."),
        ("\u2022 Heart big \u2022 Lungs clear", "Heart big.\nLungs clear."),
        ("***Heart:*** big.", "Heart: big."),
    ],
)
def test_markdown_is_taken_out(marked, plain):
    assert strip_markdown(marked) == plain
    assert strip_markdown(plain) == plain


def test_names_of_systems():
    files = named_files(
        [
            "ours=a/b.csv",
            "c/theirs.jsonl",
            "d/packed.json.gz",
            "results/run7/predictions.jsonl",
            "run8/predictions.jsonl.gz",
        ]
    )
    assert list(files) == ["ours", "theirs", "packed", "run7", "run8"]
    with pytest.raises(UserError, match="both called b"):
        named_files(["a/b.csv", "c/b.csv"])
    with pytest.raises(UserError, match="other characters"):
        named_files(["../up=a.csv"])


def test_files_that_do_not_fit_are_refused(layouts, tmp_path):
    def read(name):
        return read_report_file(layouts[name])

    truth = read_report_file(layouts["table"], "reference")
    with pytest.raises(UserError, match="check the path"):
        read_report_file(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match="a carries no references"):
        match({"a": read("table")}, None, "none", 0)
    with pytest.raises(UserError, match="a, b carry no references"):
        match({"a": read("table"), "b": read("table")}, None, "none", 0)
    no_test = tmp_path / "no_test.json"
    no_test.write_text('{"train": [{"id": "a", "image_path": ["a.png"], "report": "Clear."}]}')
    with pytest.raises(
        UserError, match=r"no study in the test split \(.*\): give a file that has one with --references"
    ):
        read_report_file(no_test, "reference")
    short = read_report_file(write_csv(tmp_path / "s.csv", [["one two"], ["two three"]]))
    with pytest.raises(UserError, match=r"2 reports and .* 3, and they are matched by order"):
        match({"a": short}, truth, "none", 0)
    other = write_jsonl(tmp_path / "o.jsonl", [{"id": "50414267", "prediction": "a", "reference": "y z"}])
    with pytest.raises(UserError, match="references of study 50414267 differ"):
        match({"a": read("ours"), "b": read_report_file(other)}, None, "none", 0)
    strange = read_report_file(write_csv(tmp_path / "q.csv", [("id", "report"), ("q", "text here")]))
    with pytest.raises(UserError, match="no study is in all files"):
        match({"a": strange}, truth, "none", 0)
    with pytest.raises(UserError, match=r"no study is in all files \(no_test.json, train split: a; a: q\)"):
        match({"a": strange}, read_report_file(no_test, "reference", split="train"), "none", 0)
    twice = write_csv(tmp_path / "d.csv", [("id", "report"), ("s50414267", "a b"), ("50414267", "b c")])
    with pytest.raises(UserError, match=r"repeats study 50414267.*remove one of them"):
        match({"a": read_report_file(twice)}, truth, "none", 0)
    filled = [("id", "report"), ("s1", "a b"), ("s2", "a b"), ("s1", "a b")]
    once = read_report_file(write_csv(tmp_path / "f.csv", filled))
    assert (once.keys["id"], once.texts) == (["s1", "s2"], ["a b", "a b"])
    assert once.read_as.endswith("; 1 rows that repeat another in every cell are passed over")
    report = "the heart is of normal size . " * 5
    exchanged = write_csv(tmp_path / "e.csv", [("id", "report"), (report, "s1 a b"), (report, "s2 b c")])
    with pytest.raises(UserError, match=r"repeats 'the heart is .*'\.\.\. in its column of ids.*--columns id=NAME"):
        match({"a": read_report_file(exchanged)}, truth, "none", 0)
    rounded = write_csv(tmp_path / "r.csv", [("id", "report"), ("5.0414E+07", "a b"), ("5.0414E+07", "b c")])
    with pytest.raises(UserError, match="a spreadsheet rounded the ids, give the file it was made from"):
        match({"a": read_report_file(rounded)}, truth, "none", 0)


@pytest.mark.parametrize(
    "text",
    [
        "The lungs are clear , without edema .",
        "no effusion , edema , or pneumothorax . the heart is normal ; a line ( left ) . stable .",
    ],
)
def test_tokenised_texts_are_cleaned_as_they_were_written(text):
    """Two blanks where a mark stood are an empty word to ROUGE: the same words had .924 of themselves for .968."""
    written = text.replace(" .", ".").replace(" ,", ",").replace(" ;", ";").replace("( left )", "(left)")
    assert clean_once(text) == clean_report(written)
    assert "  " not in clean_once(text)


def test_a_single_blank_before_a_mark_stays_as_published():
    text = "No effusion , or edema. Lungs are clear."
    assert clean_once(text) == clean_report(text)


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [0, 0, 9, 9]}]},  # boxes of COCO
        {"headings": ["id", "report"], "rows": [["a", "no effusion ."]]},
    ],
)
def test_tables_in_an_object_are_no_mapping_of_ids(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no mapping of ids to reports"):
        read_report_file(tmp_path / "a.json")
