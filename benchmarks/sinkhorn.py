"""Transport plans: batched iterations with implicit gradients, against the same iterations unrolled and against POT.

python benchmarks/sinkhorn.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import arguments, interleaved, machine, report_ratio, verdict
from models.optimal_transport import pot_plan, sinkhorn

EPSILON = 0.05


def unrolled(cost: Tensor, iterations: int) -> Tensor:
    """The iterations of the log domain with the gradient through each of them."""
    B, K, M = cost.shape
    log_rows, log_columns = cost.new_full((B, K), 1 / K).log(), cost.new_full((B, M), 1 / M).log()
    kernel, v = -cost / EPSILON, cost.new_zeros(B, M)
    for _ in range(iterations):
        u = log_rows - (kernel + v.unsqueeze(1)).logsumexp(dim=2)  # (B, K)
        v = log_columns - (kernel + u.unsqueeze(2)).logsumexp(dim=1)  # (B, M)
    return (kernel + u.unsqueeze(2) + v.unsqueeze(1)).exp()


def kept_megabytes(solve, cost: Tensor, iterations: int) -> float:
    """MB that the forward pass keeps for the backward pass."""
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        plan = solve(cost, iterations)
    del plan
    return sum(kept.values()) / 1e6


def main() -> None:
    """Equal plans and gradients, memory, times."""
    options = arguments(__doc__.splitlines()[0], runs=7)
    B, K, M = (2, 6, 5) if options.quick else (18, 75, 49)
    print(machine())
    cost = (1 - 0.5 * torch.randn(B, K, M).tanh()).requires_grad_()
    weight = torch.randn(B, K, M)

    def ours(cost: Tensor = cost, iterations: int = 100) -> Tensor:
        return sinkhorn(cost, EPSILON, iterations, spread=1)

    def gradient(solve) -> Tensor:
        cost.grad = None
        (solve(cost, 100) * weight).sum().backward()
        return cost.grad

    torch.testing.assert_close(ours(cost), unrolled(cost, 100), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(ours(cost), pot_plan(cost, EPSILON, 100), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(gradient(ours), gradient(unrolled), rtol=5e-2, atol=2e-4)
    print("  equal: plans to unrolled iterations and to POT, gradient to unrolled iterations")
    for iterations in (10, 50, 100):
        memory = [kept_megabytes(solve, cost, iterations) for solve in (unrolled, ours)]
        print(
            f"  kept for the backward pass at {iterations} iterations: unrolled {memory[0]:.2f} MB, ours {memory[1]:.2f} MB"
        )
    growth = kept_megabytes(ours, cost, 100) / kept_megabytes(ours, cost, 10)
    verdict("memory at 100 iterations over that at 10", growth, 1.0, f"{growth:.2f} x", at_most=True)
    times = interleaved(lambda: gradient(unrolled), lambda: gradient(ours), options.runs)
    report_ratio("forward and backward against unrolled", *times, 1)
    times = interleaved(lambda: pot_plan(cost.detach(), EPSILON), lambda: ours(cost.detach()), options.runs)
    report_ratio("plan against POT, study by study", *times, 4)


if __name__ == "__main__":
    main()
