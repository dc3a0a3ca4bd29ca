"""models/cpu/tied_table.py: one gradient for a table with two uses."""

import torch
from torch.nn import functional as F

from models.cpu.tied_table import look_up


def test_gradient_is_the_sum_of_both_uses():
    torch.manual_seed(0)
    table = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([3, 0, 3, 10, 3])  # a word that occurs three times
    rows, again = look_up(table, ids)
    torch.testing.assert_close(rows, table[ids])
    torch.testing.assert_close(again, table)
    F.linear(rows.tanh(), again).square().sum().backward()
    plain = table.detach().clone().requires_grad_()
    F.linear(F.embedding(ids, plain).tanh(), plain).square().sum().backward()
    torch.testing.assert_close(table.grad, plain.grad)


def test_gradient_is_right_under_autocast_and_when_one_use_is_missing():
    torch.manual_seed(0)
    table = torch.randn(11, 6, requires_grad=True)
    ids = torch.tensor([3, 0, 3])
    with torch.autocast("cpu", torch.bfloat16):
        rows, again = look_up(table, ids)
        F.linear(rows, again).float().sum().backward()
    expected = table.detach()[ids].sum(dim=0).expand(11, 6).clone()
    expected.index_add_(0, ids, table.detach().sum(dim=0).expand(3, 6))
    assert table.grad.dtype == torch.float32
    assert (table.grad - expected).norm() < 0.02 * expected.norm()
    table.grad = None
    look_up(table, ids)[0].sum().backward()
    torch.testing.assert_close(table.grad, torch.zeros(11, 6).index_add_(0, ids, torch.ones(3, 6)))
