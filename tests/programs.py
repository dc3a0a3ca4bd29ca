"""The programs as their command lines would run them, on a data set small enough for a test."""

import shutil
import signal
import sys

import pytest

import main_prepare
import main_train
from modules.messages import run

SMALL_IMAGE = ["--image_size", "64", "--visual_extractor", "resnet10q"]
SMALL = [
    "--batch_size", "8", "--num_workers", "0", "--device", "cpu", "--precision", "fp32",
]  # fmt: skip
SMALL_MODEL = [
    *SMALL_IMAGE, "--d_model", "32", "--h_dim", "16", "--memory_feedforward", "32", "--decoder_layers", "1", "--hidden_size", "32",
    "--intermediate_size", "64", "--decoder_heads", "4", "--gen_min_len", "25", "--gen_max_len", "12", "--beam_size", "2",
    "--warmup_steps", "4", "--threshold", "1", "--init_lr", "5e-4", "--min_lr", "2e-5", "--enhancer", "scores",
]  # fmt: skip


def call(program, *argv):
    """Run a program's ``main`` as its command line would."""
    before, sys.argv = sys.argv, [f"{program.__name__}.py", *map(str, argv)]
    try:
        run(program.main)
    finally:
        sys.argv = before


def places(folder):
    return [
        "--dataset_name", "synth_cxr", "--ann_path", folder / "annotation.json", "--image_dir", folder / "images",
        "--feature_dir", folder / "features",
    ]  # fmt: skip


def copy_of(prepared, folder, **how):
    """A copy of prepared data while another worker trains on them: its half written register may be gone when its turn comes."""
    return shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns(".*.tmp"), **how)


def prepare(folder, *flags):
    drawing = [] if "--dataset_name" in flags else ["--num_studies", 60, "--synth_image_size", 80, "--readers", 100]
    text = [] if "--text_encoder" in flags else ["--text_width", 16]  # only LSA reads it
    scorer = [*SMALL_IMAGE, "--scorer_epochs", 1, "--scorer_width", 16, "--scorer_layers", 1, *text]
    own = [] if "--bank_dir" in flags else scorer  # that of the bank reads the images
    call(main_prepare, *places(folder), *SMALL, *drawing, *own, "--clip_k", 5, *flags)


def train(folder, save_dir, *flags):
    call(main_train, *places(folder), *SMALL, *SMALL_MODEL, "--save_dir", save_dir, "--epochs", 2, *flags)


def train_until_interrupted(monkeypatch, step, folder, save_dir, *flags):
    """Train, with Ctrl-C in the given step of all; the program saves and ends."""
    fit = main_train.Trainer.fit

    def interrupted(trainer):
        train_step, done = trainer.train_step, []

        def stopping(batch):
            done.append(1)
            trainer.stop.number = signal.SIGINT if len(done) == step else 0
            return train_step(batch)

        trainer.train_step = stopping
        fit(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(main_train.Trainer, "fit", interrupted)
        with pytest.raises(SystemExit):
            train(folder, save_dir, *flags)


def refused(capsys, words, program, *argv):
    """The program must end with status 2 and one message holding ``words``, without a traceback."""
    with pytest.raises(SystemExit) as end:
        call(program, *argv)
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    return message
