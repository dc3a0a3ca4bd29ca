"""modules/corpus/made_from.py: other films or reports under the names that features were made for are refused by every program."""

import random

import pytest
from PIL import Image
from programs import SMALL, SMALL_MODEL, call, copy_of, places, prepare, refused, train

import main_test
import main_train
from modules.corpus.made_from import FILE
from modules.corpus.store import FeatureStore
from modules.options.flags import DataOptions
from modules.options.preparation_flags import CheckOptions
from modules.preparation.doctor.examination import examine
from modules.records import read_json, write_json

WRITING = ["--gen_min_len", 25, "--gen_max_len", 8, "--beam_size", 1, "--no-meteor", "--resamples", 10, "--no-viewer"]


@pytest.fixture
def folder(prepared, tmp_path):
    """The prepared data set, of which a test may spoil anything."""
    return copy_of(prepared, tmp_path / "data")


def test_argv(folder, trained, save_dir):
    return [*places(folder), *SMALL, *WRITING, "--load_pretrained", trained / "model_best.pth", "--save_dir", save_dir]


test_argv.__test__ = False


def exchange(folder, split, key):
    """Let every study of a split have the ``key`` of the next."""
    content = read_json(folder / "annotation.json")
    values = [item[key] for item in content[split]]
    for item, value in zip(content[split], values[1:] + values[:1], strict=True):
        item[key] = value
    write_json(folder / "annotation.json", content)


def test_films_of_another_folder_are_refused_by_every_program(folder, trained, tmp_path, capsys):
    films = sorted((folder / "images").rglob("*.png"))
    contents = [path.read_bytes() for path in films]
    random.Random(0).shuffle(contents)
    for path, content in zip(films, contents, strict=True):
        path.write_bytes(content)
    words = f"is another film than the features in {folder / 'features'} were made from"
    refused(capsys, words, main_test, *test_argv(folder, trained, tmp_path / "test"))
    with pytest.raises(SystemExit):
        train(folder, tmp_path / "run", "--no-check")
    assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare(folder)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "test").exists()
    found = examine(
        DataOptions(
            dataset_name="synth_cxr",
            ann_path=str(folder / "annotation.json"),
            image_dir=str(folder / "images"),
            feature_dir=str(folder / "features"),
        ),
        CheckOptions(num_workers=0),
    )
    assert any(words in line for problem in found.of("error") for line in problem.lines())


def test_copies_of_the_films_in_another_size_are_the_same_films(folder, trained, tmp_path):
    for path in (folder / "images").rglob("*.png"):
        with Image.open(path) as image:
            small = image.resize((64, 64), Image.Resampling.BILINEAR)
        small.save(path)
    call(main_test, *test_argv(folder, trained, tmp_path / "test"))
    assert (tmp_path / "test/metrics.json").is_file()


@pytest.mark.parametrize(
    ("key", "words"), [("image_path", "has the film"), ("report", "has another report than its features")]
)
def test_an_annotation_whose_studies_have_exchanged_something_is_refused(folder, trained, tmp_path, capsys, key, words):
    exchange(folder, "test", key)
    refused(capsys, words, main_test, *test_argv(folder, trained, tmp_path / "test"))
    exchange(folder, "train", key)
    argv = [*places(folder), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run", "--no-check"]
    refused(capsys, words, main_train, *argv)


def test_a_report_may_be_corrected_and_a_study_left_out(folder, trained, tmp_path, capsys):
    content = read_json(folder / "annotation.json")
    content["test"][0]["report"] += " No pneumothorax."
    del content["test"][3]
    write_json(folder / "annotation.json", content)
    call(main_test, *test_argv(folder, trained, tmp_path / "test"))
    assert "made from another annotation" in capsys.readouterr().err


def test_what_was_remembered_has_a_checksum_and_earlier_folders_remember_nothing(folder, trained, tmp_path, capsys):
    path = folder / "features" / FILE
    content = read_json(path)
    assert {len(study["pixels"]) for study in content["studies"].values()} == {256}
    splits = read_json(folder / "annotation.json")
    assert {item["id"] for part in splits.values() for item in part} == {*content["studies"]}
    path.write_text(path.read_text().replace("1", "2", 1))
    refused(capsys, "has changed since it was written", main_test, *test_argv(folder, trained, tmp_path / "test"))
    path.unlink()
    call(main_test, *test_argv(folder, trained, tmp_path / "test"))
    prepare(folder)  # remembers them
    assert FeatureStore.open(folder / "features").is_intact(FILE)
