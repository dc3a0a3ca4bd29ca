"""modules/labelling/two_labelers.py: one labeler for training and scores, or a word about it, or none of it for MIMIC-CXR."""

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_MODEL, call, places, refused

import main_test
import main_train
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_feature
from modules.labelling import chexbert
from modules.labelling.chexbert import ChexbertNetwork
from modules.labelling.labelers import RuleLabeler
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import UserError

RULES = RuleLabeler()
OURS = f"rule {RULES.checksum}"


def store_of(folder, **made_by):
    write_axis(folder, "studies", ["a"])
    write_feature(folder, "labels", np.zeros((1, 18), np.int8), axis="studies", made_by=made_by)
    return FeatureStore.open(folder)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (OURS, f"labels: {OURS}; scores: {OURS}"),
        ("annotation", f"labels: the annotation's own; scores: {OURS}"),
        (None, f"labels: unknown labeler; scores: {OURS}"),
    ],
)
def test_who_made_what_is_said(tmp_path, made, said):
    store = store_of(tmp_path, **({"labeler": made} if made else {}))
    assert check_one_labeler(store, RULES, "mimic_cxr", False) == [said]


def test_two_labelers_are_warned_of_and_refused_for_mimic(tmp_path):
    store = store_of(tmp_path, labeler="chexbert 0123456789ab")
    line, warning = check_one_labeler(store, RULES, "iu_xray", False)
    assert line == f"labels: chexbert 0123456789ab; scores: {OURS}"
    assert warning.startswith("warning: the labels in")
    assert check_one_labeler(store, RULES, "mimic_cxr", True) == [line, warning]
    with pytest.raises(UserError, match="accept it with --allow_two_labelers"):
        check_one_labeler(store, RULES, "mimic_cxr", False)


def test_rules_that_have_changed_need_another_preparation_and_no_weights(tmp_path):
    store = store_of(tmp_path, labeler="rule 0123456789ab")
    with pytest.raises(UserError, match="the rules have changed since") as caught:
        check_one_labeler(store, RULES, "mimic_cxr", False)
    assert "run main_prepare.py again" in str(caught.value)
    assert "--chexbert_path" not in str(caught.value)


@pytest.fixture
def small_chexbert(tmp_path, monkeypatch):
    """Weights of a reduced CheXbert, without its vocabulary."""
    config = chexbert.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    monkeypatch.setattr(chexbert, "BERT_CONFIG", config)
    torch.save({"model_state_dict": ChexbertNetwork(config).state_dict()}, tmp_path / "chexbert.pth")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *(chr(97 + i) for i in range(25))]
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(words) + "\n")
    return tmp_path


def test_programs_refuse_before_any_work(small_chexbert, prepared, trained, tmp_path, capsys, monkeypatch):
    """The labels of the data set are the drawing's; those of a copy say that rules made them."""
    argv = [
        *places(prepared),
        *SMALL,
        "--chexbert_path",
        small_chexbert / "chexbert.pth",
        "--save_dir",
        tmp_path / "run",
    ]
    test = ["--load_pretrained", trained / "model_best.pth", "--gen_min_len", 25, "--gen_max_len", 8]
    for program, more in ((main_train, SMALL_MODEL), (main_test, test)):
        message = refused(capsys, "which CheXbert reads with", program, *argv, *more, "--bert_path", tmp_path / "none")
        assert str(tmp_path / "none" / "vocab.txt") in message
    monkeypatch.setattr(FeatureStore, "entry", as_if_by_rules(FeatureStore.entry))
    argv[1] = "mimic_cxr"
    words = ["--bert_path", small_chexbert / "words", "--no-check"]
    small = ["--tokenizer", "corpus", "--visual_extractor", "resnet10n"]
    refused(capsys, "accept it with --allow_two_labelers", main_train, *argv, *SMALL_MODEL, *small, *words)
    refused(capsys, "accept it with --allow_two_labelers", main_test, *argv, *test, *words[:2])
    assert not (tmp_path / "run" / "predictions.jsonl").exists()
    call(main_test, *argv, *test, *words[:2], "--allow_two_labelers", "--no-meteor", "--no-viewer", "--resamples", 10)
    assert "warning: the labels in" in capsys.readouterr().out


def as_if_by_rules(entry):
    def changed(store, name):
        found = entry(store, name)
        return {**found, "made_by": {**found["made_by"], "labeler": OURS}} if name == "labels" else found

    return changed
