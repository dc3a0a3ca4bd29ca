"""modules/corpus/dataloaders.py: which studies a process sees in which step."""

import ast
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from programs import SMALL, SMALL_MODEL, places, refused
from small_set import WIDTH, small_bank, small_set

import main_train
from models.visual_encoder import VisualEncoder
from modules.corpus import dataloaders as subject
from modules.corpus.bank import TrainingBank
from modules.corpus.dataloaders import (
    EpochSampler,
    epoch_batches,
    evaluation_loader,
    numbered,
    rare_first,
    refuse_single_values,
    share_size,
)
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_feature
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.records import ROOT
from modules.training import normalisation


def test_an_epoch_shows_every_study_once_in_an_order_of_its_own():
    steps = epoch_batches(size=20, batch_size=5, shares=2, seed=3, epoch=1)
    assert [len(share) for step in steps for share in step] == [5] * 4
    assert sorted(i for step in steps for share in step for i in share) == list(range(20))
    assert steps == epoch_batches(20, 5, 2, seed=3, epoch=1)
    assert steps != epoch_batches(20, 5, 2, seed=3, epoch=2) != epoch_batches(20, 5, 2, seed=4, epoch=2)
    orders = {str(epoch_batches(20, 5, 2, seed, epoch)) for seed in range(4) for epoch in range(1, 5)}
    assert len(orders) == 16, "epochs of one seed are not those of another, moved"


def test_every_loader_of_the_project_leaves_signals_to_the_process_that_started_it():
    """A signal to a whole group would end its processes while the program still wants their studies."""
    calls = [
        (path.name, {word.arg: word.value for word in call.keywords})
        for path in sorted((ROOT / "modules").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "DataLoader"
    ]
    assert len(calls) == 5
    assert [name for name, words in calls if getattr(words.get("worker_init_fn"), "id", "") != "settle"] == []


def test_a_smaller_last_step_is_dropped_unless_it_is_the_only_one():
    assert len(epoch_batches(19, 5, 1, 0, 1)) == 3
    (only,) = epoch_batches(3, 5, 1, 0, 1)
    assert sorted(only[0]) == [0, 1, 2]
    (shared,) = epoch_batches(3, 5, 2, 0, 1)  # both processes get a share of equal size
    assert [len(share) for share in shared] == [2, 2]
    assert {i for share in shared for i in share} == {0, 1, 2}


@pytest.mark.parametrize(("size", "batch_size", "shares"), [(1, 5, 1), (3, 5, 2), (7, 1, 2), (8, 5, 8), (20, 4, 3)])
def test_the_size_of_a_share_is_known_beforehand(size, batch_size, shares):
    found = {len(share) for step in epoch_batches(size, batch_size, shares, 0, 1) for share in step}
    assert found == {share_size(size, batch_size, shares)}


def test_steps_whose_channels_have_one_value_are_refused_and_no_others():
    """They ended in torch's traceback, after the features were read."""
    for size, fine, studies, is_wrong in (
        (32, False, 1, True), (32, False, 2, False), (33, False, 1, False), (32, True, 1, False), (32, False, 0, False),
    ):  # fmt: skip
        encoder = VisualEncoder("resnet10q", size, fine=fine).train()
        images = torch.zeros(studies, 3, size, size)
        if is_wrong:
            with pytest.raises(ValueError, match="Expected more than 1 value"):
                encoder(images)
            with pytest.raises(
                UserError, match="one patch, so that every channel has one value: give a larger --image"
            ):
                refuse_single_values(encoder, studies)
        else:
            refuse_single_values(encoder, studies)
            if studies:
                encoder(images)


def test_a_training_of_one_study_at_a_time_and_one_patch_writes_nothing(prepared, tmp_path, capsys):
    words = [*places(prepared), *SMALL, *SMALL_MODEL, "--image_size", 32, "--batch_size", 1, "--save_dir", tmp_path]
    refused(capsys, "one patch, so that every channel has one value", main_train, *words)
    assert not (tmp_path / "options.json").exists()


@pytest.mark.parametrize(
    ("flags", "world", "together"),
    [((), 1, 1), ((), 2, 2), (("--no-sync_bn",), 2, 1), (("--freeze_bn",), 1, 0)],
)
def test_statistics_are_of_the_studies_of_all_processes_that_share_them(flags, world, together, monkeypatch):
    monkeypatch.setattr(normalisation, "world_size", lambda: world)
    training = parse_options(MainTrain, list(flags)).training
    assert normalisation.normalised_together(training, 100, 1) == together
    assert normalisation.normalised_together(training, 3, 8) == together * -(-3 // world)


def test_a_resume_continues_the_order_of_its_epoch():
    whole, rest = (list(EpochSampler(20, 4, seed=1, epoch=2, first_step=first)) for first in (0, 3))
    assert len(whole) == 5
    assert rest == whole[3:]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_an_evaluation_without_overlap(world, monkeypatch, tmp_path):
    reports = {f"s{i}": "clear lungs ." for i in range(10)}
    dataset = small_set(small_bank(tmp_path, reports, np.zeros((10, 18))), reports)
    monkeypatch.setattr(subject, "world_size", lambda: world)
    seen = []
    for process in range(world):
        monkeypatch.setattr(subject, "rank", lambda process=process: process)
        batches = evaluation_loader(dataset, 3, 0).batch_sampler
        assert all(batch == sorted(batch) and len(batch) <= 3 for batch in batches)
        seen += [i for batch in batches for i in batch]
    assert sorted(seen) == list(range(10))


def test_the_order_leaves_the_generator_of_dropout_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(EpochSampler(20, 4, seed=1, epoch=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_rare_findings_are_taken_more_often_and_no_study_is_forgotten_for_long():
    labels = np.zeros((1000, 18), dtype=np.int64)
    labels[:, 13] = 1  # no finding, until something is found
    labels[:100, 9], labels[:100, 13] = 1, 0
    labels[:10, 11] = 1  # the rarest one decides
    taken = rare_first(labels, 0.5)
    assert taken.mean() == pytest.approx(1)
    assert taken[0] / taken[50] == pytest.approx(10**0.5)
    assert taken[50] / taken[500] == pytest.approx(3)
    assert (rare_first(labels, 0.0) == 1).all()
    labels[:100, 9] = np.where(labels[:100, 9] == 1, 1, 0)
    labels[200:, 9], labels[200:300, 13] = (
        2,
        3,
    )  # denied or uncertain is not found; nothing found counts as the most frequent
    assert rare_first(labels, 0.5)[250] == rare_first(labels, 0.5)[500]
    assert rare_first(labels, 0.5)[50] / rare_first(labels, 0.5)[250] == pytest.approx(8**0.5)
    for epoch in (1, 2):
        steps = epoch_batches(1000, 10, 2, seed=1, epoch=epoch, taken=taken)
        counts = np.bincount([i for step in steps for share in step for i in share], minlength=1000)
        assert counts.sum() == 1000
        assert (np.abs(counts - taken) < 1).all()  # rounded up or down
    assert steps == epoch_batches(1000, 10, 2, seed=1, epoch=2, taken=taken)


def test_a_study_that_an_epoch_takes_again_has_another_crop_there(tmp_path):
    """Also where processes share the epoch, and where a smaller set than a batch is taken over and over."""
    taken = np.full(20, 0.5)
    taken[7] = 10.5
    for steps in (epoch_batches(20, 5, 2, 3, 1, taken), epoch_batches(3, 2, 8, 3, 1)):
        size = 20 if len(steps[0]) == 2 else 3
        plain = [i for step in steps for share in step for i in share]
        told = [i for step in numbered(steps, size) for share in step for i in share]
        assert len(set(told)) == len(told) > len(set(plain))
        assert [i % size for i in told] == plain
    region_text = np.zeros((1, 1, WIDTH), np.float16)
    small_bank(tmp_path, {"a": "clear lungs ."}, np.zeros((1, 18)))
    write_feature(tmp_path, "region_text", region_text, axis="studies", made_by={})
    write_feature(tmp_path, "memory_indices", np.zeros((1, 1), np.int64), axis="studies", made_by={})
    Image.fromarray(np.arange(150 * 130, dtype=np.uint32).reshape(150, 130).astype(np.uint8)).save(tmp_path / "a.png")
    dataset = small_set(TrainingBank(FeatureStore.open(tmp_path)), {"a": "clear lungs ."})
    dataset.augmentation = (1, 2)
    samples = [dataset[index] for index in (0, 1, 2, 0)]
    assert [sample.index for sample in samples] == [0] * 4
    first, second, third, again = (sample.image for sample in samples)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


BUG = """
import sys
import main_train
from modules.corpus.datasets import ReportDataset
from modules.messages import run

def read(self, index):
    raise ValueError("a bug")

ReportDataset.__getitem__ = read
run(main_train.main)
"""


@pytest.mark.slow
def test_a_bug_ends_the_program_although_processes_load_its_data(prepared, tmp_path):
    """They outlive a signal to all: who raises must let them go, or waits for them for ever."""
    argv = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run", "--num_workers", 2]
    end = subprocess.run(
        [sys.executable, "-c", BUG, *map(str, argv)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert end.returncode == 1
    assert "ValueError: a bug" in end.stderr
    assert "in train_epoch" in end.stderr  # where it happened is still told
