"""modules/training/optimizers.py: the published schedule, and decay on matrices only."""

import pytest
import torch

from modules.training.optimizers import Schedule, build_optimizer, clip_gradients


def test_schedule_is_the_published_one(golden):
    data = golden("lr_schedule")
    columns = {name: data["table"][:, i] for i, name in enumerate(data["columns"])}
    for i in range(len(data["table"])):
        row = {name: values[i] for name, values in columns.items()}
        schedule = Schedule(
            init_lr=row["init_lr"],
            min_lr=row["min_lr"],
            warmup_lr=row["warmup_start_lr"],
            warmup_steps=int(row["warmup_steps"]),
            epochs=int(row["max_epoch"]),
        )
        assert schedule.lr(int(row["epoch"]), int(row["step"])) == pytest.approx(row["lr"], rel=1e-12)


def test_biases_and_norms_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    optimizer = build_optimizer(model, 1e-3, 0.05)
    decayed, free = optimizer.param_groups
    assert [p.dim() for p in decayed["params"]] == [2]
    assert decayed["weight_decay"] == 0.05
    assert [p.dim() for p in free["params"]] == [1, 1, 1]
    assert free["weight_decay"] == 0


def test_apply_sets_every_group():
    optimizer = build_optimizer(torch.nn.Linear(2, 2), 1.0, 0.0)
    schedule = Schedule(init_lr=1e-3, min_lr=1e-4, warmup_lr=0.0, warmup_steps=10, epochs=3)
    lr = schedule.apply(optimizer, 1, 5)
    assert lr == pytest.approx(5e-4)
    assert {group["lr"] for group in optimizer.param_groups} == {lr}


def test_the_fused_steps_are_those_of_plain_adamw():
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.LayerNorm(5)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = build_optimizer(models[0], 1e-2, 0.05)
    groups = [
        {"params": [p for p in models[1].parameters() if p.dim() > 1], "weight_decay": 0.05},
        {"params": [p for p in models[1].parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    plain = torch.optim.AdamW(groups, lr=1e-2, foreach=False, fused=False)
    for _ in range(5):
        x = torch.randn(7, 3)
        for model, optimizer in zip(models, (ours, plain), strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_element_by_element():
    weights = [
        torch.nn.Parameter(torch.zeros(3)),
        torch.nn.Parameter(torch.zeros(2)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    weights[0].grad, weights[1].grad = torch.tensor([-5.0, 0.05, 5.0]), torch.tensor([0.2, -0.1])
    clip_gradients(iter(weights), 0.1)
    torch.testing.assert_close(weights[0].grad, torch.tensor([-0.1, 0.05, 0.1]))
    torch.testing.assert_close(weights[1].grad, torch.tensor([0.1, -0.1]))
    assert weights[2].grad is None
