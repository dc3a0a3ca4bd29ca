"""Broken annotation files, given to main_prepare.py: refused when they are read."""

import json
from pathlib import Path

import pytest
from harness import SECRET, assert_refused, end_of, sentence_of
from PIL import Image

import main_prepare

CASES = Path(__file__).parents[1] / "cases"
GOOD = {"id": "a", "image_path": ["a.png"], "report": f"{SECRET}. Clear."}


def studies(**changes):
    """An annotation of two training studies, the second changed; a change to None removes the key."""
    item = {key: value for key, value in {**GOOD, "id": "b", **changes}.items() if value is not None}
    return json.dumps({"train": [GOOD, item], "val": [], "test": []}, allow_nan=True)


STATES = [0] * 14
FILES = {
    "a report as labels": studies(labels=SECRET),
    "a report as image": studies(image_path={SECRET: 1}),
    "a report as key": json.dumps({SECRET: [], "train": [GOOD]}),
    "a report as memory": studies(clip_indices=[SECRET]),
    "empty file": "",
    "cut off": studies()[:-20],
    "cut in a character": studies(report="Größe").encode()[:-30],
    "not JSON": "id,report\na,b\n",
    "latin-1": studies(report="x").replace("x", "Gr\xf6\xdfe").encode("latin-1"),
    "utf-16": studies().encode("utf-16"),
    "a number": "3",
    "a text": '"train"',
    "null": "null",
    "true": "true",
    "empty object": "{}",
    "empty list": "[]",
    "other splits": '{"training": []}',
    "validate": '{"train": [], "validate": []}',
    "split is an object": '{"train": {"a": 1}}',
    "split is text": '{"train": "a.json"}',
    "split is null": '{"train": null}',
    "no training studies": json.dumps({"train": [], "val": [GOOD], "test": []}),
    "nothing at all": '{"train": [], "val": [], "test": []}',
    "deep list": "[" * 200_000,
    "deep list in a study": studies().replace('"b"', "[" * 100_000 + "]" * 100_000),
    "deep object": '{"train":' * 100_000,
    "long number": studies(patient=1).replace('"patient": 1', '"patient": ' + "9" * 5000),
    "half a character in a report": (CASES / "checkpoints/surrogate.json").read_bytes(),
    "half a character in an id": studies(id="\ud800"),
    "half a character in a path": studies(image_path=["\udfff.png"]),
    "zero bytes": b"\0" * 100,
    "gzip": b"\x1f\x8b\x08\0" + b"\0" * 40,
    "flat list with another split": json.dumps([{**GOOD, "split": "fold1"}]),
    "flat list with a list as split": json.dumps([{**GOOD, "split": ["train"]}]),
    "flat list of numbers": "[1, 2]",
    "trailing text": studies() + " x",
    "two values": studies() + studies(),
    "single quotes": str({"train": [GOOD]}),
    "study is a list": '{"train": [[1]]}',
    "study is null": '{"train": [null]}',
    "study is text": '{"train": ["a"]}',
    "id twice": studies(id="a"),
    "id twice in two splits": json.dumps({"train": [GOOD], "val": [GOOD]}),
    "no report": studies(report=None),
    "report is empty": studies(report=""),
    "report is blank": studies(report=" \n "),
    "report is a number": studies(report=3),
    "report is a list": studies(report=[SECRET]),
    "report is NaN": studies(report=float("nan")),
    "report is an object": studies(report={"findings": SECRET}),
    "no image": studies(image_path=None),
    "image is empty": studies(image_path=""),
    "image is an empty list": studies(image_path=[]),
    "image is a list of numbers": studies(image_path=[1]),
    "image is a list of a blank": studies(image_path=[" "]),
    "image is a nested list": studies(image_path=[["a.png"]]),
    "image is a number": studies(image_path=1),
    "image is absolute": studies(image_path=["/etc/passwd"]),
    "image leads out": studies(image_path=["../a.png"]),
    "image leads out inside": studies(image_path=["x/../../a.png"]),
    "image leads out with backslashes": studies(image_path=["..\\a.png"]),
    "image on a drive": studies(image_path=["C:\\a.png"]),
    "image on a share": studies(image_path=["\\\\server\\a.png"]),
    "second image leads out": studies(image_path=["a.png", "../b.png"]),
    "image is not there": studies(image_path=["gone.png"]),
    "image is a folder": studies(image_path=["folder"]),
    "image is a link that leads out": studies(image_path=["link.png"]),
    "image is below a link that leads out": studies(image_path=["up/outside.png"]),
    "image is a looping link": studies(image_path=["loop.png"]),
    "image with a zero byte": studies(image_path=["a\0.png"]),
    "name too long": studies(image_path=["a" * 5000]),
    "labels are text": studies(labels="0"),
    "labels are an object": studies(labels={"edema": 1}),
    "labels are short": studies(labels=[0] * 13),
    "labels are long": studies(labels=[0] * 19),
    "label is 4": studies(labels=[4, *STATES[1:]]),
    "label is -1": studies(labels=[-1, *STATES[1:]]),
    "label is 0.5": studies(labels=[0.5, *STATES[1:]]),
    "label is NaN": studies(labels=[float("nan"), *STATES[1:]]),
    "label is text": studies(labels=["1", *STATES[1:]]),
    "label is null": studies(labels=[None, *STATES[1:]]),
    "label is a list": studies(labels=[[0], *STATES[1:]]),
    "clip_indices is text": studies(clip_indices="0"),
    "clip_indices is negative": studies(clip_indices=[-1]),
    "clip_indices is a fraction": studies(clip_indices=[0.5]),
    "clip_indices is true": studies(clip_indices=[True]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_annotation_is_refused(name, tmp_path):
    images = tmp_path / "images"
    (images / "folder").mkdir(parents=True)
    Image.new("L", (40, 40), 9).save(images / "a.png")
    Image.new("L", (40, 40), 9).save(tmp_path / "outside.png")
    (images / "link.png").symlink_to(tmp_path / "outside.png")
    (images / "up").symlink_to(tmp_path)
    (images / "loop.png").symlink_to(images / "loop.png")
    path = tmp_path / "annotation.json"
    content = FILES[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    ending = end_of(
        main_prepare, "--dataset_name", "custom", "--ann_path", path, "--image_dir", images, "--feature_dir",
        tmp_path / "features", "--device", "cpu",
    )  # fmt: skip
    assert_refused(ending, tmp_path)
    assert str(tmp_path) in sentence_of(ending)
    assert not (tmp_path / "features").exists()
