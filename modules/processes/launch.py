"""Start a program as several processes, end them together, and let only the one that failed speak.

python -m modules.processes.launch --processes 2 main_train.py --dataset_name mimic_cxr
python -m modules.processes.launch --processes 4 --nnodes 2 --node_rank 0 --rdzv_endpoint node0:29500 main_train.py ...

``torchrun`` starts the same programs; this launcher passes every signal on, ends with the status of the program, and adds
no lines of its own to a message.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from modules.processes.early_stop import LAUNCHER
from modules.processes.stops import SIGNALS, PassingOn
from modules.processes.watch import LOST, SPOKEN

GRACE = 1.0  # seconds that the others have to end by themselves once one has failed
MOST = 4096  # processes on a node, as of --n_gpu
LOOK = 0.05  # seconds between two looks at the processes


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = _Parser(prog="python -m modules.processes.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, required=True, help="processes on this node")
    parser.add_argument("--nnodes", type=int, default=1, help="nodes")
    parser.add_argument("--node_rank", type=int, default=0, help="number of this node, from 0")
    parser.add_argument("--rdzv_endpoint", default="", help="HOST:PORT of node 0, free there; needed for several nodes")
    parser.add_argument("program", help="Python file")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="its flags")
    options = parser.parse_args(argv)
    if not 1 <= options.processes <= MOST or options.nnodes < 1 or not 0 <= options.node_rank < options.nnodes:
        parser.error(f"give 1 to {MOST} processes, at least one node, and a --node_rank from 0 to --nnodes - 1")
    host, _, port = options.rdzv_endpoint.rpartition(":")
    if options.nnodes > 1 and not (host and re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 1 << 16):
        parser.error("several nodes need --rdzv_endpoint HOST:PORT, the same on every node")
    if not os.path.isfile(options.program):
        parser.error(f"{options.program} is no file: give the program to start, such as main_train.py")
    return options


def environments(options: argparse.Namespace, spoken: str) -> list[dict[str, str]]:
    """What each process is told: the variables that ``torchrun`` sets too, and who may speak."""
    host, _, port = options.rdzv_endpoint.rpartition(":")
    shared = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.processes))),
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        "MASTER_ADDR": host or "127.0.0.1",
        "MASTER_PORT": port or str(free_port()),
        "WORLD_SIZE": str(options.processes * options.nnodes),
        "LOCAL_WORLD_SIZE": str(options.processes),
        SPOKEN: spoken,
        LAUNCHER: str(os.getpid()),
    }
    first = options.node_rank * options.processes
    return [
        {**os.environ, **shared, "LOCAL_RANK": str(local), "RANK": str(first + local)}
        for local in range(options.processes)
    ]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Supervisor:
    """Looks after processes until all have ended.

    Args:
        workers: started in sessions of their own, so that a terminal's Ctrl-C reaches them through here only.
        spoken: file that a process makes before it says what went wrong.
    """

    def __init__(self, workers: Sequence[subprocess.Popen], spoken: Path) -> None:
        self.workers, self.spoken = workers, spoken
        self.pass_on = PassingOn(workers)

    def wait(self) -> int:
        """The exit status: that of the process that failed, 128 + signal after a stop, 0 if all went well."""
        failed: list[int] = []  # in the order in which they ended by themselves
        deadline = float("inf")
        while True:
            states = [worker.poll() for worker in self.workers]
            if deadline < float("inf") or any(states):
                failed += [number for number, state in enumerate(states) if state and number not in failed]
                deadline = min(deadline, time.monotonic() + GRACE + (60 if self.pass_on.number else 0))
            if all(state is not None for state in states):
                return self.status(failed)
            if time.monotonic() > deadline:
                self.pass_on.kill()
                for worker in self.workers:
                    worker.wait()
                return self.status(failed)
            time.sleep(LOOK)

    def status(self, failed: Sequence[int]) -> int:
        """See :meth:`wait`; says what ended a process that was killed, which cannot say so itself."""
        if not failed:
            return 0
        codes = [self.workers[number].returncode for number in failed]
        culprit = next((n for n, code in zip(failed, codes, strict=True) if code != LOST), failed[0])
        code = self.workers[culprit].returncode
        stop = self.pass_on.number
        if stop and code in (-stop, -signal.SIGKILL, 128 + stop):
            return 128 + stop
        if code < 0:
            if not self.spoken.exists():
                killed = code == -signal.SIGKILL
                why = "; if nobody did that, the memory ran out: see --batch_size, --num_workers" if killed else ""
                name = signal.Signals(-code).name
                print(f"\nerror: process {culprit} of {len(self.workers)} was ended by {name}{why}", file=sys.stderr)
            return 128 - code
        return code


def main() -> None:
    """Start the processes and look after them."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="revtaf_") as folder:
        spoken = Path(folder) / "spoken"
        command = [sys.executable, options.program, *options.flags]
        workers = [
            subprocess.Popen(command, env=environment, start_new_session=True)
            for environment in environments(options, str(spoken))
        ]
        supervisor = Supervisor(workers, spoken)
        for number in SIGNALS:
            signal.signal(number, supervisor.pass_on)
        try:
            status = supervisor.wait()
        finally:
            supervisor.pass_on.kill()
    sys.exit(status)


if __name__ == "__main__":
    main()
