"""Trainings of one or more processes, started without importing anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from one_step import one_step
from programs import SMALL, SMALL_MODEL, places


class Trainings:
    """Starts trainings on a tiny data set through ``fork_server.py``."""

    def __init__(self, folder, prepared):
        self.folder, self.prepared, self.count = folder, prepared, 0
        root = Path(__file__).parents[1]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "TQDM_DISABLE": "1"}
        command = [sys.executable, str(root / "tests" / "fork_server.py")]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
        )

    def ask(self, request):
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, save_dir, *flags, processes=1, plant=()):
        self.count += 1
        log = self.folder / f"{self.count}.log"
        log.touch()
        argv = [*places(self.prepared), *SMALL, *SMALL_MODEL, "--save_dir", save_dir, "--epochs", 2, *flags]
        request = {"argv": list(map(str, argv)), "processes": processes, "log": str(log), "plant": list(plant)}
        return self.ask(request), log

    def call(self, function, processes=1, **words):
        """Run a function of a file of tests in one process or several, with ``words`` that JSON knows."""
        self.count += 1
        log = self.folder / f"{self.count}.log"
        what = {"call": [function.__module__, function.__name__], "with": words}
        status, text = self.wait((self.ask({**what, "processes": processes, "log": str(log)}), log))
        assert status == 0, text

    def one_step(self, folder, name, processes=1, **how):
        """Losses, gradients and statistics of ``one_step.py``."""
        self.call(one_step, processes, folder=str(folder), name=name, **how)
        return torch.load(folder / f"{name}.pth", weights_only=True)

    def wait(self, started):
        pid, log = started
        status = self.ask({"wait": pid})
        return status, log.read_text()

    def run(self, save_dir, *flags, **how):
        return self.wait(self.start(save_dir, *flags, **how))
