"""modules/corpus/annotations.py: three layouts in, studies out, and sentences for whatever is wrong."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest

from modules.corpus.annotations import check_images, read_annotation, require_split
from modules.messages import UserError

R2GEN = {
    "train": [
        {"id": "a", "report": "Lungs are clear.", "image_path": ["p10/p10000032/s50414267/x.jpg", "y.jpg"]},
        {"id": "CXR12_IM-0001", "report": "Normal.", "image_path": "CXR12_IM-0001/0.png", "labels": [0] * 13 + [1]},
    ],
    "val": [{"id": "b", "report": "Edema.", "image_path": ["b.png"], "patient": 7, "split": "val"}],
    "test": [{"id": "c", "report": "Edema.", "image_path": ["c.png"], "labels": [3] * 18}],
}


def write(tmp_path, content):
    path = tmp_path / "annotation.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_r2gen_layout(tmp_path):
    annotation = read_annotation(write(tmp_path, R2GEN))
    assert list(annotation) == ["train", "val", "test"]
    first, second = annotation["train"]
    assert first.image_path == ("p10/p10000032/s50414267/x.jpg", "y.jpg")
    assert (first.patient, first.labels, first.memory_indices) == ("p10000032", None, None)
    assert second.image_path == ("CXR12_IM-0001/0.png",)
    assert (second.patient, second.labels) == ("CXR12", (0,) * 13 + (1,))
    assert annotation["val"][0].patient == "7"
    assert annotation["test"][0].patient is None
    assert [study.split for studies in annotation.values() for study in studies] == ["train", "train", "val", "test"]


def test_signs_that_only_look_otherwise_are_those_of_ascii_in_every_program(tmp_path):
    items = [
        {
            "id": "a",
            "image_path": "a.png",
            "report": "The heart isn\u2019t large. A left\u2011sided port \u2013 no effusion.",
        }
    ]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": items}))
    (study,) = read_annotation(tmp_path / "annotation.json")["test"]
    assert study.report == "The heart isn't large. A left-sided port \u2013 no effusion."


def test_promptmrg_layout_without_ids(tmp_path):
    items = [
        {"image_path": ["files/p10/p10000032/s5/x-y.jpg"], "report": "a", "labels": [1.0] * 18, "clip_indices": [4, 0]},
        {"image_path": ["CXR1_1_IM-0001-3001.png"], "report": "a"},
        {"image_path": ["CXR2_IM-0652/0.png"], "report": "a"},
        {"id": None, "image_path": ["deep/er.v2.png"], "report": "a"},
    ]
    studies = read_annotation(write(tmp_path, {"train": items}))["train"]
    assert [study.id for study in studies] == ["x-y", "CXR1_1_IM-0001-3001", "CXR2_IM-0652/0", "deep/er.v2"]
    assert [study.patient for study in studies] == ["p10000032", "CXR1", "CXR2", None]
    assert studies[0].memory_indices == (4, 0)
    assert studies[0].labels == (1,) * 18
    assert all(type(label) is int for label in studies[0].labels)


def test_flat_list_goes_to_the_test_split_unless_it_says_otherwise(tmp_path):
    items = [
        {"id": "a", "image_path": ["a.png"], "report": "x"},
        {"id": "b", "image_path": ["b.png"], "report": "x", "split": "train"},
    ]
    annotation = read_annotation(write(tmp_path, items))
    assert {split: [study.id for study in studies] for split, studies in annotation.items()} == {
        "train": ["b"],
        "val": [],
        "test": ["a"],
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image_path", None, ["no image_path", "remove the study"]),
        ("image_path", [], ["image_path is []"]),
        ("image_path", ["a.png", 3], ["image_path is ['a.png', 3]"]),
        ("image_path", ["/data/a.png"], ["'/data/a.png'", "below the image folder", "--image_dir"]),
        ("image_path", ["C:\\data\\a.png"], ["below the image folder"]),
        ("image_path", ["a/../../b.png"], ["'a/../../b.png'", "below the image folder"]),
        ("image_path", ["a\\..\\b.png"], ["below the image folder"]),
        ("report", None, ["no report", "remove the study"]),
        ("report", " \n", ["the report is empty", "expected text"]),
        ("report", ["a"], ["the report is a list"]),
        ("labels", [0] * 13, ["found 13 labels", "expected a list of 14 or 18"]),
        ("labels", 5, ["labels is 5", "expected a list of 14 or 18"]),
        ("labels", [0, 7] + [0] * 12, ["the label of cardiomegaly is 7", "expected 0 to 3 (0 blank, 1 positive"]),
        ("labels", [None] * 14, ["the label of enlarged cardiomediastinum is None"]),
        ("labels", [-1] + [0] * 13, ["is -1"]),
        ("clip_indices", [1, -1], ["clip_indices is [1, -1]"]),
        ("clip_indices", "12", ["clip_indices is '12'"]),
    ],
)
def test_a_wrong_item_is_named(tmp_path, key, value, words):
    content = copy.deepcopy(R2GEN)
    content["val"][0][key] = value
    if value is None:
        del content["val"][0][key]
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="study b: ") as caught:
        read_annotation(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}, study b: ")
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a JSON file"),
        ({}, "an object with the keys none"),
        (3, "holds a int;"),
        ({"images": [], "train": []}, "an object with the keys 'images', 'train'"),
        ({"train": {"id": 1}}, "a dict under 'train'"),
        ({"train": [], "val": ["x"]}, "item 0 of val: found a str"),
        (["x"], "item 0: found a str"),
        ([{"id": "a", "split": "fold1"}], "item 0: the split is 'fold1'"),
        ({"train": [{"report": "a"}]}, "item 0 of train: no image_path"),
    ],
)
def test_a_wrong_file_is_described(tmp_path, content, words):
    with pytest.raises(UserError, match=r"annotation\.json") as caught:
        read_annotation(write(tmp_path, content))
    assert words in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_annotation(tmp_path / "none.json")


def test_duplicate_id_across_splits(tmp_path):
    content = copy.deepcopy(R2GEN)
    content["test"][0]["id"] = "a"
    with pytest.raises(UserError, match=r"study a: this id appears twice \(in train and in test\)"):
        read_annotation(write(tmp_path, content))


def test_studies_are_small_frozen_and_picklable(tmp_path):
    study = read_annotation(write(tmp_path, R2GEN))["train"][0]
    assert pickle.loads(pickle.dumps(study)) == study  # noqa: S301, what a data-loading process does
    assert not hasattr(study, "__dict__")
    with pytest.raises(AttributeError):
        study.report = "another"


def test_require_split(tmp_path):
    path = write(tmp_path, R2GEN["val"])
    annotation = read_annotation(path)
    assert require_split(annotation, "val", path) == annotation["val"]
    assert require_split(annotation, "all", path) == [study for studies in annotation.values() for study in studies]
    with pytest.raises(UserError, match=r"no study in the train split \(found train 0, val 1, test 0\): .*--ann_path"):
        require_split(annotation, "train", path)


def test_check_images_counts_what_is_missing(tmp_path, capsys):
    items = [{"id": str(i), "image_path": [f"{i}.png", "second.png"], "report": "x"} for i in range(5)]
    studies = read_annotation(write(tmp_path, items))["test"]
    (tmp_path / "3.png").touch()
    with pytest.raises(UserError) as caught:
        check_images(studies, tmp_path)
    assert f"4 of 5 images are not in {tmp_path}, first 0.png, 1.png, 2.png: give" in str(caught.value)
    for i in range(5):
        (tmp_path / f"{i}.png").touch()
    check_images(studies, str(tmp_path))  # the second image of a study is not read, so it may be absent


REAL = os.environ.get("REVTAF_REAL_CXR")


@pytest.mark.skipif(not REAL, reason="REVTAF_REAL_CXR names no folder of real reports")
def test_real_annotations():
    sizes = {
        name: {split: len(studies) for split, studies in read_annotation(Path(REAL, name)).items()}
        for name in ("annotation_iu_r2gen_layout.json", "annotation_iu_list_layout.json", "annotation_paired.json")
    }
    assert sizes["annotation_iu_r2gen_layout.json"] == {"train": 2069, "val": 296, "test": 590}
    assert sizes["annotation_iu_list_layout.json"] == {"train": 0, "val": 0, "test": 6}
    assert sizes["annotation_paired.json"] == {"train": 119, "val": 27, "test": 54}
    paired = read_annotation(Path(REAL, "annotation_paired.json"))
    check_images([study for studies in paired.values() for study in studies], Path(REAL, "images"))
    patients = {split: {study.patient for study in studies} for split, studies in paired.items()}
    assert None not in patients["train"] | patients["test"]
    assert not patients["train"] & patients["test"]


@pytest.mark.parametrize(
    ("fields", "patient"),
    [
        ({"subject_id": 10000032, "study_id": 50414267}, "10000032"),
        ({"patient_id": " p7 "}, "p7"),
        ({"patient": "a", "subject_id": 1}, "a"),
        ({"subject_id": None, "patient_id": ""}, None),
        ({"subject_id": [1]}, None),
        ({"patient": float("nan"), "subject_id": "nan"}, None),
        ({"patient": float("nan"), "subject_id": 4.0}, "4.0"),
    ],
)
def test_films_in_one_folder_have_the_patient_that_r2gen_names(tmp_path, fields, patient):
    path = tmp_path / "annotation.json"
    path.write_text(json.dumps({"train": [{"id": "d1", "image_path": ["d1.jpg"], "report": "Clear.", **fields}]}))
    assert read_annotation(path)["train"][0].patient == patient


def test_a_path_of_mimic_cxr_names_the_patient_before_its_number_does(tmp_path):
    path = tmp_path / "annotation.json"
    item = {"image_path": ["p10/p10000032/s5/d1.jpg"], "report": "Clear.", "subject_id": 10000032}
    path.write_text(json.dumps({"train": [item]}))
    assert read_annotation(path)["train"][0].patient == "p10000032"


def test_a_patient_written_in_several_ways_is_one(tmp_path):
    path = tmp_path / "annotation.json"
    items = [
        {"id": str(i), "image_path": [f"{i}.png"], "report": "Clear.", "patient": patient}
        for i, patient in enumerate([10, 10.0, "p10", " P10", 11, "a10"])
    ]
    path.write_text(json.dumps({"train": items[:3], "test": items[3:]}))
    annotation = read_annotation(path)
    assert [study.patient for studies in annotation.values() for study in studies] == ["10"] * 4 + ["11", "a10"]
