"""Starts trainings as forks of one process that has imported everything: real processes, real signals, no waiting for imports.

Reads one JSON object a line: ``{"argv", "processes", "log", "plant"}`` starts one and answers its process number,
``{"wait": number}`` answers its exit status, ``{"end"}`` ends the server; ``{"call": [module, function], "with"}`` in place of ``"argv"`` calls that function.
"""

import importlib
import json
import os
import signal
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
from modules.messages import UserError, run
from modules.processes import launch, watch
from modules.training import trainer as training
from modules.weights import saving


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
    run(main_train.main, "add --resume to continue from current_checkpoint.pth")


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
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def supervise(request):
    """The launcher, whose processes are forks."""
    log = os.open(request["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
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


def main():
    watch.SECONDS_BETWEEN = 0.1
    launch.GRACE = 0.5
    for number in (signal.SIGINT, signal.SIGHUP):  # a test run in the background inherits that they are ignored
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    workers = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "end" in request:  # closing the pipe does not say so while a fork of the tests still holds it
            os._exit(0)
        if "wait" in request:
            pid = request["wait"]
            while workers[pid].poll() is None:
                time.sleep(0.02)
            print(workers[pid].returncode, flush=True)
        else:
            pid = fork(lambda request=request: supervise(request))
            workers[pid] = Worker(pid)
            print(pid, flush=True)


if __name__ == "__main__":
    main()
