"""models/cpu/dropout.py: masks as frequent and as independent as torch's, and the same arithmetic around them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.cpu import dropout as own
from models.cpu.dropout import FastDropout, attend_fast, drops_here, keep_mask


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_elements_are_dropped_at_the_rate_and_the_mean_is_kept(rate):
    torch.manual_seed(0)
    count = 1_000_000
    keep, scale = keep_mask((count,), rate)
    error = (rate * (1 - rate) / count) ** 0.5
    assert abs(keep.float().mean().item() - (1 - rate)) < 5 * error
    assert scale == pytest.approx(1 / (1 - rate), rel=1 / own.LEVELS * 10)


def test_neighbours_in_one_random_word_and_between_words_are_independent():
    torch.manual_seed(0)
    keep, _ = keep_mask((400_000,), 0.5)
    signs = keep.float() * 2 - 1
    for distance in (1, 2, 3, 4, 5, 8, 16):
        assert abs((signs[distance:] * signs[:-distance]).mean().item()) < 5 / 400_000**0.5, distance
    lanes = signs.view(-1, 4).mean(dim=0)  # the four elements that share 64 bits
    assert lanes.abs().max() < 5 / 100_000**0.5


def test_masks_follow_the_seed_and_shapes_need_not_fill_a_word():
    torch.manual_seed(1)
    first, _ = keep_mask((3, 5, 7), 0.3)
    second, _ = keep_mask((3, 5, 7), 0.3)
    torch.manual_seed(1)
    again, _ = keep_mask((3, 5, 7), 0.3)
    assert first.shape == (3, 5, 7)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_tiny_rates_drop_nothing_and_rates_near_one_do_not_overflow():
    keep, scale = keep_mask((1000,), 1e-9)
    assert keep.all()
    assert scale == 1
    keep, scale = keep_mask((1000,), 1 - 1e-9)
    assert keep.float().mean() < 0.05
    assert scale == own.LEVELS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_kept_elements_are_scaled_and_so_is_their_gradient(dtype):
    dropout, x = FastDropout(0.25), torch.rand(40, 30).add(1).to(dtype).requires_grad_()
    dropped = dropout(x)
    assert dropped.dtype == dtype
    kept = dropped != 0
    assert 0.15 < 1 - kept.float().mean().item() < 0.35
    torch.testing.assert_close(dropped, torch.where(kept, x / 0.75, 0.0))
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, kept.to(dtype) / 0.75)


@pytest.mark.parametrize("dropout", [FastDropout(0.5).eval(), FastDropout(0.0)])
def test_without_dropout_nothing_changes(dropout):
    x = torch.randn(4, 3)
    assert not drops_here(x, dropout)
    assert torch.equal(dropout(x), x)
    query = torch.randn(1, 4, 3)
    assert torch.equal(attend_fast(query, query, query, dropout), F.scaled_dot_product_attention(query, query, query))


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_that_of_torch_when_nothing_is_dropped_and_in_the_mean(causal):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    exact = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    inputs = [x.requires_grad_() for x in (query, key, value)]
    ours = attend_fast(*inputs, nn.Dropout(1e-9), causal)
    torch.testing.assert_close(ours, exact)
    theirs = torch.autograd.grad(F.scaled_dot_product_attention(*inputs, is_causal=causal).square().sum(), inputs)
    for a, b in zip(torch.autograd.grad(ours.square().sum(), inputs), theirs, strict=True):
        torch.testing.assert_close(a, b)
    many = (x.detach().expand(4000, -1, -1, -1, -1) for x in inputs)
    draws = attend_fast(*many, nn.Dropout(0.3), causal)
    error = draws.std(dim=0) / 4000**0.5
    assert ((draws.mean(dim=0) - exact.detach()).abs() < 5 * error + 1e-9).all()
    assert draws.std(dim=0).min() > 0
