"""Fixtures that several files share: tiny models, tiny data sets, golden arrays.

Whatever imports torch is imported by the fixture that needs it: the process that shares the files out among others reads
this file too, and they start when it has.
"""

import faulthandler
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"
NOT_QUICK = {
    "prepared", "trained", "trainings", "call", "train", "prepare", "subprocess", "end_of", "real_cxr", "given",
}  # fmt: skip
BROWSER = "browser"  # the fixture that starts one


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark what is quick: what is not slow, in a file that runs no program. The files with the most slow tests come first.

    A file that imports what runs a program or what makes up inputs (hypothesis), and a test that asks for such a fixture, for a
    browser or for real reports, is not quick.

    Several processes share the files, so that none is left with a long one when the others have ended. One process keeps the order
    of its command line.
    """
    slow = Counter()
    for item in items:
        if item.get_closest_marker("slow"):
            slow[item.path] += 1
        elif BROWSER not in item.fixturenames and not NOT_QUICK & {*item.fixturenames, *vars(item.module)}:
            item.add_marker("quick")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: -slow[item.path])


def pytest_exception_interact(node, report):
    """With -vv, say why a test fails as soon as it has: a run that is cut reaches no summary."""
    if node.config.option.verbose > 1:
        node.config.get_terminal_writer().write(f"\n{report.longreprtext}\n", flush=True)


def pytest_collection_finish():
    """As --deterministic has it: cuBLAS reads this once, in whichever test multiplies first."""
    import torch

    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def pytest_unconfigure():
    """All is said: whatever now keeps the process from ending is shown, and ended with it.

    Processes that load data for a loader whose test has failed half-way outlive a request to end. Nobody hears of their end:
    torch would raise wherever the process then is.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)


@pytest.fixture(scope="session")
def golden():
    """Opens ``tests/golden/<name>.npz``."""
    return lambda name: np.load(GOLDEN / f"{name}.npz", allow_pickle=False)


@pytest.fixture
def real_cxr():
    """Folder of real reports and images; the test is skipped without it."""
    folder = os.environ.get("REVTAF_REAL_CXR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real reports and images: set REVTAF_REAL_CXR to their folder")
    return Path(folder)


def assert_equal_folders(one, two, at_least):
    """Two feature folders hold the same files, ``at_least`` among them, byte for byte; the order of a manifest is free."""
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (one, two)]
    manifests = [json.loads(part.pop("manifest.json")) for part in files]
    assert manifests[0] == manifests[1]
    assert files[0].keys() >= at_least
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []


def assert_says_speed(stages, printed):
    """Every stage has said how fast it was, and of so few studies nothing more."""
    for stage in stages:
        assert re.search(rf"^{stage}: \d+ items in .* items/s$", printed, re.MULTILINE), stage


@pytest.fixture
def tiny_model():
    """Builds a tiny model from changes to its configuration, always with the same weights."""
    import torch
    from tiny import tiny_config

    from models.revtaf import Revtaf

    def build(**changes):
        torch.manual_seed(0)
        return Revtaf(tiny_config(**changes)).eval()

    return build


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Starts programs and trainings without importing anything; its ``python`` stands in for an interpreter."""
    from trainings import Forks

    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.end()


@pytest.fixture(scope="session")
def trainings(forks, prepared):
    """Trainings of one or more processes that are started without importing anything; ``prepared`` is their data."""
    from trainings import Trainings

    return Trainings(forks, prepared)


def made_once(tmp_path_factory, name, make):
    """The folder that ``make(folder)`` fills: once for all processes of a run of the tests, which wait for the first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = folder.with_suffix(".whole")
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that died over it
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A drawn and prepared data set; nobody changes it."""
    from programs import prepare

    return made_once(tmp_path_factory, "synth", prepare)


@pytest.fixture(scope="session")
def trained(prepared, tmp_path_factory):
    """A run of two epochs on it; nobody changes it."""
    from programs import train

    return made_once(tmp_path_factory, "run", lambda folder: train(prepared, folder))
