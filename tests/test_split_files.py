"""modules/preparation/raw/split_files.py: splits that somebody else drew, of studies or of images, and files that contradict themselves."""

import json

import pytest
from test_raw_studies import data_set, splits_of

from modules.messages import UserError
from modules.preparation.raw.split_files import read_split_file, use_split


def test_a_split_file_gives_order_ids_and_splits(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["s2", {"id": "s0"}], "validate": ["s9"]}))
    splits = read_split_file(tmp_path / "split.json")
    assert splits == {"s2": "train", "s0": "train", "s9": "val"}
    dataset = data_set(3)
    use_split(dataset, splits, "split.json")
    assert splits_of(dataset) == {"s2": "train", "s0": "train"}
    assert dataset.dropped == {"s1": "not in the split file"}
    assert dataset.notes == ["1 of 3 ids of split.json have no usable study here"]
    with pytest.raises(UserError, match=r"none of the 1 ids of split\.json is in the raw files"):
        use_split(data_set(3), {"x": "train"}, "split.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.csv", "id,split\ns1,train\ns2,val\ns1,test\n"),
        ("split.json", json.dumps({"train": ["s1"], "val": ["s2"], "test": [{"id": "s1"}]})),
    ],
)
def test_a_study_in_two_splits_is_refused(tmp_path, name, content):
    """The last one won, and a study of the training was tested, or one of the test trained on."""
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} puts s1 into train and into test: correct it"):
        read_split_file(tmp_path / name)


def test_a_row_that_stands_twice_is_one(tmp_path):
    (tmp_path / "split.csv").write_text("id,split\ns1,train\ns1,training\n")
    assert read_split_file(tmp_path / "split.csv") == {"s1": "train"}


@pytest.mark.parametrize(("name", "content"), [("split.csv", "id,split\n"), ("split.json", "{}")])
def test_a_file_that_names_nothing_is_no_wish_for_a_drawn_split(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="names no study"):
        read_split_file(tmp_path / name)


def test_one_study_under_two_names_has_one_split():
    dataset = data_set(3)
    use_split(dataset, {"s1": "train", "S1": "train", "s2": "val"}, "split.csv", str.lower)
    assert splits_of(dataset) == {"s1": "train", "s2": "val"}
    assert dataset.notes == []
    with pytest.raises(UserError, match=r"one study into train, as s1, and into test, as S1: correct it"):
        use_split(data_set(3), {"s1": "train", "S1": "test"}, "split.csv", str.lower)


def test_a_table_of_images_and_studies_gives_the_ids_that_are_asked_for(tmp_path):
    (tmp_path / "split.csv").write_text("dicom_id,study_id,split\na,5,train\nb,5,train\n")
    assert read_split_file(tmp_path / "split.csv") == {"5": "train"}
    assert read_split_file(tmp_path / "split.csv", "image") == {"a": "train", "b": "train"}
