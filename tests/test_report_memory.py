"""models/report_memory.py: the published memory transformer, values and gradients."""

import pytest
import torch

from models.report_memory import ReportMemory


@pytest.mark.parametrize(("dtype", "suffix", "tolerance"), [(torch.float64, "f64", 1e-8), (torch.float32, "f32", 1e-4)])
def test_memory_is_the_published_one(dtype, suffix, tolerance, golden):
    data = golden("memory_transformer")
    module = ReportMemory(visual_dim=32, width=32, layers=2, heads=8, feedforward=64, dropout=0.1).to(dtype).eval()
    weights = {k.removeprefix("param/"): torch.tensor(data[k]).to(dtype) for k in data.files if k.startswith("param/")}
    module.load_state_dict(weights, strict=False)
    assert {name for name in module.state_dict() if not name.startswith("query.")} == set(weights)
    memory = torch.tensor(data["memory"], dtype=dtype).transpose(0, 1).requires_grad_()  # (B, R, C)
    query = torch.tensor(data["query"], dtype=dtype).transpose(0, 1).requires_grad_()  # (B, 1, C)
    recalled = module.decoder(query, module.encoder(memory))
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(recalled, torch.tensor(data[f"out_{suffix}"])[0], **close)
    (recalled * torch.tensor(data["grad_weighting"], dtype=dtype)[0]).sum().backward()
    expected = torch.tensor(data[f"grad_memory_{suffix}"]).transpose(0, 1)
    torch.testing.assert_close(memory.grad, expected, rtol=10 * tolerance, atol=tolerance)
    expected = torch.tensor(data[f"grad_query_{suffix}"]).transpose(0, 1)
    torch.testing.assert_close(query.grad, expected, rtol=10 * tolerance, atol=tolerance)


def test_self_attention_of_one_query_learns_values_alone():
    module = ReportMemory(visual_dim=6, width=8, layers=3, heads=2, feedforward=16, dropout=0.0)
    module(torch.randn(2, 6), torch.randn(2, 5, 8)).square().sum().backward()
    learned = [
        [bool(part.any()) for part in layer.self_attn.in_proj_weight.grad.chunk(3)]  # query, key, value
        for layer in module.decoder.layers
    ]
    assert learned == [[False, False, False], [False, False, True], [False, False, True]]


def test_order_of_the_reports_does_not_matter():
    module = ReportMemory(visual_dim=6, width=8, layers=2, heads=2, feedforward=16, dropout=0.1).eval()
    pooled, memory = torch.randn(2, 6), torch.randn(2, 5, 8)
    torch.testing.assert_close(module(pooled, memory.flip(1)), module(pooled, memory))
