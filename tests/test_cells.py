"""modules/corpus/cells.py: what stands in place of a text, in every reader that a report comes through."""

import csv
import json

import pytest

from modules.corpus.annotations import read_annotation
from modules.corpus.cells import failed, is_empty
from modules.evaluation.ratings.rated_reports import read_rated
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom

SPREADSHEET = ["#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#BEZUG!", "#GETTING_DATA", "Err:502", "#####",
               "#¿NOMBRE?", "#¡VALOR!", "#¡REF!", "#¡DIV/0!", "#ИМЯ?", "#ЗНАЧ!", "#ДЕЛ/0!", "#AD?", "#HIÁNYZIK", "#名前?"]  # fmt: skip
FORMULAS = ["=VLOOKUP(A2,refs!A:B,2,FALSE)", "=B7", "='Sheet 2'!$C$4"]
PROGRAM = [
    "ERROR", "error", "[ERROR]", "<failed>", "Timeout", "OOM", "Error: out of tokens", "ValueError: bad shape", "Error 500: again",
    "Traceback (most recent call last):\n  File", "CUDA out of memory. Tried to allocate", "HTTP 429 Too Many Requests",
    "503 Server Error: busy", "torch.OutOfMemoryError: CUDA", "[object Object]", "<generator object at 0x7f1>", "tensor([1, 2])",
]  # fmt: skip
NUMBERS = ["0", "0.83", "-1", "1e-3", "12,5", "inf", "True", "FALSE", "2020-01-02", "2020-01-02T03:04:00", "1/2/2020"]
EMPTY = ["nan", "NaN", "None", "NULL", "NA", "N/A", "#N/A", "#NV", "<NA>", "NaT", "nil", "undefined", "(null)", "-", " . ", "-nan", "No report", "not available", "pending",
         "#N/D", "#N/B", "#\u041d/\u0414", "#YOK", "[None]", "None, None", "['nan']", "None; None", "pd.NA", "No data", "no data available", "Report to follow.",
         "Final report will follow", "Exam cancelled", "Examination was canceled.", "Study not performed.", "Not yet reported", "Report not yet dictated.",
         "Awaiting report", "To be reported.", "Results pending"]  # fmt: skip
REPORTS = [
    "Normal.", "clear", "Error in positioning; the apices are cut off.", "Failed line placement. No pneumothorax.", "No change",
    "# Findings\nClear lungs.", "Motion error limits the film.", "2 cm nodule", "1. Clear lungs.", "T11 fracture", "Hypertension = no",
    "None of the lines has moved.", "Missing left clavicle.", "Infiltrate", "True lateral film, clear.",
    "#1 nodule", "Clear? Yes!", "No pneumothorax; report to follow.", "None, no change.", "Exam limited.", "Study not limited.", "[Clear]",
]  # fmt: skip
GOOD = ["Small effusion on the left.", "The heart is large."]


def test_every_kind_is_told_from_reports():
    for kind, cells in (("formula failed", SPREADSHEET), ("is a formula", FORMULAS), ("a program wrote", PROGRAM)):
        assert {cell: kind in (failed(cell) or "") for cell in cells} == dict.fromkeys(cells, True)
        assert all(failed(cell, text=False) for cell in cells)
    assert all(failed(cell) and not failed(cell, text=False) for cell in NUMBERS)
    assert {cell: (failed(cell), is_empty(cell)) for cell in REPORTS} == dict.fromkeys(REPORTS, (None, False))
    assert {cell: (failed(cell), is_empty(cell)) for cell in EMPTY} == dict.fromkeys(EMPTY, (None, True))
    assert not any(is_empty(cell) for cell in (*SPREADSHEET, *FORMULAS, *PROGRAM, *NUMBERS))


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_workbook(path, rows):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def scored(path, texts, *, as_reference=False):
    """Write a file of texts in the layout of its ending and match it as main_score.py does."""
    ids = [f"s{i}" for i in range(len(texts))]
    if path.suffix == ".txt":
        path.write_text("\n".join(texts))
        other = path.with_name("other.txt")
        other.write_text("\n".join(["No effusion."] * len(texts)))
    else:
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps({"id": i, "report": t}) + "\n" for i, t in zip(ids, texts, strict=True)))
        elif path.suffix == ".json":
            path.write_text(json.dumps(dict(zip(ids, texts, strict=True))))
        else:
            rows = [("id", "report"), *zip(ids, texts, strict=True)]
            (write_workbook if path.suffix == ".xlsx" else write_csv)(path, rows)
        other = write_csv(path.with_name("other.csv"), [("id", "report"), *((i, "No effusion.") for i in ids)])
    ours, theirs = (other, path) if as_reference else (path, other)
    return match({"a": read_report_file(ours)}, read_report_file(theirs, "reference"), "auto", 100)


@pytest.mark.parametrize("as_reference", [False, True])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv.csv", "a.jsonl", "a.json", "a.txt", "a.xlsx"])
def test_a_failure_is_never_scored_as_words(tmp_path, name, as_reference):
    for cell in ("#REF!", "ERROR", "0.83"):
        with pytest.raises(UserError, match=r"1 of 3 reports in .* are none, first") as caught:
            scored(tmp_path / name, [*GOOD, cell], as_reference=as_reference)
        assert repr(cell) in str(caught.value)
    if name != "a.txt":
        found = scored(tmp_path / name, [*GOOD, "#N/A"], as_reference=as_reference)
        assert len(found.ids) == 3 - as_reference
        assert any("empty" in note for note in found.notes)


def test_rated_reports_are_asked_too(tmp_path):
    rows = [("id", "prediction", "reference", "rating"), ("1", "Clear.", "Clear.", 5), ("2", "ERROR", "Clear.", 1)]
    with pytest.raises(UserError, match="1 of 4 reports in"):
        read_rated(write_csv(tmp_path / "rated.csv", rows))


def test_ones_own_table_lists_every_failed_cell(tmp_path):
    rows = [("id", "image_path", "report", "patient"), ("1", "1.png", "Clear.", "p1"), ("2", "2.png", "#REF!", "p2"),
            ("#NAME?", "3.png", "Clear.", "p3"), ("4", "4.png", "7", "p4"), ("5", "5.png", "=B2", "p5"), ("6", "6.png", "NA", "12"),
            ("7", "7.png", "Clear.", "ERROR")]  # fmt: skip
    path = write_csv(tmp_path / "studies.csv", rows)
    with pytest.raises(UserError) as caught:
        read_custom(path, RawOptions(raw_dir=str(path)), with_images=False)
    head, *lines = str(caught.value).splitlines()
    assert head.endswith("5 of 7 rows are wrong:")
    assert [line.split(":")[0].strip() for line in lines] == ["line 3", "line 4", "line 5", "line 6", "line 8"]
    assert "the report is '#REF!', which a spreadsheet wrote where a formula failed" in lines[0]
    assert "the id is '#NAME?'" in lines[1]
    write_csv(path, [rows[0], rows[1], rows[6]])
    assert list(read_custom(path, RawOptions(raw_dir=str(path)), with_images=False).dropped.values()) == ["no report"]


@pytest.mark.parametrize("cell", ["nan", "None", "#REF!", "ERROR", "0"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_annotation_trains_on_no_word_of_a_program(tmp_path, cell, split):
    path = tmp_path / "annotation.json"
    path.write_text(json.dumps({split: [{"id": "a", "image_path": ["a.png"], "report": cell}]}))
    with pytest.raises(UserError, match=r"study a: the report is '.*', expected a text"):
        read_annotation(path)
