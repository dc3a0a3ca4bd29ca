"""A training of several processes, started as the documentation says, and what one does about the others."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import SMALL, SMALL_MODEL, places
from test_stops import rows_of

from modules.processes import launch
from modules.processes.watch import LOST
from modules.weights.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
OURS = ["-m", "modules.processes.launch", "--processes"]


def start(launcher, processes, folder, save_dir, *flags, python=sys.executable):
    """``python`` is the launcher's; torchrun starts its processes with the one that ``PYTHON_EXEC`` names."""
    words = [*places(folder), *SMALL, *SMALL_MODEL, "--save_dir", save_dir, *flags]
    command = list(map(str, [python, *launcher, processes, "main_train.py", *words]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON_EXEC": str(python)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_two_processes_of_torchrun_train_and_resume(prepared, forks, tmp_path):
    done = start(TORCHRUN, 2, prepared, tmp_path, "--epochs", 2, "--log_every", 1, python=forks.python)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = rows_of(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(3 < float(row["loss_report"]) < 7 for row in rows), "a mean of an epoch, not a sum"
    steps = list(csv.DictReader((tmp_path / "steps.csv").read_text().splitlines()))
    for row in rows:  # of both processes, each of which has other studies
        losses = [float(step["loss"]) for step in steps if step["epoch"] == row["epoch"]]
        assert float(row["loss"]) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    done = start(TORCHRUN, 2, prepared, tmp_path, "--epochs", 2, "--resume", python=forks.python)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all 2 epochs are trained" in done.stdout
    assert rows_of(tmp_path) == rows
    run = load_checkpoint(tmp_path / "current_checkpoint.pth")["run"]
    assert (run["epoch"], run["step"], run["world_size"]) == (3, 0, 2)


@pytest.mark.slow
def test_ctrl_c_under_torchrun_saves_and_says_one_sentence(prepared, tmp_path):
    """A terminal sends it to the launcher and to both processes, which then have it a second time from the launcher."""
    words = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run", "--epochs", 500, "--log_every", 1]
    command = [sys.executable, *TORCHRUN, 2, "main_train.py", *words, "--save_every", 100_000]
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 200
        while not (tmp_path / "run/metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(started.pid, signal.SIGINT)
        assert started.wait(timeout=60)
    text = (tmp_path / "log").read_text()
    assert text.count("main_train.py: interrupted: add --resume") == 1, text
    before_torchruns_own, *_ = text.split("Traceback")
    assert "interrupted" in before_torchruns_own
    run = load_checkpoint(tmp_path / "run/current_checkpoint.pth")["run"]
    if run["step"]:  # else it came in a validation
        *_, last = (tmp_path / "run/steps.csv").read_text().splitlines()
        assert last.startswith(f"{run['epoch']},{run['step']},")


@pytest.mark.slow
def test_a_users_error_is_one_sentence_of_our_launcher(prepared, tmp_path):
    done = start(OURS, 2, prepared, tmp_path, "--feature_dir", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 4
    assert done.stderr.count("main_train.py: error: 1 file or folder is missing:") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--processes x main_train.py", "invalid int value: 'x'"),
        ("--processes 0 main_train.py", "give 1 to 4096 processes"),
        ("--processes 5000 main_train.py", "give 1 to 4096 processes"),
        ("--processes 2 --nnodes 2 --node_rank 2 main_train.py", "a --node_rank from 0 to --nnodes - 1"),
        ("--processes 2 --nnodes 2 --rdzv_endpoint node0:99999 main_train.py", "several nodes need --rdzv_endpoint"),
        ("--processes 2 nothing.py", "nothing.py is no file: give the program to start"),
        ("main_train.py", "the following arguments are required: --processes"),
    ],
)
def test_a_launcher_that_cannot_start_says_one_sentence(words, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        launch.parse(words.split())
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [OURS, TORCHRUN], ids=["ours", "torchrun"])
@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--epochs", 0], "--epochs must be at least 1"), (["--monitor_metric", "val_luck"], "--monitor_metric val_luck")],
    ids=["range", "name"],
)
def test_a_mistake_that_every_process_finds_is_said_once(launcher, flags, words, prepared, forks, tmp_path):
    done = start(launcher, 2, prepared, tmp_path, *flags, python=forks.python)
    assert done.returncode
    assert done.stderr.count("main_train.py: error: ") == 1, done.stderr
    assert done.stderr.count(f"main_train.py: error: {words}") == 1, done.stderr


@pytest.mark.slow
def test_four_processes_whose_studies_do_not_come_out_even(trainings, tmp_path):
    """And whose towers and finer maps each of them fits."""
    flags = ["--epochs", 1, "--batch_size", 3, "--enhancer", "towers", "--grid", "2x", "--map_view", "fine"]
    status, log = trainings.run(tmp_path / "run", *flags, processes=4)
    assert status == 0, log
    (row,) = rows_of(tmp_path / "run")
    assert 3 < float(row["loss_report"]) < 7
    assert float(row["loss_maps"]) > 0
    assert row["val_BLEU_4"]


def test_steps_go_on_counting_where_another_number_of_processes_shares_them(trainings, tmp_path):
    """Three steps of an epoch behind six: the first of them was the fourth, over the rows of those before."""
    for epochs, processes, more in ((1, 1, []), (2, 2, ["--resume"])):
        status, log = trainings.run(tmp_path, "--epochs", epochs, "--log_every", 3, *more, processes=processes)
        assert status == 0, log
    rows = list(csv.DictReader((tmp_path / "steps.csv").read_text().splitlines()))
    assert [(row["epoch"], row["step"], row["total_step"]) for row in rows] == [
        ("1", "3", "3"), ("1", "6", "6"), ("2", "3", "9"),
    ]  # fmt: skip
    assert load_checkpoint(tmp_path / "current_checkpoint.pth")["run"]["earlier"] == 9


def test_another_number_of_processes_is_refused_inside_an_epoch(trainings, tmp_path):
    plant = {"at": "step", "count": 2, "do": [signal.SIGTERM]}
    status, log = trainings.run(tmp_path / "run", processes=2, plant=[plant])
    assert status == 143, log
    status, log = trainings.run(tmp_path / "run", "--resume")
    assert status == 2
    assert "was saved inside an epoch by 2 processes, now 1: resume with as many" in log


@pytest.mark.parametrize(
    ("do", "rank", "status", "words"),
    [
        ("raise", 1, 1, "RuntimeError: a bug in process 1"),
        ("refuse", 1, 2, "main_train.py: error: a wrong flag"),
        ([signal.SIGKILL], 1, 137, "error: process 1 of 2 was ended by SIGKILL"),
        ("hang", 1, 70, "error: process 1 of 2 has stood still for"),
        ([signal.SIGSTOP], 1, 70, "error: process 1 of 2 has stood still for"),
        ([signal.SIGSTOP], 0, 70, "error: process 0 of 2 has not answered for"),  # nor does the store that it holds
    ],
    ids=["bug", "user", "kill", "hang", "stop", "stop of the first"],
)
@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_speaks_alone(do, rank, status, words, trainings, tmp_path):
    plant = {"at": "step", "count": 3, "do": do, "ranks": [rank]}
    started = time.monotonic()
    ended, log = trainings.run(tmp_path / "run", "--timeout", 3, processes=2, plant=[plant])
    assert ended == status, log
    assert words in log
    assert log.count("rror: ") == 1, log
    assert log.count("Traceback") == (do == "raise")
    assert time.monotonic() - started < 40


@pytest.mark.slow
def test_processes_without_their_launcher_stop_writing(trainings, tmp_path):
    run = tmp_path / "run"
    pid, log = trainings.start(run, "--epochs", 500, processes=2)
    deadline = time.monotonic() + 60
    while not (run / "current_checkpoint.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    assert trainings.wait((pid, log))[0] == -9
    time.sleep(1.5)
    before = (run / "current_checkpoint.pth").stat().st_mtime_ns
    time.sleep(2)
    assert (run / "current_checkpoint.pth").stat().st_mtime_ns == before
    status, text = trainings.run(run, "--epochs", 1, "--resume", processes=2)
    assert status == 0, text  # the lock was let go


@pytest.mark.parametrize("told", ["by the launcher", "by the start"])
def test_a_launcher_that_is_gone_before_its_processes_watch_it_is_missed_too(told, forks):
    """Killed while they imported torch, it left them training to the end: whoever was their parent by then was taken for it."""
    gone = subprocess.run(
        [forks.python, "-c", "import os; print(os.getpid())"], cwd=ROOT, capture_output=True, text=True
    )
    how = {"by the launcher": "os.environ['REVTAF_LAUNCHER'] = '{}'", "by the start": "early_stop._started['by'] = {}"}
    code = f"import os, time; from modules.processes import early_stop, watch; {how[told].format(gone.stdout.strip())}"
    words = [forks.python, "-c", f"{code}; watch.Watch(0, 2); time.sleep(30)"]
    started = time.monotonic()
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == LOST
    assert time.monotonic() - started < 20


def test_a_run_that_is_going_on_is_left_alone(trainings, tmp_path):
    run = tmp_path / "run"
    pid, log = trainings.start(run, "--epochs", 500)
    deadline = time.monotonic() + 60
    while not (run / "current_checkpoint.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    status, text = trainings.run(run, "--epochs", 500, "--resume")
    assert status == 2
    assert f"is in use by process {pid}" in text
    os.kill(pid, signal.SIGTERM)
    assert trainings.wait((pid, log))[0] == 143
