"""main_score.py as its command line: what it writes, and one sentence for what it cannot read."""

import csv
import json
import sys

import pytest

import main_score
from modules.messages import run

REFERENCES = [
    "Small left pleural effusion. The heart is enlarged.",
    "The lungs are clear.",
    "Right lower lobe pneumonia.",
] * 12


def call(*argv):
    before, sys.argv = sys.argv, ["main_score.py", *map(str, argv)]
    try:
        run(main_score.main)
    finally:
        sys.argv = before


@pytest.fixture
def files(tmp_path):
    """References, a system that copies them, and one that denies every effusion."""
    for name, texts in (
        ("references", REFERENCES),
        ("good", REFERENCES),
        ("bad", [text.replace("Small left", "No") for text in REFERENCES]),
    ):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("study_id", "report"), *enumerate(texts)])
    return tmp_path


def test_two_systems_are_scored_and_compared(files, capsys):
    call(
        "--predictions", files / "good.csv", f"worse={files / 'bad.csv'}", "--references", files / "references.csv",
        "--baseline", "worse", "--no-meteor", "--resamples", 50, "--save_dir", files / "out",
    )  # fmt: skip
    metrics = json.loads((files / "out" / "metrics.json").read_text())
    good, worse = metrics["systems"]["good"], metrics["systems"]["worse"]
    assert good["scores"]["test_BLEU_4"] == pytest.approx(1)
    assert worse["per_class"]["pleural effusion"]["recall"] == 0
    assert good["per_class"]["pleural effusion"]["f1"] == 1
    assert good["scores"]["test_METEOR"] is None
    assert good["diversity"]["distinct_reports"] == 3
    difference = metrics["comparison"]["good minus worse"]["ce_f1_example"]
    assert difference["p_holm"] < 0.05
    assert 0 < difference["low"] <= difference["difference"]
    assert metrics["protocol"]["thirds"] == "published MIMIC-CXR training rates"
    assert metrics["protocol"]["cleaning"] == "published"
    assert {path.name for path in (files / "out").iterdir()} == {
        "metrics.json", "options.json", "table.md", "table.tex", "per_class_good.csv", "per_class_worse.csv",
    }  # fmt: skip
    shown = capsys.readouterr().out
    assert "good minus worse" in shown
    assert "RadGraph-F1" in shown
    assert "n/a" in shown


def test_an_annotation_gives_the_thirds_and_the_copied_sentences(files):
    items = [
        {"id": f"{split}{i}", "report": text, "image_path": ["a.png"]}
        for split in ("train", "test")
        for i, text in enumerate(REFERENCES)
    ]
    annotation = {split: [item for item in items if item["id"].startswith(split)] for split in ("train", "test")}
    (files / "annotation.json").write_text(json.dumps(annotation))
    call("--predictions", files / "good.csv", "--references", files / "references.csv", "--train_ann",
         files / "annotation.json", "--no-meteor", "--resamples", 10, "--save_dir", files / "out")  # fmt: skip
    found = json.loads((files / "out" / "metrics.json").read_text())
    assert found["systems"]["good"]["diversity"]["copied_from_training"] == 1
    assert found["systems"]["good"]["per_class"]["pleural effusion"]["third"] == "head"
    assert found["protocol"]["thirds"] == "training split of annotation.json (36 studies)"


def test_references_beside_r2gens_predictions_are_found(files):
    for name in ("res.csv", "gts.csv"):
        (files / name).write_text("the lungs are clear .\nno effusion .\n")
    call("--predictions", files / "res.csv", "--no-meteor", "--resamples", 10, "--save_dir", files / "out")
    (system,) = json.loads((files / "out" / "metrics.json").read_text())["systems"].values()
    assert system["scores"]["test_BLEU_1"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--predictions", "good.csv", "--references", "references.csv", "--baseline", "x"],
            "--baseline is 'x'; expected",
        ),
        (["--predictions", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--predictions", "good.csv"], "carry no references"),
        (["--predictions", "good.csv", "--references", "references.csv", "--feature_dir", "none"], "holds no manifest"),
        (["--predictions", "good.csv", "--resamples", "0"], "--resamples must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence(files, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit) as end:
        call(*arguments, "--save_dir", files / "out")
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
