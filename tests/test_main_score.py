"""main_score.py as its command line: what it writes, and one sentence for what it cannot read."""

import csv
import json
import sys

import pytest

import main_score
from modules.messages import run
from modules.options.parsing import parse_options
from modules.options.programs import MainScore

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
    assert "\n\ntest split, 36 studies; references: " in (files / "out" / "table.md").read_text()
    assert {path.name for path in (files / "out").iterdir()} == {
        "metrics.json", "options.json", "table.md", "table.tex", "per_class_good.csv", "per_class_worse.csv",
        "rexrank_good.json", "rexrank_worse.json", "cxr_report_metric_gt.csv", "cxr_report_metric_good.csv",
        "results_of.json", ".results.lock", "cxr_report_metric_worse.csv", "per_study_good.csv", "per_study_worse.csv",
    }  # fmt: skip
    with (files / "out" / "per_study_worse.csv").open() as file:
        each = list(csv.DictReader(file))
    assert [row["study_id"] for row in each] == [str(i) for i in range(36)]
    assert float(each[1]["BLEU_4"]) == pytest.approx(1)
    assert {"BLEU_2_sentence", "ROUGE_L_f1", "CIDEr", "ce_f1", "ce_f1_micro_5"} <= set(each[0])
    assert metrics["good"]["BLEU_4"]["direction"] == "higher is better"
    assert metrics["good"]["BLEU_4"]["another patient's report"] < 1
    shown = capsys.readouterr().out
    assert "good minus worse" in shown
    assert "another patient's report" in shown
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


def test_a_caption_says_of_how_many_studies_only_some_were_scored(files):
    rows = (files / "good.csv").read_text().splitlines()
    (files / "some.csv").write_text("\n".join(rows[:13]))
    for profile in ("r2gen", "radeval"):
        call("--predictions", files / "some.csv", "--references", files / "references.csv", "--columns", "id=study_id",
             "--profile", profile, "--no-meteor", "--resamples", 10, "--save_dir", files / profile)  # fmt: skip
        for table in ("table.md", "table.tex"):
            assert "test split, 12 of 36 studies; " in (files / profile / table).read_text(), (profile, table)


CASES = {
    "crimson.csv": "id,Findings,Predicted\n1,The heart is enlarged. No effusion.,The heart is mildly enlarged.\n",
    "theirs.csv": "study_id,report\ns1,the heart is enlarged .\ns2,there is a small effusion .\n",
    "own.jsonl": '{"id": "s1", "prediction": "the heart is enlarged .", "reference": "the lungs are clear . no effusion ."}\n'
    '{"id": "s2", "prediction": "there is a small effusion .", "reference": "heart size is normal . no pneumothorax ."}\n',
    "empty.jsonl": '{"study_id": "1", "prediction": "", "reference": "The heart is enlarged. No pleural effusion."}\n'
    '{"study_id": "2", "prediction": "nan", "reference": "Right port in place."}\n',
    "lower.csv": "study_id,report\n1,the heart is enlarged. no pleural effusion. lungs are clear.\n2,right-sided port in place.\n",
    "semicolon.csv": "study_id;report\nb;The heart is enlarged.\na;No effusion.\n",
    "semicolon_refs.csv": "study_id;report\na;No effusion.\nb;The heart is enlarged.\n",
    "uid.csv": "uid,report\nb,The heart is enlarged.\na,No effusion.\n",
}


def scores_of(folder, predictions, references=None, *more):
    for name, content in CASES.items():
        (folder / name).write_text(content)
    beside = [] if references is None else ["--references", folder / references]
    call(
        "--predictions",
        folder / predictions,
        *beside,
        *more,
        "--no-meteor",
        "--resamples",
        5,
        "--overwrite",
        "--save_dir",
        folder / "out",
    )
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    (system,) = metrics["systems"].values()
    return {name.removeprefix("test_"): value for name, value in system["scores"].items()}, metrics["protocol"][
        "matching"
    ]


def test_one_study_has_no_interval_and_no_comparison(tmp_path):
    """Drawn again and again it is always the same: an interval without width would say that nothing can differ."""
    for name, report in (("a", "The heart is enlarged."), ("b", "The lungs are clear.")):
        row = {"id": "s1", "prediction": report, "reference": "The heart is mildly enlarged."}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    call(
        "--predictions", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--baseline", "a", "--page", "--no-meteor",
        "--save_dir", tmp_path / "out",
    )  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["systems"]["a"]["scores"]["test_BLEU_1"] > 0
    assert metrics["systems"]["a"]["intervals"] == metrics["comparison"] == {}
    assert metrics["systems"]["a"]["per_class"]["cardiomegaly"]["f1_low"] is None
    (row,) = (line for line in (tmp_path / "out" / "table.md").read_text().splitlines() if "95 % interval, a" in line)
    assert set(row.split("|")[2:-1]) == {row.split("|")[2]}
    assert "n/a" in row


def test_files_that_were_scored_against_themselves(tmp_path):
    """Each of these files gave 1.000, or a figure of reports that do not belong together, and exit status 0."""
    crimson, notes = scores_of(tmp_path, "crimson.csv")
    assert 0 < crimson["BLEU_1"] < 1
    assert crimson["CIDEr"] is None
    assert any("CIDEr of a single study is n/a" in note for note in notes)
    assert 0 < scores_of(tmp_path, "theirs.csv", "own.jsonl")[0]["BLEU_1"] < 1
    for name, references in (
        ("semicolon.csv", "semicolon_refs.csv"),
        ("uid.csv", "semicolon.csv"),
        ("lower.csv", "lower.csv"),
    ):
        scores, notes = scores_of(tmp_path, name, references)
        assert scores["BLEU_1"] == pytest.approx(1), name
        assert not any("by order" in note for note in notes)
    assert scores["BLEU_4"] == pytest.approx(1)


def test_an_empty_system_gets_nothing_for_it(tmp_path):
    scores, notes = scores_of(tmp_path, "empty.jsonl")
    assert {name: value for name, value in scores.items() if value and "precision" not in name and value > 1e-6} == {}
    assert any("2 empty reports of 2" in note for note in notes)


def test_what_is_written_is_read_again(files):
    call("--predictions", files / "bad.csv", "--references", files / "references.csv", "--no-meteor", "--resamples", 5,
         "--save_dir", files / "out")  # fmt: skip
    first = json.loads((files / "out" / "metrics.json").read_text())["systems"]["bad"]["scores"]
    for arguments in (
        ["--predictions", files / "out" / "rexrank_bad.json"],
        [
            "--predictions",
            files / "out" / "cxr_report_metric_bad.csv",
            "--references",
            files / "out" / "cxr_report_metric_gt.csv",
        ],
    ):
        call(*arguments, "--no-meteor", "--resamples", 5, "--overwrite", "--save_dir", files / "again")
        (again,) = json.loads((files / "again" / "metrics.json").read_text())["systems"].values()
        assert again["scores"] == first


@pytest.mark.parametrize("profile", ["rexrank", "radeval", "llava_rad"])
def test_profiles_of_raw_text(files, capsys, profile):
    raw = [(i, f"The tube ends 4.5 cm above. {text}") for i, text in enumerate(REFERENCES)]
    for name, change in (("a", ""), ("truth", "")):
        with (files / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("study_id", "report"), *((i, text + change) for i, text in raw)])
    call("--predictions", files / "a.csv", "--references", files / "truth.csv", "--profile", profile, "--no-meteor",
         "--resamples", 5, "--save_dir", files / "out")  # fmt: skip
    shown = capsys.readouterr().out
    assert f" studies; {profile}: raw findings" in shown
    wanted = shown.split(f"not asked for, of --profile {profile}: ")[1].split(";")[0].split(", ")
    assert f"then --extra_metrics {' '.join(wanted)}\n" in shown
    metrics = json.loads((files / "out" / "metrics.json").read_text())
    scores = metrics["systems"]["a"]["scores"]
    for name in ("BLEU_1", "BLEU_4", "BLEU_2_sentence", "ROUGE_L_f1", "ROUGE_L", "ce_f1_micro"):
        assert scores[f"test_{name}"] == pytest.approx(1, abs=1e-6), name
    title = {"rexrank": "1/RadCliQ-v1", "radeval": "CheXbert micro-14", "llava_rad": "Micro-F1-14+"}[profile]
    assert title in (files / "out" / "table.md").read_text()


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
            ["--predictions", "good.csv", "bad.csv", "--references", "references.csv", "--baseline", "x"],
            "--baseline is 'x'; expected",
        ),
        (["--predictions", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--predictions", "good.csv"], "carries no references"),
        (["--predictions", "good.csv", "--references", "references.csv", "--feature_dir", "none"], "holds no manifest"),
        (["--predictions", "good.csv", "--references", "references.csv", "--columns", "x"], "--columns holds 'x'"),
        (["--predictions", "good.csv", "--references", "references.csv", "--columns", "id=no"], "that no file has"),
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


def test_a_data_set_s_number_of_references_is_no_file_of_them(files):
    call("--predictions", files / "good.csv", "--dataset_name", "synth_cxr", "--references", files / "references.csv",
         "--no-meteor", "--resamples", 5, "--save_dir", files / "named")  # fmt: skip
    options = parse_options(MainScore, ["--predictions", "a.csv", "--dataset_name", "synth_cxr"])
    assert options.scoring.references is None


def test_an_empty_folder_name_is_refused(files, capsys):
    with pytest.raises(SystemExit):
        call("--predictions", files / "good.csv", "--references", files / "references.csv", "--save_dir", "")
    assert "--save_dir is empty: name a folder, or leave it out" in capsys.readouterr().err
