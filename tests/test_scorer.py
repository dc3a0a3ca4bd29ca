"""modules/evaluation/scorer.py and what is written of it, on real reports and copies that are wrong on purpose."""

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks.wrong_copies import wrong_copies
from modules.corpus.annotations import read_annotation
from modules.corpus.text import clean_report, postprocess_prediction
from modules.evaluation.metrics import measures
from modules.evaluation.metrics.clinical import clinical_sums, frequency_thirds
from modules.evaluation.metrics.extra import extra_sums
from modules.evaluation.metrics.measures import rouge_l_f1, sentence_bleu_2
from modules.evaluation.metrics.meteor import meteor_sums
from modules.evaluation.metrics.metric_names import full_name
from modules.evaluation.metrics.nlg import overlap_sums, rouge_l
from modules.evaluation.metrics.profiles import PROFILES
from modules.evaluation.metrics.sufficient_sums import means
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import ReportFile
from modules.evaluation.reports import results
from modules.evaluation.reports.published_rows import (
    COLUMNS,
    PUBLISHED,
    TRANSCRIBED,
    best_published,
    comparability,
    conventions,
    published_rows,
    titled_rows,
    unlike,
)
from modules.evaluation.reports.tables import counted, latex_table, markdown_table
from modules.evaluation.reports.yardsticks import good_lines, good_values, yardsticks
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.labels import MIMIC_POSITIVE_RATES
from modules.records import read_jsonl

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
    perfect = clinical_sums(labels, labels).scores()
    found = {name: clinical_sums(labeler(texts), labels).scores() for name, texts in copies.items()}
    page = (Path(__file__).parents[1] / "docs/scoring.md").read_text().splitlines()
    for name, scores in {"the reference itself": perfect, **found}.items():  # the table is of these rules
        printed = next(line for line in page if line.startswith(f"| {name}")).strip("| ").split(" | ")[-3:]
        ours = [scores[f"ce_f1_{average}"] for average in ("example", "macro", "micro")]
        assert ours == pytest.approx(list(map(float, printed)), abs=6e-4), name
    few = slice(None, None, 20)  # enough for BLEU
    overlaps = {
        name: overlap_sums([postprocess_prediction(text) for text in texts[few]], truth[few]).scores()
        for name, texts in copies.items()
    }
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


def test_metrics_of_raw_text_read_whole_references_where_none_are_raw():
    cut, predictions = [" ".join(report.split()[:4]) for report in REFERENCES], {"a": REFERENCES}
    found = ReportScorer(cut, RuleLabeler(), full=REFERENCES).systems(predictions, meteor=False)["a"].scores
    assert found["BLEU_2_sentence"] == pytest.approx(1)
    assert found["BLEU_4"] < 0.9
    alone = ReportScorer(cut, RuleLabeler()).systems(predictions, meteor=False)["a"].scores
    assert alone["BLEU_2_sentence"] < 0.9


def test_meteor_runs_once_for_all_systems_and_each_gets_its_own(monkeypatch):
    calls = []

    def counts_of(pairs):  # (n, 23), other ones for every hypothesis and reference, however they are spaced
        letters = [[1 + text.count("e") for text in pair] for pair in pairs]
        return np.array([np.arange(1.0, 24) * said + np.arange(23) ** 2 * truth for said, truth in letters])

    class Run:
        def __init__(self, hypotheses, references):
            self.pairs = list(zip(hypotheses, references, strict=True))
            calls.append(len(self.pairs))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("stopped")

        def counts(self):
            return counts_of(self.pairs)

    monkeypatch.setattr("modules.evaluation.scorer.MeteorRun", Run)
    full = [f"{text} comparison is made ." for text in REFERENCES]
    systems = {"a": REFERENCES, "b": [text.replace("the", "these even") for text in REFERENCES]}
    found = scorer(full=full).systems(systems)
    assert calls == [80, "stopped"]
    for name, reports in systems.items():
        for figure, truth in (("METEOR", REFERENCES), ("METEOR_full", full)):
            wanted = meteor_sums(counts_of(zip(reports, truth, strict=True)))
            np.testing.assert_array_equal(found[name].per_study[figure], wanted.figures(wanted.values)["METEOR"])
    each = [found[name].per_study[figure] for name in "ab" for figure in ("METEOR", "METEOR_full")]
    assert len({tuple(values) for values in each}) == 4
    assert "METEOR_full" in found["b"].intervals(10)


def test_references_that_were_not_cut_are_scored_once(monkeypatch):
    pairs, overlap_sums = [], measures.overlap_sums

    class Run:
        def __init__(self, hypotheses, references):
            self.counts = lambda: np.arange(23.0 * len(hypotheses)).reshape(-1, 23) + 1

        __enter__, __exit__ = (lambda self: self), (lambda self, *_: None)

    monkeypatch.setattr("modules.evaluation.scorer.MeteorRun", Run)
    monkeypatch.setattr(measures, "overlap_sums", lambda *given: pairs.append(given) or overlap_sums(*given))
    ours, *others = ([text.replace(word, "right") for text in REFERENCES] for word in ("left", "no", "the"))
    found = scorer(full=REFERENCES).systems({"ours": ours, "b": others[0], "c": others[1]})
    assert len(pairs) == 3
    wanted = scorer().systems({"ours": ours, "b": others[0], "c": others[1]})
    for name, system in wanted.items():
        known = found[name].scores
        for figure in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "METEOR"):
            assert known[figure] == known[f"{figure}_full"] == system.scores[figure] is not None
        assert {*known} == {
            *system.scores,
            *(f"{figure}_full" for figure in measures.METRICS[0].figures),
            "METEOR_full",
        }
        assert found[name].intervals(20)["BLEU_4"] == found[name].intervals(20)["BLEU_4_full"]


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
    assert "R2Gen decodes" in names["ROUGE_L_single_blanks"]
    assert len({names[name] for name in cited if "uncertain_positive" not in name}) == len(
        [name for name in cited if "uncertain_positive" not in name]
    )
    assert "first 100 words" in names["BLEU_4"]
    assert "whole references" in names["BLEU_4_full"]
    assert "uncertain as positive" in names["ce_f1_micro_5_uncertain_positive"]
    assert full_name("BLEU_2", 0) == full_name("BLEU_2_full", 100)
    assert names["BLEU_2_sentence"].startswith("BLEU-2, mean over reports of raw text")


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
    assert re.search(r"A note, 5 %\. Published rows, unless .*\n\nOther protocols, not comparable", text)
    latex = (tmp_path / "table.tex").read_text()
    assert r"A note, 5 \%." in latex
    assert "0.100--0.200" in latex
    assert latex.count(r"\midrule") == 2
    columns = latex.split(r"\toprule")[1].splitlines()[1].count("&")
    assert all(line.count("&") == columns for line in latex.splitlines() if line.endswith(r"\\"))
    assert markdown_table({"a": {}}).count("n/a") == 12
    assert r"a\_b" in latex_table({"a_b": {}}, "", 1)


def test_intervals_have_dashes_in_latex_and_what_is_negative_a_minus_sign():
    """Of 1 and above they kept the hyphen, and a negative value became a dash and its digits."""
    spans = {"CIDEr": (3.712, 4.045), "METEOR": (-0.5, -0.25), "BLEU_1": (0.25, 1.0)}
    ours, interval = latex_table({"ours": {"CIDEr": -0.5}, "95 % interval": spans}, "a - b", 2).splitlines()[6:8]
    assert ours.count("$-$0.500") == 1
    assert ours.count(" -- ") == 11
    for cell in ("3.712--4.045", "$-$0.500--$-$0.250", "0.250--1.000"):
        assert rf"{{\scriptsize {cell}}}" in interval


def test_a_caption_says_how_many_studies_were_scored():
    assert counted("test", 54, 54) == "test split, 54 studies"
    assert counted("val", 200, 3858) == "val split, 200 of 3,858 studies"


def test_published_rows_are_whole():
    for dataset, count in (("mimic_cxr", 10), ("iu_xray", 5)):
        rows = published_rows(dataset)
        assert len(rows) == count
        assert all(value is None or 0 < value < 1 for row in rows.values() for value in row.values())
        for row in PUBLISHED[dataset].rows.values():
            assert len(row.figures) == len(COLUMNS)
            assert all((row.average, row.uncertain, row.reports, row.inputs, row.reference, row.source))
    assert published_rows("mimic_cxr")["REVTAF (ICCV 2025)"]["ce_f1"] == 0.592
    assert published_rows("iu_xray")["REVTAF (ICCV 2025)"]["BLEU_4"] == 0.107
    assert published_rows("custom") == published_rows(None) == {}
    assert best_published("mimic_cxr")["ce_f1"] == (0.608, "ESC-RL (ACL 2026)")
    assert best_published("mimic_cxr")["ce_f1_micro"] == (0.499, "EKAGen (CVPR 2024)")  # PriorRG saw more than an image


def test_what_a_published_row_does_otherwise_stands_in_its_title():
    titles = [*titled_rows("mimic_cxr")]
    assert "PriorRG (AAAI 2026), published (n = 3,852; micro; one image, prior study, indication)" in titles
    assert "EKAGen (CVPR 2024), published (micro)" in titles
    assert "REVTAF (ICCV 2025), published" in titles
    for table in PUBLISHED.values():
        usual = {
            (row.uncertain, row.inputs, row.reference, row.reports)
            for row in table.rows.values()
            if not unlike(table, row)
        }
        assert len(usual) == 1
    said = conventions("mimic_cxr")
    for words in (
        "n = 3,858",
        "example-based, uncertain as negative",
        "one image",
        "first 100 words",
        TRANSCRIBED,
        "in PriorRG",
    ):
        assert words in said


def test_every_figure_of_a_table_has_its_direction():
    """METEOR and the metrics of others are not computed for the yardsticks."""
    columns = {"BLEU_4": "BL-4", "METEOR": "MTR", "green": "GREEN"}
    good = good_values(columns, {"another patient's report": {"BLEU_4": 0.1}}, "mimic_cxr")
    assert [" ".join(line.split()) for line in good_lines(columns, good)] == [
        "BL-4 higher is better; another patient's report 0.100; best published 0.199 (ESC-RL (ACL 2026))",
        "MTR higher is better; not computed for these yardsticks; best published 0.199 (REVTAF (ICCV 2025))",
        "GREEN higher is better; not computed for these yardsticks",
    ]
    (line,) = good_lines({"BLEU_4": "BL-4"}, good_values({"BLEU_4": "BL-4"}, {}, None))  # of one study: there are none
    assert line.split() == ["BL-4", "higher", "is", "better"]


def test_rows_that_obey_the_harmonic_mean_are_micro():
    """2PR / (P + R) is F1 of micro figures; a row of the example-based column that obeys it stands in the wrong one."""
    for table in PUBLISHED.values():
        for model, row in table.rows.items():
            precision, recall, f1 = row.figures[-3:]
            harmonic = abs(2 * precision * recall / (precision + recall) - f1) <= 6e-4  # all three were rounded
            assert (row.average == "micro") == harmonic, model
            assert ("ce_f1" in row.named()) == (row.average == "example")
            assert ("ce_f1_micro" in row.named()) == (row.average == "micro")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "All their columns can be compared with ours; PriorRG (AAAI 2026) not:"),
        ({"cleaning": "none"}, "can be compared with ours if the references"),
        ({"labeler": "rule"}, "P, R and F1 can not"),
        ({"reports": 590}, "None of them can be compared with ours: 590 reports were scored, not 3,858"),
        ({"max_words": 0, "split": "val"}, "the val split was scored; the references keep all words, not 100"),
        ({"cleaning": "minimal"}, "cleaned otherwise"),
        ({"dataset": "synth_cxr"}, "No figures are published for synth_cxr"),
    ],
)
def test_the_caption_says_what_may_be_compared(changes, words):
    protocol = {"split": "test", "reports": 3858, "cleaning": "published", "max_words": 100, "labeler": "chexbert"}
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
    assert "crimson" not in sentence  # which nobody asked for

    def offline(metrics, refs, hyps):
        raise OSError("no weights\nin the cache")

    fake_radeval(monkeypatch, offline)
    sums, sentence = extra_sums("green", ["a"], ["b"])
    assert sums is None
    assert "no weights in the cache" in sentence
    assert "\n" not in sentence
    fake_radeval(monkeypatch, lambda metrics, refs, hyps: {"green": 0.5})
    assert "one value per report" in extra_sums("green", ["a"], ["b"])[1]


def test_metrics_of_raw_text_against_their_sources():
    """Values by hand from the definitions; the second report shares no bigram, the third no word, the fourth is the same."""
    assert sentence_bleu_2("The heart is big.", "The heart is big.") == pytest.approx(1)
    assert sentence_bleu_2("The heart is large.", "the Heart is normal .") == pytest.approx((4 / 5 * 2 / 4) ** 0.5)
    assert sentence_bleu_2("heart the", "the heart") == pytest.approx((1 * 0.1 / 1) ** 0.5)
    assert sentence_bleu_2("effusion", "the heart") == sentence_bleu_2("", "the heart") == 0
    assert sentence_bleu_2("the heart", "the heart is big .") == pytest.approx(np.exp(1 - 5 / 2))
    assert rouge_l_f1("Ends 4.5 cm above.", "ends 4.5 cm above") == 1
    assert rouge_l_f1("the heart", "the big heart") == pytest.approx(0.8)
    assert rouge_l_f1("", "the") == rouge_l_f1("a", "b") == 0


def test_a_row_in_the_tuple_is_a_metric_everywhere(monkeypatch):
    """One function and one row: the figure is in validation, in the test's scores, in intervals and in per-study values."""
    words = measures.Metric(
        "words", lambda scored: means({"words": np.array([len(t.split()) for t in scored.raw_predictions], float)}), ("words",)
    )  # fmt: skip
    monkeypatch.setattr("modules.evaluation.scorer.METRICS", (*measures.METRICS, words))
    judge = scorer()
    expected = np.mean([len(text.split()) for text in REFERENCES])
    assert judge(REFERENCES, meteor=False)["words"] == pytest.approx(expected)
    system = judge.systems({"a": REFERENCES}, meteor=False)["a"]
    assert system.scores["words"] == pytest.approx(expected)
    assert "words" in system.intervals(10)
    assert system.per_study["words"][0] == len(REFERENCES[0].split())


def test_sembscore_takes_chexberts_vectors():
    class Embedding(RuleLabeler):
        def embed(self, reports):
            return np.array([[len(report), 1.0] for report in reports])

    judge = ReportScorer(REFERENCES, Embedding())
    same, empty = judge.systems({"a": REFERENCES, "b": [""] * 20}, meteor=False).values()
    assert same.scores["semb_score"] == pytest.approx(1)
    assert empty.scores["semb_score"] < 0.1
    assert scorer().systems({"a": REFERENCES}, meteor=False)["a"].scores.get("semb_score") is None


def test_yardsticks():
    basis = yardsticks(REFERENCES, ["a", "b", "b"])
    assert set(basis["most frequent report"]) == {"b"}
    unlike = yardsticks([f"report {i}" for i in range(9)])
    assert all(
        own != other
        for own, other in zip([f"report {i}" for i in range(9)], unlike["another patient's report"], strict=True)
    )
    assert yardsticks(["one"]) == {}
    good = good_values(PROFILES["r2gen"].columns, {"another patient's report": {"BLEU_4": 0.05}}, "mimic_cxr")
    assert good["BLEU_4"]["best published"] == 0.199
    assert any(
        "another patient's report 0.050; best published 0.199 (ESC-RL" in line
        for line in good_lines(PROFILES["r2gen"].columns, good)
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.slow
def test_real_reports_against_themselves_are_at_the_maximum(profile, real_cxr):
    """Whatever a profile does to a text, it does to both sides."""
    rows = [row for row in read_jsonl(real_cxr / "reports.jsonl") if len((row["findings"] or "").split()) > 1]
    reports = [row["findings"] for row in rows]
    raw = PROFILES[profile].text == "raw"
    cleaned = reports if raw else [clean_report(text) for text in reports]
    ids = [row["id"] for row in rows]
    file = ReportFile(Path("a.csv"), reports, keys={"id": ids}, rows=[{"id": name} for name in ids])
    matched = match({"a": file}, file, "none" if raw else "auto", 0 if raw else 100)
    assert matched.full == matched.systems["a"] == cleaned
    every = slice(None, None, 1 if raw else 4)
    judge = ReportScorer(matched.full[every], RuleLabeler(), raw=reports[every], published=not raw)
    scores = judge.systems({"a": matched.systems["a"][every]}, False, {"a": reports[every]})["a"].scores
    found = {name: scores[name] for name in PROFILES[profile].columns if scores.get(name) is not None}
    assert len(found) > 0
    for name, value in found.items():
        if name == "ROUGE_L":  # the published chain leaves an empty word at the end of a prediction
            assert value == pytest.approx(
                np.mean([rouge_l(f"{text} ", text) for text in matched.full[every]]), abs=1e-3
            )
        elif name.startswith("ce_") and "micro" not in name and "macro" not in name:
            assert value == pytest.approx((judge.reference_labels[:, :14] == 1).any(axis=1).mean())
        else:
            assert value == pytest.approx(10 if name == "CIDEr" else 1, abs=1e-6), name
