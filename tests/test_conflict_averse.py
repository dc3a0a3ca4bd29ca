"""modules/training/conflict_averse.py: what it promises of the loss that is helped least, and which weights it is about."""

import csv
import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from one_sided import ROWS, one_sided
from programs import train, train_until_interrupted
from tiny import tiny_config
from torch import nn

from benchmarks.models import LOSS, random_batch
from models.revtaf import Revtaf
from modules.options.flags import TrainingOptions
from modules.records import read_json, write_json
from modules.training.conflict_averse import ConflictAverseGradients, coefficients
from modules.training.objective import loss_names, weights_of
from modules.training.update import Update
from modules.weights.checkpoints import load_checkpoint


def gradients(losses, seed=0):
    """Gradients ``(T, 4)`` of some losses, of different sizes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(losses, 4)) * rng.uniform(0.1, 10, (losses, 1))


@pytest.mark.parametrize("radius", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("losses", [2, 3, 5])
def test_nothing_else_in_the_ball_helps_the_loss_that_is_helped_least_more(losses, radius):
    for seed in range(5):
        rows = gradients(losses, seed)
        mean = rows.mean(axis=0)
        factors = coefficients(rows @ rows.T, radius)
        update = factors @ rows / losses
        length = radius * np.linalg.norm(mean)
        assert factors.min() >= 1
        assert np.linalg.norm(update - mean) == pytest.approx(length, rel=1e-4)
        others = np.random.default_rng(1).normal(size=(20_000, 4))
        others *= length / np.linalg.norm(others, axis=1, keepdims=True)
        least = (rows @ update).min()
        assert least >= ((mean + others) @ rows.T).min(axis=1).max() - 1e-4 * abs(least)
        assert least >= (rows @ mean).min() - 1e-9


@pytest.mark.parametrize(("magnitudes", "gap"), [(0, 1e-5), (3, 1e-3), (6, 1e-2)])
def test_the_dual_says_that_no_update_is_better(magnitudes, gap):
    """Whatever lies in the ball helps some loss by no more than ``g_w . g_0 + c |g_0| |g_w|``, of gradients up to a millionth of others."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        losses = rng.integers(2, 5)
        rows = rng.normal(size=(losses, 6)) * 10 ** -rng.uniform(0, magnitudes, (losses, 1))
        mean, added = rows.mean(axis=0), coefficients(rows @ rows.T, 0.4) - 1
        update = mean + added @ rows / losses
        assert np.linalg.norm(update - mean) == pytest.approx(0.4 * np.linalg.norm(mean), rel=1e-4)
        weighted = added / added.sum() @ rows
        bound = weighted @ mean + 0.4 * np.linalg.norm(mean) * np.linalg.norm(weighted)
        assert bound - (rows @ update).min() <= gap * abs(bound)


def test_size_of_the_gradients_does_not_matter():
    rows = gradients(3)
    np.testing.assert_allclose(coefficients(1e-12 * rows @ rows.T, 0.4), coefficients(rows @ rows.T, 0.4), rtol=1e-5)


@pytest.mark.parametrize(
    "gram",
    [np.zeros((2, 2)), np.array([[1.0, np.nan], [np.nan, 1.0]]), np.array([[np.inf, 0.0], [0.0, 1.0]]),
     np.array([[1.0, -1.0], [-1.0, 1.0]])],
    ids=["nothing", "nan", "infinite", "opposite"],
)  # fmt: skip
def test_the_plain_sum_is_kept_where_there_is_no_direction(gram):
    assert coefficients(gram, 0.4).tolist() == [1, 1]
    assert coefficients(gradients(3) @ gradients(3).T, 0.0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("none", [0.0, 1e-9])
def test_a_loss_without_gradient_is_not_looked_at(none):
    """Beside it one loss alone has its own gradient, as where it alone reaches a weight."""
    rows = np.concatenate([gradients(2), none * gradients(1)])
    pair = rows[:2] @ rows[:2].T
    assert coefficients(rows @ rows.T, 0.4).tolist() == [*coefficients(pair / pair.diagonal().max(), 0.4), 1]
    assert coefficients(rows[1:] @ rows[1:].T, 0.4).tolist() == [1, 1]
    assert coefficients(rows[:1] @ rows[:1].T, 0.4).tolist() == [1]


@pytest.mark.parametrize("ratio", [1.0, 1e-2, 1e-4, 1e-6])
def test_a_short_gradient_fills_the_ball(ratio):
    rows = np.array([[1.0, 0.0, 0.0], [0.3, ratio, 0.0], [0.0, 0.0, ratio]])
    rows[1] *= ratio
    factors = coefficients(rows @ rows.T, 0.4)
    total = rows.sum(axis=0)
    assert np.linalg.norm((factors - 1) @ rows) == pytest.approx(0.4 * np.linalg.norm(total), rel=1e-4)
    assert (rows @ (factors @ rows)).min() >= (rows @ total).min()


def test_a_short_gradient_at_a_right_angle_takes_the_whole_ball():
    """In closed form: the long one is helped by more than the short one can be, so all of the ball goes to the short one."""
    factors = coefficients(np.diag([1.0, 1e-10]), 0.4)
    np.testing.assert_allclose((factors - 1) * [1, 1e-5], [0, 0.4], atol=1e-4)


class Two(nn.Module):
    """A weight that two losses reach, one that the first reaches alone, and one that none reaches."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.own = nn.Parameter(torch.tensor([3.0]))
        self.idle = nn.Parameter(torch.tensor([5.0]))

    def losses(self):
        first = (self.shared * torch.tensor([4.0, 1.0])).sum() * self.own.sum()
        second = (self.shared * torch.tensor([-3.0, 1.0])).sum()
        return {"loss": first + second, "loss_a": first, "loss_b": second, "loss_c": torch.zeros(())}


def test_only_weights_that_several_losses_reach_are_moved_otherwise():
    model = Two()
    made = ConflictAverseGradients(model, {"loss_a": 0.5, "loss_b": 2.0, "loss_c": 1.0}, 0.4)
    made.begin()
    made.backward(model.losses())
    made.finish()
    assert made.of_losses == {}, "gradients are kept no longer than they are wanted"
    rows = np.array([[6.0, 1.5], [-6.0, 2.0]])  # 0.5 x 3 x (4, 1), 2 x (-3, 1)
    np.testing.assert_allclose(model.shared.grad.numpy(), coefficients(rows @ rows.T, 0.4) @ rows, rtol=1e-5)
    assert model.own.grad.tolist() == [0.5 * (4 + 2)]
    assert model.idle.grad is None


def test_batches_of_a_step_add_up_and_a_new_step_begins_with_nothing():
    model, twice = Two(), Two()
    weights = {"loss_a": 0.5, "loss_b": 2.0, "loss_c": 0.0}
    made, also = (ConflictAverseGradients(one, weights, 0.4) for one in (model, twice))
    for passes, one, gathered in ((1, model, made), (2, twice, also)):
        for _ in range(2):
            gathered.begin()
            for _ in range(passes):
                gathered.backward(one.losses())
            gathered.finish()
    torch.testing.assert_close(twice.shared.grad, 2 * model.shared.grad)
    torch.testing.assert_close(twice.own.grad, 2 * model.own.grad)


def test_a_weight_of_0_asks_for_no_gradient():
    model = Two()
    made = ConflictAverseGradients(model, {"loss_a": 0.0, "loss_b": 2.0}, 0.4)
    made.begin()
    made.backward(model.losses())
    made.finish()
    assert model.shared.grad.tolist() == [-6, 2]
    assert model.own.grad is None


def test_a_loss_may_reach_a_weight_on_one_process_alone(trainings, tmp_path):
    trainings.call(one_sided, 2, folder=str(tmp_path), name="gradient.pth")
    found = torch.load(tmp_path / "gradient.pth", weights_only=True)
    rows = ROWS.numpy() * [[1], [0.5]]  # the mean of both processes
    np.testing.assert_allclose(found.numpy(), coefficients(rows @ rows.T, 0.4) @ rows, rtol=1e-5)


def test_gradients_lie_in_memory_as_their_weights_do():
    model = nn.Conv2d(3, 2, 3, bias=False).to(memory_format=torch.channels_last)
    made = ConflictAverseGradients(model, {"loss_a": 1.0, "loss_b": 1.0}, 0.4)
    made.begin()
    said = model(torch.ones(1, 3, 3, 3))
    made.backward({"loss_a": said.sum(), "loss_b": said.square().sum()})
    made.finish()
    assert model.weight.grad.stride() == model.weight.stride()


class Kept:
    """A tensor that is kept for the way back; counts how many there are."""

    now = 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # else it would hold itself, by what made it
        Kept.now += 1

    def __del__(self):
        Kept.now -= 1


def test_a_batch_is_forgotten_before_the_next_one_is_looked_at(monkeypatch):
    """Several ways back through one batch keep it; --grad_accum would save nothing."""
    config = tiny_config(dropout=0.0)
    batch = random_batch(config, size=4, tokens=60, sentences=5, lengths=(1, 0.5, 0.7))
    update = Update(Revtaf(config), replace(LOSS, cagrad=0.4), "fp32", torch.device("cpu"))
    before, after, losses, finish = [], [], update.losses, update.gradients.finish

    def look(*given):
        before.append(Kept.now)
        made = losses(*given)
        after.append(Kept.now)
        return made

    monkeypatch.setattr(update, "losses", look)
    monkeypatch.setattr(update.gradients, "finish", lambda: before.append(Kept.now) or finish())
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        update(1, (batch, batch, batch), torch.ones(18))
    assert len(after) == 3
    assert min(after) > 300
    assert before == [0] * 4


def test_a_profile_counts_the_combination(monkeypatch):
    config = tiny_config(dropout=0.0)
    batch = random_batch(config, size=2, tokens=60, sentences=5)
    update = Update(Revtaf(config), replace(LOSS, cagrad=0.4), "fp32", torch.device("cpu"))
    inside, finish, found = [], update.gradients.finish, []

    @contextmanager
    def stage(name):
        inside.append(name)
        yield
        inside.pop()

    update.stage = stage
    monkeypatch.setattr(update.gradients, "finish", lambda: found.append([*inside]) or finish())
    update(1, (batch, batch), torch.ones(18))
    assert found == [["backward"]]


def test_every_term_has_the_weight_of_its_flag():
    options = TrainingOptions(cls_weight=2, align_weight=3, rank_weight=5, presence_weight=7, scst=2, scst_weight=11)
    assert list(weights_of(options).values()) == [1, 2, 3, 5, 7, 11]
    assert ["loss", *weights_of(options)] == loss_names(options)
    assert "loss_reward" not in weights_of(TrainingOptions())


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cagrad")
    train(prepared, folder, "--cagrad", 0.4)
    return folder


def weights_in(folder):
    return load_checkpoint(folder / "current_checkpoint.pth")["state_dict"]


def test_an_interrupted_training_becomes_the_same_model(trained, prepared, tmp_path, monkeypatch, capsys):
    train_until_interrupted(monkeypatch, 7, prepared, tmp_path, "--cagrad", 0.4)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        train(prepared, tmp_path, "--resume")
    assert re.search(r"cagrad\b.*0\.4 there, 0\.0 here", capsys.readouterr().err)
    kept = read_json(tmp_path / "options.json")
    before = {name: value for name, value in kept["options"].items() if name != "cagrad"}
    write_json(tmp_path / "options.json", kept | {"options": before})  # of a run from before there was the flag
    with pytest.raises(SystemExit):
        train(prepared, tmp_path, "--resume", "--cagrad", 0.4)
    assert re.search(r"cagrad\b.*0\.0 there, 0\.4 here", capsys.readouterr().err)
    write_json(tmp_path / "options.json", kept)
    train(prepared, tmp_path, "--cagrad", 0.4, "--resume")
    whole, resumed = weights_in(trained), weights_in(tmp_path)
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_the_flag_makes_another_model(trained, prepared, tmp_path):
    train(prepared, tmp_path)
    with_flag, without = weights_in(trained), weights_in(tmp_path)
    assert any(not torch.equal(without[name], with_flag[name]) for name in without)


@pytest.mark.parametrize(
    "flags", [("--scst", 2), ("--precision", "bf16"), ("--grad_checkpointing",), ("--align_pairs", "all", "--grid", "2x")],
    ids=str,
)  # fmt: skip
def test_it_goes_together_with_others(flags, prepared, tmp_path):
    train(prepared, tmp_path, "--epochs", 1, "--cagrad", 0.4, *flags)
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 30


def test_compiled_blocks_keep_what_every_way_back_wants():
    """torch.compile gives the memory of a block away after one way back, once it has compiled a way back that is the only one."""
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4), nn.Sigmoid())
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")

    def losses():
        said = compiled(torch.ones(3, 4))
        return {"loss": said.sum(), "loss_a": said.sum(), "loss_b": (said**2).sum()}

    made = ConflictAverseGradients(model, {"loss_a": 1.0, "loss_b": 1.0}, 0.4)
    losses()["loss"].backward()
    made.begin()
    made.backward(losses())
    made.finish()
    assert all(parameter.grad.any() for parameter in model.parameters())
