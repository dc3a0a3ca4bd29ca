"""modules/evaluation/predictions.py: every layout, matching by id, and what is said of what is missing."""

import csv
import json

import pytest

from modules.evaluation.predictions import clean_texts, match, named_files, read_reports

REPORTS = {"50414267": "heart size is normal .", "50414268": "no effusion , no pneumothorax .", "x/y 3": ""}


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def layouts(tmp_path):
    """The same reports in every layout."""
    annotation = [
        {"id": f"d{i}", "report": text or "-", "image_path": [f"files/p10/p10000032/s5041426{i}/a.jpg"]}
        for i, text in enumerate(REPORTS.values(), start=7)
    ]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": annotation}))
    return {
        "ours": write_jsonl(tmp_path / "a.jsonl", [{"id": k, "prediction": v, "reference": "x"} for k, v in REPORTS.items()]),
        "table": write_csv(tmp_path / "b.csv", [("study_id", "report"), *((f"s{k}" if k[0] == "5" else k, v) for k, v in REPORTS.items())]),
        "no ids": write_jsonl(tmp_path / "c.jsonl", [{"prediction": v, "reference": v} for v in REPORTS.values()]),
        "r2gen": write_csv(tmp_path / "res.csv", [[v] for v in REPORTS.values()]),
        "pandas": write_csv(tmp_path / "p.csv", [["", "0"], *([i, v] for i, v in enumerate(REPORTS.values()))]),
        "annotation": tmp_path / "annotation.json",
    }  # fmt: skip


def test_every_layout_gives_the_same_reports(layouts):
    assert read_reports(layouts["ours"]).texts == read_reports(layouts["table"]).texts == REPORTS
    for name in ("no ids", "r2gen", "pandas"):
        found = read_reports(layouts[name])
        assert list(found.texts.values()) == list(REPORTS.values()), name
        assert found.ordered
        assert list(found.texts) == ["1", "2", "3"]
    assert list(read_reports(layouts["annotation"]).texts) == ["d7", "d8", "d9"]


def test_order_stands_in_for_ids(layouts):
    matched = match({"a": read_reports(layouts["r2gen"])}, read_reports(layouts["table"]), "none", 0)
    assert matched.ids == list(REPORTS)
    assert matched.systems["a"] == matched.references == list(REPORTS.values())
    assert any("by order" in note for note in matched.notes)


def test_a_table_of_study_numbers_meets_an_annotation_of_images(layouts, tmp_path):
    table = write_csv(tmp_path / "t.csv", [("study_id", "report"), ("50414268", "b"), ("s50414267", "a")])
    matched = match({"a": read_reports(table)}, read_reports(layouts["annotation"]), "none", 0)
    assert matched.ids == ["d7", "d8"]
    assert matched.systems["a"] == ["a", "b"]
    assert "a has no report for 1 of 3 studies, first d9" in matched.notes


def test_what_is_missing_is_said_and_the_rest_is_matched_by_id(tmp_path):
    references = write_csv(tmp_path / "r.csv", [("id", "report"), ("1", "r1"), ("2", "r2"), ("3", "r3")])
    first = write_csv(tmp_path / "f.csv", [("id", "report"), ("3", "f3"), ("2", "f2"), ("9", "f9")])
    second = write_csv(tmp_path / "s.csv", [("id", "prediction"), ("2", "s2"), ("1", "s1"), ("3", "s3")])
    matched = match({"f": read_reports(first), "s": read_reports(second)}, read_reports(references), "none", 0)
    assert (matched.ids, matched.references) == (["2", "3"], ["r2", "r3"])
    assert matched.systems == {"f": ["f2", "f3"], "s": ["s2", "s3"]}
    assert "f has no report for 1 of 3 studies, first 1" in matched.notes
    assert "f has 1 reports without a reference, first 9" in matched.notes


def test_carried_references_are_cut_and_kept_whole(tmp_path):
    row = {"id": "1", "prediction": "a b", "reference": "a b", "reference_full": "a b c", "retrieved_report": "z ."}
    matched = match({"x": read_reports(write_jsonl(tmp_path / "x.jsonl", [row]))}, None, "auto", 2)
    assert (matched.references, matched.full, matched.retrieved["x"]) == (["a b"], ["a b c"], ["z ."])


def test_raw_text_is_cleaned_and_clean_text_is_not():
    assert clean_texts(["Heart is 4.5 cm. Clear."], "auto") == (["heart is 45 cm . clear ."], "published")
    assert clean_texts(["heart is 4.5 cm"], "auto") == (["heart is 4.5 cm"], "none")
    assert clean_texts(["Heart is 4.5 cm."], "minimal") == (["heart is 4.5 cm ."], "minimal")


def test_names_of_systems(tmp_path):
    files = named_files(["ours=a/b.csv", "c/theirs.jsonl", "results/run7/predictions.jsonl"])
    assert list(files) == ["ours", "theirs", "run7"]
    with pytest.raises(ValueError, match="both called b"):
        named_files(["a/b.csv", "c/b.csv"])
    with pytest.raises(ValueError, match="other characters"):
        named_files(["../up=a.csv"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n', "the keys text"),
        ("a.jsonl", '[1]\n', "holds a list"),
        ("a.jsonl", '{"id": 1, "prediction": "x"}\n{"id": 1, "prediction": "y"}\n', "repeats study 1"),
        ("a.jsonl", '{"id": 1, "prediction": null}\n', "has a report that is None"),
        ("a.jsonl", '{"id": 1, "prediction": "a"}\n{"prediction": "b"}\n', "1 of 2 lines"),
        ("a.csv", "a,b\n1,2\n", "expected the heading study_id,report"),
        ("a.csv", "study_id,report\n1\n", "row 2 .* has 1 cells"),
        ("a.csv", "study_id,report\n", "holds no report"),
        ("a.txt", "x", "expected .jsonl, .csv"),
    ],
)  # fmt: skip
def test_wrong_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_reports(tmp_path / name)


def test_files_that_do_not_fit_are_refused(layouts, tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        read_reports(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="carry no references"):
        match({"a": read_reports(layouts["table"])}, None, "none", 0)
    short = read_reports(write_csv(tmp_path / "s.csv", [["one"], ["two"]]))
    with pytest.raises(ValueError, match=r"2 reports and .* 3, and one of them has no ids"):
        match({"a": short}, read_reports(layouts["table"]), "none", 0)
    other = read_reports(write_jsonl(tmp_path / "o.jsonl", [{"id": "50414267", "prediction": "a", "reference": "y"}]))
    with pytest.raises(ValueError, match="references of study 50414267 differ"):
        match({"a": read_reports(layouts["ours"]), "b": other}, None, "none", 0)
    strange = read_reports(write_csv(tmp_path / "q.csv", [("id", "report"), ("q", "text")]))
    with pytest.raises(ValueError, match="no study is in all files"):
        match({"a": strange}, read_reports(layouts["table"]), "none", 0)
