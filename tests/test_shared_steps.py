"""modules/preparation/features/shared_steps.py in one process; tests/test_distributed.py shows that two give the same bytes."""

import pytest
import torch
from torch import nn

from modules.preparation.features.shared_steps import SharedSteps


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(dropout), nn.Linear(6, 1))


def batches(count):
    return list(torch.randn(count, 5, 4, generator=torch.Generator().manual_seed(1)))


def step(model, shared, inputs):
    queue = iter(inputs)
    return shared.step(lambda: model(next(queue)).square().mean())


def test_gradients_statistics_and_loss_are_means_of_the_shares():
    model, inputs = network(), batches(3)
    loss = step(model, SharedSteps(model, 3, seed=0), inputs)
    losses, gradients, means = [], [], []
    for x in inputs:
        alone = network()
        losses.append(alone(x).square().mean())
        losses[-1].backward()
        gradients.append([parameter.grad for parameter in alone.parameters()])
        means.append(alone[1].running_mean)
    assert loss.item() == pytest.approx(sum(losses).item() / 3, rel=1e-6)
    for parameter, parts in zip(model.parameters(), zip(*gradients, strict=True), strict=True):
        torch.testing.assert_close(parameter.grad, torch.stack(parts).mean(0))
    torch.testing.assert_close(model[1].running_mean, torch.stack(means).mean(0))
    assert model[1].num_batches_tracked == 1
    assert model[1].num_batches_tracked.dtype == torch.int64


def test_one_share_is_an_ordinary_step():
    model, alone, inputs = network(0.5), network(0.5), batches(1)
    shared = SharedSteps(model, 1, seed=7)
    torch.manual_seed(7)
    for _ in range(2):
        loss = alone(inputs[0]).square().mean()
        alone.zero_grad()
        loss.backward()
        assert step(model, shared, inputs) == loss
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), alone.parameters(), strict=True))
    assert torch.equal(model[1].running_var, alone[1].running_var)


def test_every_share_has_its_own_dropout_and_goes_on_with_it():
    model, x = network(0.5), batches(1)[0]
    shared = SharedSteps(model, 2, seed=0)
    masks = []
    model[2].register_forward_hook(lambda _, __, y: masks.append(y == 0))
    torch.rand(3)  # what else draws numbers does not show
    step(model, shared, [x, x])
    step(model, shared, [x, x])
    assert not any(torch.equal(masks[i], masks[j]) for i in range(4) for j in range(i))
    again = list(masks)
    masks.clear()
    shared = SharedSteps(model, 2, seed=0)
    step(model, shared, [x, x])
    torch.rand(3)
    step(model, shared, [x, x])
    assert all(torch.equal(a, b) for a, b in zip(masks, again, strict=True))
