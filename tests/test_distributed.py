"""modules/distributed.py with two real processes: gradients, gathering, and a sharded test that equals a whole one."""

import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from programs import SMALL, call, copy_of, places, prepare
from test_text_features import bert_folder  # noqa: F401, fixture

import main_test
from models.manifolds import PoincareBall
from modules import records
from modules.corpus.dataloaders import EpochSampler
from modules.corpus.store import FeatureStore, verify
from modules.distributed import (
    choose_arithmetic,
    gather_list,
    gather_with_gradient,
    mean_over_processes,
    processes,
    rank,
)
from modules.messages import UserError
from modules.records import read_json, read_jsonl, write_json
from modules.training.losses import ranking_loss

LAYER = torch.nn.Linear(4, 3)


def studies():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=generator), torch.randint(0, 4, (6, 18), generator=generator)


def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def one_of_two(folder):
    """What each process does; process 0 keeps the results."""
    with processes("cpu"):
        number = rank()
        x, labels = studies()
        mine = slice(3 * number, 3 * number + 3)
        model = torch.nn.parallel.DistributedDataParallel(layer())
        points = model(x[mine])
        others = (gather_with_gradient(points), gather_with_gradient(labels[mine]), 3 * rank())
        loss = ranking_loss(PoincareBall(0.01), points, labels[mine], others)
        loss.backward()
        gathered = gather_list([number, number + 10])
        mean = mean_over_processes(torch.tensor([float(number), 1.0]))
        if number == 0:
            gradient = model.module.weight.grad
            torch.save({"gradient": gradient, "gathered": gathered, "mean": mean}, Path(folder) / "result.pth")
    assert not dist.is_initialized()


def test_two_processes_rank_against_each_other(trainings, tmp_path):
    trainings.call(one_of_two, processes=2, folder=str(tmp_path))
    result = torch.load(tmp_path / "result.pth", weights_only=True)
    x, labels = studies()
    whole = layer()
    ranking_loss(PoincareBall(0.01), whole(x), labels).backward()
    torch.testing.assert_close(result["gradient"], whole.weight.grad, rtol=1e-5, atol=1e-7)
    assert result["gathered"] == [0, 10, 1, 11]
    assert result["mean"] == [0.5, 1]


def enter(folder):
    """Process 0 is still connecting for a while."""
    connect = dist.init_process_group

    def slowly(*args, **kwargs):
        connect(*args, **kwargs)
        time.sleep(0.5)
        (Path(folder) / "connected").touch()

    dist.init_process_group = slowly if os.environ["RANK"] == "0" else connect
    with processes("cpu"):
        assert (Path(folder) / "connected").exists()


def test_no_process_begins_before_all_are_connected(trainings, tmp_path):
    """It could end before the other has heard of it, which then says that the connection was closed."""
    trainings.call(enter, processes=2, folder=str(tmp_path))


def checksum_seen(folder):
    """What each process shows of a checksum that takes long."""
    with processes("cpu"), open(Path(folder) / f"seen{rank()}", "w") as seen, contextlib.redirect_stderr(seen):
        records._BAR_DELAY = 0
        records.sha256_of(Path(folder) / "array.npy")


def test_one_process_shows_the_bar_of_a_checksum(trainings, tmp_path):
    (tmp_path / "array.npy").write_bytes(bytes(9))
    trainings.call(checksum_seen, processes=2, folder=str(tmp_path))
    assert "checksum of array.npy" in (tmp_path / "seen0").read_text()
    assert (tmp_path / "seen1").read_text() == ""


def write_reports(words):
    call(main_test, *words)


@pytest.mark.slow
def test_two_processes_write_the_same_reports_as_one(trainings, prepared, trained, tmp_path):
    arguments = [
        *places(prepared), *SMALL, "--load_pretrained", trained / "model_best.pth", "--gen_min_len", 25,
        "--gen_max_len", 12, "--no-meteor", "--no-viewer",
    ]  # fmt: skip
    for number, name in ((1, "one"), (2, "two")):
        trainings.call(write_reports, number, words=[*map(str, arguments), "--save_dir", str(tmp_path / name)])
    one, two = (read_jsonl(tmp_path / name / "predictions.jsonl") for name in ("one", "two"))
    assert [row["prediction"] for row in one] == [row["prediction"] for row in two]
    assert [row["id"] for row in one] == [row["id"] for row in two]


def test_n_gpu_without_processes_is_refused():
    with pytest.raises(UserError, match="--n_gpu 3 needs as many processes"), processes("cpu", n_gpu=3):
        pass


def test_sampler_repeats_itself_skips_and_reshuffles():
    first = list(EpochSampler(50, 8, seed=1, epoch=1))
    assert first == list(EpochSampler(50, 8, seed=1, epoch=1))
    assert first[2:] == list(EpochSampler(50, 8, seed=1, epoch=1, first_step=2))
    assert first != list(EpochSampler(50, 8, seed=1, epoch=2))
    assert len(first) == 6
    flat = [i for batch in first for i in batch]
    assert len(set(flat)) == 48
    assert [sorted(batch) for batch in EpochSampler(3, 8, seed=1, epoch=1)] == [[0, 1, 2]]


MADE = (
    "entity_scorer.pth", "labels.npy", "region_scores.npy", "region_text.npy", "report_features.npy",
    "sentence_features.npy", "sentence_offsets.npy", "label_neighbours.npy", "memory_indices.npy", "manifest.json",
)  # fmt: skip


def prepare_in(folder):
    """Prepare with small batches, so that both processes score images, and three shares for two processes.

    The data set is custom, so that nobody draws it again and writes the labels back.
    """
    from modules.preparation.features import entities

    torch.set_num_threads(1)
    entities.SCORE_BATCH = 16
    prepare(
        Path(folder), "--dataset_name", "custom", "--scorer_patience", 1, "--scorer_shares", 3, "--batch_size", 5,
        "--scorer_epochs", 2, "--text_encoder", Path(folder).parent / "bert",
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_prepare_the_same_arrays_as_one(trainings, prepared, bert_folder, tmp_path):  # noqa: F811
    """From images and reports without labels to the last array, the trained scorer included: byte for byte the same."""
    shutil.copytree(bert_folder, tmp_path / "bert")
    for name in ("two", "one"):
        copy_of(prepared, tmp_path / name)
        shutil.rmtree(tmp_path / name / "features")
        annotation = tmp_path / name / "annotation.json"
        splits = read_json(annotation)
        write_json(annotation, {k: [{**item, "labels": None} for item in items] for k, items in splits.items()})
    for number, name in ((1, "one"), (2, "two")):
        trainings.call(prepare_in, number, folder=str(tmp_path / name))
    for name in MADE:
        one, two = ((tmp_path / folder / "features" / name).read_bytes() for folder in ("one", "two"))
        assert one == two, name
    assert verify(tmp_path / "two" / "features") == []
    labeler = FeatureStore.open(tmp_path / "two" / "features").entry("labels")["made_by"]["labeler"]
    assert labeler.startswith("rule ")


def test_full_float32_and_repetition_are_asked_for_by_their_flags(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    choose_arithmetic("bf16", deterministic=False)
    assert torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    try:
        choose_arithmetic("fp32", deterministic=True)
        assert not torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
