"""A training that is killed again and again, wherever it then is, ends with the weights of one that never was.

``PYTHONPATH=. python tests/test_random_kills.py 100`` does it with a hundred seeds and says how often each training was killed.
"""

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_stops import DROPOUT, assert_same_run

FLAGS = (*DROPOUT, "--save_every", 2)
KILLS = 3  # at most, of one training; the last start is left alone
SEEDS = {1: (0, 1, 2, 3), 2: (8, 9)}  # by number of processes


@pytest.fixture(scope="session")
def timed(trainings, tmp_path_factory):
    """By number of processes: a run that nothing interrupts, and its seconds."""
    runs = {}

    def run(processes):
        if processes not in runs:
            runs[processes] = uninterrupted(trainings, tmp_path_factory.mktemp("whole") / "run", processes)
        return runs[processes]

    return run


def uninterrupted(trainings, run, processes):
    """Twice: the first one may wait for the disk, and kills that are drawn from its seconds would come too late."""
    for folder in (run, run.with_name("again")):
        started = time.monotonic()
        status, log = trainings.run(folder, *FLAGS, processes=processes)
        assert status == 0, log
    return run, time.monotonic() - started


def killed_again_and_again(trainings, run, seed, processes, seconds):
    """Start a training, kill it at random moments, resume it and so on to its end; returns the kills that met it alive."""
    draw = random.Random(seed)
    for kill in range(KILLS + 1):
        plant = {
            "at": "time",
            "count": draw.uniform(0, seconds),
            "do": [signal.SIGKILL],
            "ranks": [draw.randrange(processes)],
        }
        resume = ["--resume"] if (run / "current_checkpoint.pth").exists() else ["--overwrite"]
        plants = [plant] if kill < KILLS else []
        status, log = trainings.run(run, *FLAGS, *resume, processes=processes, plant=plants)
        if status == 0:
            return kill
        assert status == (-signal.SIGKILL if processes == 1 else 128 + signal.SIGKILL), log
        assert "Traceback" not in log, log
    raise AssertionError(log)


@pytest.mark.parametrize(("processes", "seed"), [(count, seed) for count, seeds in SEEDS.items() for seed in seeds])
@pytest.mark.slow
def test_random_kills_cost_nothing(processes, seed, trainings, timed, tmp_path):
    whole, seconds = timed(processes)
    killed_again_and_again(trainings, tmp_path / "run", seed, processes, seconds)
    assert_same_run(tmp_path / "run", whole)


def soak(seeds):
    """The same with many seeds, by hand."""
    from programs import prepare
    from trainings import Forks, Trainings

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "data")
        forks = Forks(folder)
        trainings = Trainings(forks, folder / "data")
        counts = []
        wholes = {
            processes: uninterrupted(trainings, folder / f"whole{processes}" / "run", processes) for processes in (1, 2)
        }
        for seed in range(seeds):
            processes = 1 + seed % 4 // 3
            run = folder / f"run{seed}"
            whole, seconds = wholes[processes]
            counts.append(killed_again_and_again(trainings, run, seed, processes, seconds))
            assert_same_run(run, whole)
            print(f"seed {seed}: {processes} processes, {counts[-1]} kills, equal", flush=True)
        print(f"{seeds} trainings, {sum(counts)} kills, every one ended with the weights of the run without kills")
        forks.end()


if __name__ == "__main__":
    soak(int(sys.argv[1]))
