"""modules/evaluation/scorer.py and what is written of it, on real reports and copies that are wrong on purpose."""

import json
import re
import sys
import types

import numpy as np
import pytest

from benchmarks.wrong_copies import wrong_copies
from modules.corpus.annotations import read_annotation
from modules.evaluation.metrics.clinical import clinical_scores, frequency_thirds
from modules.evaluation.metrics.extra import extra_sums
from modules.evaluation.metrics.metric_names import full_name
from modules.evaluation.metrics.nlg import nlg_scores
from modules.evaluation.reports import results
from modules.evaluation.reports.published_rows import COLUMNS, comparability, published_rows
from modules.evaluation.reports.tables import latex_table, markdown_table
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.labels import MIMIC_POSITIVE_RATES

REFERENCES = [
    "there is a small left pleural effusion . the heart is enlarged .",
    "no pleural effusion . no pneumothorax . the lungs are clear .",
    "right lower lobe pneumonia . mild pulmonary edema .",
    "the heart is normal in size . no focal consolidation .",
] * 5


def scorer(**options):
    return ReportScorer(REFERENCES, RuleLabeler(), thirds=frequency_thirds(MIMIC_POSITIVE_RATES), **options)


def test_wrong_copies_of_real_reports(real_cxr):
    """CE falls where a denial becomes a finding and stays where sentences only change places; BLEU does otherwise."""
    annotation = read_annotation(real_cxr / "annotation_iu_r2gen_layout.json")
    copies = wrong_copies([study.report for split in annotation.values() for study in split])
    truth = copies.pop("the reference itself")
    assert len(truth) == 2955
    labeler = RuleLabeler()
    labels = labeler(truth)
    perfect = clinical_scores(labels, labels)
    found = {name: clinical_scores(labeler(texts), labels) for name, texts in copies.items()}
    few = slice(None, None, 20)  # enough for BLEU
    overlaps = {name: nlg_scores(texts[few], truth[few], meteor=False) for name, texts in copies.items()}
    for average in ("ce_f1_example", "ce_f1_micro", "ce_f1_macro"):
        for harmless in ("sentences shuffled", "left and right exchanged"):  # no label knows the side
            assert found[harmless][average] == pytest.approx(perfect[average], abs=0.01), harmless
        assert found["denials turned into findings"][average] < perfect[average] - 0.1
        assert found["another study's report"][average] < perfect[average] - 0.3
    assert overlaps["denials turned into findings"]["BLEU_1"] > 0.8  # a warning about BLEU
    assert overlaps["left and right exchanged"]["BLEU_4"] > 0.9
    assert overlaps["sentences shuffled"]["BLEU_4"] < overlaps["left and right exchanged"]["BLEU_4"]


def test_systems_are_scored_as_one_by_one():
    ours = [text.replace("left", "right") for text in REFERENCES]
    full = [f"{text} comparison is made ." for text in REFERENCES]
    judge = scorer(full=full)
    found = judge.systems({"ours": ours, "same": REFERENCES}, meteor=False)
    plain = judge(ours, meteor=False)
    assert {name: found["ours"].scores[name] for name in plain} == pytest.approx(plain, abs=1e-12)
    alone = ReportScorer(full, RuleLabeler())(ours, meteor=False)
    assert found["ours"].scores["BLEU_4_full"] == pytest.approx(alone["BLEU_4"], abs=1e-12)
    assert found["same"].scores["BLEU_4"] == pytest.approx(1) != found["same"].scores["BLEU_4_full"]
    assert found["ours"].scores["METEOR"] is None is found["ours"].scores["METEOR_full"]
    spans = found["ours"].intervals(50)
    assert set(spans) == {name for name, value in found["ours"].scores.items() if value is not None}
    table = judge.per_class(found["ours"], 50)
    assert table["edema"] == {
        "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 5, "predicted": 5, "f1_low": 1.0, "f1_high": 1.0,
        "third": "medium",
    }  # fmt: skip
    with pytest.raises(ValueError, match="1 predictions and 20 references"):
        judge.systems({"short": ["a"]})


def test_meteor_runs_once_for_all_systems(monkeypatch):
    calls = []

    class Run:
        def __init__(self, hypotheses, references):
            calls.append(len(hypotheses))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("stopped")

        def counts(self):
            return np.ones((calls[0], 23)) * np.arange(1, calls[0] + 1)[:, None]

    monkeypatch.setattr("modules.evaluation.scorer.MeteorRun", Run)
    found = scorer(full=REFERENCES).systems({"a": REFERENCES, "b": REFERENCES})
    assert calls == [80, "stopped"]
    assert found["a"].per_study["METEOR"].shape == (20,)
    assert "METEOR_full" in found["b"].intervals(10)


def test_rows_get_labels_and_scores():
    judge = scorer()
    system = judge.systems({"a": REFERENCES}, meteor=False)["a"]
    rows = [{"id": i} for i in range(20)]
    results.add_scores(rows, judge, system)
    assert rows[0]["labels_reference"] == rows[0]["labels_prediction"]
    assert len(rows[0]["labels_reference"]) == 18
    assert rows[0]["scores"]["METEOR"] is None
    assert rows[0]["scores"]["ce_f1"] == 1
    assert json.dumps(rows)


def test_comparisons_say_who_is_subtracted_from_whom():
    worse = [text.replace("no ", "") for text in REFERENCES]
    systems = scorer().systems({"good": REFERENCES, "worse": worse}, meteor=False)
    found = results.comparisons(systems, [("good", "worse")], 50, 0)
    assert set(found) == {"good minus worse"}
    row = found["good minus worse"]["ce_f1_micro"]
    assert row["difference"] == pytest.approx(1 - systems["worse"].scores["ce_f1_micro"])
    assert row["p"] <= row["p_holm"]
    assert "METEOR" not in found["good minus worse"]
    lines = results.comparison_lines(found)
    assert "good minus worse" in lines[0]
    assert len(lines) == 1 + len(found["good minus worse"])


def test_every_figure_has_a_full_name():
    system = scorer(full=REFERENCES).systems({"a": REFERENCES}, meteor=False)["a"]
    names = {name: full_name(name, 100) for name in system.scores}
    assert all(full != name for name, full in names.items())
    cited = [name for name in names if name not in ("ce_precision", "ce_recall", "ce_f1")]
    assert len({names[name] for name in cited if "uncertain_positive" not in name}) == len(
        [name for name in cited if "uncertain_positive" not in name]
    )
    assert "first 100 words" in names["BLEU_4"]
    assert "whole references" in names["BLEU_4_full"]
    assert "uncertain as positive" in names["ce_f1_micro_5_uncertain_positive"]
    assert full_name("BLEU_2", 0) == full_name("BLEU_2_full", 100)


def test_tables_hold_published_rows_ours_and_intervals(tmp_path):
    scores = {"BLEU_4": 0.1234, "BLEU_4_full": 0.1111, "METEOR": None, "ce_f1": 0.5}
    shown = results.write_tables(
        tmp_path, "mimic_cxr", {"ours": scores}, {"ours": {"BLEU_4": (0.1, 0.2)}}, ["A note, 5 %."]
    )
    text = (tmp_path / "table.md").read_text()
    assert "R2Gen (EMNLP 2020), published" in text
    assert "R2Gen" not in shown
    assert "0.123" in shown
    assert "0.100-0.200" in shown
    assert re.search(r"whole references .*0\.111", shown)
    assert text.rstrip().endswith("A note, 5 %.")
    latex = (tmp_path / "table.tex").read_text()
    assert r"A note, 5 \%." in latex
    assert "0.100--0.200" in latex
    assert latex.count(r"\midrule") == 2
    columns = latex.split(r"\toprule")[1].splitlines()[1].count("&")
    assert all(line.count("&") == columns for line in latex.splitlines() if line.endswith(r"\\"))
    assert markdown_table({"a": {}}).count("n/a") == 12
    assert r"a\_b" in latex_table({"a_b": {}}, "", 1)


def test_published_rows_are_whole():
    for dataset, count in (("mimic_cxr", 10), ("iu_xray", 5)):
        rows = published_rows(dataset)
        assert len(rows) == count
        assert all(tuple(row) == COLUMNS for row in rows.values())
        assert all(value is None or 0 < value < 1 for row in rows.values() for value in row.values())
    assert published_rows("mimic_cxr")["REVTAF (ICCV 2025)"]["ce_f1"] == 0.592
    assert published_rows("iu_xray")["REVTAF (ICCV 2025)"]["BLEU_4"] == 0.107
    assert published_rows("custom") == published_rows(None) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "All their columns can be compared with ours;"),
        ({"cleaning": "none"}, "can be compared with ours if the references"),
        ({"labeler": "rule"}, "P, R and F1 can not"),
        ({"studies": 590}, "None of them can be compared with ours: 590 studies were scored, not 3,858"),
        ({"max_words": 0, "split": "val"}, "the val split was scored; the references keep all words, not 100"),
        ({"cleaning": "minimal"}, "cleaned otherwise"),
        ({"dataset": "synth_cxr"}, "No figures are published for synth_cxr"),
    ],
)
def test_the_caption_says_what_may_be_compared(changes, words):
    protocol = {"split": "test", "studies": 3858, "cleaning": "published", "max_words": 100, "labeler": "chexbert"}
    changes = {"dataset": "mimic_cxr", **protocol, **changes}
    assert words in comparability(changes.pop("dataset"), **changes)


def fake_radeval(monkeypatch, compute):
    module = types.ModuleType("radeval")
    module.RadEval = lambda metrics, per_sample, show_progress: lambda refs, hyps: compute(metrics, refs, hyps)
    monkeypatch.setitem(sys.modules, "radeval", module)


def test_metrics_of_radeval(monkeypatch):
    fake_radeval(monkeypatch, lambda metrics, refs, hyps: {metrics[0]: [0.5, 1.5]})
    assert extra_sums("green", ["a", ""], ["b", "c"])[0].scores() == {"green": 1.0}
    fake_radeval(monkeypatch, lambda metrics, refs, hyps: {"radcliq_v1": [1.0, 3.0]})
    assert extra_sums("radcliq", ["a", "b"], ["c", "d"])[0].scores() == {"radcliq_v1": 0.5}


def test_a_metric_that_is_not_there_costs_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "radeval", None)
    sums, sentence = extra_sums("green", ["a"], ["b"])
    assert sums is None
    assert "pip install -r requirements/metrics.txt" in sentence

    def offline(metrics, refs, hyps):
        raise OSError("no weights\nin the cache")

    fake_radeval(monkeypatch, offline)
    sums, sentence = extra_sums("green", ["a"], ["b"])
    assert sums is None
    assert "no weights in the cache" in sentence
    assert "\n" not in sentence
    fake_radeval(monkeypatch, lambda metrics, refs, hyps: {"green": 0.5})
    assert "one value per report" in extra_sums("green", ["a"], ["b"])[1]
