"""models/hyperbolic_encoder.py: the published encoder, in both precisions, values and gradients."""

import pytest
import torch

from models.hyperbolic_encoder import LearnableRetrievalEnhancer


def load(data, dtype):
    encoder = LearnableRetrievalEnhancer(
        num_entities=75, width=96, layers=2, manifold="poincare", curvature=float(data["c"]), learn_curvature=False
    ).to(dtype)
    for i, layer in enumerate(encoder.layers):
        layer.weight.data.copy_(torch.tensor(data[f"w{i}"]))
        layer.bias.data.copy_(torch.tensor(data[f"b{i}"]))
    return encoder


def run(data, dtype):
    encoder = load(data, dtype)
    x = torch.tensor(data["x"], dtype=dtype, requires_grad=True)
    y = encoder(x)
    y.sum().backward()
    return encoder, x, y


@pytest.mark.parametrize(
    ("dtype", "suffix", "rtol", "grad_rtol"),
    [(torch.float64, "f64", 1e-9, 1e-7), (torch.float32, "f32", 2e-4, 1e-3)],
    ids=["f64", "f32"],
)
def test_typical_inputs_give_the_published_outputs(dtype, suffix, rtol, grad_rtol, golden):
    data = golden("hnn_encoder_typical")
    encoder, x, y = run(data, dtype)
    torch.testing.assert_close(y, torch.tensor(data[f"y_{suffix}"]), rtol=rtol, atol=1e-8)
    torch.testing.assert_close(x.grad, torch.tensor(data[f"grad_x_{suffix}"]), rtol=grad_rtol, atol=1e-5)
    for i, layer in enumerate(encoder.layers):
        for name in ("weight", "bias"):
            expected = torch.tensor(data[f"grad_{name[0]}{i}_{suffix}"])
            torch.testing.assert_close(getattr(layer, name).grad, expected, rtol=grad_rtol, atol=1e-5)


@pytest.mark.parametrize(("dtype", "suffix"), [(torch.float64, "f64"), (torch.float32, "f32")], ids=["f64", "f32"])
def test_extreme_inputs_give_the_published_outputs(dtype, suffix, golden):
    data = golden("hnn_encoder_stress")
    _, x, y = run(data, dtype)
    rtol = 1e-6 if dtype == torch.float64 else 1e-3
    expected = torch.tensor(data[f"y_{suffix}"])
    torch.testing.assert_close(y, expected, rtol=rtol, atol=rtol * 1e-2)
    gradient = torch.tensor(data[f"grad_x_{suffix}"])
    difference = (x.grad - gradient).abs().amax(dim=1) / gradient.abs().amax(dim=1)
    assert difference.max() < 1e-2


def test_retrieval_finds_the_published_neighbours(golden):
    data = golden("poincare_dist")
    keys = {f"{k}{i}": data[f"retr_{k}{i}"] for k in "wb" for i in (0, 1)}
    encoder = load({**keys, "c": 0.01}, torch.float64)
    bank, query = (encoder(torch.tensor(data[f"retr_{name}"])) for name in ("bank", "query"))
    distance = encoder.manifold.distance(query, bank)
    torch.testing.assert_close(distance, torch.tensor(data["retr_dist_f64"]), rtol=2e-3, atol=1e-6)
    assert distance.argmin(dim=1).tolist() == data["retr_argmin"].tolist()


def test_autocast_changes_nothing(golden):
    data = golden("hnn_encoder_typical")
    encoder = load(data, torch.float32)
    x = torch.tensor(data["x"], dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(x)
    assert torch.equal(inside, encoder(x))
