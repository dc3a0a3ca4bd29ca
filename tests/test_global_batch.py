"""``--global_batch`` and ``--val_meteor`` of main_train.py."""

import csv

import pytest
from programs import SMALL, SMALL_MODEL, places, refused, train

import main_train
from modules.evaluation.metrics import meteor
from modules.messages import UserError
from modules.options.parsing import flat, parse_options
from modules.options.programs import MainTrain
from modules.records import write_options
from modules.training import run_options
from modules.training.run_options import check_same_run, share_batch
from modules.training.run_state import RunState


def options(*words):
    return parse_options(MainTrain, ["--dataset_name", "synth_cxr", *words])


@pytest.mark.parametrize(("processes", "accum", "each"), [(1, 1, 36), (2, 1, 18), (3, 2, 6)])
def test_a_step_has_as_many_studies_whoever_shares_it(monkeypatch, processes, accum, each):
    monkeypatch.setattr(run_options, "world_size", lambda: processes)
    asked = options("--global_batch", "36", "--grad_accum", str(accum))
    share_batch(asked)
    assert asked.loading.batch_size == each
    plain = options("--batch_size", "7")
    share_batch(plain)
    assert plain.loading.batch_size == 7


def test_what_cannot_be_shared_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(run_options, "world_size", lambda: 4)
    with pytest.raises(
        UserError, match="18 cannot be shared evenly by 4 processes with --grad_accum 1: give a multiple of 4"
    ):
        share_batch(options("--global_batch", "18"))


def test_a_run_goes_on_with_another_number_of_processes(monkeypatch, tmp_path):
    words = ["--global_batch", "36", "--resume", "--save_dir", str(tmp_path)]
    write_options(tmp_path, flat(options(*words)), ["main_train.py"])
    for processes in (2, 3):
        monkeypatch.setattr(run_options, "world_size", lambda processes=processes: processes)
        asked = options(*words)
        share_batch(asked)
        check_same_run(asked)
        write_options(tmp_path, flat(asked), ["main_train.py"])
    with pytest.raises(UserError, match="global_batch 36 there, 0 here"):
        check_same_run(options("--save_dir", str(tmp_path), "--batch_size", "12", "--resume"))


@pytest.mark.slow
def test_meteor_stands_in_metrics_csv_where_it_is_computed(prepared, tmp_path):
    train(prepared, tmp_path / "run", "--epochs", 1, "--val_meteor", "--monitor_metric", "val_METEOR")
    with open(tmp_path / "run" / "metrics.csv") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["val_METEOR"]) < 1


def test_a_meteor_that_cannot_be_run_chooses_no_model(prepared, tmp_path, monkeypatch, capsys):
    """It ended after an epoch, in a KeyError, and so did every resume."""
    monkeypatch.setattr(meteor, "_java_programs", list)
    flags = ["--val_meteor", "--monitor_metric", "val_METEOR"]
    words = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run", *flags]
    refused(capsys, "--monitor_metric val_METEOR is not among the validation scores", main_train, *words)


def test_an_epoch_without_meteor_is_not_chosen_over_one_with_it():
    state = RunState()
    assert state.improves("val_METEOR", None)  # else there would be no model at all
    state.history.append({"epoch": 1})
    assert state.improves("val_METEOR", None)
    assert state.improves("val_METEOR", 0.1)
    state.history.append({"epoch": 2, "val_METEOR": 0.1})
    assert [state.improves("val_METEOR", score) for score in (None, 0.1, 0.2)] == [False, False, True]
