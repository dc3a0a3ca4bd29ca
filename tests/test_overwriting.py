"""What a folder holds already is never lost or mixed without a word, whichever program is told to write there."""

import json
import shutil
from pathlib import Path

import pytest
from programs import SMALL, SMALL_MODEL, call, copy_of, places, refused

import main_prepare
import main_score
import main_test
import main_train
from modules.records import read_json, write_json
from tools import draw_sheet, ground, write_published

SEARCH = ["--gen_min_len", 25, "--gen_max_len", 12, "--beam_size", 2]
QUIET = ["--no-meteor", "--no-viewer", "--resamples", 10]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def run(trained, tmp_path):
    """The folder of a training, not tested."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def tested(prepared, run):
    call(main_test, *places(prepared), *SMALL, *SEARCH, *QUIET, "--save_dir", run)
    return run


def test_results_of_another_program_never_replace_the_options_of_a_training(tested, prepared, tmp_path, capsys):
    run = Path(shutil.copytree(tested, tmp_path / "untested"))
    for path in run.glob("*"):
        if path.name not in (
            "current_checkpoint.pth",
            "model_best.pth",
            "options.json",
            "tokenizer.json",
            "metrics.csv",
        ):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = contents(run)
    reports = ["--predictions", tested / "predictions.jsonl", "--no-meteor"]
    words = "holds a training (current_checkpoint.pth), whose options.json would be replaced"
    for flags in ([], ["--overwrite"]):
        refused(capsys, words, main_score, *reports, "--save_dir", run, *flags)
        boxes = [
            "--boxes",
            prepared / "masks",
            "--image_dir",
            prepared / "images",
            "--ann_path",
            prepared / "annotation.json",
        ]
        refused(capsys, words, ground, *boxes, "--model", tested, "--save_dir", run, *flags)
    assert contents(run) == before


def test_a_test_of_other_studies_or_another_search_never_replaces_results(tested, prepared, tmp_path, capsys):
    before = contents(tested)
    flags = [*places(prepared), *SMALL, *QUIET, "--save_dir", tested]
    message = refused(capsys, "holds results of something else", main_test, *flags, *SEARCH[:-1], 1)
    assert "search 2 beams, 25 to 12 tokens, --rerank maps, --second_search 12 --guidance 1 there, 1 beams" in message
    studies = read_json(prepared / "annotation.json")
    studies["test"] = studies["test"][1:]
    write_json(tmp_path / "fewer.json", studies)
    fewer = [*flags, *SEARCH, "--ann_path", tmp_path / "fewer.json"]
    assert "annotation" in refused(capsys, "holds results of something else", main_test, *fewer)
    assert contents(tested) == before
    call(main_test, *fewer, "--overwrite")
    aside = contents(tested.with_name("run.1"))
    results = {name for name in before if name not in contents(tested) or contents(tested)[name] != before[name]}
    assert {"predictions.jsonl", "per_study.csv", "options_test.json", "sign_maps.npz"} <= results
    assert {name: aside[name] for name in results} == {name: before[name] for name in results}


@pytest.mark.parametrize("program", [main_train, main_test])
def test_a_run_of_another_data_set_is_not_taken_for_one_of_mimic_cxr(tested, program, capsys):
    """Only the absent files of MIMIC-CXR were named; where they were there, its studies were read."""
    flags = ["--resume"] if program is main_train else []
    with pytest.raises(SystemExit):
        call(program, "--save_dir", tested, *flags)
    assert f"{tested} was trained with --dataset_name synth_cxr: give the flag" in capsys.readouterr().err


def test_results_of_an_earlier_version_are_still_known(tested, prepared, capsys):
    record = read_json(tested / "results_of.json")
    write_json(tested / "results_of.json", {name: record[name] for name in ("checkpoint", "split")})
    call(main_test, *places(prepared), *SMALL, *SEARCH, *QUIET, "--save_dir", tested)
    assert read_json(tested / "results_of.json") == record
    call(main_test, *places(prepared), *SMALL, "--rescore", *QUIET, "--save_dir", tested)
    assert read_json(tested / "results_of.json") == record


def test_nothing_is_written_among_features_images_or_files_of_ones_own(prepared, tested, tmp_path, capsys):
    words, data = "holds images or features", Path(copy_of(prepared, tmp_path / "data"))
    flags = [*places(data), *SMALL]
    before = contents(data)
    for folder in (data / "features", data / "images"):
        refused(capsys, words, main_train, *flags, *SMALL_MODEL, "--save_dir", folder)
        model = ["--load_pretrained", tested / "model_best.pth"]
        refused(capsys, words, main_test, *flags, *SEARCH, *model, "--save_dir", folder)
    refused(capsys, words, main_score, "--predictions", tested / "predictions.jsonl", "--save_dir", data / "features")
    for name in ("tokenizer.json", "options.json"):
        own = tmp_path / f"own {name}"
        own.mkdir()
        (own / name).write_text('{"mine": 1}')
        refused(capsys, f"holds a run ({name})", main_train, *flags, *SMALL_MODEL, "--save_dir", own)
        assert contents(own) == {name: b'{"mine": 1}'}
    run = tmp_path / "begun"  # a training that ended before its first checkpoint may be repeated
    refused(
        capsys, "diagnosis", main_train, *flags, *SMALL_MODEL, "--save_dir", run, "--monitor_metric", "val_diagnosis"
    )
    run.mkdir(exist_ok=True)
    shutil.copy(tested / "options.json", run)
    call(main_train, *flags, *SMALL_MODEL, "--save_dir", run, "--epochs", 1)
    assert {name: content for name, content in contents(data).items() if "label_cache" not in name} == before


def test_features_are_not_written_among_runs_nor_over_those_of_other_studies(prepared, tested, tmp_path, capsys):
    before = contents(tested)
    flags = [*places(prepared), *SMALL, "--num_studies", 60, "--synth_image_size", 80]
    refused(capsys, "--feature_dir", main_prepare, *flags, "--feature_dir", tested)
    refused(capsys, "--out", write_published, *places(prepared), "--out", tested)
    assert contents(tested) == before
    others = read_json(prepared / "annotation.json")
    for study in (study for split in others.values() for study in split):
        study["id"] = f"other {study['id']}"
    write_json(tmp_path / "others.json", others)
    flags = ["--dataset_name", "custom", "--ann_path", tmp_path / "others.json", "--image_dir", prepared / "images"]
    features = contents(prepared / "features")
    words = "holds the features of 60 studies, none of which is among the 60"
    refused(capsys, words, main_prepare, *flags, *SMALL, "--feature_dir", prepared / "features")
    assert contents(prepared / "features") == features


def test_a_sheet_never_replaces_another_file(tmp_path, capsys):
    model = tmp_path / "model_best.pth"
    model.write_bytes(b"weights")
    refused(capsys, "is there already", draw_sheet, "--out", model)
    assert model.read_bytes() == b"weights"


def test_grounding_of_a_model_that_was_trained_again_is_of_something_else(tested, prepared, tmp_path, capsys):
    boxes = [
        "--boxes",
        prepared / "masks",
        "--image_dir",
        prepared / "images",
        "--ann_path",
        prepared / "annotation.json",
    ]
    flags = [*boxes, "--model", tested, "--save_dir", tmp_path / "grounding", "--figures", 0, "--resamples", 10]
    call(ground, *flags)
    shutil.copy(tested / "current_checkpoint.pth", tested / "model_best.pth")
    assert "maps" in refused(capsys, "holds results of something else", ground, *flags)
    assert json.loads((tmp_path / "grounding" / "results_of.json").read_text())["split"] == ""
