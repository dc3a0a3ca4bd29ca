"""modules/training/beforehand.py: what a training would refuse is refused before its data are prepared."""

import subprocess
import sys
from pathlib import Path

import pytest
from programs import call
from tiny import tiny_config

import main_prepare
from models.revtaf import Revtaf
from modules.corpus.tokenizer import ReportTokenizer
from modules.feature_folder import remember_training
from modules.messages import UserError
from modules.training import beforehand
from modules.weights.saving import save_checkpoint


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Asks of a table of so many studies what ``train_custom.sh`` asks, from a folder without any checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.png").touch()

    def ask(studies, *words, split=lambda number: "train" if number % 10 else "val"):
        rows = [f"{number},film.png,Clear lungs.,p{number},{split(number)}" for number in range(studies)]
        table = tmp_path / "studies.csv"
        table.write_text("\n".join(["id,image_path,report,patient,split", *rows]))
        before = set(tmp_path.rglob("*"))
        command = ["beforehand.py", "--dataset_name", "custom", "--raw_dir", table, *words]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        try:
            beforehand.main()
        finally:
            assert set(tmp_path.rglob("*")) == before
        return table

    return ask


@pytest.fixture
def model(tmp_path):
    """A trained model that reads text features of width 8 and entity embeddings of width 8, and its vocabulary."""
    tokenizer = ReportTokenizer.from_reports(["clear lungs"], 1)
    config = tiny_config(
        visual_extractor="resnet10n", report_feature_dim=8, entity_text_dim=8, num_heads=2, hidden_size=8,
        decoder_heads=2, intermediate_size=8, decoder_layers=1, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id,
        end_id=tokenizer.end_id,
    )  # fmt: skip
    path = tmp_path / "trained/model_best.pth"
    path.parent.mkdir()
    save_checkpoint(path, Revtaf(config), {})
    tokenizer.save(path.with_name("tokenizer.json"))
    return path


@pytest.mark.slow
def test_a_large_set_without_a_vocabulary_is_refused_and_a_small_one_needs_none(asked):
    """Five thousand studies were prepared for hours first."""
    with pytest.raises(UserError, match=r"bert-base-uncased/vocab\.txt") as refusal:
        asked(6000)
    assert "--tokenizer corpus" in str(refusal.value)
    asked(6000, "--tokenizer", "corpus")
    asked(40)


def test_a_split_that_is_empty_is_refused(asked):
    with pytest.raises(UserError, match=r"has no val studies \(20 items: .*\), .*: give the split column some"):
        asked(20, split=lambda number: "train" if number else "test")
    with pytest.raises(UserError, match=r"no val studies \(1 items: train 1, val 0, test 0\), .*: add some, of other"):
        asked(1, split=lambda _: "")  # it was told to fill a column that it does not have


def test_raw_files_of_a_data_set_without_a_reader_are_refused(asked):
    """It ended in a KeyError."""
    with pytest.raises(UserError, match=r"--raw_dir goes with --dataset_name .*custom, got synth_cxr: a table of your"):
        asked(20, "--dataset_name", "synth_cxr")
    with pytest.raises(UserError, match=r"--raw_dir absent\.csv does not exist: give the table"):
        asked(20, "--raw_dir", "absent.csv")


def test_a_model_of_other_widths_is_refused_with_the_flags_that_mend_it(asked, model):
    with pytest.raises(UserError, match=r"--text_width 8; and .* give --scorer_width 8, or leave out --init_from"):
        asked(40, "--init_from", model)
    asked(40, "--init_from", model, "--text_width", 8, "--scorer_width", 8)
    with pytest.raises(UserError, match="is a model with hidden_size 8"):
        asked(40, "--init_from", model, "--hidden_size", 16, "--text_width", 8, "--scorer_width", 8)


def test_a_missing_model_and_one_without_its_vocabulary_are_refused(asked, model):
    with pytest.raises(UserError, match=r"absent\.pth"):
        asked(40, "--init_from", "absent.pth")
    model.with_name("tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        asked(40, "--init_from", model, "--text_width", 8, "--scorer_width", 8)


def test_a_run_folder_that_a_training_holds_is_refused_first(asked, tmp_path):
    """Features were prepared for it, and then the training refused."""
    hold = "import sys; from pathlib import Path; from modules.folder_locks import locked\n"
    hold += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path / "run")]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"run is in use by process {training.pid} on .*: wait for it, stop it, or"):
            asked(40, "--save_dir", tmp_path / "run")
        training.communicate()
    asked(40, "--save_dir", tmp_path / "run")


def test_a_changed_table_of_a_trained_model_is_refused(asked, model, tmp_path):
    data = tmp_path / "data"
    places = [
        "--ann_path",
        data / "annotation.json",
        "--image_dir",
        data / "images",
        "--feature_dir",
        data / "features",
    ]
    call(main_prepare, "--dataset_name", "custom", "--raw_dir", asked(40), "--raw_step", "annotation", *places)
    asked(41, *places)
    (data / "features").mkdir()
    remember_training(data / "features", model.parent)
    asked(40, *places)
    with pytest.raises(UserError, match=r"\(1 new\), and .*trained was trained on its features"):
        asked(41, *places)
    asked(41, *places, "--overwrite")


def test_a_folder_that_holds_another_run_is_refused(asked, model):
    with pytest.raises(UserError, match="holds a run"):
        asked(40, "--save_dir", model.parent)
    asked(40, "--save_dir", model.parent, "--overwrite")
