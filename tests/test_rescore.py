"""``main_test.py --rescore``: the reports of an earlier test are scored again, and none is written."""

import csv
import re

import numpy as np
import pytest
from programs import SMALL, call, places, refused
from small_set import small_bank, small_set

import main_test
from modules.evaluation.rescoring import kept_reports
from modules.prediction import evaluated_split
from modules.records import read_json, read_jsonl, write_jsonl


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def argv(prepared, trained, save_dir):
    return [
        *places(prepared), *SMALL, "--load_pretrained", trained / "model_best.pth", "--save_dir", save_dir, "--no-meteor",
        "--resamples", 10, "--no-viewer",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tested(prepared, trained, tmp_path_factory):
    save_dir = tmp_path_factory.mktemp("tested")
    call(main_test, *argv(prepared, trained, save_dir), "--gen_min_len", 25, "--gen_max_len", 8, "--beam_size", 2)
    return save_dir


def test_reports_are_scored_again_and_not_written(tested, prepared, trained, monkeypatch, capsys):
    def fail(*_, **__):
        raise AssertionError("a report is written")

    monkeypatch.setattr(evaluated_split, "generate_reports", fail)
    monkeypatch.setattr(main_test, "loss_by_reference", fail)
    first, rows = read_json(tested / "metrics.json"), read_jsonl(tested / "predictions.jsonl")
    call(main_test, *argv(prepared, trained, tested), "--rescore")
    again = read_json(tested / "metrics.json")
    assert again["scores"] == first["scores"]
    assert again["protocol"]["generation"] == first["protocol"]["generation"]  # as they were written, with 2 beams
    assert again["protocol"]["generation"]["beams"] == 2
    assert again["reference_sensitivity"] == first["reference_sensitivity"]
    assert again["trained_steps"] == first["trained_steps"] > 0
    assert again["trained_epochs"] == first["trained_epochs"]
    assert first["trained_epochs"]["kept"] <= first["trained_epochs"]["of"] == len(read_table(trained / "metrics.csv"))
    assert [row["prediction"] for row in read_jsonl(tested / "predictions.jsonl")] == [
        row["prediction"] for row in rows
    ]
    said = capsys.readouterr().out
    assert "references were cleaned" not in said
    assert " than: " not in said  # no baselines were asked for
    call(
        main_test, *argv(prepared, trained, tested), "--rescore", "--max_words", 5, "--baselines"
    )  # another protocol, other references
    said = capsys.readouterr().out
    assert re.search(
        r"\n\n(better|no better|worse) than: .* in BLEU-4.* after Holm's correction over these 8\)\n", said
    )
    assert "the reports of REVTAF are no nearer to their own references" in said  # it has learnt nothing yet
    assert re.search(r"^\d of 9 reports are distinct, \d are training reports word for word\n\n", said, re.MULTILINE)
    assert "warning: references were cleaned as --cleaning and --max_words published 100, reports are as published 5:" in said  # fmt: skip
    assert read_json(tested / "metrics.json")["scores"]["test_BLEU_1"] != first["scores"]["test_BLEU_1"]
    assert all(len(row["reference"].split(" ")) <= 5 for row in read_jsonl(tested / "predictions.jsonl"))


def test_reports_of_other_studies_are_refused(tested, prepared, trained, capsys):
    rows = read_jsonl(tested / "predictions.jsonl")
    write_jsonl(tested / "predictions.jsonl", rows[1:])
    message = refused(
        capsys,
        "that are not the 9 of this test: leave out --rescore",
        main_test,
        *argv(prepared, trained, tested),
        "--rescore",
    )
    assert f"holds the reports of {len(rows) - 1} studies" in message
    write_jsonl(tested / "predictions.jsonl", rows)


@pytest.mark.parametrize("written_with", [("published", 100), ("published", 3)])
def test_both_references_are_those_of_this_test(tmp_path, written_with):
    """A whole reference of the earlier test stood beside the cut one of this test, and was scored instead of it."""
    reports = {"t0": "Heart is 4.5 cm. No effusion.", "t1": "No edema."}
    bank = small_bank(tmp_path / "features", {"b0": "a ."}, np.zeros((3, 18)), others=[*reports])
    dataset = small_set(bank, reports)

    def rows_of(cleaning, max_words):
        dataset.use_reports(cleaning, max_words)
        return kept_reports(tmp_path, dataset)

    first = [{"id": "t0", "reference": "old", "reference_full": "old", "prediction": "x ."}]
    write_jsonl(tmp_path / "predictions.jsonl", [*first, {"id": "t1", "reference": "old", "prediction": "y ."}])
    write_jsonl(tmp_path / "predictions.jsonl", rows_of(*written_with))
    cut, short = rows_of("minimal", 3)
    assert cut == {
        "id": "t0", "prediction": "x .", "reference": "heart is 4.5", "reference_full": "heart is 4.5 cm . no effusion .",
    }  # fmt: skip
    assert short == {"id": "t1", "prediction": "y .", "reference": "no edema ."}
    whole, _ = rows_of("published", 100)
    assert whole == {"id": "t0", "prediction": "x .", "reference": "heart is 45 cm . no effusion ."}
