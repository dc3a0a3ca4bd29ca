"""Programs, and trainings of one or more processes, started without importing anything."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from one_step import one_step
from programs import SMALL, SMALL_MODEL, places

ROOT = Path(__file__).parents[1]


class Forks:
    """``fork_server.py``, and beside it an interpreter whose programs it starts: the folder looks like a virtual environment."""

    def __init__(self, folder):
        self.folder, self.socket, self.connections = folder, folder / "socket", {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
        command = [sys.executable, str(ROOT / "tests" / "fork_server.py"), str(self.socket)]
        self.server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        self.python = folder / "bin" / "python"
        self.python.parent.mkdir()
        self.python.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -I -S "{ROOT}/tests/forked.py" "{self.socket}" "$@"\n'
        )
        self.python.chmod(0o755)
        assert self.server.stdout.readline() == b"ready\n"

    def ask(self, request, log):
        """Start a process that writes to ``log``; returns its number."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(self.socket))
        with open(os.devnull) as nothing, open(log, "a") as file:
            streams = [nothing.fileno(), file.fileno(), file.fileno()]
            socket.send_fds(connection, [json.dumps(request).encode()], streams)
        pid = int(connection.recv(64))
        self.connections[pid] = connection
        return pid

    def wait(self, pid):
        """Its exit status, when it has ended."""
        with self.connections.pop(pid) as connection:
            connection.send(b"wait")
            return int(connection.recv(64))

    def end(self):
        """Else it would hold the output of the tests open for ever."""
        with self.server:
            self.server.kill()
        for connection in self.connections.values():
            connection.close()


class Trainings:
    """Starts trainings on a tiny data set."""

    def __init__(self, forks, prepared):
        self.forks, self.prepared, self.count = forks, prepared, 0

    def log(self):
        self.count += 1
        return self.forks.folder / f"{self.count}.log"

    def start(self, save_dir, *flags, processes=1, plant=()):
        log = self.log()
        own = ["--save_dir", save_dir, "--epochs", 2, "--no-check"]
        argv = [*places(self.prepared), *SMALL, *SMALL_MODEL, *own, *flags]
        request = {"argv": list(map(str, argv)), "processes": processes, "plant": list(plant)}
        return self.forks.ask(request, log), log

    def call(self, function, processes=1, **words):
        """Run a function of a file of tests in one process or several, with ``words`` that JSON knows."""
        log = self.log()
        what = {"call": [function.__module__, function.__name__], "with": words, "processes": processes}
        status, text = self.wait((self.forks.ask(what, log), log))
        assert status == 0, text

    def one_step(self, folder, name, processes=1, **how):
        """Losses, gradients and statistics of ``one_step.py``."""
        self.call(one_step, processes, folder=str(folder), name=name, **how)
        return torch.load(folder / f"{name}.pth", weights_only=True)

    def wait(self, started):
        pid, log = started
        status = self.forks.wait(pid)
        return status, log.read_text()

    def run(self, save_dir, *flags, **how):
        return self.wait(self.start(save_dir, *flags, **how))
