"""``main_test.py --rescore``: the reports of an earlier test are scored again, and none is written."""

import pytest
from programs import SMALL, call, places, refused

import main_test
from modules.prediction import evaluated_split
from modules.records import read_json, read_jsonl, write_jsonl


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


def test_reports_are_scored_again_and_not_written(tested, prepared, trained, monkeypatch):
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
    assert [row["prediction"] for row in read_jsonl(tested / "predictions.jsonl")] == [
        row["prediction"] for row in rows
    ]
    call(
        main_test, *argv(prepared, trained, tested), "--rescore", "--max_words", 5
    )  # another protocol, other references
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
