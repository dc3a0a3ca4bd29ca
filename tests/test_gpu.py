"""What only a real CUDA device can show; every test is skipped without one. ``test_cuda.py`` runs the programs on it."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_MODEL, call, places, train
from test_gpu_kernels import check_transport, check_word_loss
from test_loss_curve import GOLDEN, curve, on
from test_stops import rows_of
from tiny import tiny_config

import main_predict
from benchmarks.models import LOSS, random_batch
from models.beam_reader import NegativePrompt
from models.beam_search import GenerationLimits
from models.gpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.distributed import autocast
from modules.records import read_json, read_jsonl
from modules.training.objective import Step, loss_names, objective
from modules.training.update import Update
from modules.weights.checkpoints import load_checkpoint

tiny_config = partial(tiny_config, visual_extractor="resnet18")  # whose rounding the tolerances below were read off
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA, ROOT = torch.device("cuda", 0), Path(__file__).parents[1]
RELEASED = {"entity_keys": "text", "align_pairs": "all", "reference_memory": 0}
TOLERANCES = {
    "fp32": (1e-4, 5e-3),
    "bf16": (3e-2, 0.25),
}  # of losses, and of the gradient as a whole (a CPU: .002, .19)


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """As ``--precision fp32`` has it."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def wide(batch):
    """The same batch in float64."""
    study = {n: v.double() if v.is_floating_point() else v for n, v in vars(batch.study).items()}
    return replace(batch, study=replace(batch.study, **study))


def losses_and_gradients(model, batch, pairs, precision):
    """One forward and backward pass without dropout."""
    device = batch.labels.device
    prior = torch.linspace(0.4, 1, 18, device=device, dtype=next(model.parameters()).dtype)
    model.train().zero_grad()
    with autocast(device, precision):
        output = model(batch.study, batch.token_ids, batch.token_mask, batch.packed)
    terms = objective(Step(model, output, batch, prior, replace(LOSS, presence_weight=1.0), pairs))
    terms["loss"].backward()
    gradients = {n: p.grad.detach().cpu().double() for n, p in model.named_parameters() if p.grad is not None}
    return torch.stack([x.detach().cpu().double() for x in terms.values()]), gradients


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize("changes", [{}, RELEASED, {"manifold": "lorentz"}, {"attention": "softmax"}], ids=str)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_losses_and_gradients_are_those_of_float64_on_the_cpu(precision, changes, fast):
    torch.manual_seed(0)
    config = tiny_config(dropout=0.0, **changes)
    batch = random_batch(config, size=8, tokens=40, sentences=4, lengths=(1, 0.7))
    pairs = None if config.align_pairs == "all" else torch.randint(-1, 2, (8, 75, 4)).float()
    model = Revtaf(config)
    reference = Revtaf(config).double()
    reference.load_state_dict(model.double().state_dict())
    expected, of_cpu = losses_and_gradients(reference, wide(batch), pairs, "fp32")
    model.float().to(CUDA)
    if fast:
        speed_up(model)
    found, of_gpu = losses_and_gradients(model, on(CUDA, batch), None if pairs is None else pairs.to(CUDA), precision)
    loose, of_gradient = TOLERANCES[precision]
    np.testing.assert_allclose(found, expected, rtol=loose, atol=loose)
    assert of_gpu.keys() == of_cpu.keys()
    off = torch.stack([(of_gpu[n] - of_cpu[n]).norm() for n in of_cpu]).norm()
    assert off < of_gradient * torch.stack([g.norm() for g in of_cpu.values()]).norm()


def test_the_transport_of_one_kernel_is_that_of_float64():
    check_transport(CUDA)


def test_the_loss_of_words_is_that_of_float64():
    check_word_loss(CUDA)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_a_step_never_waits_for_the_card(fast):
    config = tiny_config(**RELEASED)
    model = Revtaf(config).to(CUDA)
    if fast:
        speed_up(model)
    batch = random_batch(config, size=8, tokens=40, sentences=4, lengths=(1, 0.7))
    batch = on(CUDA, batch)
    update, prior = Update(model, LOSS, "bf16", CUDA, (3, 4, 5, 6), recorded=fast), torch.ones(18, device=CUDA)
    update.train()
    for number in range(1, 4):
        update(number, (batch,), prior)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mode warns that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        for number in range(4, 7):
            update(number, (batch,), prior)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize("beams", [1, 3])
def test_reports_are_those_of_the_cpu(beams, fast):
    torch.manual_seed(0)
    config = tiny_config()
    model = Revtaf(config).eval()
    study = random_batch(config, 16, 30).study
    states, limits = torch.arange(4) + 3, GenerationLimits(beams=beams, min_length=30, max_new_tokens=40)
    expected, scores, _ = model.generate(study, 3, states, limits)
    model.to(CUDA)
    if fast:
        speed_up(model)
    found, others, _ = model.generate(study.to(CUDA), 3, states.to(CUDA), limits)
    assert torch.equal(found.cpu(), expected)
    torch.testing.assert_close(others.cpu(), scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_guided_reports_are_those_of_the_cpu(fast):
    """A second search reads two prompts side by side."""
    torch.manual_seed(0)
    config = tiny_config()
    model = Revtaf(config).eval()
    study, states = random_batch(config, 16, 30).study, torch.arange(4) + 3
    with torch.no_grad():
        fused = model.fuse(study)
    prompt = model.prompt_of(fused.state_logits, 3, states)  # (16, 1 + L)
    other = torch.cat([prompt[:, :1], prompt[:, 1:] % 4 + 3], dim=1)
    limits = GenerationLimits(beams=3, min_length=30, max_new_tokens=40)
    expected, scores = model.report_decoder.generate(fused.fused, prompt, limits, negative=NegativePrompt(other, 10.0))
    unguided, _ = model.report_decoder.generate(fused.fused, prompt, limits)
    assert not torch.equal(expected, unguided)
    model.to(CUDA)
    if fast:
        speed_up(model)
    negative = NegativePrompt(other.to(CUDA), 10.0)
    found, others = model.report_decoder.generate(fused.fused.to(CUDA), prompt.to(CUDA), limits, negative=negative)
    assert torch.equal(found.cpu(), expected)
    torch.testing.assert_close(others.cpu(), scores, rtol=1e-4, atol=1e-4)


def test_recorded_updates_are_those_that_are_not():
    """Batches of three shapes; running statistics are those of the updates alone."""
    config, found, statistics = tiny_config(dropout=0.0), {}, {}
    batches = [on(CUDA, random_batch(config, 8, n, 4, lengths=(1, 0.7))) for n in (40, 60, 40, 44, 70)]
    for recorded in (False, True):
        torch.manual_seed(1)
        update = Update(Revtaf(config).to(CUDA), LOSS, "fp32", CUDA, (3, 4, 5, 6), recorded=recorded)
        update.train()
        prior = torch.ones(18, device=CUDA)
        found[recorded] = [update(n, (batch,), prior).tolist() for n, batch in enumerate(batches, 1)]
        statistics[recorded] = update.model.visual_encoder.backbone.bn1.running_var.cpu()
        if recorded:
            assert update.recorded is not None
            assert len(update.recorded.recordings) == 3
    np.testing.assert_allclose(found[True], found[False], rtol=5e-3, atol=1e-4)
    torch.testing.assert_close(statistics[True], statistics[False], rtol=1e-3, atol=1e-5)


def test_a_loader_pins_memory_while_steps_are_recorded(prepared, tmp_path):
    train(prepared, tmp_path, "--device", "cuda", "--num_workers", 2, "--epochs", 2)
    assert [row["epoch"] for row in rows_of(tmp_path)] == ["1", "2"]


def test_forty_updates_give_the_golden_losses():
    golden = read_json(GOLDEN)
    assert golden["names"] == loss_names()
    found, expected = curve(device=CUDA), np.array(golden["losses"])
    np.testing.assert_allclose(found[:8], expected[:8], rtol=3e-2, atol=2e-3)  # other masks of dropout
    assert found[-8:, 0].mean() < 0.9 * found[:8, 0].mean(), "it learns"


def weights_of(run):
    return load_checkpoint(run / "current_checkpoint.pth")["state_dict"]


def test_a_deterministic_training_repeats_itself(prepared, tmp_path):
    for name in ("one", "two"):
        command = [
            sys.executable,
            "main_train.py",
            *places(prepared),
            *SMALL,
            *SMALL_MODEL,
            "--save_dir",
            tmp_path / name,
        ]
        flags = ["--epochs", 1, "--device", "cuda", "--precision", "bf16", "--dropout", 0.1, "--deterministic"]
        done = subprocess.run(list(map(str, [*command, *flags])), cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_processes_share_a_card(prepared, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, "main_train.py"]
    flags = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "two", "--epochs", 2, "--device", "cuda"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        list(map(str, [*command, *flags, "--batch_size", 4])), cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    train(prepared, tmp_path / "one", "--device", "cuda", "--batch_size", 8, "--dropout", 0)
    two, one = (rows_of(tmp_path / name) for name in ("two", "one"))
    assert [row["epoch"] for row in two] == ["1", "2"]
    for ours, theirs in zip(two, one, strict=True):
        assert float(ours["loss_report"]) == pytest.approx(float(theirs["loss_report"]), rel=0.05)


def test_a_film_gets_the_report_that_it_gets_on_the_cpu(prepared, trained, tmp_path):
    films, found = sorted((prepared / "images" / "test").iterdir()), {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        call(main_predict, "--model", trained, "--out", out, "--device", device, "--images", *films)
        found[device] = [(row["image"], row["report"]) for row in read_jsonl(out / "predictions.jsonl")]
    same = sum(ours == theirs for ours, theirs in zip(found["cpu"], found["cuda"], strict=True))
    assert same >= 0.8 * len(films), "the CPU computes in float32, the card in half precision"
