"""models/cpu/linear.py: oneDNN's products are torch's, and so are their gradients."""

import copy

import pytest
import torch
from torch.nn import functional as F

from models.cpu import linear as products
from models.cpu.linear import FastLinear, PackedLinears, linear

needs_onednn = pytest.mark.skipif(not products.has_onednn(), reason="this torch was built without oneDNN")


def layer_and_input(rows=(2, 7), width=24, out=40):
    torch.manual_seed(0)
    layer = FastLinear(width, out)
    return layer, torch.randn(*rows, width)


@pytest.fixture
def as_with_avx512(monkeypatch):
    """oneDNN has a product for every CPU; only whether it is the faster one depends on AVX-512."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)


@pytest.fixture
def as_if_large(monkeypatch):
    monkeypatch.setattr(products, "LARGE", 0)


@needs_onednn
@pytest.mark.usefixtures("as_with_avx512")
@pytest.mark.parametrize(
    ("width", "out", "ours"), [(768, 768, True), (768, 3072, True), (512, 512, False), (128, 600, False)]
)
def test_only_a_large_layer_repays_the_kernels_made_for_each_number_of_rows(width, out, ours):
    layer, x = layer_and_input(width=width, out=out)
    assert ("_Linear" in layer(x).grad_fn.next_functions[0][0].name()) == ours


@needs_onednn
@pytest.mark.usefixtures("as_with_avx512", "as_if_large")
@pytest.mark.parametrize(("width", "out"), [(24, 40), (40, 24), (33, 7)])
def test_product_and_gradients_are_those_of_torch(width, out):
    layer, x = layer_and_input(width=width, out=out)
    plain = copy.deepcopy(layer)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = layer(ours), F.linear(theirs, plain.weight, plain.bias)
    assert "_Linear" in a.grad_fn.next_functions[0][0].name(), "torch's own product ran"
    torch.testing.assert_close(a, b)
    pull = torch.randn_like(a)
    a.backward(pull)
    b.backward(pull)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)


@needs_onednn
@pytest.mark.usefixtures("as_with_avx512", "as_if_large")
def test_only_what_is_asked_for_gets_a_gradient_and_expanded_gradients_are_read_right():
    layer, x = layer_and_input()
    layer.weight.requires_grad_(False)
    x.requires_grad_()
    layer(x).sum().backward()  # the gradient of a sum is one number, expanded
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(dim=0).expand_as(x))
    torch.testing.assert_close(layer.bias.grad, torch.full((40,), 14.0))


@needs_onednn
@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("case", ["float64", "autocast", "no AVX-512"])
def test_everything_else_is_torch_s_own_product(case, monkeypatch):
    monkeypatch.setattr(products, "has_avx512", lambda: case != "no AVX-512")
    layer, x = layer_and_input()
    if case == "float64":
        layer, x = layer.double(), x.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        ours, theirs = linear(x, layer.weight, layer.bias), F.linear(x, layer.weight, layer.bias)
    assert torch.equal(ours, theirs)
    assert ours.dtype == (torch.bfloat16 if case == "autocast" else x.dtype)


def test_state_dict_is_that_of_torch():
    assert list(FastLinear(3, 2).state_dict()) == list(torch.nn.Linear(3, 2).state_dict())


@needs_onednn
@pytest.mark.parametrize("rows", [(1,), (3,), (4, 3, 1), (2, 19)])
def test_packed_weights_multiply_alike_whatever_the_rows(rows):
    layer, x = layer_and_input(rows)
    product = PackedLinears(rows=3)
    for _ in range(2):  # packs, then uses what is packed
        torch.testing.assert_close(product(layer, x), layer(x))
    assert not product(layer, x).requires_grad


@needs_onednn
def test_weights_are_packed_once_so_new_weights_need_a_new_object():
    layer, x = layer_and_input()
    product = PackedLinears(rows=14)
    before = product(layer, x)
    with torch.no_grad():
        layer.weight.add_(1)
    assert torch.equal(product(layer, x), before)
    torch.testing.assert_close(PackedLinears(rows=14)(layer, x), layer(x))


def test_packed_weights_follow_autocast():
    layer, x = layer_and_input()
    with torch.autocast("cpu", torch.bfloat16):
        rounded, theirs = PackedLinears(rows=14)(layer, x), layer(x)
    assert rounded.dtype == theirs.dtype == torch.bfloat16
    assert (rounded - theirs).norm() < 0.01 * theirs.norm()


def test_packed_weights_leave_other_precisions_to_torch():
    layer, x = layer_and_input()
    layer, x = layer.double(), x.double()
    assert torch.equal(PackedLinears(rows=14)(layer, x), layer(x))
