"""What `bash quickstart.sh` asks of the programs, and what it has left, where it has run: are references read, do maps point?"""

import os
import shlex
import subprocess
import sys

import pytest

from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare, MainTest, MainTrain
from modules.records import ROOT, read_json

RUN = ROOT / "results" / "synth_cxr"


@pytest.fixture(scope="module")
def metrics():
    if not (RUN / "metrics.json").is_file():
        pytest.skip("bash quickstart.sh has not been run here")
    return read_json(RUN / "metrics.json")


def test_a_better_reference_makes_a_better_report(metrics):
    loss = metrics["reference_sensitivity"]
    assert loss["oracle"] < loss["retrieved"] - 0.01
    assert loss["retrieved"] < loss["none"] - 0.005
    assert loss["retrieved"] < loss["random"] - 0.01
    assert loss["retrieved"] < loss["most_different"] - 0.01


def test_entities_differ_and_their_maps_point(metrics):
    assert metrics["map_correlation"] < 0.6
    assert metrics["text_cosine"] < 0.95
    rows = metrics["grounding"]["rows"]
    assert rows["maps"]["hit_rate"] > 2 * rows["chance"]["hit_rate"]


def test_what_is_retrieved_beats_the_cosine_of_scores(metrics):
    found = metrics["retrieval"]
    assert found["learned"]["bleu_4_top1"] > found["cosine"]["bleu_4_top1"] + 0.05
    assert found["learned"]["label_f1_top1"] > found["cosine"]["label_f1_top1"]


def test_findings_are_on_their_side(metrics):
    side = metrics["particulars"]["side"]
    assert side["findings"] > 200
    assert side["same"] > 0.6  # a coin has .5


def asked(folder, *flags):
    """The options of the three programs that ``bash quickstart.sh FLAGS`` starts, as they read them."""
    script = (ROOT / "quickstart.sh").read_text(encoding="utf-8")
    assert script.count('"$PYTHON" main_') == 3
    for name in ("environment.sh", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "quickstart.sh").write_text(script.replace('"$PYTHON" main_', "echo main_"), encoding="utf-8")
    done = subprocess.run(
        ["bash", "quickstart.sh", *flags], cwd=folder, capture_output=True, text=True, timeout=60,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("main_")]
    programs = {program.file: program for program in (MainPrepare, MainTrain, MainTest)}
    assert [words[0] for words in lines] == [*programs]
    return [parse_options(programs[words[0]], words[1:]) for words in lines]


def test_the_quickstart_makes_fewer_and_larger_steps_than_the_defaults(tmp_path):
    preparing, training, testing = asked(tmp_path)
    scorer = preparing.scorer
    assert (preparing.loading.batch_size, scorer.scorer_dropout, scorer.scorer_lr) == (24, 0, 2.5e-3)
    assert (training.loading.batch_size, training.training.epochs, training.training.init_lr) == (24, 5, 3e-3)
    assert (training.model.references, training.loading.at_once, testing.loading.at_once) == (1, 64, 64)
    assert testing.testing.baselines


@pytest.mark.parametrize(
    ("flags", "option", "value"),
    [
        ("--epochs 9", lambda asked: asked.training.epochs, 9),
        ("--references 4", lambda asked: asked.model.references, 4),
        ("--batch_size=7", lambda asked: asked.loading.batch_size, 7),
        ("--retrieval none", lambda asked: asked.model.retrieval, "none"),
        ("--retrieval=cosine", lambda asked: asked.model.retrieval, "cosine"),
        ("--global_batch 30", lambda asked: asked.training.global_batch, 30),
        ("--reference_memory 0", lambda asked: asked.model.reference_memory, 0),
        ("--init_from model.pth", lambda asked: "references" in asked.given, False),
        ("--save_dir elsewhere", lambda asked: asked.run.save_dir, "elsewhere"),
    ],
)
def test_a_flag_of_ones_own_counts(tmp_path, flags, option, value):
    _, training, testing = asked(tmp_path, *flags.split())
    assert option(training) == value
    assert testing.run.save_dir == training.run.save_dir
