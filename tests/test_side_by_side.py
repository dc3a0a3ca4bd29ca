"""modules/processes/side_by_side.py: a signal ends every program that runs, and no other begins."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modules.processes.side_by_side import SideBySide
from modules.processes.stops import ONE_PRESS, Stopped
from modules.training import ablation_runs
from modules.training.ablations import Ablation, Benchmark
from tools.ablate import AblateOptions

SAVES = """
import pathlib, signal, sys, time
path = pathlib.Path(sys.argv[1])
def save(number, _):
    path.write_text(f"saved after {number}")
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
path.write_text("runs")
time.sleep(60)
"""


def when_they_run(paths, number):
    """Send this process a signal once all programs run."""

    def send():
        while not all(path.is_file() and path.read_text() for path in paths):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def test_a_signal_reaches_every_program_and_no_other_begins(tmp_path):
    programs, paths = SideBySide(), [tmp_path / name for name in "abc"]
    commands = [[sys.executable, "-c", SAVES, str(path)] for path in paths]

    def run_all(log):
        with programs.passing_signals_on(), ThreadPoolExecutor(2) as pool:
            when_they_run(paths[:2], signal.SIGTERM)
            started.extend(pool.submit(programs.run, command, log, os.environ) for command in commands)

    started = []
    with open(tmp_path / "log", "w") as log, pytest.raises(Stopped):
        run_all(log)
    ended = [future.exception() for future in started]
    assert [type(error) for error in ended] == [Stopped] * 3
    assert {error.number for error in ended} == {signal.SIGTERM}
    assert [path.read_text() for path in paths[:2]] == ["saved after 15"] * 2
    assert not paths[2].exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_that_comes_when_none_is_running_is_not_lost():
    with pytest.raises(Stopped), SideBySide().passing_signals_on():
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_signal_ends_what_does_not_end(tmp_path):
    ignores = SAVES.replace("signal.SIGTERM, save", "signal.SIGTERM, signal.SIG_IGN")
    programs, path = SideBySide(), tmp_path / "a"

    def run(log):
        with programs.passing_signals_on():
            when_they_run([path], signal.SIGTERM)
            second.start()
            programs.run([sys.executable, "-c", ignores, str(path)], log, os.environ)

    second = threading.Timer(ONE_PRESS + 1, os.kill, (os.getpid(), signal.SIGTERM))
    began = time.monotonic()
    with open(tmp_path / "log", "w") as log, pytest.raises(Stopped):
        run(log)
    assert time.monotonic() - began < 50  # it would sleep for a minute


def test_a_program_that_fails_says_its_status(tmp_path):
    with open(tmp_path / "log", "w") as log, pytest.raises(subprocess.CalledProcessError) as failed:
        SideBySide().run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], log, os.environ)
    assert failed.value.returncode == 3
    assert (tmp_path / "log").read_text() == "why\n"


def test_a_signal_ends_an_ablation_and_its_runs(tmp_path, monkeypatch):
    """They went on: with the next row after SIGINT, without the ablation after SIGTERM."""
    (tmp_path / "run.py").write_text(SAVES)

    def run_one(job, *_):
        ablation_runs._call([str(tmp_path / "run.py"), str(job.folder / "state")], job.folder / "log.txt", os.environ)

    monkeypatch.setattr(ablation_runs, "run_one", run_one)
    settings = AblateOptions(seeds=3, parallel=2, root=str(tmp_path / "root"), runs=str(tmp_path / "runs.jsonl"))
    states = [tmp_path / "root" / "b" / "x" / seed / "state" for seed in "123"]
    when_they_run(states[:2], signal.SIGTERM)
    with pytest.raises(Stopped):
        ablation_runs.run_ablation(Benchmark("b", None, ""), [Ablation("x")], {"x": []}, settings)
    assert [state.read_text() for state in states[:2]] == ["saved after 15"] * 2
    assert not states[2].exists()
