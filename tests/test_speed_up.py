"""models/cpu/speed_up.py: the fast CPU versions compute what torch's do, in the whole network, and are really used."""

import copy

import pytest
import torch
from tiny import tiny_config
from torch import nn

from benchmarks.models import our_loss, random_batch
from models.beam_search import GenerationLimits
from models.cpu import dropout, tied_table
from models.cpu import linear as products
from models.cpu.dropout import FastDropout
from models.cpu.linear import FastLinear
from models.cpu.speed_up import speed_up
from models.decoder_layers import PackedReports
from models.revtaf import Revtaf

LIMITS = GenerationLimits(beams=3, min_length=22, max_new_tokens=12)


def both(**changes):
    """The same network twice, plain and sped up, with a batch."""
    torch.manual_seed(0)
    plain = Revtaf(tiny_config(**changes)).train()
    fast = copy.deepcopy(plain)
    speed_up(fast)
    return plain, fast, random_batch(plain.config, size=4, tokens=30, lengths=(1, 0.8))


@pytest.fixture
def as_with_avx512(monkeypatch):
    """Every product by oneDNN, which layers as small as these do not repay."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    monkeypatch.setattr(products, "LARGE", 0)


@pytest.mark.usefixtures("as_with_avx512")
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_every_gradient_are_those_of_the_plain_network(training):
    """In training without dropout, and in evaluation with its rate set."""
    plain, fast, batch = both(dropout=0.0 if training else 0.1)
    assert list(fast.state_dict()) == list(plain.state_dict())
    losses = [our_loss(model.train(training), batch, torch.ones(18), "fp32") for model in (plain, fast)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
    for loss in losses:
        loss.backward()
    for (name, ours), theirs in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_reports_are_those_of_the_plain_network():
    plain, fast, batch = both()
    states = torch.tensor([4, 5, 6, 7])
    ours, theirs = (model.eval().generate(batch.study, 3, states, LIMITS)[0] for model in (fast, plain))
    assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_dropout_has_the_mean_and_spread_of_the_plain_network():
    plain, fast, batch = both(dropout=0.3)
    copies, draws = 40, []  # of the batch in one call: masks differ from report to report
    packed = PackedReports.of(
        batch.token_ids.repeat(copies, 1), batch.token_mask.repeat(copies, 1), plain.config.prompt_length
    )
    with torch.no_grad():
        fused = plain.fuse(batch.study).fused.repeat(copies, 1, 1)
        for model in (plain, fast):
            some = [model.report_decoder.predict(fused, packed)[:, 7].view(copies, -1) for _ in range(400 // copies)]
            draws.append(torch.cat(some))  # (n, S)
    (mean, spread), (other_mean, other_spread) = ((draw.mean(dim=0), draw.std(dim=0)) for draw in draws)
    error = (spread.square() + other_spread.square()).sqrt() / 400**0.5
    assert ((mean - other_mean).abs() < 5 * error).all()
    assert (other_spread / spread).log().abs().mean() < 0.1
    assert spread.min() > 0


@pytest.mark.usefixtures("as_with_avx512")
def test_every_part_of_a_step_takes_the_fast_way(monkeypatch):
    _, fast, batch = both()
    assert {type(module) for module in fast.modules()} & {nn.Linear, nn.Dropout, nn.Embedding} <= {nn.Embedding}
    used = {"products": 0, "masks": 0, "tables": 0}

    def counted(key, work):
        def count(*args):
            used[key] += 1
            return work(*args)

        return count

    monkeypatch.setattr(products._Linear, "apply", counted("products", products._Linear.apply))
    monkeypatch.setattr(dropout, "keep_mask", counted("masks", dropout.keep_mask))
    monkeypatch.setattr(tied_table._TiedTable, "apply", counted("tables", tied_table._TiedTable.apply))
    our_loss(fast, batch, torch.ones(18), "fp32")
    layers = fast.config.decoder_layers
    assert used["tables"] == 1
    assert used["masks"] >= layers * 5 + 1 + 2 * 3  # three residual and two attention masks a layer, words, two fusions
    assert (
        used["products"] >= layers * 10 + 2 + 3 + 2 * 6
    )  # eight attention and two dense a layer, head, projections, fusions


def test_generation_packs_each_weight_once():
    _, fast, batch = both()
    packed = []
    fast.report_decoder.reader = type("Watched", (fast.report_decoder.reader,), {
        "products": lambda self, rows: packed.append(products.PackedLinears(rows)) or packed[-1]
    })  # fmt: skip
    fast.eval().generate(batch.study, 3, torch.tensor([4, 5, 6, 7]), LIMITS)
    (product,) = packed
    assert product.rows == 4 * LIMITS.beams
    if products.has_onednn():
        assert len(product._packed) == fast.config.decoder_layers * 8 + 2  # patches' keys and values come before


def test_what_it_does_not_serve_is_left_alone():
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(3, 2), nn.Dropout(0.5), nn.Dropout(0.5, inplace=True))
    speed_up(model)
    assert [type(layer) for layer in model] == [nn.Linear, FastLinear, FastDropout, nn.Dropout]
    torch.testing.assert_close(model[1](torch.ones(3)), model[1].weight.sum(dim=1) + model[1].bias)
    speed_up(model)
    assert type(model[1]) is FastLinear
