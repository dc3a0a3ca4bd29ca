"""Broken tables of somebody's own studies, given to main_prepare.py: refused, or the study left out and counted."""

import gzip
import io
import json
import zipfile

import pytest
from harness import LONG, SECRET, assert_left_out, assert_refused, end_of
from PIL import Image

import main_prepare

HEAD = "id,image_path,report\n"
GOOD = f"g,a.png,{SECRET}. Clear.\n"


def table(*rows, head=HEAD):
    return head + GOOD + "".join(f"{row}\n" for row in rows)


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return file.getvalue()


REFUSED = {  # name of the file, content
    "reports without a heading": ("t.csv", f"1,a.png,{SECRET}.\n2,b.png,{SECRET}!\n"),
    "a report as heading": ("t.csv", f"id,image_path,{LONG}\n1,a.png,Clear.\n"),
    "a report as key": ("t.jsonl", json.dumps({"id": 1, "image_path": "a.png", LONG: "x"}) + "\n"),
    "a report as split": ("t.csv", table(f"1,a.png,x,{SECRET}", head="id,image_path,report,split\n").replace("Clear.", "Clear.,train")),
    "a report as id": ("t.csv", table(f"{LONG} and {LONG},a.png,x")),
    "a report in an image path": ("t.jsonl", json.dumps({"id": 1, "image_path": {SECRET: 1}, "report": "x"}) + "\n"),
    "empty": ("t.csv", ""),
    "blank lines": ("t.csv", "\n\n \n"),
    "heading only": ("t.csv", HEAD),
    "no heading": ("t.csv", "1,a.png,Clear.\n"),
    "only ids": ("t.csv", "id\n1\n"),
    "no images": ("t.csv", "id,report\n1,Clear.\n"),
    "no texts": ("t.csv", "id,image_path\n1,a.png\n"),
    "two ids": ("t.csv", "id,ID,image_path,report\n1,1,a.png,x\n"),
    "two reports": ("t.csv", "id,Report,image_path,report\n1,x,a.png,x\n"),
    "two image paths": ("t.csv", "id,Image Path,image_path,report\n1,a.png,a.png,x\n"),
    "unknown id": ("t.csv", "Fallnummer,image_path,report\n1,a.png,x\n2,b.png,y\n"),
    "unknown key": ("t.csv", "our key,image_path,report\n1,a.png,x\n2,b.png,y\n"),
    "unknown patient": ("t.csv", "id,Patient Name,image_path,report\n1,Doe,a.png,x\n2,Doe,b.png,y\n"),
    "anonymous patient": ("t.csv", "id,anon patient,image_path,report\n1,7,a.png,x\n2,7,b.png,y\n"),
    "too many cells": ("t.csv", table("1,a.png,Clear, dry.")),
    "open quote": ("t.csv", table('1,a.png,"Clear')),
    "quote inside": ("t.csv", table('1,a.png,"Clear" and dry')),
    "cyrillic": ("t.csv", table("1,a.png,Нормальное сердце").encode("cp1251")),
    "chinese": ("t.csv", table("1,a.png,心肺正常未見異常").encode("gbk")),
    "japanese": ("t.csv", table("1,a.png,心肺に異常は認めません").encode("shift_jis")),
    "half of UTF-8": ("t.csv", table("1,a.png,Größe Öl Maß").encode()[:-3] + b"\xc3\n"),
    "half of UTF-16": ("t.csv", table("1,a.png,Clear").encode("utf-16") + b"\x00"),
    "zero bytes": ("t.csv", table("1,a.png,Cl\0ear") + " " * 300),
    "only zeros": ("t.csv", bytes(500)),
    "old Excel": ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    "web page": ("t.csv", "<!DOCTYPE html><html></html>"),
    "PDF": ("t.csv", "%PDF-1.7\n"),
    "JSON in a CSV": ("t.csv", '{"id": "1", "image_path": "a.png", "report": "x"}\n'),
    "a picture": ("t.csv", b"\x89PNG\r\n\x1a\n" + bytes(200)),
    "wide": ("t.csv", "," * 3000 + "\n1\n"),
    "gzip cut off": ("t.csv.gz", gzip.compress(table().encode() * 50)[:-30]),
    "gzip of noise": ("t.csv.gz", b"\x1f\x8b\x08\0" + bytes(range(200))),
    "gzip bomb": ("t.csv.gz", lambda: gzip.compress(bytes(257 << 20), 1)),
    "workbook cut off": ("t.xlsx", zipped(xl__workbook_xml="<workbook/>")[:60]),
    "workbook of nothing": ("t.xlsx", zipped(xl__workbook_xml="")),
    "workbook without sheets": ("t.xlsx", zipped(xl__workbook_xml="<workbook/>")),
    "zip in a workbook": ("t.xlsx", zipped(readme="hello")),
    "workbook bomb": ("t.xlsx", lambda: zipped(xl__workbook_xml=bytes(257 << 20))),
    "text in a workbook": ("t.xlsx", "hello"),
    "split unknown": ("t.csv", table("1,a.png,x,fold3", head="id,image_path,report,split\n").replace("Clear.\n", "Clear.,train\n", 1)),
    "split in one row": ("t.csv", table("1,a.png,x,", head="id,image_path,report,split\n").replace("Clear.\n", "Clear.,train\n", 1)),
    "path is absolute": ("t.csv", table("1,/etc/passwd,x")),
    "path leads out": ("t.csv", table("1,../outside.png,x")),
    "path leads out later": ("t.csv", table("1,x/../../outside.png,x")),
    "path leads out with backslashes": ("t.csv", table("1,..\\outside.png,x")),
    "path on a drive": ("t.csv", table("1,C:\\images\\a.png,x")),
    "path on a share": ("t.csv", table("1,\\\\server\\a.png,x")),
    "path is a link that leads out": ("t.csv", table("1,link.png,x")),
    "path below a link that leads out": ("t.csv", table("1,up/outside.png,x")),
    "path is empty": ("t.csv", table("1,,x")),
    "path is a semicolon": ("t.csv", table('1,";",x')),
    "path is nan": ("t.csv", table("1,nan,x")),
    "path too long": ("t.csv", table(f"1,{'a' * 300}.png,x")),
    "id twice": ("t.csv", table("1,a.png,x", "1,b.png,y")),
    "same image without ids": ("t.csv", "image_path,report\na.png,x\na.png,y\n"),
    "labels short": ("t.csv", table("1,a.png,x,0 1 2", head="id,image_path,report,labels\n")),
    "labels out of range": ("t.csv", table(f'1,a.png,x,"{[4] * 14}"', head="id,image_path,report,labels\n")),
    "every report empty": ("t.csv", f"{HEAD}1,a.png,\n2,a.png,nan\n"),
    "every image absent": ("t.csv", f"{HEAD}1,gone.png,x\n2,away.png,y\n"),
    "lines are lists": ("t.jsonl", "[1, 2]\n"),
    "lines are cut": ("t.jsonl", json.dumps({"image_path": "a.png", "report": SECRET})[:-9]),
    "lines are deep": ("t.jsonl", "[" * 100_000 + "\n"),
    "lines hold half a character": ("t.jsonl", '{"image_path": "a.png", "report": "x \\ud800"}\n'),
    "report is a list": ("t.jsonl", json.dumps({"image_path": "a.png", "report": [SECRET]})),
    "image is a number": ("t.jsonl", json.dumps({"image_path": 3, "report": "x"})),
    "image is an object": ("t.jsonl", json.dumps({"image_path": {"a": 1}, "report": "x"})),
    "two headings, one of wide letters": ("t.csv", "id,image_path,report,\uff52eport\n1,a.png,x,y\n"),
    "id of two lines": ("t.csv", table('"a\nb",a.png,x')),
    "id that clears the screen": ("t.csv", table("a\x1b[2Jb,a.png,x")),
    "id with a mark in the middle": ("t.csv", table("\ufeff1,a.png,x")),
    "id that looks like another": ("t.csv", table("g\u200b,a.png,x")),
    "id that runs backwards": ("t.csv", table("\u202e1,a.png,x")),
    "id of 2,000 letters": ("t.csv", table(f"{'z' * 2000},a.png,x")),
    "id twice, beside a blank that is none": ("t.csv", table("g\u00a0,a.png,x")),
    "report of a book": ("t.csv", table(f"1,a.png,{SECRET * 9000}")),
    "report that is no cell": ("t.csv", table(f"1,a.png,{'w' * (17 << 20)}")),
    "path on a share, forwards": ("t.csv", table("1,//server/share/a.png,x")),
    "path of a device": ("t.csv", table("1,\\\\.\\PhysicalDrive0,x")),
    "path beside a drive": ("t.csv", table("1,C:a.png,x")),
    "path out and in": ("t.csv", table("1,folder/../a.png,x")),
    "path out of both slashes": ("t.csv", table("1,folder\\..\\..\\outside.png,x")),
    "second path leads out": ("t.csv", table("1,a.png;../outside.png,x")),
    "path of zeros": ("t.csv", table("1,/dev/zero,x")),
    "path of 5,000 letters": ("t.csv", table(f"1,{'a/' * 2500}a.png,x")),
    "labels below zero": ("t.csv", table(f'1,a.png,x,"{[-1] * 14}"', head="id,image_path,report,labels\n")),
    "labels infinite": ("t.csv", table('1,a.png,x,"[1e400' + ",0" * 13 + ']"', head="id,image_path,report,labels\n")),
    "labels that are true": ("t.csv", table('1,a.png,x,"[true' + ",0" * 13 + ']"', head="id,image_path,report,labels\n")),
    "labels of a long number": ("t.csv", table(f'1,a.png,x,"[{"9" * 5000}]"', head="id,image_path,report,labels\n")),
    "id is a list": ("t.jsonl", json.dumps({"id": [SECRET], "image_path": "a.png", "report": "x"})),
    "id is an object": ("t.jsonl", json.dumps({"id": {"a": SECRET}, "image_path": "a.png", "report": "x"})),
    "id is true": ("t.jsonl", json.dumps({"id": True, "image_path": "a.png", "report": "x"})),
    "id is infinite": ("t.jsonl", '{"id": 1e400, "image_path": "a.png", "report": "x"}'),
    "id holds a zero byte": ("t.jsonl", json.dumps({"id": "a\0", "image_path": "a.png", "report": "x"})),
    "patient is an object": ("t.jsonl", json.dumps({"id": 1, "patient": {"a": SECRET}, "image_path": "a.png", "report": "x"})),
    "key twice": ("t.jsonl", '{"id": "1", "id": "2", "image_path": "a.png", "report": "x"}'),
    "paths in a list in a list": ("t.jsonl", json.dumps({"image_path": [["a.png"]], "report": "x"})),
    "path holds a zero byte": ("t.jsonl", json.dumps({"image_path": "a\0.png", "report": "x"})),
    "split is a list": ("t.jsonl", json.dumps({"image_path": "a.png", "report": "x", "split": ["train"]})),
    "labels are fractions": ("t.jsonl", json.dumps({"image_path": "a.png", "report": "x", "labels": [0.5] * 14})),
    "keys unknown": ("t.jsonl", json.dumps({"picture": "a.png", "words": "x"})),
}  # fmt: skip
LEFT_OUT = {
    "empty report": ("1,a.png,", "no report"),
    "nan report": ("1,a.png,NaN", "no report"),
    "null report": ("1,a.png,null", "no report"),
    "n/a report": ("1,a.png,N/A", "no report"),
    "absent image": ("1,gone.png,x", "no image file"),
    "absent image below": ("1,sub\\gone.png,x", "no image file"),
    "image is a folder": ("1,folder,x", "no image file"),
    "image of the network": ("1,http://server/a.png,x", "no image file"),
    "image of a home": ("1,~/a.png,x", "no image file"),
    "image behind look-alike dots": ("1,\u2024\u2024/outside.png,x", "no image file"),
    "image behind a look-alike slash": ("1,..\uff0foutside.png,x", "no image file"),
    "image behind signs of a page": ("1,%2e%2e/outside.png,x", "no image file"),
    "image of two lines": ('1,"a\n.png",x', "no image file"),
    "looping link": ("1,loop.png,x", "no image file"),
}


def prepare(tmp_path, name, content):
    raw = tmp_path / "raw"
    (raw / "folder").mkdir(parents=True)
    Image.new("L", (40, 40), 9).save(raw / "a.png")
    Image.new("L", (40, 40), 9).save(tmp_path / "outside.png")
    (raw / "link.png").symlink_to(tmp_path / "outside.png")
    (raw / "loop.png").symlink_to(raw / "loop.png")
    (raw / "up").symlink_to(tmp_path)
    content = content() if callable(content) else content  # a bomb is packed by its test alone
    (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return end_of(
        main_prepare, "--dataset_name", "custom", "--raw_dir", raw / name, "--raw_step", "images", "--device", "cpu",
        "--ann_path", tmp_path / "out/annotation.json", "--image_dir", tmp_path / "out/images",
    )  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_table_is_refused(name, tmp_path):
    ending = prepare(tmp_path, *REFUSED[name])
    assert_refused(ending, tmp_path, REFUSED[name][0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_study_that_cannot_be_used_is_left_out_and_counted(name, tmp_path):
    row, reason = LEFT_OUT[name]
    ending = prepare(tmp_path, "t.csv", table(row))
    assert_left_out(ending, tmp_path, reason)
    assert len(json.loads((tmp_path / "out/annotation.json").read_text())["train"]) <= 1
    assert ending.out.rstrip().splitlines()[-1].startswith("warning: 1 of 2 studies (50%) are left out")
