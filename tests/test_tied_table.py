"""models/cpu/tied_table.py: one gradient for a table with two uses."""

import torch
from torch import nn
from torch.nn import functional as F

from models.cpu.tied_table import look_up, tie


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


def layers(padding=None):
    torch.manual_seed(0)
    words, output = nn.Embedding(11, 6, padding_idx=padding), nn.Linear(6, 11)
    output.weight = words.weight
    return words, output


def test_tied_layers_have_the_gradients_of_plain_ones_the_padding_row_included():
    ids = torch.tensor([[3, 0, 3], [10, 3, 2]])
    gradients = []
    for make_fast in (False, True):
        words, output = layers(padding=0)
        if make_fast:
            tie(words, output)
        output(words(ids).tanh()).square().sum().backward()
        gradients.append((words.weight.grad, output.bias.grad))
    for plain, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain)


def test_uses_that_are_repeated_missing_or_without_gradient_stay_right():
    words, output = layers()
    plain = [layer.weight.detach() for layer in (words, output)]
    tie(words, output)
    assert list(words.state_dict()) + list(output.state_dict()) == ["weight", "weight", "bias"]
    ids, x = torch.tensor([3, 0, 3]), torch.randn(2, 6)
    words(ids)  # nobody multiplies with this one
    with torch.no_grad():
        torch.testing.assert_close(words(ids), plain[0][ids])
        torch.testing.assert_close(output(x), F.linear(x, plain[1], output.bias))
    assert words.handover.table is None
    (words(ids).sum() + output(x).sum() + output(x).sum()).backward()  # the second product takes the parameter itself
    expected = torch.zeros(11, 6).index_add_(0, ids, torch.ones(3, 6)) + 2 * x.sum(dim=0)
    torch.testing.assert_close(words.weight.grad, expected)
