"""Signals and kills of a training at any moment: what is saved, what the exit status is, and that a resume loses nothing."""

import csv
import os
import signal
import time

import pytest
import torch

from modules.weights.checkpoints import load_checkpoint

STATUS = {signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGHUP: 129, signal.SIGINT: 130}
DROPOUT = ("--dropout", 0.1)


def rows_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_run(run, whole):
    """Weights, optimizer, figures: bit for bit those of the run that nothing interrupted."""
    ours, theirs = (load_checkpoint(folder / "current_checkpoint.pth") for folder in (run, whole))
    assert all(torch.equal(ours["state_dict"][name], theirs["state_dict"][name]) for name in theirs["state_dict"])
    for number, state in theirs["run"]["optimizer"]["state"].items():
        assert all(torch.equal(ours["run"]["optimizer"]["state"][number][name], state[name]) for name in state)
    assert torch.equal(ours["run"]["class_prior"], theirs["run"]["class_prior"])
    timed = {"seconds", "studies_per_second"}
    figures = [[{k: v for k, v in row.items() if k not in timed} for row in rows_of(folder)] for folder in (run, whole)]
    assert figures[0] == figures[1]
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert [path.name for path in run.glob(".*")] == [".lock"]


@pytest.fixture(scope="session")
def uninterrupted(trainings, tmp_path_factory):
    """By number of processes: a run of two epochs that nothing interrupts."""
    runs = {}

    def run(processes):
        if processes not in runs:
            runs[processes] = tmp_path_factory.mktemp("whole") / "run"
            status, log = trainings.run(runs[processes], *DROPOUT, processes=processes)
            assert status == 0, log
        return runs[processes]

    return run


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("number", "place", "count"),
    [
        (signal.SIGTERM, "step", 2),
        (signal.SIGUSR1, "validation", 1),
        (signal.SIGHUP, "step", 4),
        (signal.SIGTERM, "step", 6),  # the last of an epoch: none is left for the resume
        (signal.SIGINT, "validation", 2),
    ],
)
@pytest.mark.slow
def test_a_signal_saves_and_ends_with_its_status(number, place, count, processes, trainings, uninterrupted, tmp_path):
    run, plant = tmp_path / "run", {"at": place, "count": count, "do": [number]}
    status, log = trainings.run(run, *DROPOUT, processes=processes, plant=[plant])
    assert status == STATUS[number], log
    assert log.count("interrupted") == 1, log
    assert "Traceback" not in log
    saved = load_checkpoint(run / "current_checkpoint.pth")["run"]
    if place == "step":
        assert (saved["epoch"] - 1) * 6 // processes + saved["step"] == count
        assert saved["seen"] == 8 * processes * saved["step"]
    status, log = trainings.run(run, *DROPOUT, "--resume", processes=processes)
    assert status == 0, log
    assert_same_run(run, uninterrupted(processes))


@pytest.mark.parametrize(
    ("processes", "place", "count"),
    [
        (1, "step", 5), (1, "validation", 2), (1, "rename", 2), (1, "rename", 3), (1, "rename", 4), (1, "write", 60),
        (1, "report", 1), (1, "forget", 1), (1, "forget", 2), (2, "step", 4), (2, "report", 1), (2, "rename", 5),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_kill_loses_at_most_what_was_not_saved(processes, place, count, trainings, uninterrupted, tmp_path):
    run, plant = tmp_path / "run", {"at": place, "count": count, "do": [signal.SIGKILL]}
    status, log = trainings.run(run, *DROPOUT, "--save_every", 2, processes=processes, plant=[plant])
    assert status == (-9 if processes == 1 else 137), log
    if processes > 1:
        assert "process 0 of 2 was ended by SIGKILL" in log
        assert log.count("error") == 1, log
    resume = ["--resume"] if (run / "current_checkpoint.pth").exists() else ["--overwrite"]
    status, log = trainings.run(run, *DROPOUT, "--save_every", 2, *resume, processes=processes)
    assert status == 0, log
    assert_same_run(run, uninterrupted(processes))


@pytest.mark.parametrize(("first", "count", "then"), [(1, 2, 2), (2, 1, 1), (2, 1, 3)])
@pytest.mark.slow
def test_a_validation_goes_on_with_other_batches(first, count, then, trainings, uninterrupted, tmp_path):
    """What was noted of a batch was taken for that of the larger one which begins alike, or was not found."""
    run, plant = tmp_path / "run", {"at": "validation", "count": count, "do": [signal.SIGTERM]}
    status, log = trainings.run(run, *DROPOUT, "--eval_batch_size", first, plant=[plant])
    assert status == STATUS[signal.SIGTERM], log
    assert len((run / ".validation.0.jsonl").read_text().splitlines()) == 1 + 2
    status, log = trainings.run(run, *DROPOUT, "--resume", "--eval_batch_size", then)
    assert status == 0, log
    for ours, theirs in zip(rows_of(run), rows_of(uninterrupted(1)), strict=True):
        for name in ("val_text_cosine", "val_map_correlation", "val_ce_f1"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1e-5), name


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_signal_stops_at_once(processes, trainings, tmp_path):
    plants = [{"at": "step", "count": 2, "do": [signal.SIGTERM], "pause": 1000, "ranks": [0, 1]}]
    started = trainings.start(tmp_path / "run", processes=processes, plant=plants)
    deadline = time.monotonic() + 60
    while started[1].read_text().count("planted") < processes and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(started[0], signal.SIGTERM)
    if processes == 2:
        time.sleep(0.5)
        os.kill(started[0], signal.SIGTERM)
    before = time.monotonic()
    status, log = trainings.wait(started)
    assert time.monotonic() - before < 5
    assert status == 143, log
    assert not (tmp_path / "run" / "current_checkpoint.pth").exists()
