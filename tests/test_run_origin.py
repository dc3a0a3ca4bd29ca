"""modules/training/run_origin.py: a run goes on with the data, the words, the labeler and the flags that it began with, or not."""

import csv
import json
import shutil

import pytest
from programs import SMALL, SMALL_MODEL, places, refused, train, train_until_interrupted
from test_stops import assert_same_run

import main_train
from modules.messages import UserError
from modules.records import read_run_options
from modules.training.run_origin import refuse_other_origin
from modules.training.run_state import RunState
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import save_atomically

FEW = ["--log_every", 3]
ORIGIN = {
    "studies": {"train": "a", "val": "b"}, "vocabulary": "c", "labeler": "rule 0123456789ab", "flags": {"seed": 1, "nhead": 4}
}  # fmt: skip


@pytest.fixture(scope="module")
def interrupted(prepared, tmp_path_factory):
    """A run that ended after four of its first six steps."""
    folder = tmp_path_factory.mktemp("origin") / "run"
    with pytest.MonkeyPatch.context() as patch:
        train_until_interrupted(patch, 4, prepared, folder, *FEW)
    return folder


def annotation_of(prepared, folder, change):
    """The annotation of the prepared studies, changed."""
    splits = json.loads((prepared / "annotation.json").read_text())
    change(splits)
    path = folder / "annotation.json"
    path.write_text(json.dumps(splits))
    return ["--ann_path", path]


def leave_out(split):
    return lambda splits: splits[split].pop(0)


def turn_round(splits):
    splits["train"].reverse()


def exchange_a_word(splits):
    """One that stands there once, so that the vocabulary is as large as it was."""
    item = splits["train"][3]
    item["report"] = f"{item['report']} {item['report'].split()[0]}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (leave_out("train"), "the training studies of"), (turn_round, "the training studies of"),
        (exchange_a_word, "the training studies of"), (leave_out("val"), "the validation studies of"),
    ],
    ids=["one less", "another order", "another report", "another validation"],
)  # fmt: skip
def test_a_run_does_not_go_on_with_other_studies(change, words, interrupted, prepared, tmp_path, capsys):
    """References and reports belonged to the study that had stood in that place: a traceback once all steps were done, or exit 0."""
    flags = [
        *places(prepared),
        *SMALL,
        *SMALL_MODEL,
        "--save_dir",
        interrupted,
        "--epochs",
        2,
        "--no-check",
        "--resume",
    ]
    before = (interrupted / "current_checkpoint.pth").read_bytes()
    message = refused(capsys, words, main_train, *flags, *FEW, *annotation_of(prepared, tmp_path, change))
    assert "give the --ann_path that it began with" in message
    assert (interrupted / "current_checkpoint.pth").read_bytes() == before


def test_it_goes_on_with_other_test_studies_to_the_same_weights_and_rows(interrupted, prepared, tmp_path):
    """The row of step 6 was the mean of the two steps that were left, beside one of steps 4 to 6."""
    run = shutil.copytree(interrupted, tmp_path / "run")
    train(prepared, tmp_path / "whole", *FEW)
    train(prepared, run, *FEW, "--no-check", "--resume", *annotation_of(prepared, tmp_path, leave_out("test")))
    assert_same_run(run, tmp_path / "whole")
    rows = [
        list(csv.DictReader((folder / "steps.csv").read_text().splitlines())) for folder in (run, tmp_path / "whole")
    ]
    assert [row["total_step"] for row in rows[0]] == ["3", "6", "9", "12"]
    assert rows[0] == rows[1]


def test_a_state_of_an_earlier_version_is_taken_at_its_word(interrupted, prepared, tmp_path):
    refuse_other_origin(tmp_path / "a.pth", {}, ORIGIN, "annotation.json")
    run = shutil.copytree(interrupted, tmp_path / "run")
    content = load_checkpoint(run / "current_checkpoint.pth")
    for name in ("studies", "labeler", "flags", "shown", "best", "earlier"):
        del content["run"][name]
    save_atomically(content, run / "current_checkpoint.pth")
    train(prepared, run, *FEW, "--resume")
    saved = load_checkpoint(run / "current_checkpoint.pth")["run"]
    first, second = (row["val_ce_f1"] for row in saved["history"])
    assert (saved["earlier"], saved["best"]) == (12, 2 if second > first else 0)


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            {"flags": {"seed": 2, "of_before": 3}},
            r"is of another run .* \(seed 2 there, 1 here\): copy the files of one",
        ),
        ({"vocabulary": "d"}, "repeat the --init_from or --bert_path that it began with"),
        ({"labeler": "chexbert 0123456789ab"}, "was validated by chexbert 0123456789ab and now it would be by rule"),
    ],
)
def test_other_flags_words_and_another_labeler_are_refused(then, words, tmp_path):
    with pytest.raises(UserError, match=words):
        refuse_other_origin(tmp_path / "a.pth", {**ORIGIN, **then}, ORIGIN, "annotation.json")


def test_other_weights_of_chexbert_are_refused_and_rules_of_another_version_said(tmp_path, capsys):
    ours = {**ORIGIN, "labeler": "chexbert 0123456789ab"}
    with pytest.raises(UserError, match="--chexbert_path that it began with"):
        refuse_other_origin(tmp_path / "a.pth", {**ours, "labeler": "chexbert 9876543210ba"}, ours, "annotation.json")
    assert capsys.readouterr().out == ""
    refuse_other_origin(tmp_path / "a.pth", {**ORIGIN, "labeler": "rule 9876543210ba"}, ORIGIN, "annotation.json")
    assert "was validated by rule 9876543210ba, and from here on by rule 0123456789ab" in capsys.readouterr().out


def test_a_run_that_says_nothing_of_its_flags_is_not_gone_on_with(interrupted, prepared, tmp_path, capsys):
    """Any seed and any weight of a loss was taken."""
    run = shutil.copytree(interrupted, tmp_path / "run")
    (run / "options.json").unlink()
    flags = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", run, "--epochs", 2, "--resume", "--seed", 1]
    refused(capsys, "holds no options.json, which says with which flags its run began", main_train, *flags)


def test_a_state_of_another_run_is_known_whatever_lies_beside_it(trained, prepared, tmp_path, capsys):
    """It went on as that of the folder that it was copied into, which says with which flags it began."""
    train(prepared, tmp_path / "other", "--epochs", 1, "--seed", 1)
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.copy(tmp_path / "other" / "current_checkpoint.pth", run)
    flags = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", run, "--epochs", 2, "--resume"]
    refused(capsys, "is of another run than the options.json beside it (seed 1 there, 456789 here)", main_train, *flags)


def test_options_say_what_a_resumed_run_began_with(trained, prepared, tmp_path, monkeypatch, capsys):
    """It was said of no model, and on the terminal of the one that was named at last."""
    start = trained / "model_best.pth"
    train_until_interrupted(monkeypatch, 4, prepared, tmp_path / "run", "--init_from", start)
    capsys.readouterr()
    train(prepared, tmp_path / "run", "--resume")
    assert read_run_options(tmp_path / "run" / "options.json")["init_from"] == str(start)
    assert "random weights" not in capsys.readouterr().out


def test_the_best_weights_are_those_of_the_metric_from_where_it_changed(prepared, tmp_path, capsys):
    """A better epoch than the one that is kept was left out: an earlier one, whose weights are gone, had been better still."""
    train(prepared, tmp_path, "--epochs", 3)
    path = tmp_path / "current_checkpoint.pth"
    content = load_checkpoint(path)
    rows = content["run"]["history"]
    for row, (f1, bleu) in zip(rows, [(0.1, 0.9), (0.8, 0.2), (0.7, 0.3)], strict=True):
        row |= {"val_ce_f1": f1, "val_BLEU_4": bleu}
    content["run"]["best"] = 2
    state = RunState(history=rows, best=2)
    assert [state.improves("val_BLEU_4", score) for score in (0.19, 0.25)] == [False, True]
    assert [state.improves("val_ce_f1", score) for score in (0.79, 0.81)] == [False, True]
    for row in rows:
        row["val_ROUGE_L"] = -1.0 if row["epoch"] == 2 else 2.0
    save_atomically(content, path)
    capsys.readouterr()
    train(prepared, tmp_path, "--epochs", 4, "--monitor_metric", "val_ROUGE_L", "--resume")
    assert "from here on --monitor_metric val_ROUGE_L, val_ce_f1 before" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "model_best.pth")["run"]["epoch"] == 4
    assert load_checkpoint(path)["run"]["best"] == 4


@pytest.mark.parametrize("linked", [False, True])
def test_data_below_a_run_are_not_moved_aside_with_it(linked, interrupted, prepared, tmp_path, capsys):
    """The images were moved, and the training ended at the first one that it looked for."""
    run, read = shutil.copytree(interrupted, tmp_path / "run"), tmp_path / "run" / "films"
    if linked:
        read.symlink_to(prepared / "images", target_is_directory=True)
    else:
        shutil.copytree(prepared / "images", read)
    flags = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", run, "--image_dir", read]
    refused(
        capsys, f"--overwrite would move {read}, which is read, aside with all that", main_train, *flags, "--overwrite"
    )
    assert any(read.rglob("*.png"))
    assert (run / "current_checkpoint.pth").is_file()


def test_weights_that_somebody_took_away_are_kept_again(trained, prepared, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "model_best.pth").unlink()
    train(prepared, run, "--epochs", 3, "--resume")
    assert load_checkpoint(run / "model_best.pth")["run"]["epoch"] == 3
