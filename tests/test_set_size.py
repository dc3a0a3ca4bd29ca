"""modules/options/set_size.py: what follows from the number of studies, what is said before a small training, whose flags win."""

import json
from contextlib import suppress

import pytest
from programs import refused

import main_train
from modules.messages import UserError
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.parsing import parse_options, share, words_for
from modules.options.programs import MainPrepare, MainTrain
from modules.options.set_size import fit_to_size, length_defaults, size_defaults, size_warnings
from modules.training.training_data import fit_to_reports


@pytest.mark.parametrize(("studies", "least", "most"), [(16, 500, 600), (119, 1000, 1300), (3000, 1000, 1400)])
def test_the_passes_make_about_as_many_steps_for_every_size(studies, least, most):
    chosen = size_defaults(studies)
    assert least <= studies // chosen["batch_size"] * chosen["epochs"] <= most
    validations = chosen["epochs"] / chosen["val_every"]
    assert validations == 1 if studies < 64 else 10 <= validations <= 30 or chosen["val_every"] == 1
    assert chosen["rerank"] == ("none" if studies < 64 else "states")
    assert chosen["warmup_steps"] <= max(1, studies // chosen["batch_size"])


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("studies", [40, 119, 3000])
def test_several_processes_share_the_studies_of_a_step(studies, processes):
    """Two took twice as many a step, so half the steps, and were warned that these are few."""
    alone, shared = size_defaults(studies), size_defaults(studies, processes)
    step = shared["batch_size"] * processes
    assert step <= max(alone["batch_size"], processes)
    assert len(size_warnings("custom", studies, 100, step, shared["epochs"])) == 1


def test_a_training_by_two_processes_is_fitted_as_one_of_two(monkeypatch):
    batches = []
    for processes in ("1", "2"):
        monkeypatch.setenv("WORLD_SIZE", processes)
        options = parse_options(MainTrain, ["--dataset_name", "custom"])
        fit_to_reports(options, ["the heart is normal ."] * 119)
        batches.append(options.loading.batch_size)
    assert batches == [16, 8]


@pytest.mark.parametrize(("record", "batch"), [({"processes": 2}, 8), ({"processes": 1}, 16), ({}, 16)])
def test_a_resumed_training_keeps_the_batches_that_it_began_with(tmp_path, record, batch):
    """Whatever goes on with it: with other batches it would be refused."""
    (tmp_path / "options.json").write_text(json.dumps({"options": {}, **record}))
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--save_dir", str(tmp_path), "--resume"])
    fit_to_reports(options, ["the heart is normal ."] * 119)
    assert options.loading.batch_size == batch


@pytest.mark.parametrize("studies", [1, 7, 8, 16, 28, 40, 63, 64, 100, 700, 4999])
def test_no_size_is_warned_of_the_steps_that_it_is_given(studies):
    chosen = size_defaults(studies)
    assert len(size_warnings("custom", studies, 100, chosen["batch_size"], chosen["epochs"])) == 1


def test_a_large_set_keeps_the_published_values():
    assert size_defaults(5000) == {}
    options = parse_options(MainTrain, ["--dataset_name", "custom"])
    before = (options.model, options.training.epochs)
    fit_to_size(options, size_defaults(5000))
    assert (options.model, options.training.epochs) == before


def test_flags_of_the_user_win_and_weights_bring_their_sizes():
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--epochs", "3", "--bert_path", "bert"])
    said = fit_to_size(options, size_defaults(119))
    assert options.training.epochs == 3
    assert options.start.tokenizer == "bert"
    assert (options.model.hidden_size, options.training.init_lr) == (768, 5e-5)
    assert options.model.visual_extractor == "resnet10n"
    assert "--visual_extractor resnet10n" in said
    assert "--d_model 128" in said
    assert "--epochs" not in said
    assert parse_options(MainTrain, [*words_for(MainTrain, said.split(": ")[1].split())]).model == options.model


def test_a_width_that_follows_from_the_size_fits_the_heads_that_are_asked_for():
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--decoder_heads", "12"])
    assert "--hidden_size 132" in fit_to_size(options, size_defaults(119))
    assert (options.model.hidden_size, options.model.decoder_heads) == (132, 12)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--hidden_size 64", "--decoder_heads 4 "),
        ("--hidden_size 66 --decoder_heads 3", "--decoder_layers 2 "),
        ("--init_lr 5e-05", "--min_lr 2.5e-06 "),
        ("--threshold 2", "--tokenizer corpus "),
        ("--gen_max_len 45", "--gen_min_len 64"),
        ("--gen_min_len 129", "--gen_max_len 110"),
    ],
)
def test_what_follows_from_a_small_size_stands_beside_any_flag(words, found):
    """Alone, as typed: --hidden_size 64 was refused for the 12 heads of a large set, --init_lr 5e-5 fell to 1e-4."""
    options = parse_options(MainTrain, ["--dataset_name", "custom", *words.split()])
    said = fit_to_size(options, {**size_defaults(119), "gen_min_len": 70, "gen_max_len": 100})
    assert found in f"{said} "
    typed = [*words.split(), *said.split(": ")[1].split()]
    assert vars(parse_options(MainTrain, ["--dataset_name", "custom", *typed])) | {"given": 0} == vars(options) | {
        "given": 0
    }


def test_a_large_set_gets_published_values_however_its_command_line_was_read():
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--hidden_size", "64"])
    said = fit_to_size(options, size_defaults(5000))
    assert said.split(": ")[1] == "--decoder_heads 4"
    assert (options.model.decoder_layers, options.start.tokenizer, options.training.init_lr) == (12, "bert", 5e-5)
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--threshold", "2"])
    with pytest.raises(UserError, match="--threshold 2 would change nothing"):
        fit_to_size(options, size_defaults(5000))


def checked(capsys, *words):
    """What train_custom.sh asks before it prepares: the sentence of the refusal, or nothing."""
    with suppress(SystemExit):
        share(["MainPrepare", "MainTrain", "--", "--dataset_name", "custom", *map(str, words)])
    return capsys.readouterr().err


def test_heads_that_do_not_divide_the_coming_text_width_are_refused_before_the_preparation(capsys, tmp_path):
    said = checked(capsys, "--nhead", 12)
    assert "--nhead 12 must divide the width of the report features, 128 of fewer than 5000 training studies" in said
    assert "give --text_width 132 or --nhead 8" in said
    assert checked(capsys, "--nhead", 12, "--text_width", 132) == ""
    assert checked(capsys, "--nhead", 16) == ""
    assert "give --text_width 64 or --nhead 6" in checked(capsys, "--text_width", 60)
    (tmp_path / "config.json").write_text('{"hidden_size": 36}')
    assert f"36 of {tmp_path}: give --nhead 6" in checked(capsys, "--text_encoder", tmp_path)
    assert checked(capsys, "--text_encoder", tmp_path, "--nhead", 6) == ""
    assert checked(capsys, "--init_from", "model.pth", "--text_width", 60) == ""


def test_lengths_are_those_of_the_reports():
    lengths = length_defaults(["a b c"] + ["word " * 20] * 98 + ["word " * 200])
    assert lengths["gen_min_len"] == 19 + 20
    assert 26 <= lengths["gen_max_len"] <= 300
    assert length_defaults(["short ."])["gen_min_len"] == 21


def test_what_is_few_is_said_with_the_flag_that_mends_it():
    lines = size_warnings("custom", 16, 4, 8, 10)
    assert lines[0] == "16 training studies, 8 a step: 2 steps an epoch, 20 in all"
    assert "--epochs 250" in lines[1]
    assert "4 validation studies" in lines[2]
    assert len(size_warnings("custom", 1600, 100, 16, 5)) == 1
    assert "a column split" in lines[2]
    for dataset_name in set(DATASET_DEFAULTS) - {"custom"}:  # they have no table
        assert "column" not in size_warnings(dataset_name, 16, 4, 8, 10)[2]


def test_validations_that_choose_by_chance_are_warned_of_with_how_many_do_not():
    """Of 119 real pairs 27 validation studies kept epoch 20 of 150, without a word."""
    chosen = size_defaults(119)
    words = ("custom", 119, 27, chosen["batch_size"], chosen["epochs"])
    _, said = size_warnings(*words, chosen["val_every"])
    assert "27 validation studies tell good weights from bad ones nearly by chance" in said
    assert "off by 0.08 (one sigma), that of 100 by 0.04" in said
    assert "or keep the last weights with --val_every 150" in said
    assert len(size_warnings(*words, 150)) == 1  # one validation chooses nothing
    assert len(size_warnings("custom", 700, 99, 16, 30)) == 2
    assert len(size_warnings("custom", 700, 100, 16, 30)) == 1


def test_every_program_gets_its_own_flags(capsys):
    words = ["--epochs", "3", "--text-width", "64", "--no_augment", "--c", "-1", "--seed=4"]
    assert words_for(MainTrain, words) == ["--epochs", "3", "--no-augment", "--c", "-1", "--seed=4"]
    assert words_for(MainPrepare, words) == ["--text_width", "64", "--seed=4"]
    share(["MainPrepare", "MainTrain", "--", *words[:4]])
    assert capsys.readouterr().out == ""
    said = checked(capsys, "--hidden_size", 64, "--decoder_heads", 12)
    assert "--decoder_heads 12 must divide --hidden_size 64: give --decoder_heads 4" in said
    with pytest.raises(SystemExit) as end:
        share(["MainPrepare", "MainTrain", "--", "--epoch", "3"])
    assert end.value.code == 2
    assert "did you mean --epochs?" in capsys.readouterr().err


def test_a_missing_backbone_is_called_by_its_own_name(capsys, tmp_path):
    words = [
        "--dataset_name",
        "iu_xray",
        "--visual_extractor",
        "resnet18",
        "--resnet_weights",
        tmp_path / "resnet101.pth",
    ]
    said = refused(capsys, "named after resnet101", main_train, *words)
    assert "--visual_extractor resnet18" in said
    assert "none to start from random weights" in said
    assert "--tokenizer corpus, which needs no file" in said
    assert parse_options(MainTrain, ["--resnet_weights", "none"]).start.resnet_weights is None
