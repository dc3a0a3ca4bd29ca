"""The programs are run with options that remember what was read: a flag that nothing asks for changes nothing."""

import contextlib
import dataclasses
import json
import sys

import pytest
from programs import SMALL, call, places, prepare, train
from test_raw_iu import write_archive, write_images
from test_raw_mimic import write_tree

import main_predict
import main_prepare
import main_score
import main_test
import models.config
import modules.options.flags
import modules.options.parsing
import modules.options.prediction_flags
import modules.options.preparation_flags
import modules.options.programs
import modules.options.scoring_flags
import modules.training.optimizers
from models.config import ModelOptions, flag
from modules.options.flags import Group, RuntimeOptions
from modules.options.parsing import flags_of, groups_of
from modules.options.programs import MainPredict, MainPrepare, MainScore, MainTest, MainTrain
from modules.training.optimizers import Schedule
from tools import calibrate, check, compare_runs, convert, draw_sheet, ground, measure_labeler, write_published

DECLARING = (  # they check and copy all fields alike; whoever obeys a flag reads it elsewhere
    dataclasses, models.config, modules.options.parsing, modules.options.flags, modules.options.preparation_flags, modules.options.prediction_flags,
    modules.options.programs, modules.options.scoring_flags, modules.training.optimizers,
)  # fmt: skip
FILES = {module.__file__ for module in DECLARING}


@pytest.fixture
def read(monkeypatch):
    """Names of the flags that anything has read so far, those of the model off its options or its configuration."""
    names = set()

    def remember(self, name):
        if sys._getframe(1).f_code.co_filename not in FILES or type(self) is Schedule:
            names.add(name)
        return object.__getattribute__(self, name)

    for kind in (Group, ModelOptions, Schedule):
        monkeypatch.setattr(kind, "__getattribute__", remember, raising=False)
    return names


def unread(program, read):
    """Flags of a program that were not read."""
    return {a_field.name for kind in groups_of(program).values() for a_field in flags_of(kind)} - read


@pytest.mark.slow
def test_a_preparation_reads_every_flag(tmp_path, read):
    prepare(tmp_path / "drawn")
    write_images(tmp_path / "openi", "open-i")
    for dataset, raw_dir, flags in (
        ("mimic_cxr", write_tree(tmp_path / "physionet"), ["--items", "image", "--resize", 16]),
        ("iu_xray", write_archive(tmp_path / "openi"), ["--all_test"]),
    ):
        folder = tmp_path / dataset
        there = ["--dataset_name", dataset, "--ann_path", folder / "annotation.json", "--image_dir", folder / "images"]
        call(main_prepare, *there, "--raw_dir", raw_dir, "--raw_step", "images", "--num_workers", 1, *flags)
    of_medklip = {"medklip_checkpoint", "entity_descriptions", "description_tokens"}  # test_medklip.py changes each
    elsewhere = {"yes", "patient_column"}  # of a job of days, test_costs.py; of a table, test_own_patients.py
    assert unread(MainPrepare, read) == of_medklip | elsewhere


@pytest.mark.slow
def test_training_test_and_prediction_read_every_flag(prepared, tmp_path, read):
    train(prepared, tmp_path / "run", "--align_pairs", "all", "--scst", 2)
    elsewhere = {
        "tower_inputs",  # of the towers, test_retrieval_towers.py
        "eval_batch_size",  # by its group itself, test_eval_batch.py
    }
    assert unread(MainTrain, read) == elsewhere
    read.clear()
    writing = ["--gen_min_len", 25, "--gen_max_len", 12, "--beam_size", 2, "--no-meteor", "--resamples", 5]
    call(main_test, *places(prepared), *SMALL, *writing, "--save_dir", tmp_path / "run", "--verbose_text")
    assert unread(MainTest, read) == set()
    read.clear()
    film = next((prepared / "images").rglob("*.png"))
    call(main_predict, "--images", film, "--model", tmp_path / "run", "--out", tmp_path / "out", "--device", "cpu")
    call(main_predict, "--export", tmp_path / "release", "--model", tmp_path / "run", "--device", "cpu")
    of_others = {"img_root_dir", "host", "port", "beside"}  # test_prediction.py, test_demo.py
    assert unread(MainPredict, read) == of_others


@pytest.fixture
def scored(tmp_path):
    """Runs main_score.py on two invented studies."""
    rows = [{"id": "a", "prediction": "no edema .", "reference": "no edema ."}]
    rows += [{"id": "b", "prediction": "an effusion .", "reference": "a large effusion ."}]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    flags = ["--predictions", tmp_path / "rows.jsonl", "--no-meteor", "--resamples", 5, "--save_dir", tmp_path / "out"]
    return lambda *more: call(main_score, *flags, *more)


def test_a_scoring_reads_every_flag(scored, read):
    scored("--page")
    assert unread(MainScore, read) == {"metric_models"}  # of extra metrics, test_extra.py


@pytest.mark.slow
def test_the_small_programs_read_every_flag(prepared, trained, tmp_path, read):
    here = ["--ann_path", prepared / "annotation.json", "--image_dir", prepared / "images"]
    features = ["--feature_dir", prepared / "features", "--dataset_name", "synth_cxr"]
    report, other = "the heart is enlarged . no effusion .", "the heart is normal . a left effusion ."
    rated = "".join(f'{n},"{report} {n} .","{(report, other)[n % 2]} {n} .",{n % 5}\n' for n in range(12))
    (tmp_path / "rated.csv").write_text("study_id,gt_report,prediction,total_errors\n" + rated)
    labelled = {"findings": "Mild edema.", "impression": None, "labels_mesh": [1] + [0] * 13}
    (tmp_path / "labelled.jsonl").write_text((json.dumps(labelled) + "\n") * 3)
    for name in ("one", "two"):
        rows = [{"id": f"s{n}", "prediction": other, "reference": f"{report} {n} ."} for n in range(9)]
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / name / "options.json").write_text(json.dumps({"options": {"save_dir": name}}))
    few = ["--no-meteor", "--resamples", 5]
    masks = ["--boxes", prepared / "masks", "--model", trained, "--save_dir", tmp_path / "grounded", "--figures", 1]
    for program, options, words, elsewhere in (
        (calibrate, "Calibrate", ["--rated", tmp_path / "rated.csv", *few], {"metric_models"}),  # test_extra.py
        (compare_runs, "CompareRuns", [tmp_path / "one", tmp_path / "two", *few], set()),
        (convert, "Convert", ["--model", trained / "model_best.pth", "--out", tmp_path / "ours.pth"], set()),
        (draw_sheet, "DrawSheet", ["--out", tmp_path / "sheet.jpg"], set()),
        (
            ground,
            "Ground",
            [*here, *masks, *few[1:], "--device", "cpu"],
            {"master_table"},
        ),  # of PadChest-GR, test_ground.py
        (measure_labeler, "MeasureLabeler", ["--reports", tmp_path / "labelled.jsonl"], set()),
        (write_published, "WritePublished", [*here, *features, "--out", tmp_path / "published"], set()),
        (check, "Check", [*here, *features], set()),
    ):
        read.clear()
        with contextlib.suppress(SystemExit):  # of the doctor, whose status is what it found
            call(program, *words)
        assert unread(getattr(program, options), read) == elsewhere, options


def test_a_flag_that_nothing_asks_for_is_found(scored, read, monkeypatch):
    dead = dataclasses.make_dataclass(
        "Dead", [("width", int, flag(1, "never read"))], bases=(RuntimeOptions,), kw_only=True
    )
    planted = dataclasses.make_dataclass("Planted", [("runtime", dead)], bases=(MainScore,), kw_only=True)
    monkeypatch.setattr(main_score, "MainScore", planted)
    scored("--page", "--width", 3)
    assert unread(planted, read) == {"metric_models", "width"}
