"""Fixtures that several files share: tiny models, tiny data sets, golden arrays."""

import faulthandler
import fcntl
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import prepare, train

from models.config import RevtafConfig
from models.revtaf import Revtaf, StudyInputs
from modules.training.losses import IGNORED, token_loss

GOLDEN = Path(__file__).parent / "golden"
if torch.cuda.is_available():  # as --deterministic has it: cuBLAS reads it once, in whichever test multiplies first
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


NOT_QUICK = {
    "prepared", "trained", "trainings", "call", "train", "prepare", "subprocess", "end_of", "real_cxr", "given",
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark what is quick: what is not slow, in a file that runs no program. The files with the most slow tests come first.

    A file that imports what runs a program or what makes up inputs (hypothesis), and a test that asks for such a fixture or
    for real reports, is not quick.

    Two processes share the files, so that neither is left with a long one when the other has ended.
    """
    slow = Counter()
    for item in items:
        if item.get_closest_marker("slow"):
            slow[item.path] += 1
        elif not NOT_QUICK & {*item.fixturenames, *vars(item.module)}:
            item.add_marker("quick")
    items.sort(key=lambda item: -slow[item.path])


def pytest_unconfigure():
    """All is said: whatever now keeps the process from ending is shown, and ended with it."""
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


def hashed(name, count):
    """Numbers that every machine makes alike: integer hashing to multiples of 2**-23 in [-1, 1)."""
    values, seed = np.empty(count), np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        for start in range(0, count, 1 << 15):  # what fits the cache is done ten times as fast
            z = np.arange(start, min(start + (1 << 15), count), dtype=np.uint64) + seed
            z = z * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            values[start : start + len(z)] = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return values


def golden_values(name, shape):
    """Made-up weights of the golden CheXbert and MedKLIP: hashed numbers, scaled by kind."""
    values = hashed(name, math.prod(shape))
    if len(shape) > 1:
        doubled = name.endswith(("in_proj_weight", "query.weight", "key.weight"))
        values *= math.sqrt(3 / math.prod(shape[1:])) * (2 if doubled else 1)
    else:
        values = 1 + 0.2 * values if name.endswith((".weight", "running_var")) else 0.1 * values
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


PUBLISHED_SWITCHES = {
    "ot_plan": "single", "mask_padding": False, "entity_keys": "text", "map_view": "patches", "align_pairs": "all",
    "reference_memory": 0, "tower_inputs": "thumbnail",
}  # fmt: skip


def tiny_config(**changes):
    """The smallest sensible model."""
    values = {
        "image_size": 64, "visual_extractor": "resnet18", "grid": "1x", "report_feature_dim": 16, "memory_layers": 2,
        "memory_feedforward": 32, "num_heads": 4, "dropout": 0.1, "num_conditions": 18, "num_states": 4,
        "num_entities": 75, "enhancer": "scores", "manifold": "poincare", "curvature": 0.01, "learn_curvature": False,
        "hyperbolic_dim": 12, "hyperbolic_layers": 2, "tower_inputs": "style", "retrieval": "learned", "entity_text_dim": 24, "attention_dim": 20,
        "attention": "ot", "entity_keys": "query", "map_view": "near", "align_pairs": "mentions", "reference_memory": 6,
        "references": 1,
        "ot_plan": "joint", "ot_solver": "sinkhorn", "ot_epsilon": 0.05, "ot_iterations": 100, "mask_padding": True,
        "vocab_size": 50, "pad_id": 0, "end_id": 2, "prompt": "states", "decoder_layers": 2, "decoder_heads": 4, "hidden_size": 32,
        "intermediate_size": 64, "max_positions": 96,
    }  # fmt: skip
    return RevtafConfig(**{**values, **changes})


def tiny_study(batch=3, sentences=4, seed=0, size=64):
    """Random inputs for :func:`tiny_config`; the last study has one padding sentence."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.randn(*shape, generator=generator)

    mask = torch.ones(batch, sentences, dtype=torch.bool)
    mask[-1, -1] = False
    return StudyInputs(
        image=rand(batch, 3, size, size),
        region_scores=torch.rand(batch, 75, generator=generator),
        region_text=rand(batch, 75, 24),
        memory=rand(batch, 21, 16),
        reference_text=rand(batch, sentences, 16) * mask.unsqueeze(-1),
        reference_mask=mask,
        reference_tokens=torch.randint(0, 50, (batch, 6), generator=generator),
    )


def report_loss(token_logits, token_ids, token_mask, prompt_length, label_smoothing=0.1):
    """Cross-entropy of every next token from padded logits ``(B, T, V)``; prompt and padding are not predicted."""
    targets = token_ids.masked_fill(~token_mask, IGNORED)
    targets[:, :prompt_length] = IGNORED
    logits = token_logits[:, prompt_length - 1 : -1].flatten(0, 1)
    return token_loss(logits, targets[:, prompt_length:].flatten(), label_smoothing)


@pytest.fixture
def tiny_model():
    """Builds a tiny model from changes to its configuration, always with the same weights."""

    def build(**changes):
        torch.manual_seed(0)
        return Revtaf(tiny_config(**changes)).eval()

    return build


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
        from programs import SMALL, SMALL_MODEL, places

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
        from one_step import one_step

        self.call(one_step, processes, folder=str(folder), name=name, **how)
        return torch.load(folder / f"{name}.pth", weights_only=True)

    def wait(self, started):
        pid, log = started
        status = self.ask({"wait": pid})
        return status, log.read_text()

    def run(self, save_dir, *flags, **how):
        return self.wait(self.start(save_dir, *flags, **how))


@pytest.fixture(scope="session")
def trainings(prepared, tmp_path_factory):
    """Trainings of one or more processes that are started without importing anything; ``prepared`` is their data."""
    trainings = Trainings(tmp_path_factory.mktemp("logs"), prepared)
    yield trainings
    with trainings.server as server:  # closes both pipes
        server.stdin.write(json.dumps({"end": True}) + "\n")
        server.stdin.flush()
        try:
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()  # else it would hold the output of the tests open for ever


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
    return made_once(tmp_path_factory, "synth", prepare)


@pytest.fixture(scope="session")
def trained(prepared, tmp_path_factory):
    """A run of two epochs on it; nobody changes it."""
    return made_once(tmp_path_factory, "run", lambda folder: train(prepared, folder))
