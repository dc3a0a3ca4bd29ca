"""The programs on a CUDA device: the card of this machine, or one that is claimed (claimed_cuda.py) where there is none."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from claimed_cuda import CUDA, ON_CUDA, REAL, claimed_cuda, cuda
from programs import SMALL, call, copy_of, places, prepare, train
from test_chexbert import TEXTS, small  # noqa: F401, fixture
from test_medklip import drawn_studies, files, kept_in  # noqa: F401, fixture
from test_text_features import bert_folder  # noqa: F401, fixture
from tiny import tiny_study

import main_test
from benchmarks.models import our_step, published_config, published_model, random_batch
from models import beam_reader, optimal_transport
from models.beam_search import GenerationLimits
from modules.corpus.datasets import Batch
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis
from modules.labelling.chexbert import ChexbertLabeler
from modules.preparation.features import medklip
from modules.preparation.features.text_models import HuggingFaceEncoder
from modules.records import read_jsonl
from modules.training import update
from modules.training.optimizers import build_optimizer
from modules.training.trainer import Trainer
from modules.weights.checkpoints import load_checkpoint

THREE_STEPS = ("--batch_size", 16)  # an epoch of the 48 training studies: what an operation costs here is the call
claimed = pytest.mark.skipif(REAL, reason="a claimed device cannot stand beside a real one")


@claimed
def test_the_device_counts_what_a_gpu_waits_for_and_refuses_what_it_refuses():
    with claimed_cuda() as device:
        x, host = torch.arange(4.0).to(CUDA), torch.tensor(2.0)
        assert x.device == (x * host).device == torch.zeros(2, device=CUDA).device == CUDA
        assert not device.waits
        (host * 2).item()
        assert not device.waits
        system, one = (x[1] * torch.eye(2, device=CUDA)).expand(3, 2, 2), torch.ones(3, 2, device=CUDA)
        waits = (
            x.sum().item, x.cpu, x.tolist, lambda: x.to("cpu"), lambda: x[x > 1], (x > 1).nonzero, lambda: bool(x.any()),
            lambda: torch.linalg.solve(system, one), lambda: torch.zeros(4).copy_(x),
        )  # fmt: skip
        for number, wait in enumerate(waits, 1):
            wait()
            assert device.waits.total() == number
        with pytest.raises(RuntimeError, match="found some of shapes"):
            x + torch.zeros(4)
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(x)


def waits_of_training(folder, save_dir, flags, monkeypatch):
    """What every step of a training waits for, and every copy of a batch to the device."""
    found = {}

    def watch(owner, name, device):
        work = getattr(owner, name)

        def watched(self, *args):
            before = device.waits.copy()
            result = work(self, *args)
            found.setdefault(name, []).append(dict(device.waits - before))
            return result

        monkeypatch.setattr(owner, name, watched)

    with claimed_cuda() as device:
        watch(Trainer, "train_step", device)
        watch(Batch, "to", device)
        few = [] if {"--attention", "--ot_plan"} & {*flags} else ["--ot_iterations", 12]
        train(folder, save_dir, *ON_CUDA, *THREE_STEPS, "--epochs", 1, *few, *flags)
    return found


@pytest.mark.parametrize(
    "flags",
    [
        ("--dropout", "0.1"),
        ("--align_pairs", "all", "--align_iou", "binary", "--rank_loss", "listwise"),
        ("--manifold", "lorentz", "--ot_plan", "single", "--train_retrieval", "mixed"),
        ("--manifold", "lorentz", "--align_pairs", "all", "--align_iou", "binary"),
        ("--manifold", "euclidean", "--align_pairs", "all", "--align_iou", "binary", "--rank_loss", "listwise"),
        ("--manifold", "lorentz", "--rank_loss", "listwise", "--no-mask_padding"),
        ("--manifold", "euclidean", "--attention", "softmax", "--retrieval", "none"),
        ("--attention", "none", "--train_retrieval", "own"),
        ("--features", "online"),
    ],
    ids=" ".join,
)
@pytest.mark.slow
@claimed
def test_a_training_step_never_waits_for_the_device(flags, prepared, tmp_path, monkeypatch):
    found = waits_of_training(prepared, tmp_path, flags, monkeypatch)
    assert len(found["train_step"]) == 3  # the first, which makes the optimizer's state, and two that find it
    assert len(found["to"]) > len(found["train_step"])  # batches of the validation too
    assert [waits for waits in found["train_step"] + found["to"] if waits] == []


@claimed
def test_a_learned_curvature_waits(prepared, tmp_path, monkeypatch):
    """The price of --learn_c: geoopt asks for the sign of a curvature that lies on the device."""
    found = waits_of_training(prepared, tmp_path, ["--learn_c"], monkeypatch)
    assert set().union(*found["train_step"]) == {"aten._local_scalar_dense.default"}


@pytest.mark.slow
@claimed
def test_the_number_of_operations_of_a_step_does_not_grow_with_the_batch(capsys):
    config = replace(published_config(quick=True), visual_extractor="resnet101", decoder_layers=12)
    counts = {}
    with claimed_cuda() as device:
        model, prior = published_model(config).to(CUDA), torch.ones(config.num_conditions, device=CUDA)
        optimizer = build_optimizer(model, 5e-5, 0.05)
        for size in (2, 2, 5):
            batch = random_batch(config, size, 30).to(CUDA, None)
            device.operations.clear()
            our_step(model, optimizer, batch, prior, "fp32")
            counts[size] = device.operations.copy()
    products = counts[2]["aten.bmm.default"]
    with capsys.disabled():
        print(
            f"\na training step on a CUDA device: {counts[2].total():,} operations in float32, {products} of them bmm"
        )
    assert counts[2] == counts[5]
    assert counts[2].total() < 5500


@pytest.fixture
def repeatable():
    """Gives back what ``--deterministic`` sets in this process."""
    yield
    torch.use_deterministic_algorithms(False)


def weights_of(run):
    return load_checkpoint(run / "current_checkpoint.pth")["state_dict"]


@pytest.mark.slow
def test_training_gives_what_it_gives_on_the_cpu(prepared, tmp_path, monkeypatch):
    """The gradients of the first step; later ones part by rounding, which AdamW turns into whole steps either way."""
    monkeypatch.setattr(optimal_transport, "CHECK_EVERY", 1000)  # as on a GPU, which runs all iterations
    gradients = []

    def keep(parameters, value, clip=update.clip_gradients):
        parameters = list(parameters)
        gradients[-1].append([parameter.grad.cpu().double() for parameter in parameters])
        clip(parameters, value)

    monkeypatch.setattr(update, "clip_gradients", keep)

    def losses_on(device):
        gradients.append([])
        train(prepared, tmp_path / device, *(ON_CUDA if device == "cuda" else ()), *THREE_STEPS, "--ot_iterations", 40)
        table = np.genfromtxt(tmp_path / device / "metrics.csv", delimiter=",", names=True)
        return np.array([table[name] for name in ("loss_report", "loss_diagnosis", "loss_alignment", "loss_ranking")])

    expected = losses_on("cpu")
    with cuda():
        found = losses_on("cuda")
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    on_cpu, on_cuda = (steps[0] for steps in gradients)
    whole = torch.stack([gradient.norm() for gradient in on_cpu]).norm()
    for ours, theirs in zip(on_cuda, on_cpu, strict=True):
        assert (ours - theirs).norm() < 1e-3 * theirs.norm() + 1e-6 * whole


def test_gradients_of_every_loss_apart_are_combined_on_the_device(prepared, tmp_path):
    flags = (*THREE_STEPS, "--epochs", 1, "--ot_iterations", 12, "--dropout", 0, "--no-augment", "--cagrad", 0.4)

    def last_loss(device, *more):
        train(prepared, tmp_path / device, *flags, *more)
        return float(np.genfromtxt(tmp_path / device / "metrics.csv", delimiter=",", names=True)["loss"])

    with cuda():
        found = last_loss("cuda", *ON_CUDA)
    assert found == pytest.approx(last_loss("cpu"), rel=0.01)


def test_reports_are_drawn_on_the_device(prepared, tmp_path):
    flags = (*THREE_STEPS, "--epochs", 1, "--ot_iterations", 12, "--scst", 2)
    with cuda():
        train(prepared, tmp_path / "cuda", *ON_CUDA, *flags)
    drawn = float(np.genfromtxt(tmp_path / "cuda" / "metrics.csv", delimiter=",", names=True)["loss_reward"])
    assert 0 < drawn <= 1
    if not REAL:  # a GPU has other random numbers
        train(prepared, tmp_path / "cpu", *flags)
        on_cpu = float(np.genfromtxt(tmp_path / "cpu" / "metrics.csv", delimiter=",", names=True)["loss_reward"])
        assert drawn == pytest.approx(on_cpu, rel=0.05)


@pytest.mark.slow
def test_a_test_gives_what_it_gives_on_the_cpu(prepared, trained, tmp_path):
    def test_on(device):
        call(
            main_test, *places(prepared), *SMALL, *(ON_CUDA if device == "cuda" else ()), "--load_pretrained", trained / "model_best.pth",
            "--save_dir", tmp_path / device, "--gen_min_len", 25, "--gen_max_len", 12, "--baselines", "--plot", 1,
            "--viewer_studies", 2, "--no-meteor", "--resamples", 50,
        )  # fmt: skip
        metrics = json.loads((tmp_path / device / "metrics.json").read_text())
        return read_jsonl(tmp_path / device / "predictions.jsonl"), metrics["scores"]

    rows, scores = test_on("cpu")
    with cuda():
        others, again = test_on("cuda")
    absent = [name for name, value in scores.items() if value is None]  # what has no value is None on both
    assert [name for name, value in again.items() if value is None] == absent
    known = {name: value for name, value in scores.items() if value is not None}
    assert {name: again[name] for name in known} == pytest.approx(known, rel=1e-9)
    for row, other in zip(rows, others, strict=True):
        for key in ("id", "prediction", "retrieved", "states", "labels_prediction"):
            assert row[key] == other[key], key


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one(prepared, tmp_path, repeatable):
    flags = (*ON_CUDA, *THREE_STEPS, "--ot_iterations", 12, "--dropout", 0.1, "--deterministic")
    with cuda():
        train(prepared, tmp_path / "whole", *flags)
        with pytest.MonkeyPatch.context() as patch:
            steps = []

            def step_then_stop(self, batch, work=Trainer.train_step):
                steps.append(len(batch.index))
                self.stop.number = 2 * (len(steps) == 5)
                return work(self, batch)

            patch.setattr(Trainer, "train_step", step_then_stop)
            with pytest.raises(SystemExit) as end:
                train(prepared, tmp_path / "two", *flags)
        assert end.value.code == 130
        assert load_checkpoint(tmp_path / "two" / "current_checkpoint.pth")["run"]["step"] == 2
        train(prepared, tmp_path / "two", *flags, "--resume")
    whole, two = weights_of(tmp_path / "whole"), weights_of(tmp_path / "two")
    assert all(torch.equal(whole[name], two[name]) for name in whole)


@claimed
def test_writing_waits_once_for_each_word_that_may_be_the_last(tiny_model, monkeypatch):
    monkeypatch.setattr(beam_reader, "TOKENS_BETWEEN", 5)
    limits = GenerationLimits(beams=3, min_length=28, max_new_tokens=14)  # 19 tokens of prompt, so up to 33
    with claimed_cuda() as device:
        model, study = tiny_model().to(CUDA), tiny_study().to(CUDA)
        fused = model.fuse(study).fused
        prompt = torch.full((len(fused), 19), 3, device=CUDA)
        device.waits.clear()
        tokens, _ = model.report_decoder.generate(fused, prompt, limits)
    assert tokens.shape[1] == 33
    columns_left_out = len([length for length in range(19, 32) if length % 5 == 0])
    assert dict(device.waits) == {"aten._local_scalar_dense.default": len(range(28, 32)) + columns_left_out}


ON_DEVICE = ("region_scores", "region_text", "label_neighbours", "report_features", "memory_indices")  # made there


def test_preparation_gives_what_it_gives_on_the_cpu(prepared, tmp_path):
    """By the scorer of the CPU: what a card makes of the same weights."""
    folder = tmp_path / "synth"
    copy_of(prepared, folder)
    for name in ON_DEVICE:
        (folder / "features" / f"{name}.npy").unlink()
    with cuda():
        prepare(folder, "--device", "cuda")
    ours, theirs = (FeatureStore.open(part / "features") for part in (folder, prepared))
    for name in ON_DEVICE[:-1]:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=5e-3, atol=5e-3 if REAL else 1e-4, err_msg=name)
    found = np.array(ours["memory_indices"])  # of the device's own scores: a neighbour jumps where they round otherwise
    (folder / "features" / "memory_indices.npy").unlink()
    prepare(folder)
    np.testing.assert_array_equal(found, FeatureStore.open(folder / "features")["memory_indices"])


def test_an_entity_scorer_learns_what_it_learns_on_the_cpu(prepared, tmp_path):
    folder = tmp_path / "synth"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("features"))
    with cuda():
        prepare(folder, "--device", "cuda")
    ours, theirs = (np.array(FeatureStore.open(part / "features")["region_text"]) for part in (folder, prepared))
    if REAL:  # an epoch of AdamW makes much of a card's rounding
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@claimed
def test_what_the_gpu_script_does_without_recording_runs(monkeypatch, capsys, tmp_path):
    script = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
    only = ["--only", "ceilings", "retrieve"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", *only, "--out", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a claimed device")
    with claimed_cuda():
        runpy.run_path(str(script), run_name="__main__")
    assert "retrieve, 20 queries in 1000 rows: seconds_of_search" in capsys.readouterr().out
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert "a claimed device" in kept["machine"]
    assert len(kept["figures"]) == 4


def test_chexbert_labels_as_on_the_cpu(small):  # noqa: F811
    folder, _ = small
    expected = ChexbertLabeler(folder / "chexbert.pth", folder)(TEXTS)
    with cuda():
        found = ChexbertLabeler(folder / "chexbert.pth", folder, device=CUDA)(TEXTS)
    np.testing.assert_array_equal(found, expected)


def test_a_bert_reads_reports_as_on_the_cpu(bert_folder):  # noqa: F811
    expected = HuggingFaceEncoder(bert_folder).encode(TEXTS)
    with cuda():
        found = HuggingFaceEncoder(bert_folder, device=CUDA).encode(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_medklip_scores_as_on_the_cpu(files, tmp_path, monkeypatch):  # noqa: F811
    studies = drawn_studies(tmp_path)
    monkeypatch.setattr(medklip, "IMAGE_SIZE", 64)

    def features(device):
        folder = tmp_path / device.type
        write_axis(folder, "studies", [study.id for study in studies])
        assert medklip.write_medklip_features(files, kept_in(folder), studies, device, {"annotation": "x"})
        return FeatureStore.open(folder)

    expected = features(torch.device("cpu"))
    with cuda():
        found = features(CUDA)
    for name in ("region_scores", "region_text"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-3)
