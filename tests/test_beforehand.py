"""modules/training/beforehand.py: what a training would refuse is refused before its data are prepared."""

import sys

import pytest
from tiny import tiny_config

from models.revtaf import Revtaf
from modules.corpus.tokenizer import ReportTokenizer
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


def test_a_folder_that_holds_another_run_is_refused(asked, model):
    with pytest.raises(UserError, match="holds a run"):
        asked(40, "--save_dir", model.parent)
    asked(40, "--save_dir", model.parent, "--overwrite")
