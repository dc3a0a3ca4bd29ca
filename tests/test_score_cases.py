"""main_score.py on small files that were once read wrongly: BLEU-1 of every one, through the program."""

import json
from pathlib import Path

import pytest
from programs import call

import main_score

CASES = Path(__file__).parent / "cases" / "scoring"


def scored(folder, predictions, references, *flags):
    """Every figure of the one system."""
    words = [
        "--predictions",
        f"a={CASES / predictions}",
        "--save_dir",
        folder,
        "--no-meteor",
        "--resamples",
        10,
        *flags,
    ]
    call(main_score, *words, *(["--references", CASES / references] if references else []))
    metrics = json.loads((folder / "metrics.json").read_text())
    return metrics["systems"]["a"]["scores"]


@pytest.mark.parametrize(
    ("predictions", "references", "bleu"),
    [
        ("crimson.csv", None, 0.778),
        ("report_and_generated.csv", None, 0.200),
        ("report_and_generated.jsonl", None, 0.114),
        ("theirs.csv", "own_predictions.jsonl", 0.231),
        ("priorrg.csv", None, 0.778),
        ("cvt2distilgpt2_predictions.csv", None, 0.400),
        ("radfact.csv", None, 0.778),
        ("list.json", None, 0.400),
        ("hyps.txt", "refs.txt", 0.400),
        ("llava.jsonl", None, 0.597),
        ("uid_column.csv", "ref_annotation.json", 1.0),
        ("shuf_case_id.csv", "refs.csv", 1.0),
        ("excel_semicolon.csv", "excel_semicolon_refs.csv", 1.0),
        ("lower.csv", "refs_lower.csv", 1.0),
    ],
)
def test_each_file_is_read_for_what_it_is(tmp_path, predictions, references, bleu):
    assert scored(tmp_path, predictions, references)["test_BLEU_1"] == pytest.approx(bleu, abs=6e-4)


def test_empty_predictions_find_nothing(tmp_path):
    assert scored(tmp_path, "emptypred.jsonl", None)["test_ce_f1"] == 0
