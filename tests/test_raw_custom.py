"""modules/preparation/raw/custom.py: one's own studies in a CSV table or JSON lines."""

import json
from argparse import Namespace

import pytest

from modules.preparation.raw.custom import read_custom


def options(**changes):
    return Namespace(**{"section": "findings", "split_file": None, "seed": 3, **changes})


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
    other = read_custom(path, options(seed=4), with_images=False).studies
    assert {s.patient: s.split for s in other} != split_of


def test_studies_without_images_are_left_out(tmp_path):
    path = write(tmp_path, "image_path,report\na.png;gone.png,Clear.\ngone.png,Clear.\n")
    (tmp_path / "a.png").touch()
    dataset = read_custom(path, options())
    assert [s.images for s in dataset.studies] == [("a.png",)]
    assert dataset.dropped == {"gone": "no image file"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,report\na.png,x\n", "has no column image_path (found path, report)"),
        ("image_path,report\n,x\n", "line 2"),
        ("image_path,report\na.png,x\n/etc/a.png,x\n../b.png,x\n", "line 3: image_path is '/etc/a.png'"),
        ("image_path,report\n/etc/a.png,x\n../b.png,x\n", "(2 rows are wrong in all)"),
        ("image_path,text\na.png,x\n", "found no report"),
        ("image_path,report\na.png,x\na.png,y\n", "the id a appears twice"),
        ("image_path,report,split\na.png,x,training\nb.png,y,dev2\n", "line 3: the split is 'dev2'"),
        ("image_path,report,split\na.png,x,train\nb.png,y,\n", "1 of 2 studies"),
        ("image_path,report\n", "holds no study"),
    ],
)
def test_wrong_tables_are_described(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"studies\.csv") as caught:
        read_custom(write(tmp_path, text), options(), with_images=False)
    assert words in str(caught.value)


def test_the_file_must_be_clear(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_custom(tmp_path / "none.csv", options())
    with pytest.raises(ValueError, match="holds 0 CSV and JSON-lines files"):
        read_custom(tmp_path, options())
