"""Broken files of reports, given to main_score.py: refused before anything is scored."""

import json

import pytest
from harness import LONG, SECRET, assert_refused, end_of

import main_score

GOOD = [{"id": f"s{i}", "prediction": f"{SECRET} {i} .", "reference": f"{SECRET} {i} ."} for i in range(3)]


def lines(*changes, drop=()):
    """Three rows; the last one changed, some keys dropped."""
    rows = [dict(row) for row in GOOD]
    for change in changes:
        rows[-1].update(change)
    for key in drop:
        rows[-1].pop(key)
    return "\n".join(map(json.dumps, rows)) + "\n"


FILES = {
    "CSV of reports without a heading": ("a.csv", f"1,{SECRET},{SECRET}\n2,{SECRET},{SECRET}\n"),
    "CSV with a report as heading": ("a.csv", f"id,{LONG},reference\n1,x,y\n2,y,z\n"),
    "CSV with an unknown id of reports": (
        "a.csv",
        f"{LONG},prediction\na,{SECRET}\nb,x\n",
    ),
    "a report as key": ("a.jsonl", json.dumps({LONG: 1, "words": SECRET}) + "\n"),
    "empty": ("a.jsonl", ""),
    "blank": ("a.jsonl", "\n\n"),
    "no JSON": ("a.jsonl", f"{SECRET}\n"),
    "cut off": ("a.jsonl", lines()[:-30]),
    "deep": ("a.jsonl", "[" * 100_000),
    "half a character": ("a.jsonl", lines().replace(SECRET[:3], "\\ud800", 1)),
    "zeros": ("a.jsonl", bytes(300)),
    "numbers": ("a.jsonl", "1\n2\n"),
    "lists": ("a.jsonl", "[1]\n[2]\n"),
    "texts": ("a.jsonl", '"a"\n"b"\n'),
    "nulls": ("a.jsonl", "null\n"),
    "other keys": ("a.jsonl", '{"a": 1, "b": 2}\n'),
    "prediction is a number": ("a.jsonl", lines({"prediction": 3})),
    "prediction is an object": ("a.jsonl", lines({"prediction": {"text": SECRET}})),
    "id twice": ("a.jsonl", lines({"id": "s0"})),
    "no references": ("a.jsonl", "".join(f'{{"id": "{i}", "prediction": "x"}}\n' for i in range(3))),
    "long number": ("a.jsonl", '{"id": ' + "9" * 5000 + ', "prediction": "x", "reference": "y"}\n'),
    "CSV is empty": ("a.csv", ""),
    "CSV of a heading": ("a.csv", "id,prediction,reference\n"),
    "CSV of other columns": ("a.csv", f"a,b,c\n1,{SECRET},{SECRET}\n2,{SECRET},x\n"),
    "CSV with an open quote": ("a.csv", f'id,prediction,reference\n1,"{SECRET},x\n'),
    "CSV with too many cells": ("a.csv", f"id,prediction,reference\n1,{SECRET}, dry,x\n"),
    "CSV with too few cells": ("a.csv", f"id,prediction,reference\n1,{SECRET}\n"),
    "CSV of zeros": ("a.csv", bytes(300)),
    "CSV in cyrillic": ("a.csv", "id,prediction,reference\n1,Нормальное,сердце\n".encode("cp1251")),
    "CSV half UTF-8": ("a.csv", "id,prediction,reference\n1,Größe,Öl\n".encode()[:-3]),
    "CSV id twice": ("a.csv", f"id,prediction,reference\n1,{SECRET},x\n1,{SECRET},y\n"),
    "CSV two predictions": ("a.csv", f"id,prediction,Prediction,reference\n1,{SECRET},x,y\n"),
    "web page": ("a.csv", "<!DOCTYPE html><html></html>"),
    "JSON is empty": ("a.json", ""),
    "JSON is cut": ("a.json", json.dumps(GOOD)[:-10]),
    "JSON is a number": ("a.json", "3"),
    "JSON is deep": ("a.json", "[" * 100_000),
    "JSON of nothing": ("a.json", "[]"),
    "JSON of numbers": ("a.json", "[1, 2]"),
    "JSON of an empty object": ("a.json", "{}"),
    "JSON of half characters": ("a.json", json.dumps(GOOD).replace(SECRET[:3], "\\udfff", 1)),
    "a picture": ("a.png", b"\x89PNG\r\n\x1a\n"),
    "no suffix": ("reports", f"{SECRET}\n"),
    "a workbook of nothing": ("a.xlsx", b"PK\x03\x04 hello"),
    "not there": ("a.jsonl", None),
}


@pytest.mark.parametrize("name", FILES)
def test_broken_predictions_are_refused(name, tmp_path):
    file, content = FILES[name]
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    ending = end_of(
        main_score, "--predictions", path, "--save_dir", tmp_path / "scores", "--device", "cpu", "--no-meteor"
    )
    assert_refused(ending, tmp_path, path.stem)
    assert not (tmp_path / "scores/metrics.json").exists()
