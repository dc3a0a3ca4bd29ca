"""Starts programs as forks of one process that has imported everything: real processes, real signals, no waiting for imports.

A connection to its socket is one process: a packet with a JSON object and its three streams asks for it, and its number is the
answer; a second packet asks for its exit status, when it has ended. ``{"argv", "processes", "plant"}`` is a training, ``{"call": [module, function],
"with"}`` in place of ``"argv"`` a function, and ``{"words", "cwd", "environment"}`` what an interpreter is started with: it imports
the project's own files anew, and finds only packages imported.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch.utils.tensorboard  # noqa: F401, takes seconds

import main_prepare  # noqa: F401
import main_test  # noqa: F401
import main_train
from modules.evaluation import kept_rows
from modules.labelling.labelers import RuleLabeler
from modules.messages import UserError, run
from modules.processes import launch, watch
from modules.training import towers
from modules.training import trainer as training
from modules.weights import saving

ROOT = Path(__file__).parents[1]
OURS = {"models", "modules", "benchmarks", "tools", *(path.stem for path in ROOT.glob("main_*.py"))}


class Worker:
    """What the launcher needs of a process, of one that was forked."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self):
        while self.poll() is None:
            time.sleep(0.01)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def act(plant):
    """What a planted event does to its process."""
    os.write(2, b"planted\n")
    if plant["do"] == "raise":
        raise RuntimeError("a bug in process " + os.environ.get("RANK", "0"))
    if plant["do"] == "refuse":
        raise UserError("a wrong flag")
    if plant["do"] == "hang":
        time.sleep(1000)
    for number in plant["do"]:
        os.kill(os.getpid(), number)
        time.sleep(plant.get("pause", 0.05))


def put(plant):
    """Plant an event at its place, in the process of its rank."""
    if int(os.environ.get("RANK", "0")) not in plant.get("ranks", [0]):
        return
    count = [0]

    def before(owner, name, after=False):
        work = getattr(owner, name)

        def planted(*args, **kwargs):
            result = work(*args, **kwargs) if after else None
            count[0] += 1
            if count[0] == plant["count"]:
                act(plant)
            return result if after else work(*args, **kwargs)

        setattr(owner, name, planted)

    place = plant["at"]
    if place == "time":  # seconds after the start, wherever the training then is
        timer = threading.Timer(plant["count"], act, [plant])
        timer.daemon = True
        timer.start()
    elif place == "step":
        before(training.Trainer, "train_step")
    elif place == "validation":
        before(kept_rows.KeptRows, "add", after=True)
    elif place == "forget":
        before(kept_rows.KeptRows, "remove")
    elif place == "rename":
        before(saving.os, "replace")
    elif place == "report":
        before(training.History, "keep_epochs")
    elif place == "write":
        before(saving._Checked, "write")


def work(request):
    """One process of a training."""
    for plant in request.get("plant", []):
        put(plant)
    if "call" in request:
        module, name = request["call"]
        getattr(importlib.import_module(module), name)(**request["with"])
        return
    sys.argv = ["main_train.py", *request["argv"]]
    run(
        main_train.main,
        "add --resume to continue from current_checkpoint.pth (train_custom.sh and quickstart.sh add it: repeat the command)",
    )


def fork(action, **environment):
    """A process in a session of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        os.environ.update(environment)
        action()
        status = 0
    except SystemExit as end:
        status = end.code or 0
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def interpret(request):
    """What ``python WORDS`` does."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    first, *words = request["words"]
    sys.argv = [first, *words]
    sys.path[:] = [path for path in sys.path if path not in (str(ROOT), str(ROOT / "tests"))]
    if first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *words[1:]]
        exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(first).resolve().parent))
        runpy.run_path(first, run_name="__main__")


def supervise(request):
    """The launcher, whose processes are forks."""
    if request["processes"] == 1:
        work(request)
        return
    options = launch.parse(["--processes", str(request["processes"]), "main_train.py"])
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken"
        environments = launch.environments(options, str(spoken))
        workers = [Worker(fork(lambda: work(request), **one)) for one in environments]
        supervisor = launch.Supervisor(workers, spoken)
        for number in launch.SIGNALS:
            signal.signal(number, supervisor.pass_on)
        status = supervisor.wait()
    sys.exit(status)


def serve(connection):
    """Start what a packet asks for, and answer until it has ended."""
    packet, streams, *_ = socket.recv_fds(connection, 2**18, 3)
    request = json.loads(packet)

    def begin():
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        (interpret if "words" in request else supervise)(request)

    pid = fork(begin)
    connection.send(str(pid).encode())
    connection.recv(64)  # the number stays its own until somebody waits for its end
    connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def main():
    RuleLabeler()  # Python keeps the patterns that it has compiled
    watch.SECONDS_BETWEEN = 0.1
    launch.GRACE = 0.5
    towers.FIRST_STEPS = 20
    for number in (signal.SIGINT, signal.SIGHUP):  # a test run in the background inherits that they are ignored
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(sys.argv[1])
        server.listen()
        server.settimeout(10)
        tests = os.getppid()
        print("ready", flush=True)
        while os.getppid() == tests:  # they may have been killed
            with contextlib.suppress(TimeoutError):
                connection, _ = server.accept()
                fork(lambda connection=connection: serve(connection))
                connection.close()
            with contextlib.suppress(ChildProcessError):  # there is none
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


if __name__ == "__main__":
    main()
